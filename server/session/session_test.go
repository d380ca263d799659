package session_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"kith/server/session"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// socket is a stream that writes down what it is given, as far as it takes it.
type socket struct {
	mu     sync.Mutex
	got    strings.Builder
	how    []string // the calls
	closed []error
	tries  func() (done bool, err error) // answers of TryWriteBatch
	gate   chan struct{}                 // WriteBatch and Drain take a value from it
	broken error                         // WriteBatch and Drain fail
	pieces []int                         // sizes of what was written
}

func (c *socket) write(how string, b [][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.how = append(c.how, how)
	for _, p := range b {
		c.got.Write(p)
		c.pieces = append(c.pieces, len(p))
	}
}

func (c *socket) TryWriteBatch(b [][]byte) (bool, error) {
	if c.tries != nil {
		done, err := c.tries()
		if err == nil {
			c.write("try", b)
		}
		return done, err
	}
	c.write("try", b)
	return true, nil
}

func (c *socket) WriteBatch(b [][]byte) error {
	if c.gate != nil {
		<-c.gate
	}
	if c.broken != nil {
		return c.broken
	}
	c.write("write", b)
	return nil
}

func (c *socket) Drain() error {
	if c.gate != nil {
		<-c.gate
	}
	c.write("drain", nil)
	return c.broken
}

func (c *socket) Close(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = append(c.closed, err)
	return nil
}

func (c *socket) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.got.String()
}

func (c *socket) calls() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.how, " ")
}

func (c *socket) ends() []error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.closed)
}

func limits() session.Limits {
	return session.Limits{QueueBytes: 1 << 20, UnackedBytes: 1 << 20, Unacked: 1000}
}

func newSession(c session.Conn, l session.Limits) *session.Session {
	s := session.New(session.NewID(), jid.MustParse("romeo@montague.example/orchard"), c, session.NewInbound(10, 1<<20, nil), l)
	s.Start()
	return s
}

// message is an entry whose tail tells it from others.
func message(n int) session.Entry {
	return session.Entry{Kind: stanza.Message, To: "romeo@montague.example/orchard", Tail: fmt.Appendf(nil, " id='%d'/>", n), Store: int64(n)}
}

func written(n int) string {
	return fmt.Sprintf("<message to='romeo@montague.example/orchard' id='%d'/>", n)
}

// ids returns the archive ids of entries.
func ids(es []session.Entry) []int64 {
	var out []int64
	for _, e := range es {
		out = append(out, e.Store)
	}
	return out
}

func TestAloneIsWrittenOnTheCallersGoroutine(t *testing.T) {
	c := &socket{}
	s := newSession(c, limits())
	s.Send(message(1))
	s.Send(message(2))
	s.Flush(true)
	if got, want := c.text(), written(1)+written(2); got != want {
		t.Errorf("written %q, want %q", got, want)
	}
	if got := c.calls(); got != "try" {
		t.Errorf("calls: %s; want one write for both", got)
	}
	s.Flush(true) // nothing is queued
	if got := c.calls(); got != "try" {
		t.Errorf("calls: %s", got)
	}
	s.End()
}

func TestNotAloneIsWrittenByAGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &socket{gate: make(chan struct{})}
		s := newSession(c, limits())
		s.Send(message(1))
		s.Flush(false)
		s.Send(message(2))
		s.Flush(true) // the goroutine does it
		synctest.Wait()
		close(c.gate)
		synctest.Wait()
		if got, want := c.text(), written(1)+written(2); got != want {
			t.Errorf("written %q, want %q", got, want)
		}
		if got := c.calls(); got != "write" && got != "write write" {
			t.Errorf("calls: %s", got)
		}
		s.End()
	})
}

func TestNothingIsWrittenBeforeStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &socket{}
		s := session.New(session.NewID(), jid.MustParse("romeo@montague.example/orchard"), c, session.NewInbound(10, 1<<20, nil), limits())
		s.Send(message(1))
		s.Flush(true)
		s.Flush(false)
		synctest.Wait()
		if got := c.calls(); got != "" {
			t.Errorf("calls before Start: %s", got)
		}
		s.Start()
		synctest.Wait()
		if got := c.text(); got != written(1) {
			t.Errorf("written %q", got)
		}
		s.End()
	})
}

