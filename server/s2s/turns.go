package s2s

import (
	"context"
	"sync"
)

// turns have each of many sources do only so much at a time, so that one that lets
// everything take long delays nobody else.
type turns struct {
	each int

	mu sync.Mutex // guards by
	by map[string]*turn
}

// turn is what one source does and wants to do.
type turn struct {
	slots chan struct{}
	n     int // who has a slot or waits for one
}

func newTurns(each int) *turns { return &turns{each: each, by: make(map[string]*turn)} }

// take waits until it is a source's turn. free has to be called then.
func (t *turns) take(ctx context.Context, source string) (free func(), err error) {
	t.mu.Lock()
	own := t.by[source]
	if own == nil {
		own = &turn{slots: make(chan struct{}, t.each)}
		t.by[source] = own
	}
	own.n++
	t.mu.Unlock()
	select {
	case own.slots <- struct{}{}:
		return func() { <-own.slots; t.leave(source, own) }, nil
	case <-ctx.Done():
		t.leave(source, own)
		return nil, ctx.Err()
	}
}

func (t *turns) leave(source string, own *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if own.n--; own.n == 0 {
		delete(t.by, source)
	}
}
