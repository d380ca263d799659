package server_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kith/client"
	"kith/server/account"
	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpp/sasl"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
	"kith/xmpptest"
)

const anonymous = "[host.\"" + host + "\"]\nanonymous = \"local\""

// visit logs in without an account.
func visit(t *testing.T, s *xmpptest.Server, from string, change func(*client.Config)) (*client.Client, error) {
	t.Helper()
	c := client.Config{JID: jid.MustParse(host), DirectTLS: true, TLS: s.TLS(host), Anonymous: true}
	if change != nil {
		change(&c)
	}
	return client.NewOnConn(t.Context(), s.DialFrom(from, true), c)
}

// TestAnonymousClient: our client comes without an account where it is told to, in
// either profile, and nowhere else, whatever is offered.
func TestAnonymousClient(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		s.Account(mercutio)
		var names []string
		for _, change := range []func(*client.Config){
			nil,
			func(c *client.Config) { c.Classic = true },
			func(c *client.Config) { c.Bind2, c.Tag, c.Agent.ID = true, "tag", phone },
			func(c *client.Config) { c.JID = jid.MustParse(host + "/resource") },
		} {
			cl, err := visit(t, s, elsewhere(0), change)
			if err != nil {
				t.Fatal(err)
			}
			j := cl.JID()
			if j.Domain() != host || len(j.Local()) != 36 || slices.Contains(names, j.Local()) || strings.Contains(j.Resource(), "tag") || j.Resource() == "resource" {
				t.Errorf("somebody is %s", j)
			}
			names = append(names, j.Local())
			cl.Close()
			s.Settle()
		}
		if n := s.Accounts().TemporaryStats(); n != (account.TemporaryStats{Made: 4}) {
			t.Errorf("%+v", n)
		}
		if _, err := visit(t, s, elsewhere(0), func(c *client.Config) { c.JID = jid.MustParse("capulet.example") }); !errors.Is(err, sasl.ErrNoMechanism) {
			t.Errorf("where it is not offered: %v, want ErrNoMechanism", err)
		}
		c := client.Config{JID: mercutio, DirectTLS: true, TLS: s.TLS(host), Mechanisms: []string{sasl.Anonymous}, Password: xmpptest.Password}
		if _, err := client.NewOnConn(t.Context(), s.Dial(true), c); !errors.Is(err, sasl.ErrNoMechanism) {
			t.Errorf("not asked for: %v, want ErrNoMechanism", err)
		}
	}, xmpptest.Config(anonymous))
}

// rows counts the rows of all tables.
func rows(t *testing.T, s *xmpptest.Server) string {
	t.Helper()
	var out strings.Builder
	err := s.Inside().DB().Read(t.Context(), func(r *storage.Reader) error {
		out.Reset()
		counts := make(map[string]string) // how to, by the table; SQLite writes it
		for row, err := range r.Query(`SELECT name, printf('SELECT count(*) FROM "%w"', name) FROM sqlite_master WHERE type = 'table'`) {
			var name, count string
			if err == nil {
				err = row.Scan(&name, &count)
			}
			if err != nil {
				return err
			}
			counts[name] = count
		}
		for _, name := range slices.Sorted(maps.Keys(counts)) {
			var n int
			if err := r.QueryRow(counts[name]).Scan(&n); err != nil {
				return err
			}
			fmt.Fprintf(&out, "%s %d\n", name, n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestAnonymousLeavesNothing: whatever somebody without an account does, and others do
// to him, there is no row more than before, while he is there and afterwards.
func TestAnonymousLeavesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t, xmpptest.Config(anonymous))
		tybalt := s.MustConnect("tybalt@capulet.example/sword")
		tybalt.MustSend("<presence/>")
		s.Settle()
		before := rows(t, s)
		for _, classic := range []bool{true, false} {
			visitor, err := visit(t, s, elsewhere(0), func(c *client.Config) { c.Classic, c.Bind2, c.Management = classic, !classic, true })
			if err != nil {
				t.Fatal(err)
			}
			me := visitor.JID()
			send := func(st *stanza.Stanza) {
				if err := visitor.Send(st); err != nil {
					t.Fatal(err)
				}
				s.Settle()
			}
			send(stanza.New(stanza.Presence, "", jid.JID{}, jid.JID{}))
			send(stanza.New(stanza.Presence, "", jid.JID{}, jid.MustParse("tybalt@capulet.example/sword")))
			// To a client of which nothing is kept, and to himself.
			send(stanza.New(stanza.Message, stanza.Headline, jid.JID{}, jid.MustParse("tybalt@capulet.example/sword"), xmlOf(t, "<body>hark</body>")))
			send(stanza.New(stanza.Message, stanza.Chat, jid.JID{}, me.Bare(), xmlOf(t, "<body>hark</body>")))
			for req := range answered(s) {
				for _, to := range []jid.JID{{}, me.Bare(), jid.MustParse(host), jid.MustParse("capulet.example")} {
					iq := stanza.New(stanza.IQ, req.typ, jid.JID{}, to, xmlOf(t, "<"+req.name.Local+" xmlns='"+req.name.Space+"'/>"))
					iq.ID = "x"
					send(iq)
				}
			}
			if now := rows(t, s); now != before {
				t.Errorf("while he is there:\n%s\nbefore:\n%s", now, before)
			}
			if log := s.TakeLog(); strings.Contains(log, "level=ERROR") {
				t.Errorf("what they ask for is an error of the server's:\n%s", log)
			}
			visitor.Close()
			s.Settle()
			if s.Accounts().Temporary(me) {
				t.Errorf("%s is still there", me)
			}
		}
		s.Pass(time.Minute)
		if now := rows(t, s); now != before {
			t.Errorf("afterwards:\n%s\nbefore:\n%s", now, before)
		}
	})
}

// request is one that the server knows.
type request struct {
	typ  string
	name xmltree.Name
}

// answered are those that the modules answer.
func answered(s *xmpptest.Server) map[request]bool {
	all := make(map[request]bool)
	for _, h := range s.Inside().Hosts() {
		for _, r := range h.Requests() {
			all[request{r.Type, r.Name}] = true
		}
	}
	return all
}

// TestAnonymousVanishes: an account without a session is nobody's, however it came to
// that, and its place is free.
func TestAnonymousVanishes(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		ways := map[string]func(c *xmpptest.Client){
			"gone":           func(c *xmpptest.Client) { c.Cut() },
			"closed":         func(c *xmpptest.Client) { c.Close() },
			"no reaction":    func(*xmpptest.Client) { s.Pass(time.Minute) },
			"no header":      func(c *xmpptest.Client) { c.MustSend("<message/>") },
			"another log-in": func(c *xmpptest.Client) { c.MustSend(auth(sasl.Plain, "\x00a\x00b")) },
		}
		for way, end := range ways {
			for _, p := range profiles {
				c := reach(t, s, "before login")
				if got, _ := p.authenticate(t, c, sasl.Anonymous, sasl.Credentials{Anonymous: true}, ""); got != "success" {
					t.Fatal(got)
				}
				if n := s.Accounts().TemporaryStats().Accounts; n != 1 {
					t.Errorf("%s, %s: %d are there", p.name, way, n)
				}
				end(c)
				s.Pass(2 * time.Second) // for which the end of a stream may wait
				if n := s.Accounts().TemporaryStats().Accounts; n != 0 {
					t.Errorf("%s, %s: %d are still there", p.name, way, n)
				}
				c.Cut()
			}
		}
	}, xmpptest.Config(anonymous+"\n[limits]\nanonymous = 1"))
}

