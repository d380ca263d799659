//go:build interop

package interop_test

import (
	"strings"
	"testing"
	"time"
)

// TestResumption walks through XEP-0198 §5: connections are cut, and the streams
// are resumed by the libraries' own means.
func TestResumption(t *testing.T) {
	t.Parallel()
	for _, l := range pairings {
		t.Run(l[0].name+" and "+l[1].name, func(t *testing.T) {
			t.Parallel()
			eachServer(t, func(t *testing.T, s *server) {
				p := resumable(t, s, l[0], l[1])
				all := []step{{"cut", p.resumeCut}, {"unsent", p.resumeUnsent}}
				if s.restores { // elsewhere a restart ends all streams for good
					all = append(all, step{"restart", p.resumeRestart})
				}
				steps(t, all)
			})
		})
	}
}

// resumable is juliet and romeo, both with streams that can be resumed.
func resumable(t *testing.T, s *server, left, right library) *pair {
	t.Helper()
	p := &pair{s: s, left: startPuppet(t, left, s), right: startPuppet(t, right, s)}
	p.juliet = p.left.mustOpenResumable(t, "juliet", "balcony", true)
	p.romeo = p.right.mustOpenResumable(t, "romeo", "home", true)
	for _, h := range []*hand{p.juliet, p.romeo} {
		h.do(t, order{Do: "iq", Ask: "ping", To: s.domain}) // answered behind <enable/>
		needs(t, s, featureResumption, h.do(t, order{Do: "resumable"}).Resumable)
	}
	p.juliet.do(t, order{Do: "presence"})
	p.romeo.do(t, order{Do: "presence", Priority: 5})
	p.befriend(t)
	return p
}

func (h *hand) cut(t *testing.T) {
	t.Helper()
	h.do(t, order{Do: "cut"})
	h.awaitLoss(t)
}

func (h *hand) awaitLoss(t *testing.T) {
	t.Helper()
	h.inbox().await(t, h.name+" to lose its connection", func(e event) bool { return e.Event == "disconnected" })
}

// resume connects again and tells whether the stream goes on.
func (h *hand) resume(t *testing.T) bool {
	t.Helper()
	return h.resumeBy(t, "").Resumed
}

// resumeBy is resume, with what is given: a "token", where the library has one.
func (h *hand) resumeBy(t *testing.T, what string) result {
	t.Helper()
	got := h.do(t, order{Do: "resume", Ask: what})
	if got.JID != h.jid {
		t.Errorf("%s is %s now", h.jid, got.JID)
	}
	return got
}

// modern reports whether the client has a resource by XEP-0386, which has more to
// it than what it asked for.
func (h *hand) modern() bool { return strings.Count(h.jid, "/") > 1 }

// noticedNothing fails if the client was told that somebody went.
func (h *hand) noticedNothing(t *testing.T, of *hand) {
	t.Helper()
	h.do(t, order{Do: "iq", Ask: "ping", To: h.puppet.s.domain})
	for _, e := range h.inbox().drain() {
		if e.Event == "presence" && e.From == of.jid {
			t.Errorf("%s got %+v, although the stream was resumed", h.jid, e)
		}
	}
}

// resumeCut: what is sent to a client without a connection comes when it is back,
// three times in a row.
func (p *pair) resumeCut(t *testing.T) {
	for _, tag := range []string{"first", "second", "third"} {
		p.romeo.cut(t)
		p.juliet.do(t, order{Do: "flood", To: p.romeo.bare(), Tag: tag, First: 1, Count: 20})
		p.juliet.do(t, order{Do: "iq", Ask: "ping", To: p.s.domain})
		if !p.romeo.resume(t) {
			t.Fatal("not resumed")
		}
		p.romeo.expectFlood(t, p.juliet, tag, 20)
	}
	p.juliet.noticedNothing(t, p.romeo)
}

// resumeUnsent: what a client sent before its connection was cut, perhaps in vain,
// arrives once.
func (p *pair) resumeUnsent(t *testing.T) {
	for _, tag := range []string{"one", "two", "three"} {
		p.romeo.do(t, order{Do: "flood", To: p.juliet.jid, Tag: tag, First: 1, Count: 50, Cut: true})
		p.romeo.awaitLoss(t)
		time.Sleep(p.s.settles)
		if !p.romeo.resume(t) {
			t.Fatal("not resumed")
		}
		p.juliet.expectFlood(t, p.romeo, tag, 50)
	}
}

// resumeRestart: the server is stopped and started while a client is away and
// messages wait for it; all streams go on.
func (p *pair) resumeRestart(t *testing.T) {
	p.romeo.cut(t)
	p.juliet.do(t, order{Do: "flood", To: p.romeo.bare(), Tag: "before", First: 1, Count: 20})
	p.juliet.do(t, order{Do: "iq", Ask: "ping", To: p.s.domain})
	p.s.proc.stop()
	p.juliet.awaitLoss(t)
	p.s.proc = p.s.start(t)
	for _, h := range []*hand{p.juliet, p.romeo} {
		if !h.resume(t) {
			t.Fatalf("%s: not resumed", h.jid)
		}
	}
	p.romeo.expectFlood(t, p.juliet, "before", 20)
	p.juliet.do(t, order{Do: "flood", To: p.romeo.bare(), Tag: "behind", First: 1, Count: 20})
	p.romeo.expectFlood(t, p.juliet, "behind", 20)
	p.romeo.do(t, order{Do: "presence", Priority: 5, Status: "behind"}) // and so does the rest of the session
	p.juliet.inbox().await(t, "romeo's presence", func(e event) bool { return e.Event == "presence" && e.Status == "behind" })
}

// TestResumptionTooLate: a stream that was not resumed in time ends. Contacts see
// it go, and what waited for it is there at the next log-in.
func TestResumptionTooLate(t *testing.T) {
	t.Parallel()
	for _, l := range []library{slixmpp, xmppjs} {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			eachServerWith(t, setup{resume: 2 * time.Second}, func(t *testing.T, s *server) {
				p := resumable(t, s, l, l)
				p.romeo.cut(t)
				p.juliet.do(t, order{Do: "flood", To: p.romeo.bare(), Tag: "late", First: 1, Count: 20})
				p.juliet.awaitPresence(t, p.romeo.jid, "unavailable")
				back := p.romeo.resumeBy(t, "token")
				if back.Resumed {
					t.Fatal("resumed a stream that contacts saw end")
				}
				if p.romeo.modern() && back.Mechanism != "HT-SHA-256-NONE" { // XEP-0484: it needs the password once
					t.Errorf("%s has come back by %s", p.romeo.jid, back.Mechanism)
				}
				p.romeo.do(t, order{Do: "presence", Priority: 5})
				p.juliet.awaitPresence(t, p.romeo.jid, "")
				if p.romeo.modern() { // XEP-0386 §3.2: it looks into the archive
					late := p.romeo.do(t, order{Do: "history", Ask: "forwards", To: p.juliet.bare(), Count: 50}).Bodies
					if len(late) != 20 || late[0] != "late 1" || late[19] != "late 20" {
						t.Errorf("the archive has %q", late)
					}
					return
				}
				for _, e := range p.romeo.expectFlood(t, p.juliet, "late", 20) {
					if !e.Delayed {
						t.Errorf("%q has no delay (XEP-0203)", e.Body)
					}
				}
			})
		})
	}
}
