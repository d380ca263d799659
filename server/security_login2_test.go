package server_test

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kith/client"
	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpp/sasl"
	"kith/xmpp/xmltree"
	"kith/xmpptest"
)

const sasl2NS = "xmlns='urn:xmpp:sasl:2'"

// authenticate2 does one exchange by XEP-0388 by hand and returns how it ends: the
// <success/> or the condition.
func authenticate2(t *testing.T, c *xmpptest.Client, mechanism string, who sasl.Credentials, inline string) (string, xmltree.Element) {
	t.Helper()
	o := sasl.ClientOptions{Offered: []string{mechanism}, OverTLS: true}
	if strings.HasSuffix(mechanism, "-PLUS") {
		o.Bindings = c.Bindings()
	}
	cl, err := sasl.NewClientOf(mechanism, who, o, sasl.ClientOptions{}) // the features are not looked at
	if err != nil {
		t.Fatalf("%s: %v", mechanism, err)
	}
	message, err := cl.Start()
	if err != nil {
		t.Fatal(err)
	}
	c.MustSend("<authenticate " + sasl2NS + " mechanism='" + mechanism + "'><initial-response>" + base64.StdEncoding.EncodeToString(message) + "</initial-response>" + inline + "</authenticate>")
	for {
		el, ok := c.Next()
		if !ok {
			t.Fatalf("%s: no answer: %v", mechanism, c.Err())
		}
		switch el.Name().Local {
		case "challenge":
			challenge, err := base64.StdEncoding.DecodeString(el.Text())
			if err != nil {
				t.Fatal(err)
			}
			if message, err = cl.Next(challenge); err != nil {
				t.Fatalf("%s: %v", mechanism, err)
			}
			c.MustSend("<response " + sasl2NS + ">" + base64.StdEncoding.EncodeToString(message) + "</response>")
		case "failure":
			return el.First().Name().Local, el
		default:
			return el.Name().Local, el
		}
	}
}

var passwords = []string{
	sasl.Plain, sasl.ScramSHA1, sasl.ScramSHA256, sasl.ScramSHA512, sasl.ScramSHA1Plus, sasl.ScramSHA256Plus, sasl.ScramSHA512Plus,
}

// TestAuthzidSASL2: to act as somebody else is refused, by every mechanism, and
// nothing inline is done for who tries.
func TestAuthzidSASL2(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		s.Account(mercutio)
		s.Account(jid.MustParse("tybalt@" + host))
		s.Account(jid.MustParse("mercutio@capulet.example"))
		before := s.Inside().Sessions()
		for _, m := range passwords {
			for authzid, want := range map[string]string{
				"":                            "success",
				"mercutio@montague.example":   "success",
				"tybalt@montague.example":     "invalid-authzid",
				"nobody@montague.example":     "invalid-authzid",
				"mercutio@capulet.example":    "invalid-authzid",
				"montague.example":            "invalid-authzid",
				"mercutio":                    "invalid-authzid",
				"mercutio@montague.example/x": "invalid-authzid",
			} {
				c := reach(t, s, "before login")
				got, el := authenticate2(t, c, m, sasl.Credentials{Username: "mercutio", Password: xmpptest.Password, Authzid: authzid}, "<bind xmlns='urn:xmpp:bind:0'/>")
				if got != want || strings.Contains(string(el.Raw()), "<bound") != (want == "success") {
					t.Errorf("%s with authzid %q: %s, want %s", m, authzid, el.Raw(), want)
				}
				c.Cut()
				s.Settle()
			}
		}
		if after := s.Inside().Sessions(); after != before {
			t.Errorf("%d sessions, there were %d", after, before)
		}
	})
}

// TestEnumerationSASL2: who does not exist looks like who does, and like who is
// locked out: by passwords and by tokens.
func TestEnumerationSASL2(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		s.Account(mercutio)
		tybalt := s.Account(jid.MustParse("tybalt@" + host))
		if err := s.Accounts().SetDisabled(t.Context(), tybalt, true); err != nil {
			t.Fatal(err)
		}
		for _, user := range []string{"mercutio", "tybalt", "nobody"} {
			for _, m := range passwords {
				s.Pass(time.Hour) // nobody has to wait
				c := reach(t, s, "before login")
				if got, _ := authenticate2(t, c, m, sasl.Credentials{Username: user, Password: "wrong"}, ""); got != "not-authorized" {
					t.Errorf("%s as %s: %s", m, user, got)
				}
				c.Cut()
			}
		}
	})
}

