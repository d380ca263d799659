//go:build interop

package interop_test

import (
	"fmt"
	"slices"
	"testing"
)

// TestHistory: a library pages through the archive both ways, and finds there
// what was said while it was away.
func TestHistory(t *testing.T) {
	t.Parallel()
	s := startKith(t, setup{})
	p := meet(t, s, slixmpp, slixmpp)
	const n = 25
	p.romeo.do(t, order{Do: "flood", To: p.juliet.bare(), Tag: "hark", First: 1, Count: n})
	p.juliet.inbox().await(t, "the last message", func(e event) bool { return e.Body == fmt.Sprintf("hark %d", n) })
	var want []string
	for i := range n {
		want = append(want, fmt.Sprintf("hark %d", i+1))
	}
	for _, h := range []struct{ of, with *hand }{{p.juliet, p.romeo}, {p.romeo, p.juliet}} {
		for ask, want := range map[string][]string{"forwards": want, "backwards": reversed(want)} {
			for _, with := range []string{h.with.bare(), h.with.jid} {
				if ask == "backwards" && with == h.with.jid || with == p.juliet.jid {
					continue // romeo wrote to her bare address
				}
				if got := h.of.do(t, order{Do: "history", Ask: ask, To: with, Count: 10}).Bodies; !slices.Equal(got, want) {
					t.Errorf("%s finds with %s, %s, %q, want %q", h.of.jid, with, ask, got, want)
				}
			}
		}
	}
	if got := p.juliet.do(t, order{Do: "history", Ask: "forwards", To: "nobody@" + s.domain, Count: 10}).Bodies; len(got) > 0 {
		t.Errorf("there is %q with nobody", got)
	}
	if got := p.juliet.do(t, order{Do: "history", Ask: "ends"}).Bodies; len(got) != 2 || got[0] == got[1] || got[0] == "" {
		t.Errorf("the archive has the ends %q", got)
	}
	fields := p.juliet.do(t, order{Do: "history", Ask: "fields"}).Features
	for _, f := range []string{"with", "start", "end", "before-id", "after-id", "ids", "include-groupchat"} {
		if !slices.Contains(fields, f) {
			t.Errorf("the form has the fields %q, and not %s", fields, f)
		}
	}
	if got := p.juliet.do(t, order{Do: "history", Ask: "prefs", To: p.romeo.bare()}).Bodies; !slices.Equal(got, []string{"roster", p.romeo.bare()}) {
		t.Errorf("preferences are %q", got)
	}
	p.romeo.do(t, order{Do: "message", To: p.juliet.bare(), Type: "chat", Stanza: "burn", Body: "burn this"})
	p.juliet.inbox().await(t, "a message that is not archived", func(e event) bool { return e.Body == "burn this" })
	if got := p.juliet.do(t, order{Do: "history", Ask: "forwards", To: p.romeo.bare(), Count: 50}).Bodies; !slices.Equal(got, want) {
		t.Errorf("with romeo, who is not to be archived, there is %q", got)
	}
}

func reversed(list []string) []string {
	out := slices.Clone(list)
	slices.Reverse(out)
	return out
}
