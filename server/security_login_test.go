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

const saslNS = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"

// auth is an <auth/> with an initial response.
func auth(mechanism, message string) string {
	return "<auth " + saslNS + " mechanism='" + mechanism + "'>" + base64.StdEncoding.EncodeToString([]byte(message)) + "</auth>"
}

// TestPlainBeforeTLS: nothing but STARTTLS is offered before TLS, and nothing
// else accepted.
func TestPlainBeforeTLS(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		s.Account(jid.MustParse("mercutio@" + host))
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

// TestMechanismNotOffered: what was not offered is refused, however it is spelt.
func TestMechanismNotOffered(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		s.Account(jid.MustParse("mercutio@" + host))
		for _, m := range []string{
			"", "plain", "PLAIN ", " PLAIN", "PLAIN,SCRAM-SHA-1", "ANONYMOUS", "EXTERNAL", "DIGEST-MD5", "CRAM-MD5", "LOGIN",
			"GSSAPI", "GS2-KRB5", "NTLM", "OAUTHBEARER", "X-OAUTH2", "SAML20", "HT-SHA-256-NONE", "HT-SHA-256-ENDP",
			"SCRAM-MD5", "SCRAM-SHA-224", "SCRAM-SHA-1-PLUS-PLUS", "SCRAM-SHA3-512",
		} {
			c := reach(t, s, "before login")
			c.MustSend(auth(m, "\x00mercutio\x00secret"))
			c.Expect("<failure " + saslNS + "><invalid-mechanism/></failure>")
			c.Cut()
		}
	})
}

// authenticate does one exchange by hand and returns how it ends: "success" or
// the condition.
func authenticate(t *testing.T, c *xmpptest.Client, mechanism string, who sasl.Credentials) string {
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
	c.MustSend(auth(mechanism, string(message)))
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
			c.MustSend("<response " + saslNS + ">" + base64.StdEncoding.EncodeToString(message) + "</response>")
		case "failure":
			return el.First().Name().Local
		default:
			return el.Name().Local
		}
	}
}

// TestAuthzidImpersonation: to act as somebody else is refused, by every
// mechanism.
func TestAuthzidImpersonation(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		s.Account(jid.MustParse("mercutio@" + host))
		s.Account(jid.MustParse("tybalt@" + host))
		s.Account(jid.MustParse("mercutio@capulet.example"))
		for _, m := range []string{
			sasl.Plain, sasl.ScramSHA1, sasl.ScramSHA256, sasl.ScramSHA512, sasl.ScramSHA1Plus, sasl.ScramSHA256Plus, sasl.ScramSHA512Plus,
		} {
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
				c := reach(t, s, "before login")
				got := authenticate(t, c, m, sasl.Credentials{Username: "mercutio", Password: xmpptest.Password, Authzid: authzid})
				if got != want {
					t.Errorf("%s with authzid %q: %s, want %s", m, authzid, got, want)
				}
				c.Cut()
			}
		}
	})
}

// TestUserEnumeration: who does not exist looks like who does, and like who is
// locked out.
func TestUserEnumeration(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		s.Account(jid.MustParse("mercutio@" + host))
		tybalt := s.Account(jid.MustParse("tybalt@" + host))
		if err := s.Accounts().SetDisabled(t.Context(), tybalt, true); err != nil {
			t.Fatal(err)
		}
		for _, m := range []string{sasl.Plain, sasl.ScramSHA1, sasl.ScramSHA256, sasl.ScramSHA512} {
			for _, user := range []string{"mercutio", "tybalt", "nobody"} {
				c := reach(t, s, "before login")
				begun := time.Now()
				if got := authenticate(t, c, m, sasl.Credentials{Username: user, Password: "wrong"}); got != "not-authorized" {
					t.Errorf("%s of %s with a wrong password: %s, want not-authorized", m, user, got)
				}
				if d := time.Since(begun); d != 0 {
					t.Errorf("%s of %s: answered after %v, want at once", m, user, d)
				}
				c.Cut()
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

// TestBruteForce: who guesses wrong too often has to wait, longer each time.
func TestBruteForce(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		s.Account(jid.MustParse("mercutio@" + host))
		guess := func() (string, time.Duration) {
			c, err := s.Open("thief", host, true)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Cut()
			s.Settle()
			c.Received()
			begun := time.Now()
			c.MustSend(auth(sasl.Plain, "\x00mercutio\x00guess"))
			for range 40 {
				if el, ok := c.Next(); ok {
					return el.First().Name().Local, time.Since(begun)
				}
				s.Pass(time.Second)
			}
			return "nothing", time.Since(begun)
		}
		var waits []time.Duration
		for range 10 {
			what, d := guess()
			if what != "not-authorized" {
				t.Errorf("a wrong password: %s, want not-authorized", what)
			}
			waits = append(waits, d)
		}
		want := []time.Duration{0, 0, 0, 0, 0, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second}
		for i := range want {
			if waits[i] != want[i] {
				t.Errorf("waited %v, want %v", waits, want)
				break
			}
		}
		if what, _ := guess(); what != "temporary-auth-failure" {
			t.Errorf("a guess that would have to wait for longer than a log-in may take: %s, want temporary-auth-failure", what)
		}
		// Others are not concerned, from elsewhere.
		s.MustConnect("tybalt@" + host)
	}, xmpptest.Config("limits.login_failures = 4"))
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
		_, err := client.NewOnConn(context.Background(), ours, client.Config{JID: jid.MustParse("mercutio@" + host), Password: "x"})
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
		s.Account(jid.MustParse("mercutio@" + host))
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
