//go:build interop

package interop_test

import (
	"slices"
	"testing"
)

// What is announced by the servers that have it.
const (
	featureBlocking   = "urn:xmpp:blocking" // in disco#info of the account or the server
	featureResumption = "resume"            // in <enabled/> (XEP-0198)
)

// needs fails a test about what the server does not announce.
func needs(t *testing.T, s *server, feature string, announced bool) {
	t.Helper()
	if !announced {
		t.Fatalf("%s does not announce %s", s.name, feature)
	}
}

// TestBlocking walks through XEP-0191: romeo blocks juliet, who is a contact.
func TestBlocking(t *testing.T) {
	t.Parallel()
	for _, l := range pairings {
		t.Run(l[0].name+" and "+l[1].name, func(t *testing.T) {
			t.Parallel()
			eachServer(t, func(t *testing.T, s *server) {
				p := meet(t, s, l[0], l[1])
				features := p.romeo.do(t, order{Do: "iq", Ask: "info", To: s.domain}).Features
				needs(t, s, featureBlocking, slices.Contains(features, featureBlocking))
				p.befriend(t)
				steps(t, []step{{"block", p.block}, {"refused", p.refused}, {"unblock", p.unblock}})
			})
		})
	}
}

// befriend lets each have the other in its roster.
func (p *pair) befriend(t *testing.T) {
	t.Helper()
	for _, h := range []*hand{p.juliet, p.romeo} {
		h.do(t, order{Do: "roster"})
	}
	for _, h := range [][2]*hand{{p.juliet, p.romeo}, {p.romeo, p.juliet}} {
		h[0].do(t, order{Do: "presence", To: h[1].bare(), Type: "subscribe"})
		h[1].awaitPresence(t, h[0].bare(), "subscribe")
		h[1].do(t, order{Do: "presence", To: h[0].bare(), Type: "subscribed"})
		h[0].awaitPresence(t, h[1].bare(), "subscribed")
	}
	p.juliet.awaitPush(t, p.romeo.bare(), "both", "")
	p.romeo.awaitPush(t, p.juliet.bare(), "both", "")
	for _, h := range [][2]*hand{{p.juliet, p.romeo}, {p.romeo, p.juliet}} {
		h[0].do(t, order{Do: "iq", Ask: "ping", To: h[1].jid}) // what came before has been seen
		h[0].inbox().drain()
	}
}

// block: the list begins empty, all who asked for it are told, and the one who is
// blocked sees romeo go (XEP-0191 §3.2 and §3.3).
func (p *pair) block(t *testing.T) {
	garden := p.right.mustOpen(t, "romeo", "garden", false)
	garden.do(t, order{Do: "presence", Priority: -1})
	p.juliet.awaitPresence(t, garden.jid, "")
	for _, h := range []*hand{p.romeo, garden} {
		if got := h.do(t, order{Do: "blocklist"}).JIDs; len(got) > 0 {
			t.Errorf("%s has blocked %v", h.jid, got)
		}
	}
	p.romeo.do(t, order{Do: "block", To: p.juliet.bare()})
	for _, h := range []*hand{p.romeo, garden} {
		h.awaitBlocking(t, "block", p.juliet.bare())
		p.juliet.awaitPresence(t, h.jid, "unavailable")
		if got := h.do(t, order{Do: "blocklist"}).JIDs; !slices.Equal(got, []string{p.juliet.bare()}) {
			t.Errorf("%s has blocked %v, want juliet", h.jid, got)
		}
	}
	garden.do(t, order{Do: "close"})
}

func (h *hand) awaitBlocking(t *testing.T, what, jid string) {
	t.Helper()
	h.inbox().await(t, "the push of "+what+" "+jid+" to "+h.jid, func(e event) bool {
		return e.Event == what && slices.Equal(e.JIDs, []string{jid})
	})
}

// refused: neither gets anything from the other (XEP-0191 §3.2).
func (p *pair) refused(t *testing.T) {
	for _, h := range []*hand{p.juliet, p.romeo} { // what came before it was blocked does not count
		h.do(t, order{Do: "iq", Ask: "ping", To: p.s.domain})
		h.inbox().drain()
	}
	for _, to := range []string{p.romeo.bare(), p.romeo.jid} {
		p.juliet.do(t, order{Do: "message", To: to, Type: "chat", Stanza: "in " + to, Body: "hear me"})
		if to == p.romeo.jid && p.s.blocksQuietly {
			continue
		}
		got := p.juliet.inbox().await(t, "the error for "+to, func(e event) bool { return e.ID == "in "+to })
		if got.Type != "error" || got.Condition != "service-unavailable" {
			t.Errorf("a message to %s, who has blocked her: got %+v, want service-unavailable", to, got)
		}
	}
	if got := p.juliet.condition(t, order{Do: "iq", Ask: "version", To: p.romeo.jid}); got != "service-unavailable" {
		t.Errorf("an IQ to who has blocked her: got %s, want service-unavailable", got)
	}
	for _, to := range []string{p.juliet.bare(), p.juliet.jid} {
		p.romeo.do(t, order{Do: "message", To: to, Type: "chat", Stanza: "out " + to, Body: "I said no"})
		got := p.romeo.inbox().await(t, "the error for "+to, func(e event) bool { return e.ID == "out "+to })
		if got.Type != "error" || got.Condition != "not-acceptable" {
			t.Errorf("a message to %s, whom he has blocked: got %+v, want not-acceptable", to, got)
		}
	}
	p.juliet.do(t, order{Do: "presence", Status: "still here"})
	for _, h := range []*hand{p.juliet, p.romeo} {
		h.do(t, order{Do: "iq", Ask: "ping", To: p.s.domain})
	}
	for _, h := range [][2]*hand{{p.juliet, p.romeo}, {p.romeo, p.juliet}} {
		for _, e := range h[0].inbox().drain() {
			if e.From == h[1].jid || e.From == h[1].bare() {
				t.Errorf("%s got %+v", h[0].jid, e)
			}
		}
	}
}

// unblock: all is as before (XEP-0191 §3.4).
func (p *pair) unblock(t *testing.T) {
	p.romeo.do(t, order{Do: "unblock", To: p.juliet.bare()})
	p.romeo.awaitBlocking(t, "unblock", p.juliet.bare())
	p.juliet.awaitPresence(t, p.romeo.jid, "")
	if got := p.romeo.do(t, order{Do: "blocklist"}).JIDs; len(got) > 0 {
		t.Errorf("romeo has blocked %v", got)
	}
	for _, h := range [][2]*hand{{p.juliet, p.romeo}, {p.romeo, p.juliet}} {
		h[0].do(t, order{Do: "message", To: h[1].bare(), Type: "chat", Stanza: "again", Body: "again"})
		got := h[1].inbox().await(t, "a message again", func(e event) bool { return e.Event == "message" })
		if got.ID != "again" || got.Type != "chat" {
			t.Errorf("%s got %+v", h[1].jid, got)
		}
	}
}
