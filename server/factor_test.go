package server_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pquerna/otp/totp"

	"kith/client"
	"kith/xmpp/jid"
	"kith/xmpp/negotiate"
	"kith/xmpp/sasl"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/command"
	"kith/xmpp/xep/form"
	"kith/xmpp/xep/mfa"
	"kith/xmpptest"
)

// guarded is mercutio's account with a second factor.
type guarded struct {
	*testing.T
	s      *xmpptest.Server
	secret string
}

// code is what the authenticator shows; each is good once.
func (g *guarded) code() string {
	g.Helper()
	g.s.Pass(30 * time.Second)
	c, err := totp.GenerateCode(g.secret, time.Now())
	if err != nil {
		g.Fatal(err)
	}
	return c
}

// dial logs in by a password.
func (g *guarded) dial(password string, change func(*client.Config)) (*client.Client, error) {
	c := client.Config{JID: mercutio, Password: password, DirectTLS: true, TLS: g.s.TLS(host)}
	if change != nil {
		change(&c)
	}
	ctx, cancel := context.WithTimeout(g.Context(), time.Minute)
	defer cancel()
	return client.NewOnConn(ctx, g.s.Dial(true), c)
}

func (g *guarded) mustDial(password string, change func(*client.Config)) *client.Client {
	g.Helper()
	c, err := g.dial(password, change)
	if err != nil {
		g.Fatal(err)
	}
	return c
}

// run has a command done, and returns the result's field.
func (g *guarded) run(c *client.Client, node, result string, fill func(asked *form.Form) []form.Field) []string {
	g.Helper()
	ask := func(cmd *command.Command) *command.Command {
		answer, err := c.SendIQ(g.Context(), stanza.New(stanza.IQ, stanza.Set, jid.JID{}, mercutio, cmd))
		if err != nil {
			g.Fatalf("%s: %v", node, err)
		}
		got, err := command.Parse(answer.Payload())
		if err != nil {
			g.Fatalf("%s: %v", node, err)
		}
		return got
	}
	first := ask(&command.Command{Node: node})
	done := ask(&command.Command{Node: node, Session: first.Session, Form: form.New(form.Submit, "", fill(first.Form)...)})
	if done.Status != command.Completed || done.Form == nil {
		g.Fatalf("%s: %+v", node, done)
	}
	return done.Form.Field(result).Values
}

// enrol sets the second factor up as a person does, and returns the recovery codes.
func enrol(t *testing.T, s *xmpptest.Server) (*guarded, []string) {
	t.Helper()
	g := &guarded{T: t, s: s}
	s.Account(mercutio)
	c := g.mustDial(xmpptest.Password, nil)
	defer c.Close()
	return g, g.run(c, "urn:xmpp:mfa:0#setup", "recovery", func(asked *form.Form) []form.Field {
		u, err := url.Parse(asked.Value("uri"))
		if err != nil || u.Query().Get("secret") != asked.Value("secret") {
			t.Fatalf("the form has the URI %q and the secret %q", asked.Value("uri"), asked.Value("secret"))
		}
		g.secret = asked.Value("secret")
		return []form.Field{{Var: "code", Values: []string{g.code()}}}
	})
}

func TestSecondFactor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		g, recovery := enrol(t, s)
		if len(recovery) != 10 {
			t.Fatalf("there are the recovery codes %q", recovery)
		}
		used := ""
		give := func(code func() string) func(*client.Config) {
			return func(c *client.Config) {
				used = code() // before the server waits for it
				c.Code = func() (string, error) { return used, nil }
			}
		}
		is := func(code string) func() string { return func() string { return code } }
		plain := func(c *client.Config) { c.Mechanisms = []string{sasl.Plain} }
		for _, tt := range []struct {
			name   string
			change []func(*client.Config)
			want   bool
		}{
			{"the password alone, by RFC 6120", []func(*client.Config){func(c *client.Config) { c.Classic = true }}, false},
			{"the password alone, by PLAIN", []func(*client.Config){plain, func(c *client.Config) { c.Classic = true }}, false},
			{"the password alone, by XEP-0388", nil, false},
			{"a wrong code", []func(*client.Config){give(is("000000"))}, false},
			{"the code", []func(*client.Config){give(g.code)}, true},
			{"the code again", []func(*client.Config){func(c *client.Config) { give(is(used))(c) }}, false},
			{"a recovery code", []func(*client.Config){give(is(recovery[3]))}, true},
			{"the recovery code again", []func(*client.Config){give(is(recovery[3]))}, false},
			{"the code, by PLAIN", []func(*client.Config){give(g.code), plain}, true},
			{"the code, and a resource in the same breath", []func(*client.Config){give(g.code), func(c *client.Config) { c.Bind2 = true }}, true},
		} {
			if !strings.Contains(tt.name, "again") {
				time.Sleep(time.Hour) // who fails has to wait
			}
			c, err := g.dial(xmpptest.Password, func(c *client.Config) {
				for _, f := range tt.change {
					f(c)
				}
			})
			if (err == nil) != tt.want {
				t.Errorf("%s: %v, want let in: %v", tt.name, err, tt.want)
			}
			if err == nil {
				c.Close()
			} else if _, ok := errors.AsType[*sasl.Failure](err); !ok && !errors.Is(err, negotiate.ErrTask) {
				t.Errorf("%s: %v, want a refusal", tt.name, err)
			}
		}
		if strings.Contains(s.TakeLog(), g.secret) {
			t.Error("the log has the secret")
		}
	})
}

