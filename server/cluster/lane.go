package cluster

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"kith/server/storage"
)

// envelope is one thing in a lane's queue: an item for one actor, for many (a
// fan), or the word of a reader that an actor is loaded.
type envelope struct {
	key     Key
	item    Item
	fan     []Key // instead of key
	live    bool
	refused bool // it came after Close
}

// lane runs the actors of its shards, one goroutine at a time.
type lane struct {
	c      *Local
	actors atomic.Int64 // len(slots), for figures

	mu      sync.Mutex // guards queue, spare, running, refuse
	queue   []envelope
	spare   []envelope // a used queue, to be filled next
	running bool       // somebody holds the run token
	refuse  refusal

	// What follows belongs to the holder of the run token.
	slots  map[Key]*slot
	idle   slot // ring of slots nobody is attached to, least recently used first
	bytes  int  // their sizes
	budget int
	turn   Turn
	heal   []*slot // to be mended once the batch is through
}

// refusal says what a lane does not take because the cluster is being closed.
type refusal uint8

const (
	nothing refusal = iota
	fromOutside
	everything
)

// slot holds an actor, or its place while it is being loaded.
type slot struct {
	key        Key
	actor      Actor
	loading    bool // what arrives is parked
	doubt      bool // a panic or Forget: load it anew after the batch
	touched    bool // handled something in this batch
	size       int  // as counted in lane.bytes; 0 when not in the ring
	parked     []envelope
	retry      []handled   // after a failed commit, to be run one by one
	since      time.Time   // when the first of retry or parked began to wait for the store
	timer      *time.Timer // until the next try to load
	next, prev *slot
}

// handled is what ran in a batch.
type handled struct {
	slot   *slot
	item   Item
	passes int // how much of what it passed on has left
}

// away reports whether what arrives for the actor has to wait.
func (s *slot) away() bool { return s.loading || s.doubt || len(s.retry) > 0 }

// push appends an envelope; outside says that it is not the doing of an item. It
// reports whether the caller got the run token and must run the lane.
func (l *lane) push(e envelope, outside bool) bool {
	l.mu.Lock()
	e.refused = l.refuse == everything || outside && l.refuse == fromOutside
	l.queue = append(l.queue, e)
	return l.claim()
}

// pushItems appends items for one actor, from outside.
func (l *lane) pushItems(k Key, items []Item) bool {
	l.mu.Lock()
	for _, it := range items {
		l.queue = append(l.queue, envelope{key: k, item: it, refused: l.refuse != nothing})
	}
	return l.claim()
}

// claim takes the run token if it is free, and unlocks.
func (l *lane) claim() bool {
	claimed := !l.running
	if claimed {
		l.running = true
		l.c.hold()
	}
	l.mu.Unlock()
	return claimed
}

// take returns what is queued; when that is nothing, it gives the token back.
func (l *lane) take() []envelope {
	l.mu.Lock()
	if len(l.queue) == 0 {
		l.letGo()
		return nil
	}
	b := l.queue
	l.queue, l.spare = l.spare[:0], nil
	l.mu.Unlock()
	return b
}

// rest gives the token back if nothing is queued, and reports whether it did.
func (l *lane) rest() bool {
	l.mu.Lock()
	if len(l.queue) > 0 {
		l.mu.Unlock()
		return false
	}
	l.letGo()
	return true
}

// letGo gives the token back, and unlocks.
func (l *lane) letGo() {
	l.running = false
	l.mu.Unlock()
	l.c.release()
}

// giveBack returns a batch's array for the next queue.
func (l *lane) giveBack(b []envelope) {
	clear(b)
	if cap(b) == 0 || cap(b) > 4096 {
		return
	}
	l.mu.Lock()
	l.spare = b[:0]
	l.mu.Unlock()
}

// handleAll runs the items of a batch on their actors.
func (l *lane) handleAll(t *Turn, b []envelope) {
	n := 0
	for i := range b {
		e := &b[i]
		switch it := e.item.(type) {
		case *loaded:
			l.loaded(t, it)
			continue
		case stopWaiting:
			l.stopWaiting(t)
			continue
		}
		if e.fan == nil {
			n++
			l.handle(t, *e)
			continue
		}
		n += len(e.fan)
		for _, k := range e.fan {
			l.handle(t, envelope{key: k, item: e.item, live: e.live, refused: e.refused})
		}
	}
	l.c.batches.Add(1)
	l.c.envelopes.Add(int64(n))
}

func (l *lane) handle(t *Turn, e envelope) {
	if e.refused {
		t.fail(e.key, e.item, ErrClosed)
		return
	}
	s := l.slots[e.key]
	if s == nil {
		if e.live {
			t.fail(e.key, e.item, ErrAbsent)
			return
		}
		s = &slot{key: e.key, since: t.now}
		l.slots[e.key] = s
		l.actors.Add(1)
		l.load(s, 0)
	}
	// A live item is parked like any other: it may be about what is parked
	// before it, or about rows that the load did not see.
	if s.away() {
		s.parked = append(s.parked, e)
		return
	}
	if l.try(t, s, e.item) {
		t.items = append(t.items, handled{s, e.item, t.passes})
		return
	}
	t.fail(s.key, e.item, ErrPanic)
	l.suspect(s)
}

