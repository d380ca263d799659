package s2s

import (
	"context"
	"fmt"
	"time"

	"kith/xmpp/stanza"
	"kith/xmpp/stream"
)

// A stop goes in three steps. Drain comes first, while senders can still be told, and
// once more when they have gone and nothing new can come from them; then Stop, and
// Close when nothing more is routed.

const (
	// flushWithin bounds how long a stop waits for what is under way to other servers.
	flushWithin = 2 * time.Second
	// drainPause is between two looks at what is still under way.
	drainPause = 5 * time.Millisecond
)

// errStopping is for what nobody has taken when the server stops.
var errStopping = stanza.ErrRemoteServerTimeout.With("The server is stopping.")

// Drain waits, for a moment, until other servers have taken what is queued for them, and
// have acknowledged it if they do that. What is left then goes back to its senders, and
// so does what follows it to the same domain.
func (s *Server) Drain(ctx context.Context) {
	s.settle(ctx)
	s.mu.Lock()
	for p, l := range s.links {
		if !l.settled() {
			s.given[p] = true
			s.returning.Add(1)
			s.wg.Go(l.giveUp)
		}
	}
	s.mu.Unlock()
	s.settle(ctx)
}

// settle waits until nothing of any link is under way, for a moment.
func (s *Server) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, flushWithin)
	defer cancel()
	tick := time.NewTicker(drainPause)
	defer tick.Stop()
	for {
		s.mu.Lock()
		all := s.returning.Load() == 0
		for _, l := range s.links {
			all = all && l.settled()
		}
		s.mu.Unlock()
		if all {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// settled reports whether nothing of the link's is under way.
func (l *link) settled() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue)+l.taken == 0 && (l.carrier == nil || l.carrier.unsettled() == 0)
}

// giveUp has all that the link has go back.
func (l *link) giveUp() {
	defer l.s.returning.Add(-1)
	l.mu.Lock()
	l.finishing, l.given = true, true
	c := l.carrier
	l.mu.Unlock()
	l.bounce(func(entry) bool { return true }, errStopping)
	l.rouse()
	if c != nil { // the link sends back what it has lost
		c.hangUp(stream.ErrConnectionTimeout)
	}
}

// Stop ends the streams of others, so that nothing more comes in.
func (s *Server) Stop() {
	s.mu.Lock()
	s.closing = true
	for c := range s.incoming {
		s.wg.Go(func() { c.end(stream.ErrSystemShutdown) })
	}
	s.mu.Unlock()
}

// Close sends what is queued on streams that exist, and ends them.
func (s *Server) Close(ctx context.Context) error {
	s.Stop()
	s.mu.Lock()
	for _, l := range s.links {
		l.finish()
	}
	s.mu.Unlock()
	flush, cancel := context.WithTimeout(ctx, flushWithin)
	defer cancel()
	written, done := make(chan struct{}), make(chan struct{})
	go func() {
		s.linked.Wait()
		close(written)
	}()
	select {
	case <-written:
	case <-flush.Done():
	}
	s.mu.Lock()
	for o := range s.outgoing {
		s.wg.Go(func() { o.hangUp(nil) })
	}
	s.mu.Unlock()
	go func() {
		s.linked.Wait()
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-flush.Done():
	}
	s.cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close streams with other servers: %w", ctx.Err())
	}
}

// finish ends the link once its stream has taken what is queued.
func (l *link) finish() {
	l.mu.Lock()
	l.finishing = true
	l.mu.Unlock()
	l.rouse()
}