// TestNotOfferedSASL2: what was not offered is refused, in whatever way it is asked
// for.
func TestNotOfferedSASL2(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		s.Account(mercutio)
		for _, m := range []string{
			"", "plain", "PLAIN ", "ANONYMOUS", "EXTERNAL", "CRAM-MD5", "HT-SHA-256-UNIQ", "HT-SHA-256-NONE", "HT-SHA-256-EXPR",
			"HT-SHA-512-NONE", "HT--", "SCRAM-SHA-1-PLUS-PLUS", "UPGR-SCRAM-SHA-256",
		} {
			for _, inline := range []string{"", "<fast xmlns='urn:xmpp:fast:0'/><user-agent id='" + phone + "'/>"} {
				if inline != "" && (m == "HT-SHA-256-NONE" || m == "HT-SHA-256-EXPR") {
					continue
				}
				c := reach(t, s, "before login")
				c.MustSend("<authenticate " + sasl2NS + " mechanism='" + m + "'><initial-response>AG1lcmN1dGlvAHNlY3JldA==</initial-response>" + inline + "</authenticate>")
				c.Expect("<failure " + sasl2NS + "><invalid-mechanism xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></failure>")
				c.Cut()
			}
		}
	})
}

// TestResumeAnothersSASL2: the id of somebody else's session is worth nothing, also
// in the same breath with the log-in.
func TestResumeAnothersSASL2(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		s.Account(mercutio)
		s.Account(jid.MustParse("tybalt@" + host))
		victim := reach(t, s, "before login")
		_, el := authenticate2(t, victim, sasl.Plain, sasl.Credentials{Username: "mercutio", Password: xmpptest.Password}, "<bind xmlns='urn:xmpp:bind:0'><enable xmlns='urn:xmpp:sm:3' resume='true'/></bind>")
		_, rest, _ := strings.Cut(string(el.Raw()), "<enabled xmlns='urn:xmpp:sm:3' id='")
		id, _, ok := strings.Cut(rest, "'")
		if !ok {
			t.Fatalf("no id in %s", el.Raw())
		}
		thief := reach(t, s, "before login")
		got, el := authenticate2(t, thief, sasl.Plain, sasl.Credentials{Username: "tybalt", Password: xmpptest.Password},
			"<resume xmlns='urn:xmpp:sm:3' h='0' previd='"+id+"'/><bind xmlns='urn:xmpp:bind:0'/>")
		if got != "success" || !strings.Contains(string(el.Raw()), "<item-not-found") || !strings.Contains(string(el.Raw()), "<bound") || !strings.Contains(string(el.Raw()), ">tybalt@") {
			t.Errorf("tybalt got %s", el.Raw())
		}
		s.Settle()
		victim.Received()
		victim.MustSend(ping)
		victim.Expect("<iq type='result' id='p' .../>")
	})
}

// TestTokenFlood: an address that tries tokens has to wait, and so has nobody else.
func TestTokenFlood(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		s.Account(mercutio)
		d := &handheld{}
		d.connect(t, s, client.Config{Password: xmpptest.Password}, sasl.ScramSHA512Plus)
		saved, _ := d.wallet.Load(mercutio)
		saved.Token = "guessed"
		guess := &wallet{}
		begun := time.Now()
		tries := 0
		for ; tries < 26; tries++ {
			guess.Save(mercutio, saved)
			if _, err := login(t, s, phone, client.Config{Tokens: guess}); condition(err) != "not-authorized" {
				t.Fatal(err)
			}
		}
		if took := time.Since(begun); took < 30*time.Second {
			t.Errorf("%d guesses took %v", tries, took)
		}
		c := client.Config{JID: mercutio, DirectTLS: true, TLS: s.TLS(host), Tokens: &d.wallet}
		c.Agent.ID = phone
		begun = time.Now()
		cl, err := client.NewOnConn(t.Context(), s.DialFrom("198.51.100.1", true), c)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > 0 {
			t.Errorf("the owner of the token waited %v", took)
		}
		cl.Close()
	})
}

