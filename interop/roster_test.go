//go:build interop

package interop_test

import (
	"fmt"
	"slices"
	"testing"
)

func TestContacts(t *testing.T) {
	t.Parallel()
	for _, l := range pairings {
		t.Run(l[0].name+" and "+l[1].name, func(t *testing.T) {
			t.Parallel()
			eachServer(t, func(t *testing.T, s *server) { walkContacts(t, s, l[0], l[1]) })
		})
	}
}

// pairings are the libraries that meet: each its own kind, and both the other.
var pairings = [][2]library{{slixmpp, slixmpp}, {xmppjs, xmppjs}, {slixmpp, xmppjs}, {xmppjs, slixmpp}}

// walkContacts is the life of a contact, from the first request to its removal.
func walkContacts(t *testing.T, s *server, left, right library) {
	p := &pair{s: s, left: startPuppet(t, left, s), right: startPuppet(t, right, s)}
	register(t, s, "romeo") // who is not there yet
	p.juliet = p.left.mustOpen(t, "juliet", "balcony", true)
	w := &contacts{pair: p, chamber: p.left.mustOpen(t, "juliet", "chamber", false)}
	steps(t, []step{
		{"request", w.request},
		{"approval", w.approval},
		{"presence", w.presence},
		{"log-out", w.logOut},
		{"cut", w.cut},
		{"offline", w.offline},
		{"versions", w.versions},
		{"removal", w.removal},
	})
}

// contacts is a walk of juliet, with two resources, and romeo.
type contacts struct {
	*pair
	chamber *hand // juliet's other resource
}

func (w *contacts) hers() []*hand { return []*hand{w.juliet, w.chamber} }

// awaitPush waits until the client is told of the contact's state (RFC 6121
// §2.1.6).
func (h *hand) awaitPush(t *testing.T, contact, subscription, ask string) event {
	t.Helper()
	return h.inbox().await(t, "the push of "+contact+" "+subscription+" "+ask+" to "+h.jid, func(e event) bool {
		return e.Event == "roster" && e.Item.JID == contact && e.Item.Subscription == subscription && e.Item.Ask == ask
	})
}

func (h *hand) awaitPresence(t *testing.T, from, typ string) event {
	t.Helper()
	return h.inbox().await(t, "presence "+typ+" of "+from+" at "+h.jid, func(e event) bool {
		return e.Event == "presence" && e.From == from && e.Type == typ
	})
}

// rosterItem is what the client's roster says of the contact.
func (h *hand) rosterItem(t *testing.T, jid string) contact {
	t.Helper()
	items := h.do(t, order{Do: "roster"}).Items
	i := slices.IndexFunc(items, func(c contact) bool { return c.JID == jid })
	if i < 0 {
		return contact{}
	}
	return items[i]
}

// request: a contact that is not online is asked for its presence.
func (w *contacts) request(t *testing.T) {
	romeo := w.s.jid("romeo")
	for _, h := range w.hers() {
		if got := h.do(t, order{Do: "roster"}); len(got.Items) > 0 { // from now on it gets pushes
			t.Errorf("a new account's roster: %+v", got.Items)
		}
		h.do(t, order{Do: "presence"})
	}
	w.juliet.do(t, order{Do: "contact", To: romeo, Name: "Romeo M.", Groups: []string{"Lovers", "Verona"}})
	for _, h := range w.hers() {
		got := h.awaitPush(t, romeo, "none", "").Item
		if got.Name != "Romeo M." || !slices.Equal(got.Groups, []string{"Lovers", "Verona"}) {
			t.Errorf("%s is told %+v", h.jid, got)
		}
	}
	w.juliet.do(t, order{Do: "presence", To: romeo, Type: "subscribe"})
	for _, h := range w.hers() {
		h.awaitPush(t, romeo, "none", "subscribe")
	}
	// RFC 6121 §3.1.3: it is kept until he comes, and until he answers.
	for range 2 {
		w.romeo = w.right.mustOpen(t, "romeo", "home", false)
		w.romeo.do(t, order{Do: "roster"})
		w.romeo.do(t, order{Do: "presence", Priority: 5})
		w.romeo.awaitPresence(t, w.juliet.bare(), "subscribe")
		if got := w.romeo.rosterItem(t, w.juliet.bare()); got.JID != "" { // §3.1.3: None + Pending In is hidden
			t.Errorf("romeo's roster shows who only asks: %+v", got)
		}
		w.romeo.do(t, order{Do: "close"})
		w.romeo.inbox().drain()
	}
	w.romeo = w.right.mustOpen(t, "romeo", "home", false)
	w.romeo.do(t, order{Do: "roster"})
	w.romeo.do(t, order{Do: "presence", Priority: 5})
	w.romeo.awaitPresence(t, w.juliet.bare(), "subscribe")
}

