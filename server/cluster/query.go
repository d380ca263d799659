package cluster

import (
	"context"
	"sync"
)

// pool runs loads and queries on at most limit goroutines, first come, first
// served. It has no goroutine while it has nothing to do.
type pool struct {
	c       *Local
	limit   int
	mu      sync.Mutex // guards what follows
	waiting []func()
	running int
}

func (p *pool) do(job func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == p.limit {
		p.waiting = append(p.waiting, job)
		return
	}
	p.running++
	go p.work(job)
}

func (p *pool) work(job func()) {
	for {
		job()
		p.mu.Lock()
		if len(p.waiting) == 0 {
			p.running--
			p.mu.Unlock()
			return
		}
		job = p.waiting[0]
		p.waiting[0] = nil
		p.waiting = p.waiting[1:]
		p.mu.Unlock()
	}
}

// AskerLimit is how many queries of one asker are under way at once.
const AskerLimit = 4

// Asker keeps one requester's queries in order: replies about one target come
// in the order of the questions, and at most AskerLimit are under way. The zero
// value is ready.
type Asker struct {
	mu      sync.Mutex // guards what follows
	active  int
	waiting []*query
	order   map[Key]*line
}

// line is what was asked about one target and is not yet answered.
type line struct {
	asked     []*query
	answering bool // a goroutine gives the answers that are due
}

// query is a question on its way. Its answer is called when all questions about
// the same target that came before are answered.
type query struct {
	asker  *Asker
	target Key
	read   func(ctx context.Context) (answer func())
	failed func(error)
	answer func()
	done   bool
}

// Query has read run outside the lane once the batch is committed. It gets no
// actor: whatever it needs of one is copied before. The function that it
// returns is called in order, see Asker; it must not block. If read panics,
// failed is called in the answer's place.
func (t *Turn) Query(a *Asker, target Key, read func(ctx context.Context) (answer func()), failed func(error)) {
	q := &query{asker: a, target: target, read: read, failed: failed}
	c := t.lane.c
	t.After(EffectFunc(func(*Turn) { a.ask(c, q) }))
}

func (a *Asker) ask(c *Local, q *query) {
	c.hold() // until it is answered
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.order == nil {
		a.order = make(map[Key]*line)
	}
	l := a.order[q.target]
	if l == nil {
		l = new(line)
		a.order[q.target] = l
	}
	l.asked = append(l.asked, q)
	if a.active == AskerLimit {
		a.waiting = append(a.waiting, q)
		return
	}
	a.active++
	c.pool.do(func() { q.run(c) })
}

// run reads the answer, lets the next question go, and gives the answers that
// are due now.
func (q *query) run(c *Local) {
	answer := q.safeRead(c)
	a := q.asker
	a.mu.Lock()
	defer a.mu.Unlock()
	q.answer, q.done = answer, true
	if len(a.waiting) > 0 {
		next := a.waiting[0]
		a.waiting = a.waiting[1:]
		c.pool.do(func() { next.run(c) })
	} else {
		a.active--
	}
	l := a.order[q.target]
	if l.answering { // the one who does sees this one too
		return
	}
	l.answering = true
	for len(l.asked) > 0 && l.asked[0].done {
		first := l.asked[0]
		l.asked[0] = nil
		l.asked = l.asked[1:]
		// An answer may lead to the next question: no lock is held meanwhile.
		a.mu.Unlock()
		first.safeAnswer(c)
		a.mu.Lock()
	}
	l.answering = false
	if len(l.asked) == 0 {
		delete(a.order, q.target)
	}
}

func (q *query) safeRead(c *Local) (answer func()) {
	defer func() {
		if v := recover(); v != nil {
			c.panicked(v, "query", q.target)
			answer = func() { q.failed(ErrPanic) }
		}
	}()
	return q.read(c.ctx)
}

func (q *query) safeAnswer(c *Local) {
	defer c.release()
	defer func() {
		if v := recover(); v != nil {
			c.panicked(v, "answer", q.target)
		}
	}()
	if q.answer != nil {
		q.answer()
	}
}
