package session

import (
	"sync"
	"sync/atomic"
	"time"
)

// DoneWithin is how long a stanza may be under way. One that takes longer is lost
// in the server, or the store stands still: its credit is given back, but h stays
// where it is, for nobody knows that the stanza is kept.
const DoneWithin = 30 * time.Second

// Inbound is what a stream has read and the server is not done with: the
// stream's credit, and the count h that XEP-0198 acknowledges. h is the longest
// prefix of stanzas that are done.
type Inbound struct {
	maxStanzas, maxBytes int
	advanced             func() // called without the lock when h has grown
	overdue              func() // and when a stanza took too long; may be nil

	mu      sync.Mutex // guards what follows
	h       uint32     // stanzas done, modulo 2^32 (XEP-0198 §4)
	skip    int        // stanzas of open that came before counting began
	open    []*Ticket  // taken, in order; the first is not done
	stanzas int        // not done
	bytes   int
	broken  bool          // h must never grow again
	freed   bool          // nobody waits for credit any more
	still   chan struct{} // closed when nothing is under way; nil: nobody waits for that
	room    *sync.Cond    // wakes the reader
	timer   *time.Timer
	armed   bool // the timer will fire
	stopped bool // and must not be set again

	late    atomic.Int64 // Done called for what was done
	expired atomic.Int64 // tickets that were done by DoneWithin
}

// NewInbound returns the book of a session. advanced is called when h has grown
// and must not block; if it is nil, the session is told.
func NewInbound(maxStanzas, maxBytes int, advanced func()) *Inbound {
	in := &Inbound{maxStanzas: maxStanzas, maxBytes: maxBytes, advanced: advanced}
	in.room = sync.NewCond(&in.mu)
	return in
}

// OnOverdue sets what is called when a stanza has been under way for too long. It
// must be set before the first Take and must not block.
func (in *Inbound) OnOverdue(f func()) { in.overdue = f }

// Ticket stands for one stanza under way. It is done when every part of the
// server that holds it has let go.
type Ticket struct {
	in    *Inbound
	holds int  // guarded by in.mu
	done  bool // guarded by in.mu; for good
	size  int
	at    time.Time
}

// Take opens a ticket for a stanza of size bytes that was read at the given
// time. The first holder is the caller. t must be fresh.
func (in *Inbound) Take(t *Ticket, size int, now time.Time) {
	*t = Ticket{in: in, holds: 1, size: size, at: now}
	in.mu.Lock()
	in.open = append(in.open, t)
	in.still = nil
	in.stanzas++
	in.bytes += size
	in.arm(DoneWithin)
	in.mu.Unlock()
}

// arm sets the timer, unless it is. It is not touched when stanzas are done: that
// it may fire for nothing twice a minute costs less than to set it for each.
func (in *Inbound) arm(d time.Duration) {
	switch {
	case in.armed || in.stopped:
		return
	case in.timer == nil:
		in.timer = time.AfterFunc(d, in.expire)
	default:
		in.timer.Reset(d)
	}
	in.armed = true
}

// Full reports whether the stream has no credit left.
func (in *Inbound) Full() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.full()
}

func (in *Inbound) full() bool { return in.stanzas >= in.maxStanzas || in.bytes >= in.maxBytes }

// Wait returns once there is credit, or the stream is being closed. Only the
// stream's reader may call it.
func (in *Inbound) Wait() {
	in.mu.Lock()
	for in.full() && !in.freed {
		in.room.Wait()
	}
	in.mu.Unlock()
}

// Free ends all waiting for credit: the stream is being closed, and its reader
// must learn it.
func (in *Inbound) Free() {
	in.mu.Lock()
	in.freed = true
	in.mu.Unlock()
	in.room.Signal()
}

// Reopen has the reader of a new stream wait for credit again.
func (in *Inbound) Reopen() {
	in.mu.Lock()
	in.freed = false
	in.mu.Unlock()
}

// Still returns a channel that is closed once nothing is under way. Nobody may
// take a ticket meanwhile.
func (in *Inbound) Still() <-chan struct{} {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.still == nil {
		in.still = make(chan struct{})
		in.rest()
	}
	return in.still
}

// rest tells who waits that nothing is under way, if that is so.
func (in *Inbound) rest() {
	if in.still != nil && len(in.open) == 0 {
		select {
		case <-in.still: // closed already
		default:
			close(in.still)
		}
	}
}

// H returns the count to acknowledge, and whether all that was taken is done.
func (in *Inbound) H() (h uint32, all bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.h, len(in.open) == 0
}

// CountFromHere makes h the count of what is taken from now on (XEP-0198 §4).
func (in *Inbound) CountFromHere() {
	in.mu.Lock()
	in.h, in.skip, in.broken = 0, len(in.open), false
	in.mu.Unlock()
}

// Break freezes h: something that was read could not be kept, so the stream must
// end without acknowledging it.
func (in *Inbound) Break() {
	in.mu.Lock()
	in.broken = true
	in.mu.Unlock()
}

// Late is how often Done came for a ticket that was done already.
func (in *Inbound) Late() int64 { return in.late.Load() }

// Expired is how many tickets were given up because nobody was done in time.
func (in *Inbound) Expired() int64 { return in.expired.Load() }

// Hold adds a holder. What is done already stays so.
func (t *Ticket) Hold() {
	if t == nil || t.in == nil {
		return
	}
	t.in.mu.Lock()
	t.holds++
	t.in.mu.Unlock()
}

// Done lets one hold go.
func (t *Ticket) Done() {
	if t == nil || t.in == nil {
		return
	}
	in := t.in
	in.mu.Lock()
	if t.done {
		in.mu.Unlock()
		in.late.Add(1)
		return
	}
	if t.holds--; t.holds > 0 {
		in.mu.Unlock()
		return
	}
	grown := in.close(t)
	in.mu.Unlock()
	if grown && in.advanced != nil {
		in.advanced()
	}
}

// Inbound returns the book the ticket is in, nil for the zero ticket.
func (t *Ticket) Inbound() *Inbound {
	if t == nil {
		return nil
	}
	return t.in
}

// close counts a ticket as done and advances h; it reports whether h has grown.
func (in *Inbound) close(t *Ticket) bool {
	wasFull := in.full()
	t.done = true
	in.stanzas--
	in.bytes -= t.size
	n := 0
	for n < len(in.open) && in.open[n].done {
		n++
	}
	if n > 0 {
		clear(in.open[:n])
		if n == len(in.open) {
			in.open = in.open[:0]
		} else {
			in.open = in.open[n:]
		}
		before := min(n, in.skip)
		in.skip -= before
		if !in.broken {
			in.h += uint32(n - before)
		}
		in.rest()
	}
	if wasFull && !in.full() {
		in.room.Signal()
	}
	return n > 0 && !in.broken
}

// expire closes what has been under way for too long.
func (in *Inbound) expire() {
	now := time.Now()
	in.mu.Lock()
	in.armed = false
	late := false
	for len(in.open) > 0 && now.Sub(in.open[0].at) >= DoneWithin {
		in.broken, late = true, true
		in.close(in.open[0])
		in.expired.Add(1)
	}
	if len(in.open) > 0 {
		in.arm(DoneWithin - now.Sub(in.open[0].at))
	}
	in.mu.Unlock()
	if late && in.overdue != nil {
		in.overdue()
	}
}

// Stop ends the timer. Tickets may still be closed.
func (in *Inbound) Stop() {
	in.mu.Lock()
	in.stopped = true
	if in.timer != nil {
		in.timer.Stop()
	}
	in.mu.Unlock()
}
