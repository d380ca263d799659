package server_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kith/client"
	"kith/xmpp/jid"
	"kith/xmpp/negotiate"
	"kith/xmpp/sasl"
	"kith/xmpptest"
)

// wallet keeps tokens of clients in memory.
type wallet struct {
	mu sync.Mutex // guards by
	by map[jid.JID]negotiate.SavedToken
}

func (w *wallet) Load(j jid.JID) (negotiate.SavedToken, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t, ok := w.by[j]
	return t, ok
}

func (w *wallet) Save(j jid.JID, t negotiate.SavedToken) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.by == nil {
		w.by = make(map[jid.JID]negotiate.SavedToken)
	}
	w.by[j] = t
}

func (w *wallet) Drop(j jid.JID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.by, j)
}

const (
	phone  = "d4565fa7-4d72-4749-b3d3-740edbf87770"
	laptop = "0b1c2d3e-4f50-4617-8a9b-acbdcedfe0f1"
)

var mercutio = jid.MustParse("mercutio@" + host)

// login logs mercutio in with what c says, from a device.
func login(t *testing.T, s *xmpptest.Server, agent string, c client.Config) (*client.Client, error) {
	t.Helper()
	c.JID, c.DirectTLS, c.TLS = mercutio, true, s.TLS(host)
	c.Agent = negotiate.UserAgent{ID: agent, Software: "AwesomeXMPP"}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return client.NewOnConn(ctx, s.Dial(true), c)
}

// condition is how a log-in has failed, "" if it has not.
func condition(err error) string {
	if f, ok := errors.AsType[*sasl.Failure](err); ok {
		return f.Condition
	}
	return fmt.Sprint(err)
}

// byToken logs in by hand and returns "success" or the condition.
func byToken(t *testing.T, s *xmpptest.Server, agent, user, mech string, saved negotiate.SavedToken, count uint64) string {
	t.Helper()
	c := reach(t, s, "before login")
	defer c.Cut()
	cl, err := sasl.NewTokenClient(mech, user, []byte(saved.Token), sasl.ClientOptions{Bindings: c.Bindings(), OverTLS: true})
	if err != nil {
		t.Fatal(err)
	}
	message, err := cl.Start()
	if err != nil {
		t.Fatal(err)
	}
	fast := "<fast xmlns='urn:xmpp:fast:0'/>"
	if count > 0 {
		fast = fmt.Sprintf("<fast xmlns='urn:xmpp:fast:0' count='%d'/>", count)
	}
	c.MustSend("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='" + mech + "'><initial-response>" + base64.StdEncoding.EncodeToString(message) +
		"</initial-response><user-agent id='" + agent + "'/>" + fast + "</authenticate>")
	el, ok := c.Next()
	if !ok {
		t.Fatalf("no answer: %v", c.Err())
	}
	if el.Name().Local == "failure" {
		return el.First().Name().Local
	}
	return el.Name().Local
}

// handheld is one installation of a client and what it has.
type handheld struct {
	wallet wallet
	stolen negotiate.SavedToken
}

// TestTokenLife: the ways of a token through life (XEP-0484 §3 to §5). Each row is
// a sequence of what happens; behind what logs in stands how that ends.
func TestTokenLife(t *testing.T) {
	for name, steps := range map[string]string{
		"used again and again":              "password; token; token; wait 1h; token",
		"without a token":                   "token: no token",
		"expires":                           "password; steal; wait 719h; stolen: success; wait 2h; stolen: credentials-expired",
		"expires unused":                    "password; steal; wait 721h; stolen: credentials-expired",
		"a day old: another one":            "password; steal; wait 25h; token; new",
		"not a day old: the same":           "password; steal; wait 23h; token; same",
		"the old one, while the new waits":  "password; steal; wait 25h; token; stolen: success",
		"the old one, once the new is used": "password; steal; wait 25h; token; token; stolen: not-authorized",
		"two unused: only the later":        "password; steal; password anew; stolen: not-authorized; token",
		"used, then the password":           "password; token; steal; password anew; stolen: success; token; stolen: not-authorized",
		"log-out":                           "password; steal; logout; none; stolen: not-authorized; token: no token",
		"log-out with a new one waiting":    "password; steal; wait 25h; token; logout; stolen: not-authorized",
		"password changed":                  "password; steal; new password; stolen: not-authorized",
		"locked out, and let in":            "password; steal; disable; stolen: not-authorized; enable; stolen: not-authorized",
		"account deleted, and made anew":    "password; steal; delete; stolen: not-authorized; make; stolen: not-authorized",
		"device revoked":                    "password; steal; revoke; stolen: not-authorized",
		"another device revoked":            "password; steal; revoke laptop; stolen: success",
		"on another device":                 "password; steal; stolen on laptop: not-authorized",
		"by another mechanism":              "password; steal; stolen by HT-SHA-256-NONE: not-authorized; stolen by HT-SHA-256-ENDP: not-authorized; stolen: success",
		"for somebody else":                 "password; steal; stolen for tybalt: not-authorized; stolen for nobody: not-authorized",
		"replay":                            "password; steal; count 5: success; count 5: not-authorized; count 4: not-authorized; count 6: success",
		"a new token counts anew":           "password; token; token; steal; wait 25h; token; new; steal; count 1: success",
		"too many devices":                  "password; steal; crowd; stolen: not-authorized",
		"the server restarts":               "password; restart; token",
	} {
		for _, ahead := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/ahead=%v", name, ahead), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { tokenLife(t, steps, ahead) })
			})
		}
	}
}

