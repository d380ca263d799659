package limit

import (
	"context"
	"sync/atomic"
)

// Gate lets so many in at once; others wait. It is to be resized before it is used.
type Gate struct{ places atomic.Pointer[chan struct{}] }

// Resize changes how many that are. Those who are in count with the others of then.
func (g *Gate) Resize(n int) {
	if old := g.places.Load(); old != nil && cap(*old) == n {
		return
	}
	places := make(chan struct{}, n)
	g.places.Store(&places)
}

// Enter waits for a place; leave gives it back. The error is the context's.
func (g *Gate) Enter(ctx context.Context) (leave func(), err error) {
	places := *g.places.Load()
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