// try handles one item; when that panics, nothing of what it put into the turn
// remains.
func (l *lane) try(t *Turn, s *slot, it Item) (ok bool) {
	if !s.touched {
		s.touched = true
		t.touched = append(t.touched, s)
	}
	mark := t.mark()
	defer func() {
		if v := recover(); v != nil {
			l.c.panicked(v, "item", s.key)
			t.rollback(mark)
			ok = false
		}
	}()
	t.key, t.forget, t.passes = s.key, false, 0
	it.Handle(t, s.actor)
	if t.forget {
		l.suspect(s)
	}
	return true
}

// suspect has an actor loaded anew once the batch is through.
func (l *lane) suspect(s *slot) {
	if !s.doubt {
		s.doubt = true
		l.heal = append(l.heal, s)
	}
}

// complete ends a batch: what it wrote is committed, its effects happen, and
// actors that it left in doubt are seen to.
func (l *lane) complete(t *Turn, b []envelope) {
	r := t.run
	l.finish(t)
	l.giveBack(b)
	for i := 0; i < len(l.heal); i++ { // what is mended may break again
		l.mend(r, l.heal[i])
	}
	clear(l.heal)
	l.heal = l.heal[:0]
	l.evict()
}

// finish commits what the turn holds and lets its effects happen.
func (l *lane) finish(t *Turn) {
	t.run.pushPassed(t)
	if err := l.commit(t); err != nil {
		l.undo(t, err)
	}
	l.effects(t)
	l.settle(t)
}

// commit stores the turn's rows. Lanes that this goroutine has claimed do not
// wait with it.
func (l *lane) commit(t *Turn) (err error) {
	if len(t.ops) == 0 {
		return nil
	}
	c := l.c
	t.run.spawn()
	c.commits.Add(1)
	defer func() {
		if v := recover(); v != nil {
			c.panicked(v, "commit", "")
			err = ErrPanic
		}
		clear(t.ops)
		t.ops = t.ops[:0]
		c.committed(err)
	}()
	return c.store.Commit(t.ops)
}

// committed keeps account of how the store does.
func (c *Local) committed(err error) {
	if err == nil {
		if c.down.Load() != 0 && c.down.Swap(0) != 0 {
			c.log.Info("the store takes rows again")
		}
		return
	}
	c.failures.Add(1)
	if !errors.Is(err, storage.ErrUnavailable) {
		c.log.Warn("commit failed; the items of the batch run again one by one", "error", err)
	} else if c.down.CompareAndSwap(0, time.Now().UnixNano()) {
		c.log.Error("the store takes no rows; items wait", "error", err)
	}
}

// effects does what waited for the commit.
func (l *lane) effects(t *Turn) {
	t.effecting = true
	for i := 0; i < len(t.after); i++ { // effects may ask for more
		l.effect(t, t.after[i])
	}
	t.effecting = false
	t.run.pushPassed(t)
	l.flush(t)
}

func (l *lane) effect(t *Turn, e effect) {
	t.key = e.key
	defer func() {
		if v := recover(); v != nil {
			l.c.panicked(v, "effect", e.key)
		}
	}()
	switch e.kind {
	case sends, passes:
		t.passed = append(t.passed, t.sends[e.n])
	case fails:
		t.failed[e.n].tell(t)
	default:
		e.Committed(t)
	}
}

// flush has the outbound queues that the batch has filled sent.
func (l *lane) flush(t *Turn) {
	for i := range t.dirty {
		l.flushOne(t.dirty[i], len(t.dirty) == 1)
	}
	clear(t.dirty)
	clear(t.isDirty)
	t.dirty = t.dirty[:0]
}

func (l *lane) flushOne(f Flusher, alone bool) {
	defer func() {
		if v := recover(); v != nil {
			l.c.panicked(v, "flush", "")
		}
	}()
	f.Flush(alone)
}

// undo is what a failed commit means: no effect of the batch happens but for
// items that had failed already, every actor in it forgets, and its items run
// again one by one.
func (l *lane) undo(t *Turn, err error) {
	l.c.log.Debug("batch undone", "items", len(t.items), "error", err)
	t.keepCertain()
	for _, h := range t.items {
		if len(h.slot.retry) == 0 {
			h.slot.since = t.now
		}
		h.slot.retry = append(h.slot.retry, h)
	}
	for _, s := range t.touched {
		s.doubt = false // the load below sees to that too
		l.load(s, 0)
	}
}

// settle clears the marks of a batch and brings actors nobody is attached to
// into the ring.
func (l *lane) settle(t *Turn) {
	for _, s := range t.touched {
		s.touched = false
		l.unlink(s)
		if s.away() || s.actor.Busy() {
			continue
		}
		s.size = s.actor.Size()
		l.bytes += s.size
		s.prev, s.next = l.idle.prev, &l.idle
		s.prev.next, s.next.prev = s, s
	}
	t.end()
}

func (l *lane) unlink(s *slot) {
	if s.next == nil {
		return
	}
	s.next.prev, s.prev.next = s.prev, s.next
	s.next, s.prev = nil, nil
	l.bytes -= s.size
	s.size = 0
}

// evict forgets actors nobody is attached to, the longest unused first, until
// the others fit the budget.
func (l *lane) evict() {
	for l.bytes > l.budget && l.idle.next != &l.idle {
		s := l.idle.next
		l.unlink(s)
		l.drop(s)
	}
}

func (l *lane) drop(s *slot) {
	delete(l.slots, s.key)
	l.actors.Add(-1)
}

var _ Store = (*storage.DB)(nil)
