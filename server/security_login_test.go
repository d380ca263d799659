package server_test

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kith/client"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/sasl"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
	"kith/xmpptest"
)

const (
	saslNS  = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"
	sasl2NS = "xmlns='urn:xmpp:sasl:2'"
)

// profile is one of the two ways in which SASL is spoken: RFC 6120 and XEP-0388. What
// must never happen must not in either.
type profile struct{ name, ns string }

var (
	sasl1    = profile{"SASL", saslNS}
	sasl2    = profile{"SASL2", sasl2NS}
	profiles = []profile{sasl1, sasl2}
)

// begin is what asks to log in, with an initial response; inline is what XEP-0388 has
// beside it.
func (p profile) begin(mechanism, message, inline string) string {
	data := base64.StdEncoding.EncodeToString([]byte(message))
	if p == sasl1 {
		return "<auth " + p.ns + " mechanism='" + mechanism + "'>" + data + "</auth>"
	}
	return "<authenticate " + p.ns + " mechanism='" + mechanism + "'><initial-response>" + data + "</initial-response>" + inline + "</authenticate>"
}

// failure is how a log-in is refused.
func (p profile) failure(condition string) string {
	return "<failure " + p.ns + "><" + condition + " " + saslNS + "/></failure>"
}

// authenticate does one exchange by hand and returns how it ends: "success" or the
// condition, and the element.
func (p profile) authenticate(t *testing.T, c *xmpptest.Client, mechanism string, who sasl.Credentials, inline string) (string, xmltree.Element) {
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
	c.MustSend(p.begin(mechanism, string(message), inline))
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
			c.MustSend("<response " + p.ns + ">" + base64.StdEncoding.EncodeToString(message) + "</response>")
		case "failure":
			return el.First().Name().Local, el
		default:
			return el.Name().Local, el
		}
	}
}

// auth is an <auth/> with an initial response.
func auth(mechanism, message string) string { return sasl1.begin(mechanism, message, "") }

// authenticate is that of RFC 6120, by its outcome.
func authenticate(t *testing.T, c *xmpptest.Client, mechanism string, who sasl.Credentials) string {
	t.Helper()
	how, _ := sasl1.authenticate(t, c, mechanism, who, "")
	return how
}

// passwords are the mechanisms that take one.
var passwords = []string{
	sasl.Plain, sasl.ScramSHA1, sasl.ScramSHA256, sasl.ScramSHA512, sasl.ScramSHA1Plus, sasl.ScramSHA256Plus, sasl.ScramSHA512Plus,
}

// TestPlainBeforeTLS: nothing but STARTTLS is offered before TLS, and nothing
// else accepted.
func TestPlainBeforeTLS(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		s.Account(mercutio)
		c, err := s.Open("mercutio", host, false)
		if err != nil {
			t.Fatal(err)
		}
		c.Expect("<stream:stream ...>")
		c.Expect("<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>")
		for _, m := range []string{"PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512-PLUS"} {
			c.MustSend(auth(m, "\x00mercutio\x00secret"))
			c.Expect("<failure " + saslNS + "><encryption-required/></failure>")
		}
		c.ExpectError(stream.ErrPolicyViolation)
	})
}

// TestMechanismNotOffered: what was not offered is refused, however it is spelt, and
// in whatever way it is asked for.
func TestMechanismNotOffered(t *testing.T) {
	fast := "<fast xmlns='urn:xmpp:fast:0'/><user-agent id='" + phone + "'/>"
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		s.Account(mercutio)
		for _, m := range []string{
			"", "plain", "PLAIN ", " PLAIN", "PLAIN,SCRAM-SHA-1", "ANONYMOUS", "EXTERNAL", "DIGEST-MD5", "CRAM-MD5", "LOGIN",
			"GSSAPI", "GS2-KRB5", "NTLM", "OAUTHBEARER", "X-OAUTH2", "SAML20", "HT-SHA-256-NONE", "HT-SHA-256-ENDP", "HT-SHA-256-UNIQ",
			"HT-SHA-512-NONE", "HT--", "SCRAM-MD5", "SCRAM-SHA-224", "SCRAM-SHA-1-PLUS-PLUS", "SCRAM-SHA3-512", "UPGR-SCRAM-SHA-256",
		} {
			for _, p := range profiles {
				for _, inline := range []string{"", fast} {
					if inline != "" && (p == sasl1 || m == "HT-SHA-256-NONE" || m == "HT-SHA-256-ENDP") {
						continue
					}
					c := reach(t, s, "before login")
					c.MustSend(p.begin(m, "\x00mercutio\x00secret", inline))
					c.Expect(p.failure("invalid-mechanism"))
					c.Cut()
				}
			}
		}
	})
}