// Who has given a code gets a token, and comes back by that without one; a device
// that is thrown out, or another password, has to give one again.
func TestSecondFactorToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		g, _ := enrol(t, s)
		w, asked := &wallet{}, 0
		device := func(c *client.Config) {
			c.Tokens, c.Agent = w, negotiate.UserAgent{ID: phone}
			code := g.code()
			c.Code = func() (string, error) { asked++; return code, nil }
		}
		for range 3 {
			g.mustDial(xmpptest.Password, device).Close()
		}
		if asked != 1 {
			t.Errorf("the person was asked for %d codes, want 1", asked)
		}
		if err := s.Accounts().SetPassword(t.Context(), mercutio, "a plague", ""); err != nil {
			t.Fatal(err)
		}
		g.mustDial("a plague", device).Close()
		if asked != 2 {
			t.Errorf("with another password, the person was asked for %d codes, want 2", asked)
		}
	})
}

// An app that cannot be asked has a password of its own, until it is revoked.
func TestAppPassword(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		g, _ := enrol(t, s)
		c := g.mustDial(xmpptest.Password, func(c *client.Config) {
			code := g.code()
			c.Code = func() (string, error) { return code, nil }
		})
		app := g.run(c, "urn:xmpp:mfa:0#app-password", "password", func(*form.Form) []form.Field {
			return []form.Field{{Var: "name", Values: []string{"tablet"}}, {Var: "code", Values: []string{g.code()}}}
		})[0]
		for name, change := range map[string]func(*client.Config){
			"by RFC 6120":   func(c *client.Config) { c.Classic = true },
			"by PLAIN":      func(c *client.Config) { c.Classic, c.Mechanisms = true, []string{sasl.Plain} },
			"by XEP-0388":   nil,
			"with upgrades": func(c *client.Config) { c.Mechanisms = []string{sasl.ScramSHA1} },
		} {
			a, err := g.dial(app, change)
			if err != nil {
				t.Errorf("the app, %s: %v", name, err)
				continue
			}
			a.Close()
		}
		if _, err := c.SendIQ(t.Context(), stanza.New(stanza.IQ, stanza.Set, jid.JID{}, mercutio, &command.Command{Node: "urn:xmpp:mfa:0#revoke"})); err != nil {
			t.Fatal(err)
		}
		list, err := s.Inside().Factors().AppPasswords(t.Context(), mercutio)
		if err != nil || len(list) != 1 || list[0].Used.IsZero() {
			t.Fatalf("app passwords: %+v, %v", list, err)
		}
		w := &wallet{} // a token would be valid when the password that it came by is not
		if a, err := g.dial(app, func(c *client.Config) { c.Tokens, c.Agent.ID = w, laptop }); err != nil {
			t.Error(err)
		} else if a.Close(); len(w.by) > 0 {
			t.Error("an app password was given a token")
		}
		if err := s.Inside().Factors().Revoke(t.Context(), mercutio, list[0].ID, ""); err != nil {
			t.Fatal(err)
		}
		_, err = g.dial(app, func(c *client.Config) { c.Classic = true })
		if refused, ok := errors.AsType[*sasl.Failure](err); !ok || refused.Condition != sasl.NotAuthorized {
			t.Errorf("the app's password was revoked: %v", err)
		}
	})
}

// The request of the specification does the same as the command.
func TestSetup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		s.Account(mercutio)
		g := &guarded{T: t, s: s}
		c := g.mustDial(xmpptest.Password, nil)
		answer, err := c.SendIQ(t.Context(), stanza.New(stanza.IQ, stanza.Set, jid.JID{}, jid.JID{}, mfa.Setup("")))
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(answer.Payload().Text())
		if err != nil {
			t.Fatal(err)
		}
		g.secret = u.Query().Get("secret")
		if _, err := g.dial(xmpptest.Password, func(c *client.Config) { c.Classic = true }); err != nil {
			t.Errorf("before a code was seen: %v", err)
		}
		if _, err := c.SendIQ(t.Context(), stanza.New(stanza.IQ, stanza.Set, jid.JID{}, jid.JID{}, mfa.Setup(g.code()))); err != nil {
			t.Fatal(err)
		}
		if _, err := g.dial(xmpptest.Password, func(c *client.Config) { c.Classic = true }); err == nil {
			t.Error("the password alone lets in")
		}
	})
}
