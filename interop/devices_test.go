//go:build interop

package interop_test

import (
	"fmt"
	"slices"
	"testing"
)

// TestDevices: somebody's devices show the same conversation. Carbons, client
// state and the archive by the libraries' own calls.
func TestDevices(t *testing.T) {
	t.Parallel()
	for _, l := range pairings {
		t.Run(l[0].name+" and "+l[1].name, func(t *testing.T) {
			t.Parallel()
			eachServer(t, func(t *testing.T, s *server) {
				w := &devices{pair: meet(t, s, l[0], l[1])}
				// What knows neither carbons nor the archive is there too.
				w.chamber = w.right.mustOpen(t, "juliet", "chamber", false)
				w.cellar = w.left.mustOpen(t, "juliet", "cellar", false)
				for _, h := range []*hand{w.chamber, w.cellar} {
					h.do(t, order{Do: "presence", Priority: -1})
				}
				w.chamber.do(t, order{Do: "carbons"})
				w.juliet.do(t, order{Do: "carbons"})
				steps(t, []step{
					{"copies", w.copies},
					{"state", w.state},
					{"archive", w.archive},
				})
			}, "mam", "csi_simple")
		})
	}
}

// devices is a walk of juliet's balcony and chamber, which want copies, and her
// cellar, which does not. The two others have a negative priority, so that the
// balcony is where messages go.
type devices struct {
	*pair
	chamber, cellar *hand
}

// copies: what one device receives and sends, the other sees, once.
func (w *devices) copies(t *testing.T) {
	const n = 20
	for i := range n {
		hers, his := fmt.Sprintf("hers %d", i), fmt.Sprintf("his %d", i)
		w.romeo.do(t, order{Do: "message", To: w.juliet.jid, Type: "chat", Stanza: his, Body: his})
		w.juliet.inbox().await(t, his, func(e event) bool { return e.Event == "message" && e.Body == his })
		w.juliet.do(t, order{Do: "message", To: w.romeo.bare(), Type: "chat", Stanza: hers, Body: hers})
		w.romeo.inbox().await(t, hers, func(e event) bool { return e.Event == "message" && e.Body == hers })
	}
	w.chamber.inbox().await(t, "the last copy", func(e event) bool { return e.Event == "carbon" && e.Body == fmt.Sprintf("hers %d", n-1) })
	var got, want []string
	for _, e := range w.chamber.inbox().drain() {
		if e.Event == "carbon" {
			got = append(got, fmt.Sprint(e.Type, " ", e.Body, " ", e.From))
		}
	}
	for i := range n {
		want = append(want, fmt.Sprintf("received his %d %s", i, w.romeo.jid))
		if i < n-1 {
			want = append(want, fmt.Sprintf("sent hers %d %s", i, w.juliet.jid))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the chamber has the copies %q, want %q", got, want)
	}
	for _, e := range w.cellar.inbox().drain() {
		if e.Event == "carbon" || e.Body != "" {
			t.Errorf("the cellar, which did not ask for copies, got %+v", e)
		}
	}
}

// state: to a client that nobody looks at, presence comes late and once for each
// contact; what was said comes at once, and behind it what was before.
func (w *devices) state(t *testing.T) {
	w.chamber.do(t, order{Do: "presence", To: w.romeo.jid})
	w.romeo.inbox().await(t, "her chamber's presence", func(e event) bool { return e.Event == "presence" && e.From == w.chamber.jid })
	w.chamber.do(t, order{Do: "state", Type: "inactive"})
	w.chamber.do(t, order{Do: "iq", Ask: "ping", To: w.s.domain}) // it has been heard
	w.chamber.inbox().drain()
	w.moods(t)
	w.romeo.do(t, order{Do: "message", To: w.chamber.jid, Type: "chat", Stanza: "wake", Body: "wake up"})
	w.chamber.inbox().await(t, "what was said", func(e event) bool { return e.Body == "wake up" })
	w.moods(t)
	w.chamber.do(t, order{Do: "state", Type: "active"})
	w.chamber.do(t, order{Do: "iq", Ask: "ping", To: w.s.domain})
	w.romeo.do(t, order{Do: "presence", To: w.chamber.jid, Status: "the last mood"})
	w.chamber.inbox().await(t, "presence, now that somebody looks", func(e event) bool { return e.Status == "the last mood" })
	var told []string
	for _, e := range w.chamber.inbox().drain() {
		if e.Event == "presence" {
			told = append(told, e.Status)
		}
	}
	if w.s.coalesces && !slices.Equal(told, []string{"mood 4", "mood 4"}) {
		t.Errorf("an inactive client was told of the moods %q, want the newest of each time", told)
	}
}

// moods is presence of romeo's that nobody looks at, and has arrived in the end.
func (w *devices) moods(t *testing.T) {
	for i := range 5 {
		w.romeo.do(t, order{Do: "presence", To: w.chamber.jid, Status: fmt.Sprintf("mood %d", i)})
	}
	w.romeo.do(t, order{Do: "iq", Ask: "ping", To: w.s.domain})
}

// archive: each device finds the same in it.
func (w *devices) archive(t *testing.T) {
	var want []string
	for _, h := range []*hand{w.juliet, w.chamber, w.cellar} {
		got := h.do(t, order{Do: "history", Ask: "forwards", To: w.romeo.bare(), Count: 7}).Bodies
		if want == nil {
			if want = got; len(want) != 41 {
				t.Errorf("the archive has %d messages, want 41: %q", len(want), want)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s finds %q, want %q", h.jid, got, want)
		}
		if got := h.do(t, order{Do: "history", Ask: "backwards", To: w.romeo.bare(), Count: 7}).Bodies; !slices.Equal(got, reversed(want)) {
			t.Errorf("%s finds backwards %q, want %q", h.jid, got, reversed(want))
		}
	}
}
