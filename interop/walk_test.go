//go:build interop

package interop_test

import (
	"flag"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	walkMessages = flag.Int("walk.messages", 10000, "messages that two clients exchange in each talk, both ways together")
	// Acknowledgements (XEP-0198) lag behind by up to twice the window, and more
	// where the machine is busy: far less than a thousand, where Kith loses
	// patience, and less than what a client may have under way in it.
	walkWindow = flag.Int("walk.window", 100, "messages that a client may be ahead of what the other received")
)

// pair is two accounts, each in the hands of a library.
type pair struct {
	s           *server
	left, right *puppet
	juliet      *hand // balcony, of left
	romeo       *hand // home, of right
}

// meet registers both, logs them in, and lets each know the other's presence.
func meet(t *testing.T, s *server, left, right library) *pair {
	t.Helper()
	p := &pair{s: s, left: startPuppet(t, left, s), right: startPuppet(t, right, s)}
	p.juliet = p.left.mustOpen(t, "juliet", "balcony", true)
	p.romeo = p.right.mustOpen(t, "romeo", "home", true)
	p.juliet.do(t, order{Do: "presence"})
	p.romeo.do(t, order{Do: "presence", Priority: 5})
	// An IQ reaches a full JID only where presence is shared (RFC 6121 §8.5.3.1).
	p.juliet.do(t, order{Do: "presence", To: p.romeo.jid})
	p.romeo.do(t, order{Do: "presence", To: p.juliet.jid})
	for _, h := range []struct{ to, from *hand }{{p.juliet, p.romeo}, {p.romeo, p.juliet}} {
		h.to.inbox().await(t, "presence of "+h.from.jid, func(e event) bool {
			return e.Event == "presence" && e.From == h.from.jid && e.Type == ""
		})
	}
	return p
}

// walk is what every library must be able to do with every server.
func walk(t *testing.T, s *server, l library) {
	p := meet(t, s, l, l)
	steps(t, []step{
		{"login", p.login},
		{"iq", p.iq},
		{"messages", p.messages},
		{"errors", p.errors},
		{"talk", p.talk},
		{"presence", p.presence}, // ends with romeo's garden and cave online
		{"choose", p.choose},
		{"offline", p.offline},
	})
}

// step is a part of a walk.
type step struct {
	name string
	test func(t *testing.T)
}

// steps makes one step after the other, until one has waited in vain: those
// behind it would only wait, too.
func steps(t *testing.T, all []step) {
	for i, s := range all {
		begun := time.Now()
		if !t.Run(s.name, s.test) && time.Since(begun) > *patience && i+1 < len(all) {
			t.Fatalf("%s waited in vain; not tried: %d more steps", s.name, len(all)-i-1)
		}
	}
}

// login: the strongest mechanism of those both know, and what refuses to.
func (p *pair) login(t *testing.T) {
	for _, h := range []*hand{p.juliet, p.romeo} {
		got := h.opened
		t.Logf("%s: %s, offered %v, used %s", h.jid, got.TLS, got.Offered, got.Mechanism)
		for _, m := range p.s.mechanisms {
			if !slices.Contains(got.Offered, m) {
				t.Errorf("%s is not offered %s: %v", h.jid, m, got.Offered)
			}
		}
		known := h.puppet.library.known
		i := slices.IndexFunc(known, func(m string) bool { return slices.Contains(got.Offered, m) })
		if i < 0 || got.Mechanism != known[i] {
			t.Errorf("%s logged in with %s; offered %v, knows %v", h.jid, got.Mechanism, got.Offered, known)
		}
		if got.TLS != "TLSv1.3" {
			t.Errorf("%s has %s, want TLSv1.3", h.jid, got.TLS)
		}
	}
	refused := []struct {
		name, user, password string
		register             bool
		want                 string
	}{
		{"wrong password", "juliet", "not this one", false, "not-authorized"},
		{"unknown user", "nobody", "whatever", false, "not-authorized"},
		{"name taken", "romeo", "mine now", true, "conflict"}, // XEP-0077 §3.1.1
	}
	for _, r := range refused {
		t.Run(r.name, func(t *testing.T) {
			h, err := p.left.open(r.user, "thief", r.password, r.register)
			if err == nil {
				t.Fatalf("open as %s: got %s, want %s", r.user, h.jid, r.want)
			}
			if got := conditionOf(t, err); got != r.want {
				t.Errorf("open as %s: got %v, want %s", r.user, err, r.want)
			}
		})
	}
}

