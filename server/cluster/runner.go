package cluster

import "runtime/debug"

// batchBudget is how many batches a goroutine that is not the lane's own runs
// before it hands the lane over.
const batchBudget = 16

// runner is a goroutine that holds run tokens.
type runner struct {
	c      *Local
	inline bool    // not a goroutine of a lane: it must not wait for a commit
	left   int     // of batchBudget, if inline
	todo   []*lane // claimed, to be run once the current lane is released
	head   int     // of todo, those before have been run

	// Memory for pushMany.
	ends  []int
	lanes []uint16
}

// runner returns a runner; its method run gives it back.
func (c *Local) runner(inline bool) *runner {
	r := c.runners.Get().(*runner)
	r.inline, r.left = inline, batchBudget
	return r
}

// runHere runs a lane, whose token the caller holds, on the caller's goroutine.
func (c *Local) runHere(l *lane) {
	r := c.runner(true)
	r.todo = append(r.todo, l)
	r.run()
}

// goLane runs a lane, whose token the caller holds, on a goroutine of its own.
func (c *Local) goLane(l *lane) {
	go func() {
		r := c.runner(false)
		r.todo = append(r.todo, l)
		r.run()
	}()
}

// run runs the claimed lanes, and those that they claim, until none is left: a
// batch of each in turn.
func (r *runner) run() {
	for r.head < len(r.todo) {
		l := r.todo[r.head]
		r.head++
		if r.left <= 0 { // there may be others who have nothing to do
			r.spawn()
			if r.inline {
				r.c.goLane(l)
				break
			}
			r.left = batchBudget
		}
		r.runLane(l)
	}
	clear(r.todo)
	r.todo, r.head = r.todo[:0], 0
	r.c.runners.Put(r)
}

// spawn gives all claimed lanes goroutines of their own, since this one is
// about to wait, or has had enough.
func (r *runner) spawn() {
	for _, l := range r.todo[r.head:] {
		r.c.goLane(l)
	}
	clear(r.todo)
	r.todo, r.head = r.todo[:0], 0
}

// runLane runs a lane until it is empty, but no more than a batch while others
// wait.
func (r *runner) runLane(l *lane) {
	for {
		b := l.take()
		if b == nil {
			return
		}
		r.left--
		t := &l.turn
		t.begin(l, r)
		l.handleAll(t, b)
		if r.inline && (len(t.ops) > 0 || len(l.heal) > 0) {
			r.pushPassed(t)
			r.c.handOver(l, b)
			return
		}
		l.complete(t, b)
		if l.rest() {
			return
		}
		if r.left <= 0 || r.head < len(r.todo) {
			r.todo = append(r.todo, l)
			return
		}
	}
}

// handOver goes on with a batch of a lane that is handled, and then with the
// lane, on a goroutine of the lane.
func (c *Local) handOver(l *lane, b []envelope) {
	go func() {
		r := c.runner(false)
		l.turn.run = r
		l.complete(&l.turn, b)
		r.todo = append(r.todo, l)
		r.run()
	}()
}

// pushPassed puts what the turn passed on into its lanes.
func (r *runner) pushPassed(t *Turn) {
	for i := range t.passed {
		s := &t.passed[i]
		if s.fan != nil {
			r.pushMany(*s, false)
			continue
		}
		r.push(*s)
	}
	clear(t.passed)
	t.passed = t.passed[:0]
}

// push puts an item into its lane.
func (r *runner) push(s send) {
	if l := r.c.lane(s.key); l.push(envelope{key: s.key, item: s.item}, false) {
		r.todo = append(r.todo, l)
	}
}

// pushMany makes one envelope a lane. All of them share one new array, sorted by
// lane.
func (r *runner) pushMany(s send, outside bool) {
	if len(s.fan) == 0 {
		return
	}
	n := len(r.c.lanes)
	if r.ends == nil {
		r.ends = make([]int, n)
	}
	if cap(r.lanes) < len(s.fan) {
		r.lanes = make([]uint16, max(len(s.fan), 64))
	}
	ends, lanes := r.ends, r.lanes[:len(s.fan)]
	clear(ends)
	for i, k := range s.fan {
		lanes[i] = uint16(k.Shard() % n)
		ends[lanes[i]]++
	}
	at := 0
	for i, count := range ends {
		ends[i] = at
		at += count
	}
	packed := make([]Key, len(s.fan))
	for i, k := range s.fan {
		packed[ends[lanes[i]]] = k
		ends[lanes[i]]++
	}
	at = 0
	for i, end := range ends {
		if end == at {
			continue
		}
		l := &r.c.lanes[i]
		if l.push(envelope{fan: packed[at:end:end], item: s.item, live: s.live}, outside) {
			r.todo = append(r.todo, l)
		}
		at = end
	}
}

func (c *Local) panicked(v any, what string, k Key) {
	c.panics.Add(1)
	c.log.Error("panic in a lane", "what", what, "key", string(k), "panic", v, "stack", string(debug.Stack()))
}