// TestAuthzidImpersonation: to act as somebody else is refused, by every mechanism,
// and nothing inline is done for who tries.
func TestAuthzidImpersonation(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		s.Account(mercutio)
		s.Account(jid.MustParse("tybalt@" + host))
		s.Account(jid.MustParse("mercutio@capulet.example"))
		before := s.Inside().Sessions()
		for authzid, want := range map[string]string{
			"":                              "success",
			"mercutio@montague.example":     "success",
			"tybalt@montague.example":       "invalid-authzid",
			"nobody@montague.example":       "invalid-authzid",
			"mercutio@capulet.example":      "invalid-authzid",
			"montague.example":              "invalid-authzid",
			"mercutio":                      "invalid-authzid",
			"mercutio@montague.example/x":   "invalid-authzid",
			"mercutio@montague.example@x":   "invalid-authzid",
			"tybalt@montague.example,other": "invalid-authzid",
		} {
			for _, m := range passwords {
				for _, p := range profiles {
					c := reach(t, s, "before login")
					got, el := p.authenticate(t, c, m, sasl.Credentials{Username: "mercutio", Password: xmpptest.Password, Authzid: authzid}, "<bind xmlns='urn:xmpp:bind:0'/>")
					if got != want || strings.Contains(string(el.Raw()), "<bound") != (want == "success" && p == sasl2) {
						t.Errorf("%s, %s with authzid %q: %s, want %s", p.name, m, authzid, el.Raw(), want)
					}
					c.Cut()
					s.Settle()
				}
			}
		}
		if after := s.Inside().Sessions(); after != before {
			t.Errorf("%d sessions, there were %d", after, before)
		}
	})
}

// TestUserEnumeration: who does not exist looks like who does, and like who is
// locked out.
func TestUserEnumeration(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		s.Account(mercutio)
		tybalt := s.Account(jid.MustParse("tybalt@" + host))
		if err := s.Accounts().SetDisabled(t.Context(), tybalt, true); err != nil {
			t.Fatal(err)
		}
		for _, m := range passwords {
			for _, user := range []string{"mercutio", "tybalt", "nobody"} {
				for _, p := range profiles {
					c := reach(t, s, "before login")
					begun := time.Now()
					if got, _ := p.authenticate(t, c, m, sasl.Credentials{Username: user, Password: "wrong"}, ""); got != "not-authorized" {
						t.Errorf("%s, %s of %s with a wrong password: %s, want not-authorized", p.name, m, user, got)
					}
					if d := time.Since(begun); d != 0 {
						t.Errorf("%s, %s of %s: answered after %v, want at once", p.name, m, user, d)
					}
					c.Cut()
				}
			}
		}
		// Salts are as long, and stay the same, for everybody.
		for _, user := range []string{"mercutio", "tybalt", "nobody"} {
			salt, iterations := challenge(t, s, user)
			again, _ := challenge(t, s, user)
			known, wanted := challenge(t, s, "mercutio")
			if salt != again {
				t.Errorf("%s: the salt is %s, then %s", user, salt, again)
			}
			if len(salt) != len(known) || iterations != wanted {
				t.Errorf("%s: salt %s, %s iterations; a known user has %s, %s", user, salt, iterations, known, wanted)
			}
			if user != "mercutio" && salt == known {
				t.Errorf("%s has the salt of mercutio", user)
			}
		}
	}, xmpptest.Config("limits.login_failures = 100"))
}

