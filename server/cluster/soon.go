package cluster

import (
	"sync"
	"time"
)

// soonAfter is how long an item may wait that nobody waits for.
const soonAfter = time.Second

// soon holds items that nobody waits for. They leave together, so that their rows
// share a commit; each would pay for one of its own.
type soon struct {
	mu     sync.Mutex // guards what follows
	sends  []send
	closed bool
}

// SendSoon sends an item to an actor within a second after the commit, together
// with others. What the item writes is lost if the machine fails before.
func (t *Turn) SendSoon(k Key, it Item) {
	s := send{from: t.key, key: k, item: it}
	t.After(EffectFunc(func(t *Turn) {
		if !t.run.c.later(s) {
			t.send(s)
		}
	}))
}

// later keeps it; false: the cluster is being closed.
func (c *Local) later(s send) bool {
	c.soon.mu.Lock()
	defer c.soon.mu.Unlock()
	if c.soon.closed {
		return false
	}
	if c.soon.sends = append(c.soon.sends, s); len(c.soon.sends) == 1 {
		time.AfterFunc(soonAfter, func() { c.sendSoon(false) })
	}
	return true
}

// sendSoon sends what has waited; last says that nothing will wait any more.
func (c *Local) sendSoon(last bool) {
	c.hold() // Close waits for it
	defer c.release()
	c.soon.mu.Lock()
	sends := c.soon.sends
	c.soon.sends, c.soon.closed = nil, c.soon.closed || last
	c.soon.mu.Unlock()
	r := c.runner(true)
	for _, s := range sends {
		r.push(s)
	}
	r.run()
}