// approval: both ways, one after the other.
func (w *contacts) approval(t *testing.T) {
	juliet, romeo := w.juliet.bare(), w.romeo.bare()
	w.romeo.do(t, order{Do: "presence", To: juliet, Type: "subscribed"})
	w.romeo.awaitPush(t, juliet, "from", "")
	for _, h := range w.hers() {
		h.awaitPush(t, romeo, "to", "")
		h.awaitPresence(t, romeo, "subscribed")
		if got := h.awaitPresence(t, w.romeo.jid, ""); got.Priority != 5 {
			t.Errorf("%s sees %+v, want priority 5", h.jid, got)
		}
	}
	w.romeo.do(t, order{Do: "presence", To: juliet, Type: "subscribe"})
	w.romeo.awaitPush(t, juliet, "from", "subscribe")
	w.juliet.awaitPresence(t, romeo, "subscribe")
	w.juliet.do(t, order{Do: "presence", To: romeo, Type: "subscribed"})
	w.romeo.awaitPush(t, juliet, "both", "")
	w.romeo.awaitPresence(t, juliet, "subscribed")
	for _, h := range w.hers() {
		h.awaitPush(t, romeo, "both", "")
		w.romeo.awaitPresence(t, h.jid, "")
	}
	if got := w.chamber.rosterItem(t, romeo); got.Name != "Romeo M." || got.Subscription != "both" || got.Ask != "" {
		t.Errorf("juliet's roster has %+v", got)
	}
}

// presence: what one says of itself, all of the other's resources see.
func (w *contacts) presence(t *testing.T) {
	w.romeo.do(t, order{Do: "presence", Show: "away", Status: "banish\u00e8d <&> gone", Priority: 7})
	for _, h := range w.hers() {
		got := h.inbox().await(t, "romeo to be away", func(e event) bool {
			return e.Event == "presence" && e.From == w.romeo.jid && e.Show != ""
		})
		if got.Show != "away" || got.Status != "banish\u00e8d <&> gone" || got.Priority != 7 || got.Type != "" {
			t.Errorf("%s sees %+v", h.jid, got)
		}
	}
	w.chamber.do(t, order{Do: "presence", Show: "dnd", Priority: -3})
	got := w.romeo.inbox().await(t, "juliet's chamber to be busy", func(e event) bool {
		return e.Event == "presence" && e.From == w.chamber.jid && e.Show != ""
	})
	if got.Show != "dnd" || got.Priority != -3 {
		t.Errorf("romeo sees %+v", got)
	}
	w.romeo.do(t, order{Do: "presence", Priority: 5})
}

// logOut: who goes, and says so or only closes the stream, is seen to go.
func (w *contacts) logOut(t *testing.T) {
	w.chamber.do(t, order{Do: "presence", Type: "unavailable", Status: "to bed"})
	for _, h := range []*hand{w.romeo, w.juliet} { // RFC 6121 §4.5.2: to her own resources too
		if got := h.awaitPresence(t, w.chamber.jid, "unavailable"); got.Status != "to bed" {
			t.Errorf("%s sees %+v", h.jid, got)
		}
	}
	w.chamber.do(t, order{Do: "presence"})
	w.romeo.awaitPresence(t, w.chamber.jid, "")
	w.chamber.do(t, order{Do: "close"})
	w.romeo.awaitPresence(t, w.chamber.jid, "unavailable")
	w.chamber = w.left.mustOpen(t, "juliet", "chamber", false)
	w.chamber.do(t, order{Do: "roster"})
	w.chamber.do(t, order{Do: "presence"})
	w.romeo.awaitPresence(t, w.chamber.jid, "")
	// RFC 6121 §4.2.2: who comes is shown who is there.
	if got := w.chamber.awaitPresence(t, w.romeo.jid, ""); got.Priority != 5 {
		t.Errorf("the chamber is shown %+v", got)
	}
}

// cut: a connection that is dropped without a word.
func (w *contacts) cut(t *testing.T) {
	if w.left.library.outlives {
		return // TestResumption has that: it takes as long as the stream can be resumed
	}
	orchard := w.left.mustOpen(t, "juliet", "orchard", false)
	orchard.do(t, order{Do: "presence"})
	w.romeo.awaitPresence(t, orchard.jid, "")
	orchard.do(t, order{Do: "cut"})
	w.romeo.awaitPresence(t, orchard.jid, "unavailable")
}