// TestAnonymousCrowd: only so many are there, of one address and in all; who has an
// account is none of them.
func TestAnonymousCrowd(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		var in []*client.Client
		for i, want := range []bool{true, true, false, true, false} {
			from := elsewhere(i / 3)
			c, err := visit(t, s, from, nil)
			if (err == nil) != want || err != nil && condition(err) != sasl.TemporaryAuthFailure {
				t.Errorf("%d, from %s: %v", i, from, err)
			}
			if err == nil {
				in = append(in, c)
			}
		}
		s.MustConnect("mercutio@" + host)
		in[0].Close()
		s.Settle()
		if c, err := visit(t, s, elsewhere(7), nil); err != nil {
			t.Errorf("where a place is free: %v", err)
		} else {
			c.Close()
		}
		for _, c := range in {
			c.Close()
		}
	}, xmpptest.Config(anonymous+"\n[limits]\nanonymous = 3\nanonymous_per_ip = 2"))
}

// TestAnonymousNoMore: where the configuration does not want people without accounts
// any more, those who are there have to go: nothing holds them to their place.
func TestAnonymousNoMore(t *testing.T) {
	for _, change := range []string{"host.\"" + host + "\".anonymous = \"no\"", "modules.anonymous.enabled = false"} {
		t.Run(change, func(t *testing.T) {
			secure(t, func(t *testing.T, s *xmpptest.Server) {
				stays := reach(t, s, "bound")
				before := reach(t, s, "before login")
				if got := authenticate(t, before, sasl.Anonymous, sasl.Credentials{Anonymous: true}); got != "success" {
					t.Fatal(got)
				}
				visitor, err := visit(t, s, elsewhere(0), nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := s.Reload(change); err != nil {
					t.Fatal(err)
				}
				s.Pass(2 * time.Second)
				select {
				case <-visitor.Done():
					if !errors.Is(visitor.Err(), stream.ErrNotAuthorized) {
						t.Error(visitor.Err())
					}
				default:
					t.Error("who is there stays")
				}
				before.MustSend("<stream:stream to='" + host + "' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>" +
					"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
				s.Pass(2 * time.Second)
				for _, el := range before.Received() {
					if el.Name().Local == "iq" {
						t.Errorf("who has logged in before gets a resource: %s", el.Raw())
					}
				}
				if n := s.Accounts().TemporaryStats().Accounts; n != 0 {
					t.Errorf("%d are still there", n)
				}
				stays.MustSend(ping)
				stays.Expect("<iq type='result' id='p' .../>")
			}, xmpptest.Config(anonymous))
		})
	}
}

// TestAnonymousToken: who comes without an account is not asked for a token.
func TestAnonymousToken(t *testing.T) {
	s, _, _ := company(t, "host.\"montague.example\".anonymous = \"local\"")
	c, err := client.NewOnConn(t.Context(), s.Dial(true), client.Config{
		JID: jid.MustParse("montague.example"), DirectTLS: true, TLS: s.TLS("montague.example"), Anonymous: true,
		Token: func(context.Context) (string, error) { return "", errors.New("no browser here") },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.State().Mechanism != sasl.Anonymous {
		t.Errorf("in by %s", c.State().Mechanism)
	}
}