// iq: questions that the server answers itself, and the other client.
func (p *pair) iq(t *testing.T) {
	targets := []struct{ name, jid, identity string }{
		{"server", p.s.domain, "server/im"},
		{"full JID", p.romeo.jid, "client/"},
	}
	for _, to := range targets {
		t.Run("ping/"+to.name, func(t *testing.T) {
			p.juliet.do(t, order{Do: "iq", Ask: "ping", To: to.jid})
		})
		t.Run("info/"+to.name, func(t *testing.T) {
			got := p.juliet.do(t, order{Do: "iq", Ask: "info", To: to.jid})
			if !slices.ContainsFunc(got.Identities, func(i string) bool { return strings.HasPrefix(i, to.identity) }) {
				t.Errorf("identities of %s: got %v, want %s", to.jid, got.Identities, to.identity)
			}
			for _, f := range []string{"http://jabber.org/protocol/disco#info", "urn:xmpp:ping", "jabber:iq:version", "urn:xmpp:time"} {
				if !slices.Contains(got.Features, f) {
					t.Errorf("features of %s: got %v, want %s among them", to.jid, got.Features, f)
				}
			}
		})
		t.Run("version/"+to.name, func(t *testing.T) {
			got := p.juliet.do(t, order{Do: "iq", Ask: "version", To: to.jid})
			if got.Name == "" || got.Version == "" {
				t.Errorf("version of %s: got %+v, want a name and a version", to.jid, got)
			}
		})
		t.Run("time/"+to.name, func(t *testing.T) {
			got := p.juliet.do(t, order{Do: "iq", Ask: "time", To: to.jid})
			if off := time.Since(got.UTC).Abs(); off > time.Minute {
				t.Errorf("time of %s: got %v, off by %v", to.jid, got.UTC, off)
			}
		})
	}
}

// messages: to a bare and to a full JID, both ways.
func (p *pair) messages(t *testing.T) {
	for _, from := range []struct{ a, b *hand }{{p.juliet, p.romeo}, {p.romeo, p.juliet}} {
		for _, to := range []string{from.b.bare(), from.b.jid} {
			t.Run(from.a.bare()+" to "+to, func(t *testing.T) {
				const body = "O, speak again, bright angel! \u2014 <&>'\" \U0001F339"
				from.a.do(t, order{Do: "message", To: to, Type: "chat", Stanza: "to " + to, Body: body})
				got := from.b.inbox().await(t, "the message", func(e event) bool { return e.ID == "to "+to })
				// RFC 6121 §8.5.2.1.1: 'to' is not rewritten.
				want := event{
					Event: "message", Client: from.b.name, From: from.a.jid, To: to,
					Type: "chat", ID: "to " + to, Body: body,
				}
				if !reflect.DeepEqual(got, want) {
					t.Errorf("got  %+v\nwant %+v", got, want)
				}
			})
		}
	}
}

// errors: users and resources that do not exist.
func (p *pair) errors(t *testing.T) {
	nobody := p.s.jid("nobody")
	t.Run("message", func(t *testing.T) {
		p.juliet.do(t, order{Do: "message", To: nobody, Type: "chat", Stanza: "lost", Body: "hello?"})
		got := p.juliet.inbox().await(t, "the error", func(e event) bool { return e.ID == "lost" })
		if got.Type != "error" || got.Condition != "service-unavailable" || got.From != nobody {
			t.Errorf("got %+v, want service-unavailable from %s", got, nobody)
		}
	})
	// RFC 6121 §8.5.1 and §8.5.3.2.3.
	for _, to := range []string{nobody, nobody + "/home", p.romeo.bare() + "/elsewhere"} {
		t.Run("iq/"+to, func(t *testing.T) {
			if got := p.juliet.condition(t, order{Do: "iq", Ask: "version", To: to}); got != "service-unavailable" {
				t.Errorf("version of %s: got %s, want service-unavailable", to, got)
			}
		})
	}
}

// talk: both send to each other at once; nothing is lost, doubled or moved.
func (p *pair) talk(t *testing.T) {
	each := *walkMessages / 2
	start := time.Now()
	done := make(chan error, 2)
	go func() { done <- flood(p.juliet, p.romeo, "left", each) }()
	go func() { done <- flood(p.romeo, p.juliet, "right", each) }()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	took := time.Since(start)
	t.Logf("%d messages in %v: %.0f/s", 2*each, took.Round(time.Millisecond), float64(2*each)/took.Seconds())
}

// flood sends n numbered messages in chunks, never further ahead of the
// receiver than the window, and checks them as they arrive.
func flood(from, to *hand, tag string, n int) error {
	const chunk = 50
	sent, received := 0, 0
	late := time.After(*patience + time.Duration(n)*20*time.Millisecond)
	for received < n {
		for sent < n && sent-received < *walkWindow {
			count := min(chunk, n-sent)
			_, err := from.puppet.tell(order{
				Client: from.name, Do: "flood", To: to.jid, Tag: tag, First: sent + 1, Count: count,
			})
			if err != nil {
				return fmt.Errorf("%s after %d messages: %w", from.jid, sent, err)
			}
			sent += count
		}
		e, ok, changed := to.inbox().take(func(e event) bool { return e.Event != "presence" })
		if !ok {
			select {
			case <-changed:
			case <-late:
				return fmt.Errorf("%s to %s: %d sent, %d received, then nothing", from.jid, to.jid, sent, received)
			}
			continue
		}
		received++
		want := fmt.Sprintf("%s %d", tag, received)
		if e.Event != "message" || e.Type != "chat" || e.From != from.jid || e.Body != want {
			return fmt.Errorf("%s to %s: got %+v, want %q", from.jid, to.jid, e, want)
		}
	}
	return nil
}
