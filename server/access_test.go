package server_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kith/client"
	"kith/server/account"
	"kith/server/storage"
	"kith/server/storage/storagetest"
	"kith/xmpp/jid"
	"kith/xmpp/sasl"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	xaccess "kith/xmpp/xep/access"
	"kith/xmpp/xep/push"
	"kith/xmpptest"
)

// clientsOf asks for what has access, as one of the clients.
func clientsOf(t *testing.T, c *client.Client) xaccess.Clients {
	t.Helper()
	answer, err := c.SendIQ(t.Context(), stanza.New(stanza.IQ, stanza.Get, jid.JID{}, jid.JID{}, xaccess.List{}))
	if err != nil {
		t.Fatal(err)
	}
	list, err := xaccess.Parse(answer.Payload())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// told is a list in a few words: for each client the letter of its id, "+" if it is
// connected, by what it has come, and what it may do if that is not all.
func told(list xaccess.Clients) string {
	var all []string
	for _, c := range list {
		s := c.ID[:1]
		if c.Connected {
			s += "+"
		}
		for name, is := range map[string]bool{"p": c.Auth.Password, "g": c.Auth.Grant, "f": c.Auth.Fast, "x": c.Auth.Mechanism != ""} {
			if is {
				s += name
			}
		}
		if strings.HasSuffix(s, "fp") { // in no order
			s = strings.TrimSuffix(s, "fp") + "pf"
		}
		if c.Type == xaccess.Access {
			s += "?"
		}
		if c.Permission != xaccess.Unrestricted {
			s += "-" + string(c.Permission)
		}
		all = append(all, s)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func wantClients(t *testing.T, when string, c *client.Client, want string) xaccess.Clients {
	t.Helper()
	list := clientsOf(t, c)
	if got := told(list); got != want {
		t.Errorf("%s: %s, want %s: %+v", when, got, want, list)
	}
	return list
}

// deviceID returns the id of the one installation in a list.
func deviceID(t *testing.T, list xaccess.Clients) string {
	t.Helper()
	for _, c := range list {
		if strings.HasPrefix(c.ID, "d-") {
			return c.ID
		}
	}
	t.Fatalf("no device in %+v", list)
	return ""
}

func revokeBy(t *testing.T, c *client.Client, id string) error {
	t.Helper()
	_, err := c.SendIQ(t.Context(), stanza.New(stanza.IQ, stanza.Set, jid.JID{}, jid.JID{}, xaccess.Revoke{ID: id}))
	return err
}

// over fails unless a client's stream was ended by the server with reset.
func over(t *testing.T, s *xmpptest.Server, what string, c *client.Client, is bool) {
	t.Helper()
	s.Settle()
	select {
	case <-c.Done():
		if !is || !errors.Is(c.Err(), stream.ErrReset) {
			t.Errorf("%s has ended: %v", what, c.Err())
		}
	default:
		if is {
			t.Errorf("%s goes on", what)
		}
	}
}

// accessible runs a test with mercutio's account, in virtual time.
func accessible(t *testing.T, f func(t *testing.T, s *xmpptest.Server, desk *client.Client), opts ...xmpptest.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t, opts...)
		s.Account(mercutio)
		desk, err := (&guarded{T: t, s: s}).dial(xmpptest.Password, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer desk.Close()
		f(t, s, desk)
	})
}

// mustLogin logs mercutio in from a device, by password or token.
func mustLogin(t *testing.T, s *xmpptest.Server, agent string, c client.Config) *client.Client {
	t.Helper()
	cl, err := login(t, s, agent, c)
	if err != nil {
		t.Fatal(err)
	}
	s.Settle()
	return cl
}

// TestClients: what has access is told truly, at each moment.
func TestClients(t *testing.T) {
	accessible(t, func(t *testing.T, s *xmpptest.Server, desk *client.Client) {
		wantClients(t, "alone", desk, "s+p")
		w := new(wallet)
		first := time.Now().Truncate(time.Second)
		mustLogin(t, s, phone, client.Config{Password: xmpptest.Password, Bind2: true}).Close()
		s.Settle()
		wantClients(t, "who was here, without a token", desk, "dp s+p")
		mustLogin(t, s, phone, client.Config{Password: xmpptest.Password, Tokens: w, Bind2: true}).Close()
		s.Settle()
		wantClients(t, "with a token", desk, "dpf s+p")
		s.Pass(2 * time.Hour)
		p := mustLogin(t, s, phone, client.Config{Tokens: w, Bind2: true})
		list := wantClients(t, "by the token", desk, "d+pf s+p")
		for _, c := range list {
			if strings.HasPrefix(c.ID, "d-") && (c.Software != "AwesomeXMPP" || !c.First.Equal(first) || !c.Last.Equal(time.Now().Truncate(time.Second))) {
				t.Errorf("the phone is %+v, want it seen from %v to %v", c, first, time.Now())
			}
		}
		p.Close()
		mustLogin(t, s, phone, client.Config{Tokens: w, LogOut: true}).Close()
		s.Settle()
		wantClients(t, "logged out, and the password is known", desk, "dp s+p")
		old := mustLogin(t, s, laptop, client.Config{Password: xmpptest.Password}) // a resource as of old
		wantClients(t, "a second one", desk, "d+p dp s+p")
		old.Close()
		s.Restart()
	})
}

// TestRevoke: a device that is revoked has nothing any more but the password, in
// whatever state it is, and nobody else notices.
func TestRevoke(t *testing.T) {
	for name, byItself := range map[string]bool{"by another": false, "by itself": true} {
		t.Run(name, func(t *testing.T) {
			accessible(t, func(t *testing.T, s *xmpptest.Server, desk *client.Client) {
				w, other := new(wallet), new(wallet)
				p := mustLogin(t, s, phone, client.Config{Password: xmpptest.Password, Tokens: w, Bind2: true})
				l := mustLogin(t, s, laptop, client.Config{Password: xmpptest.Password, Tokens: other, Bind2: true})
				defer l.Close()
				for node, c := range map[string]*client.Client{"phone": p, "laptop": l} {
					e := &push.Enable{Service: push.Service{JID: jid.MustParse("push.example"), Node: node}}
					if _, err := c.SendIQ(t.Context(), stanza.New(stanza.IQ, stanza.Set, jid.JID{}, jid.JID{}, e)); err != nil {
						t.Fatal(err)
					}
				}
				id := string(account.OfDevice(s.Accounts().Device(mercutio, phone)))
				by := desk
				if byItself {
					by = p
				}
				if err := revokeBy(t, by, id); !errors.Is(err, stanza.ErrServiceUnavailable) {
					t.Errorf("revoked: %v, want what says that the password is known", err)
				}
				saved, _ := w.Load(mercutio)
				if got := byToken(t, s, phone, "mercutio", saved.Mechanism, saved, 0); got != sasl.NotAuthorized {
					t.Errorf("its token: %s", got)
				}
				s.Pass(2 * time.Second)
				over(t, s, "its session", p, true)
				over(t, s, "another's", l, false)
				over(t, s, "who has asked", desk, false)
				if got := notified(t, s); got != "laptop" {
					t.Errorf("notified are %s", got)
				}
				wantClients(t, "revoked", desk, "d+pf dp s+p")
				mustLogin(t, s, laptop, client.Config{Tokens: other}).Close()
				mustLogin(t, s, phone, client.Config{Password: xmpptest.Password, Tokens: w}).Close()
			})
		})
	}
}

// lose has a client of a device lose its stream, and returns how its session can be
// resumed, and by which id.
func lose(t *testing.T, s *xmpptest.Server, agent string, w *wallet) (*client.Resumption, string) {
	t.Helper()
	c := mustLogin(t, s, agent, client.Config{Password: xmpptest.Password, Tokens: w, Bind2: true, Management: true, Resumable: true})
	c.Conn().NetConn().Close()
	<-c.Done()
	s.Settle()
	return c.Resumption(), c.State().SM.ID
}

// TestRevokeDetached: a session that waits for its client ends, too, also when the
// server was restarted meanwhile.
func TestRevokeDetached(t *testing.T) {
	for _, restart := range []bool{false, true} {
		for _, revoked := range []bool{true, false} {
			t.Run(fmt.Sprintf("restart=%v/revoked=%v", restart, revoked), func(t *testing.T) {
				accessible(t, func(t *testing.T, s *xmpptest.Server, desk *client.Client) {
					w := new(wallet)
					r, _ := lose(t, s, phone, w)
					if restart {
						desk.Close()
						s.Restart()
						desk = (&guarded{T: t, s: s}).mustDial(xmpptest.Password, nil)
						defer desk.Close()
					}
					id := deviceID(t, wantClients(t, "lost", desk, "d+pf s+p"))
					if revoked {
						if err := revokeBy(t, desk, id); !errors.Is(err, stanza.ErrServiceUnavailable) {
							t.Error(err)
						}
						s.Settle()
						wantClients(t, "revoked", desk, "dp s+p")
					}
					c := mustLogin(t, s, phone, client.Config{Password: xmpptest.Password, Bind2: true, Management: true, Resumable: true, Resume: r})
					defer c.Close()
					if c.Resumed() == revoked {
						t.Errorf("resumed: %v", c.Resumed())
					}
				})
			})
		}
	}
}

// TestRevokeHeld: who has begun to log in when its device is revoked gets neither a
// session nor a token; another device does.
func TestRevokeHeld(t *testing.T) {
	for _, agent := range []string{phone, laptop} {
		accessible(t, func(t *testing.T, s *xmpptest.Server, desk *client.Client) {
			c := reach(t, s, "before login")
			end := held(t, c, "<authenticate "+sasl2NS+" mechanism='SCRAM-SHA-256'><initial-response>", "</initial-response><user-agent id='"+agent+"'/>"+
				"<bind xmlns='urn:xmpp:bind:0'/><request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-EXPR'/></authenticate>", "", "urn:xmpp:sasl:2")
			if err := s.Accounts().WithdrawDevice(t.Context(), mercutio, s.Accounts().Device(mercutio, phone), ""); err != nil {
				t.Fatal(err)
			}
			end()
			s.Settle()
			in := false
			for _, el := range c.Received() {
				in = in || el.Name().Local == "success" && strings.Contains(string(el.Raw()), "<token")
			}
			if in != (agent == laptop) {
				t.Errorf("%s is logged in: %v", agent, in)
			}
			if n, want := s.Inside().Sessions(), int64(1); in != (n > want) {
				t.Errorf("%d sessions", n)
			}
			c.Cut()
		})
	}
}

// TestRevokeBeforeResumption: who has logged in, and is revoked, resumes no session,
// not even another device's.
func TestRevokeBeforeResumption(t *testing.T) {
	for _, revoked := range []bool{true, false} {
		accessible(t, func(t *testing.T, s *xmpptest.Server, desk *client.Client) {
			_, id := lose(t, s, laptop, new(wallet))
			c := reach(t, s, "before login")
			held(t, c, "<authenticate "+sasl2NS+" mechanism='SCRAM-SHA-256'><initial-response>",
				"</initial-response><user-agent id='"+phone+"'/></authenticate>", "", "urn:xmpp:sasl:2")()
			s.Settle()
			c.Received()
			if revoked {
				if err := s.Accounts().WithdrawDevice(t.Context(), mercutio, s.Accounts().Device(mercutio, phone), ""); err != nil {
					t.Fatal(err)
				}
			}
			c.MustSend(fmt.Sprintf("<resume xmlns='urn:xmpp:sm:3' h='0' previd='%s'/>", id))
			s.Settle()
			resumed := false
			for _, el := range c.Received() {
				resumed = resumed || el.Name().Local == "resumed"
			}
			if resumed == revoked {
				t.Errorf("revoked: %v, and resumed: %v", revoked, resumed)
			}
			c.Cut()
		})
	}
}

// notified are the nodes that are notified.
func notified(t *testing.T, s *xmpptest.Server) string {
	t.Helper()
	var nodes []string
	err := s.Inside().DB().Read(t.Context(), func(r *storage.Reader) error {
		nodes = nil
		for row, err := range r.Query(`SELECT node FROM push ORDER BY node`) {
			if err != nil {
				return err
			}
			var node string
			if err := row.Scan(&node); err != nil {
				return err
			}
			nodes = append(nodes, node)
		}
		return nil
	})
	must(t, err)
	return strings.Join(nodes, " ")
}

// devices is how many rows there are of devices and tokens.
func devices(t *testing.T, s *xmpptest.Server) (n int) {
	t.Helper()
	err := s.Inside().DB().Read(t.Context(), func(r *storage.Reader) error {
		return r.QueryRow(`SELECT (SELECT count(*) FROM device) + (SELECT count(*) FROM token)`).Scan(&n)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestDevicesForgotten: what is known of devices goes with the account, with another
// password, and in time, as the configuration says (XEP-0494 §7).
func TestDevicesForgotten(t *testing.T) {
	for name, test := range map[string]struct {
		config string
		do     func(t *testing.T, s *xmpptest.Server)
		want   int
	}{
		"at first": {"", func(*testing.T, *xmpptest.Server) {}, 3},
		"another password": {"", func(t *testing.T, s *xmpptest.Server) {
			must(t, s.Accounts().SetPassword(t.Context(), mercutio, "x", ""))
		}, 0},
		"locked out":      {"", func(t *testing.T, s *xmpptest.Server) { must(t, s.Accounts().SetDisabled(t.Context(), mercutio, true)) }, 0},
		"deleted":         {"", func(t *testing.T, s *xmpptest.Server) { must(t, s.Accounts().Delete(t.Context(), mercutio)) }, 0},
		"a month":         {"", func(_ *testing.T, s *xmpptest.Server) { s.Pass(29 * 24 * time.Hour) }, 3},
		"the token's end": {"", func(_ *testing.T, s *xmpptest.Server) { s.Pass(32 * 24 * time.Hour) }, 3},
		"a quarter":       {"", func(_ *testing.T, s *xmpptest.Server) { s.Pass(92 * 24 * time.Hour) }, 0},
		"as configured":   {`modules.access = { keep = "24h" }`, func(_ *testing.T, s *xmpptest.Server) { s.Pass(49 * time.Hour) }, 2},
		"not at all":      {`modules.access = { keep = "0s" }`, func(*testing.T, *xmpptest.Server) {}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			accessible(t, func(t *testing.T, s *xmpptest.Server, _ *client.Client) {
				mustLogin(t, s, phone, client.Config{Password: xmpptest.Password, Tokens: new(wallet), Bind2: true}).Close()
				mustLogin(t, s, laptop, client.Config{Password: xmpptest.Password, Bind2: true}).Close()
				s.Settle()
				test.do(t, s)
				if n := devices(t, s); n != test.want {
					t.Errorf("%d rows, want %d", n, test.want)
				}
			}, xmpptest.Config(test.config))
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestManyDevices: an account has twenty devices at most; those with tokens stay.
func TestManyDevices(t *testing.T) {
	accessible(t, func(t *testing.T, s *xmpptest.Server, desk *client.Client) {
		w := new(wallet)
		mustLogin(t, s, phone, client.Config{Password: xmpptest.Password, Tokens: w, Bind2: true}).Close()
		for i := range 25 {
			s.Pass(time.Second)
			agent := fmt.Sprintf("%08d-0000-4000-8000-000000000000", i)
			mustLogin(t, s, agent, client.Config{Password: xmpptest.Password, Bind2: true}).Close()
		}
		s.Settle()
		if n := len(clientsOf(t, desk)); n != 21 { // and the session that asks
			t.Errorf("%d clients", n)
		}
		mustLogin(t, s, phone, client.Config{Tokens: w}).Close()
	})
}

// TestAccessOnPostgres: the statements are the same on both databases.
func TestAccessOnPostgres(t *testing.T) {
	s := xmpptest.New(t, xmpptest.Storage(storagetest.PostgresURL(t)))
	s.Account(mercutio)
	g := &guarded{T: t, s: s}
	desk := g.mustDial(xmpptest.Password, nil)
	defer desk.Close()
	w := new(wallet)
	p := mustLogin(t, s, phone, client.Config{Password: xmpptest.Password, Tokens: w, Bind2: true})
	l := mustLogin(t, s, laptop, client.Config{Password: xmpptest.Password, Bind2: true})
	defer l.Close()
	list := wantClients(t, "all", desk, "d+p d+pf s+p")
	for _, c := range list {
		if c.Auth.Fast {
			if err := revokeBy(t, desk, c.ID); !errors.Is(err, stanza.ErrServiceUnavailable) {
				t.Error(err)
			}
		}
	}
	<-p.Done()
	over(t, s, "its session", p, true)
	over(t, s, "another's", l, false)
	wantClients(t, "revoked", desk, "d+p dp s+p")
	if _, err := s.Inside().Factors().Begin(t.Context(), mercutio); err != nil {
		t.Fatal(err)
	}
	if was, err := s.Inside().Factors().Remove(t.Context(), mercutio); was || err != nil {
		t.Error(was, err)
	}
	for more := true; more; {
		var err error
		more, err = s.Accounts().ForgetDevices(t.Context(), time.Now().Add(time.Hour), 1)
		must(t, err)
	}
	if n := devices(t, s); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}