// A socket that takes only a part, or nothing: a goroutine goes on, in order.
func TestSocketThatWouldBlock(t *testing.T) {
	for _, tt := range []struct {
		name  string
		err   error
		calls string
	}{
		{"a part is pending", nil, "try drain write"},
		{"nothing was taken", stream.ErrWouldBlock, "write write"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &socket{gate: make(chan struct{}), tries: func() (bool, error) { return false, tt.err }}
				s := newSession(c, limits())
				s.Send(message(1))
				s.Flush(true)
				s.Send(message(2))
				s.Flush(true)
				synctest.Wait()
				s.Send(message(3))
				s.Flush(true)
				close(c.gate)
				synctest.Wait()
				if got, want := c.text(), written(1)+written(2)+written(3); got != want {
					t.Errorf("written %q, want %q", got, want)
				}
				if got := c.calls(); got != tt.calls {
					t.Errorf("calls: %s; want %s", got, tt.calls)
				}
				if got := c.ends(); len(got) != 0 {
					t.Errorf("closed: %v", got)
				}
				s.End()
			})
		})
	}
}

func TestOrderUnderConcurrentSendAndFlush(t *testing.T) {
	c := &socket{}
	n := 0
	c.tries = func() (bool, error) {
		switch n++; n % 3 {
		case 0:
			return false, stream.ErrWouldBlock
		case 1:
			return false, nil
		}
		return true, nil
	}
	s := newSession(c, session.Limits{QueueBytes: 1 << 30})
	const senders, each = 8, 500
	var wg sync.WaitGroup
	for g := range senders {
		wg.Go(func() {
			for i := range each {
				s.Send(session.Entry{Tail: fmt.Appendf(nil, "%d:%d\n", g, i)})
				s.Flush(i%2 == 0)
			}
		})
	}
	wg.Wait()
	for queued := 1; queued > 0; {
		queued, _ = s.Queued()
	}
	var lines []string
	for len(lines) < senders*each+1 {
		lines = strings.Split(c.text(), "\n")
	}
	next := make([]int, senders)
	for _, l := range lines[:senders*each] {
		var g, i int
		if _, err := fmt.Sscanf(l, "%d:%d", &g, &i); err != nil || next[g] != i {
			t.Fatalf("%q after %d of that sender: %v", l, next[g], err)
		}
		next[g]++
	}
	s.End()
}

func TestLongQueueIsWrittenInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &socket{}
		s := newSession(c, limits())
		tail := slices.Repeat([]byte("x"), 10_000)
		for range 30 {
			s.Send(session.Entry{Kind: stanza.Message, Tail: tail})
		}
		s.Flush(true)
		synctest.Wait()
		if n := slices.Max(c.pieces); n > 64<<10+10_100 || len(c.pieces) != 5 {
			t.Errorf("pieces of %v bytes", c.pieces)
		}
		if q, _ := s.Queued(); q != 0 {
			t.Errorf("%d bytes counted in an empty queue", q)
		}
		s.End()
	})
}

// Whoever does not read is closed, once; what it did not get is handed back.
func TestFullQueueClosesTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &socket{gate: make(chan struct{})}
		s := newSession(c, session.Limits{QueueBytes: 1000})
		s.Send(message(1))
		s.Flush(false)
		synctest.Wait()
		n := 1
		for len(c.ends()) == 0 {
			n++
			if !s.Send(message(n)) {
				t.Fatal("refused although it has not ended")
			}
			s.Flush(true)
			synctest.Wait()
		}
		for range 10 {
			n++
			s.Send(message(n))
		}
		synctest.Wait()
		if got := c.ends(); len(got) != 1 || !errors.Is(got[0], session.ErrSlow) {
			t.Errorf("closed with %v, want ErrSlow once", got)
		}
		if n < 12 || n > 40 {
			t.Errorf("closed after %d entries of about 80 bytes in a queue of 1000", n)
		}
		rest := s.End()
		if got := ids(rest); len(got) != n || got[0] != 1 || got[n-1] != int64(n) || !slices.IsSorted(got) {
			t.Errorf("handed back: %v", got)
		}
		close(c.gate)
		synctest.Wait()
		if s.Send(message(99)) || !s.Ended() {
			t.Error("an ended session takes a stanza")
		}
	})
}