func tokenLife(t *testing.T, steps string, ahead bool) {
	s := xmpptest.New(t)
	s.Account(mercutio)
	s.Account(jid.MustParse("tybalt@" + host))
	d := &handheld{}
	for step := range strings.SplitSeq(steps, "; ") {
		if !ahead { // it waits for the features
			if saved, ok := d.wallet.Load(mercutio); ok {
				saved.Version = ""
				d.wallet.Save(mercutio, saved)
			}
		}
		d.step(t, s, step)
		if t.Failed() {
			t.Fatalf("at %q of %q", step, steps)
		}
	}
}

func (d *handheld) step(t *testing.T, s *xmpptest.Server, step string) {
	what, want, _ := strings.Cut(step, ": ")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", step, err)
		}
	}
	store, saved := s.Accounts(), func() negotiate.SavedToken { x, _ := d.wallet.Load(mercutio); return x }
	if rest, ok := strings.CutPrefix(what, "wait "); ok {
		w, err := time.ParseDuration(rest)
		must(err)
		s.Pass(w)
		return
	}
	if rest, ok := strings.CutPrefix(what, "stolen"); ok {
		agent, user, mech := phone, "mercutio", d.stolen.Mechanism
		switch how, arg, _ := strings.Cut(strings.TrimSpace(rest), " "); how {
		case "on":
			agent = laptop
		case "by":
			mech = arg
		case "for":
			user = arg
		}
		if got := byToken(t, s, agent, user, mech, d.stolen, 0); got != want {
			t.Errorf("%s: %s", step, got)
		}
		return
	}
	var n uint64
	if _, err := fmt.Sscanf(what, "count %d", &n); err == nil {
		if got := byToken(t, s, phone, "mercutio", d.stolen.Mechanism, d.stolen, n); got != want {
			t.Errorf("%s: %s", step, got)
		}
		return
	}
	switch what {
	case "password", "password anew":
		d.wallet.Drop(mercutio)
		d.connect(t, s, client.Config{Password: xmpptest.Password}, sasl.ScramSHA512Plus)
		if saved().Token == "" {
			t.Errorf("%s: no token was given", step)
		}
	case "token":
		if want == "no token" {
			if _, err := login(t, s, phone, client.Config{Tokens: &d.wallet}); err == nil {
				t.Error("logged in with nothing")
			}
			return
		}
		d.connect(t, s, client.Config{}, sasl.TokenExporter)
	case "logout":
		d.connect(t, s, client.Config{LogOut: true}, sasl.TokenExporter)
	case "steal":
		d.stolen = saved()
	case "none", "new", "same":
		now := saved()
		if fresh := now.Token != d.stolen.Token; what == "new" && !fresh || what == "same" && fresh || what == "none" && now.Token != "" {
			t.Errorf("%s: the client has %v, and had %v", step, now, d.stolen)
		}
	case "new password":
		must(store.SetPassword(t.Context(), mercutio, "another", ""))
	case "disable", "enable":
		must(store.SetDisabled(t.Context(), mercutio, what == "disable"))
	case "delete":
		must(store.Delete(t.Context(), mercutio))
	case "make":
		s.Account(mercutio)
	case "revoke", "revoke laptop":
		agent := phone
		if what != "revoke" {
			agent = laptop
		}
		_, err := store.RevokeTokens(t.Context(), mercutio, store.Device(mercutio, agent))
		must(err)
	case "crowd":
		for i := range 20 {
			s.Pass(time.Second)
			agent := negotiate.UserAgent{ID: fmt.Sprintf("%08d-0000-4000-8000-000000000000", i)}
			_, _, err := store.IssueToken(t.Context(), mercutio, agent, sasl.TokenUnbound)
			must(err)
		}
	case "restart":
		s.Restart()
	default:
		t.Fatalf("%q is not understood", step)
	}
}

// connect logs in, by the mechanism that is to be chosen, and out again.
func (d *handheld) connect(t *testing.T, s *xmpptest.Server, c client.Config, mechanism string) {
	t.Helper()
	c.Tokens = &d.wallet
	cl, err := login(t, s, phone, c)
	if err != nil {
		t.Fatalf("log in: %s: %v", condition(err), err)
	}
	if got := cl.State().Mechanism; got != mechanism {
		t.Errorf("logged in by %s, want %s", got, mechanism)
	}
	cl.Close()
}

// A token is told with its end, which is thirty days away (XEP-0484 §3.3).
func TestTokenEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		s.Account(mercutio)
		g, w := &guarded{T: t, s: s}, &wallet{}
		want := time.Now().Add(30 * 24 * time.Hour).Truncate(time.Second)
		g.mustDial(xmpptest.Password, func(c *client.Config) { c.Tokens, c.Agent = w, negotiate.UserAgent{ID: phone} }).Close()
		if saved, ok := w.Load(mercutio); !ok || !saved.Expiry.Equal(want) {
			t.Errorf("the token ends at %v, want %v", saved.Expiry, want)
		}
	})
}