// TestUpgradeSASL2: keys that an account lacks are made with its client (XEP-0480),
// of who has proved the password only.
func TestUpgradeSASL2(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		s.Account(mercutio)
		hashes := func() (list []string) {
			err := s.Inside().DB().Read(t.Context(), func(r *storage.Reader) error {
				list = nil
				for row, err := range r.Query(`SELECT hash FROM credential ORDER BY hash`) {
					var h string
					if err == nil {
						err = row.Scan(&h)
					}
					if err != nil {
						return err
					}
					list = append(list, h)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return list
		}
		if err := s.Inside().DB().Write(t.Context(), func(tx *storage.Tx) error {
			_, err := tx.Exec(`DELETE FROM credential WHERE hash <> $1`, sasl.SHA1)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		d := &handheld{}
		d.connect(t, s, client.Config{Password: xmpptest.Password, Mechanisms: []string{sasl.ScramSHA1Plus}}, sasl.ScramSHA1Plus)
		if got := strings.Join(hashes(), " "); got != "SHA-1 SHA-256 SHA-512" {
			t.Fatalf("keys of %s, behind an upgrade", got)
		}
		for _, m := range []string{sasl.ScramSHA256Plus, sasl.ScramSHA512Plus} {
			d.wallet.Drop(mercutio)
			d.connect(t, s, client.Config{Password: xmpptest.Password, Mechanisms: []string{m}}, m)
		}
		if err := s.Inside().DB().Write(t.Context(), func(tx *storage.Tx) error {
			_, err := tx.Exec(`DELETE FROM credential WHERE hash <> $1`, sasl.SHA1)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		// A token proves no password.
		c := reach(t, s, "before login")
		saved, _ := d.wallet.Load(mercutio)
		cl, err := sasl.NewTokenClient(saved.Mechanism, "mercutio", []byte(saved.Token), sasl.ClientOptions{Bindings: c.Bindings(), OverTLS: true})
		if err != nil {
			t.Fatal(err)
		}
		message, err := cl.Start()
		if err != nil {
			t.Fatal(err)
		}
		c.MustSend("<authenticate " + sasl2NS + " mechanism='" + saved.Mechanism + "'><initial-response>" + base64.StdEncoding.EncodeToString(message) +
			"</initial-response><user-agent id='" + phone + "'/><fast xmlns='urn:xmpp:fast:0'/><upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-256</upgrade></authenticate>")
		c.Expect("<success " + sasl2NS + ">...</success>")
		c.Cut()
		s.Settle()
	})
}

// TestTokensAreSealed: what is in the database is not what a client logs in with.
func TestTokensAreSealed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		s.Account(mercutio)
		d := &handheld{}
		d.connect(t, s, client.Config{Password: xmpptest.Password}, sasl.ScramSHA512Plus)
		saved, _ := d.wallet.Load(mercutio)
		var sealed []byte
		var id string
		read := func(ctx context.Context) error {
			return s.Inside().DB().Read(ctx, func(r *storage.Reader) error {
				return r.QueryRow(`SELECT sealed, device FROM token`).Scan(&sealed, &id)
			})
		}
		if err := read(t.Context()); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(sealed), saved.Token) || strings.Contains(id, phone) || id != s.Accounts().Device(mercutio, phone) {
			t.Errorf("device %s has %q for %s", id, sealed, saved.Token)
		}
		if len(saved.Token) != 43 { // 256 bits in base64
			t.Errorf("the token %s has %d characters", saved.Token, len(saved.Token))
		}
		// A row does not become another's, and its end cannot be put off.
		for _, change := range []string{
			`UPDATE token SET expires = expires + $1`,
			`UPDATE token SET mechanism = CASE WHEN $1 > 0 THEN 'HT-SHA-256-NONE' ELSE '' END`,
		} {
			if err := s.Inside().DB().Write(t.Context(), func(tx *storage.Tx) error {
				_, err := tx.Exec(change, int64(1))
				return err
			}); err != nil {
				t.Fatal(err)
			}
			mech := saved.Mechanism
			if strings.Contains(change, "NONE") {
				mech = sasl.TokenUnbound
			}
			if got := byToken(t, s, phone, "mercutio", mech, saved, 0); got != "temporary-auth-failure" {
				t.Errorf("behind %s: %s", change, got)
			}
		}
		if log := s.TakeLog(); strings.Count(log, "decrypt a token") != 2 {
			t.Errorf("the log says nothing of it: %s", log)
		}
	})
}
