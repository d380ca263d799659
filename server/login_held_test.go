package server_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"kith/client"
	"kith/xmpp/jid"
	"kith/xmpp/negotiate"
	"kith/xmpp/sasl"
	"kith/xmpptest"
)

// held begins a log-in by SCRAM, and returns what ends it.
func held(t *testing.T, c *xmpptest.Client, begin, middle, end, response string) func() {
	t.Helper()
	cl, err := sasl.NewClientOf(sasl.ScramSHA256, sasl.Credentials{Username: "mercutio", Password: xmpptest.Password},
		sasl.ClientOptions{Offered: []string{sasl.ScramSHA256}, OverTLS: true}, sasl.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	first, err := cl.Start()
	if err != nil {
		t.Fatal(err)
	}
	c.MustSend(begin + base64.StdEncoding.EncodeToString(first) + middle)
	el, ok := c.Next()
	if !ok || el.Name().Local != "challenge" {
		t.Fatalf("no challenge: %s, %v", el.Raw(), c.Err())
	}
	challenge, err := base64.StdEncoding.DecodeString(el.Text())
	if err != nil {
		t.Fatal(err)
	}
	last, err := cl.Next(challenge)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		c.MustSend("<response xmlns='" + response + "'>" + base64.StdEncoding.EncodeToString(last) + "</response>" + end)
	}
}

// TestHeldLogin: who has begun to log in before a password was changed gets no
// session by the old one, and no token.
func TestHeldLogin(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		s.Account(mercutio)
		c := reach(t, s, "before login")
		end := held(t, c, "<authenticate "+sasl2NS+" mechanism='SCRAM-SHA-256'><initial-response>", "</initial-response><user-agent id='"+phone+"'/>"+
			"<bind xmlns='urn:xmpp:bind:0'/><request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-EXPR'/></authenticate>", "", "urn:xmpp:sasl:2")
		if err := s.Accounts().SetPassword(t.Context(), mercutio, "another", ""); err != nil {
			t.Fatal(err)
		}
		before := s.Inside().Sessions()
		end()
		s.Settle()
		for _, el := range c.Received() {
			if el.Name().Local == "success" || strings.Contains(string(el.Raw()), "<token") {
				t.Errorf("by the old password: %s", el.Raw())
			}
		}
		if after := s.Inside().Sessions(); after != before {
			t.Errorf("%d sessions, there were %d", after, before)
		}
		if had, err := s.Accounts().RevokeTokens(t.Context(), mercutio, s.Accounts().Device(mercutio, phone)); had || err != nil {
			t.Errorf("there was a token: %v, %v", had, err)
		}
		c.Cut()
	})
}

// TestHeldBind is TestHeldLogin between the log-in and the resource.
func TestHeldBind(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, s *xmpptest.Server) error{
		"another password": func(t *testing.T, s *xmpptest.Server) error {
			return s.Accounts().SetPassword(t.Context(), mercutio, "another", "")
		},
		"locked out and let in": func(t *testing.T, s *xmpptest.Server) error {
			return errors.Join(s.Accounts().SetDisabled(t.Context(), mercutio, true), s.Accounts().SetDisabled(t.Context(), mercutio, false))
		},
		"deleted and made anew": func(t *testing.T, s *xmpptest.Server) error {
			if err := s.Accounts().Delete(t.Context(), mercutio); err != nil {
				return err
			}
			s.Account(mercutio)
			return nil
		},
		"somebody else's": func(t *testing.T, s *xmpptest.Server) error {
			return s.Accounts().SetPassword(t.Context(), s.Account(jid.MustParse("tybalt@"+host)), "another", "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			secure(t, func(t *testing.T, s *xmpptest.Server) {
				s.Account(mercutio)
				c := reach(t, s, "before bind")
				if err := change(t, s); err != nil {
					t.Fatal(err)
				}
				c.MustSend("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
				s.Settle()
				el, ok := c.Next()
				if in := ok && el.Name().Local == "iq" && el.Attr("type") == "result"; in != (name == "somebody else's") {
					t.Errorf("bound: %v, %s", in, el.Raw())
				}
				c.Cut()
			})
		})
	}
}

// TestGuessesBesideTokens: that a device logs in by its token makes nobody wait
// less who guesses the password.
func TestGuessesBesideTokens(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		s.Account(mercutio)
		d := &handheld{}
		d.connect(t, s, client.Config{Password: xmpptest.Password}, sasl.ScramSHA512Plus)
		guess := func() time.Duration {
			begun := time.Now()
			if _, err := login(t, s, laptop, client.Config{Password: "guess", Tokens: new(wallet)}); err == nil {
				t.Fatal("logged in by a guess")
			}
			return time.Since(begun)
		}
		for range 20 {
			if guess() > time.Second {
				break
			}
		}
		waited := guess()
		d.connect(t, s, client.Config{Bind2: true}, sasl.TokenExporter)
		if again := guess(); waited < time.Second || again < waited {
			t.Errorf("waited %v before the token was used, and %v behind it", waited, again)
		}
	})
}

// TestNoTokenForCertificate: a token would let its client in when the certificate
// by which it came has expired.
func TestNoTokenForCertificate(t *testing.T) {
	zoo(t, func(t *testing.T, s *xmpptest.Server, people *issuer) {
		conf := s.TLS(host)
		conf.Certificates = []tls.Certificate{people.sign(t, species{jids: []string{romeoAddress}})}
		w := &wallet{}
		c, err := client.NewOnConn(t.Context(), s.Dial(true), client.Config{
			JID: jid.MustParse(romeoAddress), DirectTLS: true, TLS: conf, Agent: negotiate.UserAgent{ID: phone}, Tokens: w,
		})
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if got, ok := w.Load(jid.MustParse(romeoAddress)); ok || c.State().Mechanism != sasl.External {
			t.Errorf("a token until %v for who has come by %s", got.Expiry, c.State().Mechanism)
		}
	})
}

// TestAdoptedMeanwhile: who has logged in by the password that an account had gets no
// session when it belongs to somebody who has come by a token since.
func TestAdoptedMeanwhile(t *testing.T) {
	s, issuer, _ := company(t, "oidc.\"montague.example\".adopt = true")
	s.Account(jid.MustParse("romeo@montague.example"))
	c, err := s.Open("romeo", "montague.example", true)
	must(t, err)
	defer c.Cut()
	c.Expect("<stream:stream ...>")
	c.Expect("<stream:features>...</stream:features>")
	if got := authenticate(t, c, sasl.Plain, sasl.Credentials{Username: "romeo", Password: xmpptest.Password}); got != "success" {
		t.Fatal(got)
	}
	_, err = dial(t, s, "romeo@montague.example", "", func(context.Context) (string, error) {
		return issuer.sign(t, map[string]any{"sub": "2", "preferred_username": "romeo", "scope": "xmpp"}), nil
	})
	must(t, err)
	c.MustSend("<stream:stream to='montague.example' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>")
	c.Expect("<stream:stream ...>")
	c.Expect("<stream:features>...</stream:features>")
	c.MustSend("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
	if el, ok := c.Next(); !ok || el.Name().Local == "iq" {
		t.Errorf("told %s, %v", el.Raw(), c.Err())
	}
}
