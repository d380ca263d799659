package session_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"kith/server/session"
	"kith/xmpp/stanza"
)

// TestInactive: whatever is sent in whatever state, each urgent entry and each
// that nothing takes the place of is written once, in the order of its sender,
// and of the others the last is, no later than what its sender sent behind it;
// of chat states also none, if what they told was over. Behind an urgent entry
// nothing waits that was only to be sent with another. While older messages are
// handed over all of that holds for what follows them.
func TestInactive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &socket{}
		s := newSession(c, limits())
		var want []string // of each sender what must have been written, in order
		senders := []string{"a@x/1", "a@x/2", "b@x/1", "c@x"}
		last := make(map[string]int)
		inactive, catching := false, false
		n := rapid.IntRange(1, 60).Draw(t, "steps")
		for i := range n {
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				inactive = !inactive
				s.SetInactive(inactive)
			case 1:
				s.Catching()
				catching = true
			case 2:
				catching = s.Follow(rapid.IntRange(1, 4).Draw(t, "most"), rapid.IntRange(1, 200).Draw(t, "bytes"))
			default:
				from := rapid.SampledFrom(senders).Draw(t, "from")
				wait := rapid.SampledFrom([]session.Wait{session.Urgent, session.Presence, session.State, session.Event, session.Whole}).Draw(t, "wait")
				w := session.Waiting{Wait: wait}
				switch wait {
				case session.Event:
					w.Topic = rapid.SampledFrom([]string{"mood", "tune"}).Draw(t, "topic")
				case session.Urgent:
					w.Over = rapid.Bool().Draw(t, "over")
				}
				name := fmt.Sprintf("%s#%d%s#%d", from, wait, w.Topic, i)
				s.Send(session.Entry{Kind: stanza.Message, Tail: []byte("|" + name), From: from, Waiting: w})
				if wait == session.Urgent || wait == session.Whole {
					want = append(want, name)
				} else {
					last[fmt.Sprintf("%s#%d%s", from, wait, w.Topic)] = i
				}
				if w.Over && inactive {
					delete(last, fmt.Sprintf("%s#%d", from, session.State))
				}
				if wait == session.Urgent && !catching {
					s.Flush(true)
					for _, name := range want {
						if !strings.Contains(c.text()+"<", "|"+name+"<") {
							t.Fatalf("%s still waits behind something urgent", name)
						}
					}
				}
			}
			s.Flush(true)
		}
		s.SetInactive(false)
		for s.Follow(1, 1) {
		}
		s.Flush(true)
		var got []string
		at := make(map[string]int) // sender and kind: the last index written
		order := make(map[string]int)
		for _, part := range strings.Split(c.text(), "|")[1:] {
			name, _, _ := strings.Cut(part, "<")
			got = append(got, name)
			f := strings.Split(name, "#")
			var i int
			fmt.Sscan(f[2], &i) //nolint:errcheck // it is ours
			if order[f[0]] > i {
				t.Fatalf("of %s, %d was written behind %d", f[0], i, order[f[0]])
			}
			order[f[0]] = i
			at[f[0]+"#"+f[1]] = i
		}
		seen := make(map[string]int)
		for _, name := range got {
			seen[name]++
			if seen[name] > 1 {
				t.Fatalf("%s was written twice", name)
			}
		}
		for _, name := range want {
			if seen[name] != 1 {
				t.Fatalf("%s was not written", name)
			}
		}
		for key, i := range last {
			if at[key] != i {
				t.Fatalf("the last of %s written is %d, want %d", key, at[key], i)
			}
		}
	})
}

// TestInactiveIsBounded: what waits goes out when it becomes too much.
func TestInactiveIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &socket{}
		l := limits()
		l.QueueBytes = 10_000
		s := newSession(c, l)
		s.SetInactive(true)
		for i := range 100 {
			s.Send(session.Entry{Kind: stanza.Presence, Tail: make([]byte, 1000), From: fmt.Sprintf("c%d@x/1", i), Waiting: session.Waiting{Wait: session.Presence}})
			s.Flush(true)
		}
		synctest.Wait()
		if n := len(c.text()); n < 90_000 {
			t.Errorf("%d bytes were written, want nearly all of 100 kB", n)
		}
		if len(c.ends()) > 0 {
			t.Error("the stream was closed")
		}
	})
}

// TestReplacedIsForgotten: a contact whose presence changes for a day costs no
// more than one.
func TestReplacedIsForgotten(t *testing.T) {
	c := &socket{}
	s := newSession(c, limits())
	s.SetInactive(true)
	for i := range 100_000 {
		s.Send(session.Entry{Kind: stanza.Presence, Tail: fmt.Appendf(nil, " id='%d'/>", i), From: "c@x/1", Waiting: session.Waiting{Wait: session.Presence}})
	}
	s.SetInactive(false)
	s.Flush(true)
	if got := c.text(); !strings.HasSuffix(got, " id='99999'/>") || strings.Count(got, "id=") != 1 {
		t.Errorf("%d were written, at the end %q", strings.Count(got, "id="), got[max(0, len(got)-40):])
	}
}
