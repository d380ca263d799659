package session_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kith/server/session"
	"kith/xmpp/ns"
	"kith/xmpp/stream"
)

const request = "<r xmlns='" + ns.Acks + "'/>"

// put sends messages, each in a write of its own.
func put(s *session.Session, from, to int) {
	for n := from; n <= to; n++ {
		s.Send(message(n))
		s.Flush(true)
	}
}

// acked settles entries and returns their ids.
func acked(t *testing.T, s *session.Session, h uint32) []int64 {
	t.Helper()
	settled, err := s.Acked(h)
	if err != nil {
		t.Fatalf("Acked(%d): %v", h, err)
	}
	return ids(settled)
}

// Counting begins behind <enabled/> (XEP-0198 §3).
func TestCountingBeginsBehindEnabled(t *testing.T) {
	c := &socket{}
	s := newSession(c, limits())
	s.Send(message(1))
	s.EnableAcks([]byte("<enabled/>"))
	s.Send(message(2))
	s.Send(session.Entry{Tail: []byte("<a/>")})
	s.Send(message(3))
	s.Flush(true)
	if want := written(1) + "<enabled/>" + written(2) + "<a/>" + written(3); c.text() != want {
		t.Errorf("written %q, want %q", c.text(), want)
	}
	if _, err := s.Acked(3); err == nil {
		t.Error("the message before <enabled/> was counted")
	}
	if got := acked(t, s, 2); !slices.Equal(got, []int64{2, 3}) {
		t.Errorf("settled %v, want [2 3]", got)
	}
	s.End()
}

func TestAckedSettlesThePrefix(t *testing.T) {
	s := newSession(&socket{}, limits())
	s.EnableAcks(nil)
	put(s, 1, 5)
	for _, tt := range []struct {
		h       uint32
		settled []int64
		left    int
	}{{0, nil, 5}, {2, []int64{1, 2}, 3}, {2, nil, 3}, {3, []int64{3}, 2}, {5, []int64{4, 5}, 0}, {5, nil, 0}} {
		if got := acked(t, s, tt.h); !slices.Equal(got, tt.settled) {
			t.Errorf("h=%d settled %v, want %v", tt.h, got, tt.settled)
		}
		if _, n := s.Queued(); n != tt.left {
			t.Errorf("h=%d left %d, want %d", tt.h, n, tt.left)
		}
	}
	put(s, 6, 8)
	if got := acked(t, s, 7); !slices.Equal(got, []int64{6, 7}) {
		t.Errorf("settled %v", got)
	}
	s.Send(message(9))
	if got := ids(s.End()); !slices.Equal(got, []int64{8, 9}) {
		t.Errorf("handed back %v, want what is unacknowledged, then what is unsent", got)
	}
}

// XEP-0198 §4: the stream ends with handled-count-too-high.
func TestImpossibleAckIsRefused(t *testing.T) {
	s := newSession(&socket{}, limits())
	if _, err := s.Acked(0); err == nil {
		t.Error("an <a/> without <enable/> was taken")
	}
	s.EnableAcks(nil)
	put(s, 1, 3)
	acked(t, s, 2)
	for _, h := range []uint32{4, 1, 0, math.MaxUint32, 1 << 31} {
		settled, err := s.Acked(h)
		var e *stream.Error
		if !errors.As(err, &e) || settled != nil {
			t.Errorf("h=%d: settled %v, %v; want a stream error", h, ids(settled), err)
		}
	}
	if got := acked(t, s, 3); !slices.Equal(got, []int64{3}) {
		t.Errorf("settled %v", got)
	}
	s.End()
}

func TestAskAfterEightStanzas(t *testing.T) {
	c := &socket{}
	s := newSession(c, limits())
	s.EnableAcks(nil)
	put(s, 1, 7)
	if n := strings.Count(c.text(), request); n != 0 {
		t.Errorf("asked %d times after 7 stanzas", n)
	}
	put(s, 8, 8)
	if !strings.HasSuffix(c.text(), written(8)+request) {
		t.Errorf("not asked after 8 stanzas: %q", c.text())
	}
	put(s, 9, 30)
	if n := strings.Count(c.text(), request); n != 1 {
		t.Errorf("asked %d times, one question is open", n)
	}
	acked(t, s, 30)
	put(s, 31, 37)
	if n := strings.Count(c.text(), request); n != 1 {
		t.Errorf("asked %d times, 7 are unacknowledged", n)
	}
	put(s, 38, 38)
	if n := strings.Count(c.text(), request); n != 2 {
		t.Errorf("asked %d times, want 2", n)
	}
	s.End()
}

func TestAskWithinTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &socket{}
		s := newSession(c, limits())
		s.EnableAcks(nil)
		asked := func(want int, when string) {
			t.Helper()
			synctest.Wait()
			if n := strings.Count(c.text(), request); n != want {
				t.Errorf("%s: asked %d times, want %d", when, n, want)
			}
		}
		// Several in one write, then nothing for a while: twice, for the timer is
		// used again.
		n := 0
		for i := range 3 {
			for range 3 {
				n++
				s.Send(message(n))
			}
			s.Flush(true)
			time.Sleep(1900 * time.Millisecond)
			asked(i, "after 1.9 s")
			time.Sleep(200 * time.Millisecond)
			asked(i+1, "after 2.1 s")
			acked(t, s, uint32(n))
			time.Sleep(time.Hour)
			asked(i+1, "when all is acknowledged")
		}
		// A part is acknowledged: the rest is asked about.
		put(s, n+1, n+3)
		time.Sleep(3 * time.Second)
		asked(4, "again")
		acked(t, s, uint32(n+1))
		time.Sleep(3 * time.Second)
		asked(5, "after an ack of a part")
		time.Sleep(time.Hour)
		asked(5, "while a question is open")
		acked(t, s, uint32(n+3))
		put(s, n+4, n+4)
		s.End()
		time.Sleep(time.Hour)
		asked(5, "after the end")
		if q, _ := s.Queued(); q != 0 {
			t.Errorf("%d bytes counted", q)
		}
	})
}

// Our own elements count in the queue as others do.
func TestQueuedBytesWithAcks(t *testing.T) {
	c := &socket{}
	s := newSession(c, limits())
	s.EnableAcks([]byte("<enabled/>"))
	session.SetH(s.In, 7)
	s.Ack()
	s.Send(message(1))
	s.Flush(true)
	if q, _ := s.Queued(); q != 0 {
		t.Errorf("%d bytes counted in an empty queue", q)
	}
	if want := "<enabled/><a xmlns='" + ns.Acks + "' h='7'/>" + written(1); c.text() != want {
		t.Errorf("written %q, want %q", c.text(), want)
	}
	session.SetH(s.In, math.MaxUint32)
	s.Ack()
	s.Flush(true)
	if !strings.HasSuffix(c.text(), " h='4294967295'/>") {
		t.Errorf("written %q", c.text())
	}
	s.End()
	s.Ack()
}

// A client that reads and never acknowledges is closed at the limits.
func TestClientThatNeverAcks(t *testing.T) {
	for _, l := range []session.Limits{
		{QueueBytes: 1 << 20, UnackedBytes: 1 << 20, Unacked: 20},
		{QueueBytes: 1 << 20, UnackedBytes: 1000, Unacked: 1 << 20},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := &socket{}
			s := newSession(c, l)
			s.EnableAcks(nil)
			n := 0
			for ; len(c.ends()) == 0 && n < 1000; n++ {
				s.Send(message(n + 1))
				s.Flush(true)
				synctest.Wait()
			}
			if got := c.ends(); len(got) != 1 || !errors.Is(got[0], session.ErrSlow) {
				t.Errorf("closed with %v after %d stanzas", got, n)
			}
			if n > 23 {
				t.Errorf("closed after %d stanzas", n)
			}
			if got := s.End(); len(got) != n {
				t.Errorf("%d of %d handed back", len(got), n)
			}
		})
	}
}

// h wraps at 2^32 (XEP-0198 §4). The count is that of package negotiate; here it
// is shown that nothing of ours breaks beside it.
func TestAckedAcrossTheOverflow(t *testing.T) {
	s := newSession(&silent{}, session.Limits{QueueBytes: 1 << 20, UnackedBytes: 1 << 20, Unacked: 1 << 20})
	s.EnableAcks(nil)
	session.SetSent(s, math.MaxUint32-2)
	put(s, 1, 6)
	if got := acked(t, s, math.MaxUint32); !slices.Equal(got, []int64{1, 2}) {
		t.Errorf("settled %v, want [1 2]", got)
	}
	if got := acked(t, s, 1); !slices.Equal(got, []int64{3, 4}) {
		t.Errorf("settled %v, want [3 4]", got)
	}
	if _, err := s.Acked(math.MaxUint32); err == nil {
		t.Error("h went back across the overflow")
	}
	if _, err := s.Acked(4); err == nil {
		t.Error("an h too high was taken")
	}
	if got := acked(t, s, 3); !slices.Equal(got, []int64{5, 6}) {
		t.Errorf("settled %v, want [5 6]", got)
	}
	s.End()
}

// What the client may not have, and for how long it has been asked.
func TestUnsure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSession(&socket{}, limits())
		check := func(when string, asked time.Duration, want bool) {
			t.Helper()
			since, unsure := s.Unsure()
			if unsure != want || since.IsZero() != (asked < 0) || asked >= 0 && time.Since(since) != asked {
				t.Errorf("%s: unsure %v since %v, want %v for %v", when, unsure, since, want, asked)
			}
		}
		put(s, 1, 1)
		check("without acknowledgements", -1, false)
		s.EnableAcks(nil)
		check("nothing sent", -1, false)
		put(s, 2, 2)
		check("not asked yet", -1, true)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		check("asked after 2 s", 8*time.Second, true)
		acked(t, s, 1)
		check("acknowledged", -1, false)
		put(s, 3, 3)
		s.End()
		check("ended with a rest", -1, true)
		done := newSession(&socket{}, limits())
		done.EnableAcks(nil)
		done.End()
		if _, unsure := done.Unsure(); unsure {
			t.Error("a session that has left nothing is unsure")
		}
	})
}
