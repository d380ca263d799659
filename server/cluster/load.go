package cluster

import (
	"errors"
	"fmt"
	"time"

	"kith/server/storage"
)

// loaded is a reader's word to a lane: the durable state of an actor, or why
// there is none.
type loaded struct {
	state any
	err   error
	key   Key
}

// Handle is never called: a lane takes the word itself.
func (w *loaded) Handle(*Turn, Actor) {}

// Fail is never called either.
func (w *loaded) Fail(*Turn, error) {}

// stopWaiting is Close's word to a lane.
type stopWaiting struct{}

// Handle is never called: a lane takes the word itself.
func (stopWaiting) Handle(*Turn, Actor) {}

// Fail is never called either.
func (stopWaiting) Fail(*Turn, error) {}

// load has a reader load the slot's actor, after a pause. The answer comes as an
// envelope.
func (l *lane) load(s *slot, pause time.Duration) {
	c, key := l.c, s.key
	s.loading = true
	c.hold() // until the word is in the lane
	read := func() {
		w := &loaded{key: key}
		defer c.told(w)
		defer func() {
			if v := recover(); v != nil {
				c.panicked(v, "load", key)
				w.err = ErrPanic
			}
		}()
		w.state, w.err = c.loader.Load(c.ctx, key)
	}
	if pause == 0 {
		c.pool.do(read)
		return
	}
	s.timer = time.AfterFunc(pause, func() { c.pool.do(read) })
}

// loaded takes a reader's word in the lane.
func (l *lane) loaded(t *Turn, w *loaded) {
	s := l.slots[w.key]
	s.loading, s.timer = false, nil
	err := w.err
	if err == nil {
		err = l.make(s, w.state)
	}
	switch {
	case err != nil:
		l.loadFailed(t, s, err)
	case len(s.retry) > 0:
		l.heal = append(l.heal, s)
	default:
		l.unpark(t, s)
	}
}

// make makes the actor of what was loaded.
func (l *lane) make(s *slot, state any) (err error) {
	defer func() {
		if v := recover(); v != nil {
			l.c.panicked(v, "new actor", s.key)
			err = ErrPanic
		}
	}()
	s.actor = l.c.loader.New(s.key, state, s.actor)
	return nil
}

// unpark runs what waited for the actor, in the batch under way.
func (l *lane) unpark(t *Turn, s *slot) {
	parked := s.parked
	s.parked = nil
	for _, e := range parked {
		l.handle(t, e)
	}
	if !s.touched { // so that it comes into the ring
		s.touched = true
		t.touched = append(t.touched, s)
	}
}

// loadFailed tries again while the store as such fails and nobody has waited too
// long; then it tells everybody who waits.
func (l *lane) loadFailed(t *Turn, s *slot, err error) {
	if l.mayWait(t, s, err) {
		l.load(s, l.c.opts.RetryEvery)
		return
	}
	err = fmt.Errorf("load %s: %w", s.key, err)
	for _, h := range s.retry {
		t.strand(s, h.item, err)
	}
	for _, e := range s.parked {
		t.strand(s, e.item, err)
	}
	s.retry, s.parked = nil, nil
	if s.actor != nil && s.actor.Busy() && !l.c.closing.Load() {
		s.since = t.now // its sessions stay, and wait for the store
		l.load(s, l.c.opts.RetryEvery)
		return
	}
	l.unlink(s)
	l.drop(s)
}

func (l *lane) mayWait(t *Turn, s *slot, err error) bool {
	return errors.Is(err, storage.ErrUnavailable) && t.now.Sub(s.since) < l.c.opts.GiveUpAfter && !l.c.closing.Load()
}

// stopWaiting fails what waits for the next try to load its actor.
func (l *lane) stopWaiting(t *Turn) {
	for _, s := range l.slots {
		if s.timer != nil && s.timer.Stop() {
			s.loading, s.timer = false, nil
			l.loadFailed(t, s, ErrClosed)
			l.c.release()
		}
	}
}

// mend brings an actor back that a failed commit or a panic left in doubt: items
// of the failed batch run alone, each with a commit of its own, then the actor
// takes what came meanwhile.
func (l *lane) mend(r *runner, s *slot) {
	t := &l.turn
	switch {
	case s.loading: // the word will come
		return
	case s.doubt: // the state is not to be trusted
		s.doubt, s.since = false, time.Now()
		l.load(s, 0)
		return
	}
	for len(s.retry) > 0 {
		if !l.again(r, s) {
			return
		}
	}
	s.retry = nil
	t.begin(l, r)
	l.unpark(t, s)
	l.finish(t)
}

// again runs the first item of a failed batch in a batch of its own. It reports
// whether the actor is fit for the next one.
func (l *lane) again(r *runner, s *slot) bool {
	t, h := &l.turn, &s.retry[0]
	t.begin(l, r)
	t.left = h.passes
	err := ErrPanic
	if l.try(t, s, h.item) {
		h.passes = max(h.passes, t.passes)
		r.pushPassed(t)
		err = l.commit(t)
	}
	pause := time.Duration(0)
	switch {
	case err == nil:
		s.retry = s.retry[1:]
	case l.mayWait(t, s, err) && l.c.mayRecover(t.now):
		pause = l.c.opts.RetryEvery
	default:
		t.fail(s.key, h.item, err)
		s.retry = s.retry[1:]
	}
	if err != nil {
		t.keepCertain()
		s.doubt = false
		l.load(s, pause)
	}
	l.effects(t)
	l.settle(t)
	return err == nil && !s.doubt
}

// mayRecover reports whether the store has not failed for too long yet.
func (c *Local) mayRecover(now time.Time) bool {
	down := c.down.Load()
	return down == 0 || now.Sub(time.Unix(0, down)) < c.opts.GiveUpAfter
}
