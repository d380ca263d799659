package s2s

import (
	"testing"
	"testing/synctest"

	"kith/server/config"
)

// owing is a stream that has something to acknowledge, and never does.
type owing struct {
	carrier
	over chan struct{}
}

func (owing) largest() int             { return 0 }
func (owing) unsettled() int           { return 1 }
func (owing) lost() []entry            { return []entry{{bytes: []byte("x")}} }
func (o owing) ended() <-chan struct{} { return o.over }
func (o owing) hangUp(error)           { close(o.over) }

// TestGivenUp: a link that was given up before its stream was known to it does not wait
// for what that still owes.
func TestGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(Server)
		s.config.Store(new(config.Config))
		s.config.Load().S2S.Idle = 1 << 40
		l := &link{s: s, wake: make(chan struct{}, 1), finishing: true, given: true}
		if lost := l.pump(owing{over: make(chan struct{})}); !lost || len(l.queue) != 1 {
			t.Errorf("lost: %v, %d left to send back; want what the stream owed", lost, len(l.queue))
		}
	})
}

// TestSettledLarge: what is about to be sent back, being too large, is under way.
func TestSettledLarge(t *testing.T) {
	l := &link{queue: []entry{{bytes: make([]byte, 100)}}, bytes: 100}
	for _, want := range []bool{false, true} {
		if _, large := l.next(10); l.settled() != want || (len(large) == 1) == want {
			t.Errorf("settled is %v with %d that are too large, want %v", !want, len(large), want)
		}
	}
}