// challenge is what SCRAM says of a user.
func challenge(t *testing.T, s *xmpptest.Server, user string) (salt, iterations string) {
	t.Helper()
	c := reach(t, s, "before login")
	defer c.Cut()
	c.MustSend(auth("SCRAM-SHA-256", "n,,n="+user+",r=rOprNGfwEbeRWgbNEkqO"))
	el := c.Expect("<challenge " + saslNS + ">...</challenge>")
	text, err := base64.StdEncoding.DecodeString(el.Text())
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(string(text), ",") {
		if v, ok := strings.CutPrefix(part, "s="); ok {
			salt = v
		}
		if v, ok := strings.CutPrefix(part, "i="); ok {
			iterations = v
		}
	}
	return salt, iterations
}

// TestStartTLSInjection: what is sent in the clear ahead of the handshake is
// never taken for what comes behind it.
func TestStartTLSInjection(t *testing.T) {
	const starttls = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		for _, injected := range []string{header, auth(sasl.Plain, "\x00a\x00b"), " ", "<", "\x16\x03\x01"} {
			c := reach(t, s, "before TLS")
			c.MustSend(starttls + injected)
			s.Settle()
			ended, err := c.Ended()
			for _, el := range c.Received() {
				if !stream.IsError(el) {
					t.Errorf("behind %q: got %s", injected, el.Raw())
				}
			}
			if !ended || !errors.Is(err, stream.ErrPolicyViolation) {
				t.Errorf("behind %q: ended: %v, %v; want policy-violation", injected, ended, err)
			}
			c.Cut()
		}
	})
}

// TestStartTLSInjectionAtClient is the other direction: our client does not
// believe what a stranger puts behind <proceed/>.
func TestStartTLSInjectionAtClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := xmpptest.Pipe(1<<16, &addr{}, &addr{})
		go func() {
			evil := stream.NewTCP(theirs, stream.Options{Server: true})
			defer evil.Close(nil)
			if _, err := evil.ReadHeader(); err != nil {
				t.Errorf("read the client's header: %v", err)
			}
			features := stream.Features{xmlOf(t, "<starttls xmlns='"+ns.TLS+"'/>")}
			if err := evil.Open(stream.Header{From: host, ID: "1", Version: stream.Version, Content: ns.Client}, features); err != nil {
				t.Errorf("open: %v", err)
			}
			if _, err := evil.ReadElement(); err != nil {
				t.Errorf("read <starttls/>: %v", err)
			}
			evil.WriteBatch([][]byte{[]byte("<proceed xmlns='" + ns.TLS + "'/>"), []byte(header)})
			io.Copy(io.Discard, theirs)
		}()
		_, err := client.NewOnConn(context.Background(), ours, client.Config{JID: mercutio, Password: "x"})
		if !errors.Is(err, stream.ErrBuffered) {
			t.Errorf("NewOnConn: %v, want %v", err, stream.ErrBuffered)
		}
	})
}

type addr struct{}

func (*addr) Network() string { return "pipe" }
func (*addr) String() string  { return "192.0.2.1:" + strconv.Itoa(5222) }

func xmlOf(t *testing.T, text string) xmltree.Element {
	t.Helper()
	el, err := xmltree.ParseIn(ns.Client, []byte(text), xmltree.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return el
}

// TestStreamToChanged: the host of the first header stays that of the stream.
func TestStreamToChanged(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		s.Account(mercutio)
		other := strings.Replace(header, host, "capulet.example", 1)
		c := reach(t, s, "before TLS")
		c.MustSend("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
		c.Expect("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
		if err := c.StartTLS(); err != nil {
			t.Fatal(err)
		}
		c.MustSend(other)
		c.Expect("<stream:stream from='montague.example' ...>")
		c.ExpectError(stream.ErrHostUnknown)

		c = reach(t, s, "before login")
		c.MustSend(auth(sasl.Plain, "\x00mercutio\x00secret"))
		c.Expect("<success " + saslNS + "/>")
		c.MustSend(other)
		c.Expect("<stream:stream from='montague.example' ...>")
		c.ExpectError(stream.ErrHostUnknown)
	})
}