// What was being written when the connection broke may not have arrived.
func TestBrokenConnection(t *testing.T) {
	for _, how := range []string{"try", "drain", "write"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				broken := errors.New("connection reset by peer")
				c := &socket{broken: broken}
				switch how {
				case "try":
					c.tries = func() (bool, error) { return false, broken }
				case "drain":
					c.tries = func() (bool, error) { return false, nil }
				}
				s := newSession(c, limits())
				s.Send(message(1))
				s.Flush(how != "write")
				synctest.Wait()
				s.Send(message(2))
				s.Flush(true)
				s.Flush(false)
				synctest.Wait()
				if got := c.ends(); len(got) != 1 || got[0] != broken {
					t.Errorf("closed with %v", got)
				}
				if got := ids(s.End()); !slices.Equal(got, []int64{1, 2}) {
					t.Errorf("handed back: %v, want [1 2]", got)
				}
			})
		})
	}
}

// Close is called by lanes: it does not wait for a stream that takes its time.
func TestCloseDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &slowClose{gate: make(chan struct{})}
		s := newSession(c, limits())
		s.Close(stream.ErrConflict)
		s.Close(stream.ErrNotAuthorized)
		synctest.Wait()
		close(c.gate)
		synctest.Wait()
		if got := c.ends(); len(got) != 1 || got[0] != error(stream.ErrConflict) {
			t.Errorf("closed with %v", got)
		}
		s.End()
	})
}

type slowClose struct {
	socket
	gate chan struct{}
}

func (c *slowClose) Close(err error) error {
	<-c.gate
	return c.socket.Close(err)
}

func TestEndHandsBackOnceAndWhatWasNotSent(t *testing.T) {
	c := &socket{}
	s := newSession(c, limits())
	s.Send(message(1))
	s.Flush(true)
	s.Send(message(2))
	s.Send(session.Entry{Tail: []byte("<a/>")})
	s.Send(message(3))
	if got := ids(s.End()); !slices.Equal(got, []int64{2, 3}) {
		t.Errorf("handed back: %v, want [2 3]", got)
	}
	if got := s.End(); got != nil {
		t.Errorf("handed back twice: %v", got)
	}
	s.Flush(true)
	s.Flush(false)
	if got := c.text(); got != written(1) {
		t.Errorf("written after the end: %q", got)
	}
}

// With XEP-0198 and without, a stanza to one session costs no memory here beyond
// the list of what is unacknowledged.
func TestSendAllocatesNothing(t *testing.T) {
	s := newSession(&silent{}, limits())
	e := message(1)
	if n := testing.AllocsPerRun(1000, func() { s.Send(e); s.Flush(true) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	s.EnableAcks(nil)
	h := uint32(0)
	if n := testing.AllocsPerRun(1000, func() {
		s.Send(e)
		s.Flush(true)
		if h++; h%4 == 0 {
			if _, err := s.Acked(h); err != nil {
				t.Fatal(err)
			}
		}
	}); n > 1 {
		t.Errorf("%v allocations with acks, want at most 1", n)
	}
	s.End()
}

// silent takes everything.
type silent struct{}

func (silent) TryWriteBatch([][]byte) (bool, error) { return true, nil }
func (silent) WriteBatch([][]byte) error            { return nil }
func (silent) Drain() error                         { return nil }
func (silent) Close(error) error                    { return nil }

func BenchmarkSendFlush(b *testing.B) {
	s := newSession(&silent{}, limits())
	e := session.Entry{Kind: stanza.Message, To: "romeo@montague.example/orchard", Tail: slices.Repeat([]byte("x"), 400)}
	b.ReportAllocs()
	for b.Loop() {
		s.Send(e)
		s.Flush(true)
	}
	s.End()
}
