//go:build interop

package interop_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// presence: romeo's resources learn of each other, with their priorities.
func (p *pair) presence(t *testing.T) {
	p.romeo.inbox().drain()
	garden := p.right.mustOpen(t, "romeo", "garden", false)
	garden.do(t, order{Do: "presence", Priority: 1})
	cave := p.right.mustOpen(t, "romeo", "cave", false)
	cave.do(t, order{Do: "presence", Priority: -1})
	of := map[*hand]int{p.romeo: 5, garden: 1, cave: -1}
	for to := range of {
		for from, priority := range of {
			if to == from {
				continue
			}
			got := to.inbox().await(t, to.jid+" to see "+from.jid, func(e event) bool {
				return e.Event == "presence" && e.From == from.jid
			})
			if got.Priority != priority || got.Type != "" {
				t.Errorf("%s sees %+v, want priority %d", to.jid, got, priority)
			}
		}
	}
}

// choose: which of several resources gets a message (RFC 6121 §8.5, table 1).
// Romeo has home (5), garden (1) and cave (-1).
func (p *pair) choose(t *testing.T) {
	bare := p.romeo.bare()
	home := []string{"home"}
	both := []string{"garden", "home"}
	type rule struct {
		to, typ string
		want    [][]string // one of these sets of resources gets it
		bounce  string     // must, may, never
	}
	nobody := [][]string{nil}
	rules := []rule{
		// To several, the server chooses: the most available, or all that are not negative.
		{bare, "normal", [][]string{home, both}, "never"},
		{bare, "chat", [][]string{home, both}, "never"},
		{bare, "headline", [][]string{both}, "never"},
		{bare, "groupchat", nobody, "must"},
		{bare, "error", nobody, "never"},
		{bare + "/cave", "normal", [][]string{{"cave"}}, "never"},
		{bare + "/cave", "chat", [][]string{{"cave"}}, "never"},
		{bare + "/garden", "headline", [][]string{{"garden"}}, "never"},
		{bare + "/nowhere", "chat", [][]string{home, both}, "never"},
		{bare + "/nowhere", "normal", nobody, "may"},
		{bare + "/nowhere", "groupchat", nobody, "may"},
		{bare + "/nowhere", "headline", nobody, "may"},
		{bare + "/nowhere", "error", nobody, "never"},
	}
	if p.s.normalFallsBack {
		i := slices.IndexFunc(rules, func(r rule) bool { return r.to == bare+"/nowhere" && r.typ == "normal" })
		rules[i].want, rules[i].bounce = [][]string{home, both}, "never"
	}
	var all []step
	for i, r := range rules {
		all = append(all, step{r.typ + " to " + strings.TrimPrefix(r.to, bare), func(t *testing.T) {
			id := fmt.Sprintf("choose-%d", i)
			p.juliet.do(t, order{Do: "message", To: r.to, Type: r.typ, Stanza: id, Body: "wherefore"})
			got, bounced := p.arrivals(t, id)
			if !slices.ContainsFunc(r.want, func(w []string) bool { return slices.Equal(w, got) }) {
				t.Errorf("%s to %s: got by %v, want one of %v", r.typ, r.to, got, r.want)
			}
			switch {
			case len(bounced) > 1, len(bounced) == 1 && r.bounce == "never", len(bounced) == 0 && r.bounce == "must":
				t.Errorf("%s to %s: errors %+v, %s bounce", r.typ, r.to, bounced, r.bounce)
			case len(bounced) == 1 && bounced[0].Condition != "service-unavailable":
				t.Errorf("%s to %s: got %s, want service-unavailable", r.typ, r.to, bounced[0].Condition)
			}
		}})
	}
	steps(t, all)
}

// arrivals tells which of romeo's resources received the message with the id,
// each as often as it did, and which errors came back.
func (p *pair) arrivals(t *testing.T, id string) (resources []string, errors []event) {
	t.Helper()
	// What juliet sends after it arrives after it: once these are seen, all
	// that was to come has come.
	for _, r := range []string{"home", "garden", "cave"} {
		inbox := p.right.inbox("romeo/" + r)
		p.juliet.do(t, order{Do: "message", To: p.romeo.bare() + "/" + r, Type: "chat", Stanza: "after " + id, Body: "x"})
		inbox.await(t, "the message after "+id, func(e event) bool { return e.ID == "after "+id })
		for _, e := range inbox.drain() {
			if e.Event == "message" && e.ID == id {
				resources = append(resources, r)
			}
		}
	}
	// An error comes the way that the answer to an IQ comes.
	p.juliet.condition(t, order{Do: "iq", Ask: "version", To: p.romeo.bare() + "/nowhere"})
	for _, e := range p.juliet.inbox().drain() {
		if e.Event == "message" && e.ID == id {
			errors = append(errors, e)
		}
	}
	slices.Sort(resources)
	return resources, errors
}

// offline: a message that nobody may take now is kept for who comes later.
func (p *pair) offline(t *testing.T) {
	for _, r := range []string{"home", "garden"} {
		h := &hand{puppet: p.right, name: "romeo/" + r}
		h.do(t, order{Do: "close"})
		// The cave sees them go, so that the server has seen it too.
		p.right.inbox("romeo/cave").await(t, r+" to go", func(e event) bool {
			return e.Event == "presence" && e.Type == "unavailable" && strings.HasSuffix(e.From, "/"+r)
		})
	}
	p.juliet.inbox().drain()
	for i := range 3 {
		id := fmt.Sprintf("later %d", i)
		p.juliet.do(t, order{Do: "message", To: p.romeo.bare(), Type: "chat", Stanza: id, Body: id})
	}
	p.juliet.condition(t, order{Do: "iq", Ask: "version", To: p.romeo.bare() + "/nowhere"})
	for _, e := range p.juliet.inbox().drain() {
		if e.Event == "message" {
			t.Errorf("juliet got %+v, want her messages kept", e)
		}
	}
	cave := p.right.inbox("romeo/cave")
	home := p.right.mustOpen(t, "romeo", "home", false)
	home.do(t, order{Do: "presence", Priority: 5})
	for i := range 3 {
		id := fmt.Sprintf("later %d", i)
		got := home.inbox().await(t, "message "+id, func(e event) bool { return e.Event == "message" })
		if got.ID != id || !got.Delayed || got.From != p.juliet.jid {
			t.Errorf("got %+v, want %s with a delay (XEP-0203)", got, id)
		}
	}
	// RFC 6121 §8.5.2.1.1: never to a resource of negative priority.
	for _, e := range cave.drain() {
		if e.Event == "message" {
			t.Errorf("the cave got %+v", e)
		}
	}
}