// offline: what comes for somebody who is not there is kept, and given once.
func (w *contacts) offline(t *testing.T) {
	w.romeo.do(t, order{Do: "close"})
	w.juliet.awaitPresence(t, w.romeo.jid, "unavailable")
	w.juliet.do(t, order{Do: "flood", To: w.romeo.bare(), Tag: "kept", First: 1, Count: 20})
	w.juliet.do(t, order{Do: "iq", Ask: "ping", To: w.s.domain}) // handled behind them
	w.romeo.inbox().drain()
	w.romeo = w.right.mustOpen(t, "romeo", "home", false)
	w.romeo.do(t, order{Do: "roster"})
	w.romeo.do(t, order{Do: "presence", Priority: 5})
	for _, e := range w.romeo.expectFlood(t, w.juliet, "kept", 20) {
		if !e.Delayed {
			t.Errorf("%q has no delay (XEP-0203)", e.Body)
		}
	}
	w.romeo.do(t, order{Do: "close"})
	w.juliet.awaitPresence(t, w.romeo.jid, "unavailable")
	w.romeo = w.right.mustOpen(t, "romeo", "home", false)
	w.romeo.do(t, order{Do: "roster"})
	w.romeo.do(t, order{Do: "presence", Priority: 5})
	w.juliet.awaitPresence(t, w.romeo.jid, "")
	w.romeo.expectFlood(t, w.juliet, "kept", 0)
}

// expectFlood takes the messages of a flood from somebody, that must be n, in
// order, and be followed by what is sent now and by nothing more.
func (h *hand) expectFlood(t *testing.T, from *hand, tag string, n int) []event {
	t.Helper()
	var got []event
	for range n {
		got = append(got, h.inbox().await(t, fmt.Sprintf("%d more of %s", n-len(got), tag), func(e event) bool {
			return e.Event == "message" && e.From == from.jid
		}))
	}
	after := "after " + tag
	from.do(t, order{Do: "message", To: h.jid, Type: "chat", Stanza: after, Body: after})
	for {
		e := h.inbox().await(t, fmt.Sprintf("the message after %d of %s", n, tag), func(e event) bool {
			return e.Event == "message" && e.From == from.jid
		})
		if e.ID == after {
			break
		}
		got = append(got, e)
	}
	for i := range max(n, len(got)) {
		want := fmt.Sprintf("%s %d", tag, i+1)
		switch {
		case i >= len(got):
			t.Errorf("%s did not get %q", h.jid, want)
		case i >= n || got[i].Body != want:
			t.Errorf("%s got %q, want %d messages, %q now", h.jid, got[i].Body, n, want)
		}
	}
	return got
}

// versions: who knows the roster is told only what is new (RFC 6121 §2.6).
func (w *contacts) versions(t *testing.T) {
	romeo := w.romeo.bare()
	first := w.chamber.do(t, order{Do: "roster", Versioned: true})
	if !first.Versioned || first.Ver == "" {
		t.Fatalf("the server does not announce versions or gives none: %+v", first)
	}
	again := w.chamber.do(t, order{Do: "roster", Versioned: true, Ver: first.Ver})
	if !again.Unchanged && again.Ver != first.Ver {
		t.Errorf("nothing has changed, got %+v", again)
	}
	w.chamber.do(t, order{Do: "close"})
	w.chamber.inbox().drain()
	w.juliet.do(t, order{Do: "contact", To: romeo, Name: "My only love", Groups: []string{"Lovers"}})
	pushed := w.juliet.awaitPush(t, romeo, "both", "")
	if pushed.Ver == "" || pushed.Ver == first.Ver {
		t.Errorf("the push has version %q, after %q", pushed.Ver, first.Ver)
	}
	w.chamber = w.left.mustOpen(t, "juliet", "chamber", false)
	since := w.chamber.do(t, order{Do: "roster", Versioned: true, Ver: first.Ver})
	var got contact
	if since.Unchanged { // the changes follow as pushes
		got = w.chamber.awaitPush(t, romeo, "both", "").Item
	} else if i := slices.IndexFunc(since.Items, func(c contact) bool { return c.JID == romeo }); i >= 0 {
		got = since.Items[i]
	}
	if got.Name != "My only love" || !slices.Equal(got.Groups, []string{"Lovers"}) {
		t.Errorf("since %q the roster has %+v", first.Ver, got)
	}
	w.romeo.inbox().drain() // of the one before, of the same name
	w.chamber.do(t, order{Do: "presence"})
	w.romeo.awaitPresence(t, w.chamber.jid, "")
}

// removal ends it both ways (RFC 6121 §2.5).
func (w *contacts) removal(t *testing.T) {
	w.romeo.inbox().drain()
	w.juliet.do(t, order{Do: "contact", To: w.romeo.bare(), Type: "remove"})
	for _, h := range w.hers() {
		h.awaitPush(t, w.romeo.bare(), "remove", "")
		if !w.s.leavesQuietly {
			w.romeo.awaitPresence(t, h.jid, "unavailable")
		}
	}
	w.romeo.awaitPush(t, w.juliet.bare(), "none", "")
	if !w.s.leavesQuietly {
		w.juliet.awaitPresence(t, w.romeo.jid, "unavailable")
	}
	for _, h := range []*hand{w.juliet, w.romeo} {
		other := w.juliet.bare()
		if h == w.juliet {
			other = w.romeo.bare()
		}
		if got := h.rosterItem(t, other); got.Subscription != "" && got.Subscription != "none" {
			t.Errorf("%s still has %+v", h.jid, got)
		}
	}
}
