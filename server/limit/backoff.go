package limit

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// ErrWait is returned to who would have to wait for longer than it can.
var ErrWait = errors.New("too many attempts have failed, or are under way")

// Backoff makes who fails often wait: after the first free failures, each doubles
// the wait, up to a bound.
//
// An attempt counts as if it had failed from when it begins until it is known how
// it has ended. So those that are made at the same time wait as those do that are
// made one after the other.
type Backoff struct {
	mu         sync.Mutex // guards what follows
	free       int
	first, max time.Duration
	by         map[string]*tries
}

// tries are the attempts of a source.
type tries struct {
	failed  int
	open    int       // under way
	until   time.Time // none begins before
	last    time.Time
	waiting []chan struct{} // who would begin, the first first; a channel is closed to have him look again
}

// NewBackoff returns a Backoff that forgives free failures.
func NewBackoff(free int, first, max time.Duration) *Backoff {
	return &Backoff{free: free, first: first, max: max, by: make(map[string]*tries)}
}

// Adjust changes the rule. Waits that have begun stay as they are.
func (b *Backoff) Adjust(free int, first, max time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free, b.first, b.max = free, first, max
}

// Begin begins an attempt of a source, when that may. Fail, Succeed or Drop has to
// end it. ErrWait says, at once, that this would not be before the context ends by
// its deadline; the context's own error that it has ended.
func (b *Backoff) Begin(ctx context.Context, source string) error {
	for {
		wait, turn, now := b.begin(source)
		if wait == 0 {
			return nil
		}
		if deadline, ok := ctx.Deadline(); ok && now.Add(wait).After(deadline) {
			b.leave(source, turn)
			return ErrWait
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
			b.leave(source, turn)
		case <-turn:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			b.leave(source, turn)
			return ctx.Err()
		}
	}
}

// begin counts an attempt, or returns for how long it has to wait at the most and
// what is closed if it may look again before.
func (b *Backoff) begin(source string) (wait time.Duration, turn chan struct{}, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now = time.Now()
	t := b.of(source, now)
	if wait = t.until.Sub(now); wait > 0 {
		turn = make(chan struct{})
		t.waiting = append(t.waiting, turn)
		return wait, turn, now
	}
	t.open++
	b.count(t, now)
	return 0, nil, now
}

// leave is for who does not wait any more. If it was his turn just now, it is
// somebody else's.
func (b *Backoff) leave(source string, turn chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.by[source]
	if t == nil {
		return
	}
	if i := slices.Index(t.waiting, turn); i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
	} else {
		b.call(t)
	}
}

// of returns the attempts of a source. Failures of long ago are forgotten.
func (b *Backoff) of(source string, now time.Time) *tries {
	t := b.by[source]
	if t == nil {
		if len(b.by) >= tableSize {
			b.forget(now)
		}
		t = new(tries)
		b.by[source] = t
	}
	if b.old(t, now) {
		t.failed, t.until = 0, time.Time{}
	}
	return t
}

func (b *Backoff) old(t *tries, now time.Time) bool { return now.Sub(t.last) > 2*b.max }

// count has the next attempt wait behind one that was made now.
func (b *Backoff) count(t *tries, now time.Time) {
	t.last = now
	if over := t.failed + t.open - b.free; over > 0 {
		t.until = now.Add(b.wait(over))
	}
}

// wait is how long the wait is behind so many failures more than are forgiven.
func (b *Backoff) wait(over int) time.Duration {
	if n := over - 1; n < 63 && b.first <= b.max>>n {
		return b.first << n
	}
	return b.max
}

// Fail ends an attempt: it has failed.
func (b *Backoff) Fail(source string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.of(source, now)
	t.open = max(0, t.open-1) // the table may have forgotten it
	t.failed++
	b.count(t, now)
}

// Failed counts a failure of something that was not begun here.
func (b *Backoff) Failed(source string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.of(source, now)
	t.failed++
	b.count(t, now)
}

// Drop ends an attempt of which nothing was learnt, or which does not make up for
// others: it does not count.
func (b *Backoff) Drop(source string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.end(source, func(*tries) {})
}

// Succeed ends an attempt and forgets the source's failures.
func (b *Backoff) Succeed(source string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.end(source, func(t *tries) { t.failed = 0 })
}

// Succeeded forgets a source's failures for something that was not begun here.
func (b *Backoff) Succeeded(source string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.by[source]; t != nil {
		t.open++
		b.end(source, func(t *tries) { t.failed = 0 })
	}
}

// end ends an attempt for which nobody has to wait.
func (b *Backoff) end(source string, forgive func(*tries)) {
	t := b.by[source]
	if t == nil || t.open == 0 { // the table has forgotten it
		return
	}
	t.open--
	forgive(t)
	if t.failed+t.open == 0 && len(t.waiting) == 0 {
		delete(b.by, source)
		return
	}
	t.until = time.Time{}
	if over := t.failed + t.open - b.free; over > 0 {
		t.until = t.last.Add(b.wait(over))
	}
	b.call(t)
}

// call has as many look again as may begin now.
func (b *Backoff) call(t *tries) {
	n := min(len(t.waiting), max(1, b.free+1-t.failed-t.open))
	for _, turn := range t.waiting[:n] {
		close(turn)
	}
	t.waiting = slices.Delete(t.waiting, 0, n)
}

// forget makes room: what is old goes, or if nothing is, the oldest of a few. What
// is under way goes last of all.
func (b *Backoff) forget(now time.Time) {
	var oldest string
	var found *tries
	seen := 0
	for k, t := range b.by {
		if t.open == 0 && len(t.waiting) == 0 && b.old(t, now) {
			delete(b.by, k)
			continue
		}
		if found == nil || (t.open == 0 && found.open > 0) || (t.open == 0) == (found.open == 0) && t.last.Before(found.last) {
			oldest, found = k, t
		}
		if seen++; seen == 1000 {
			break
		}
	}
	if len(b.by) >= tableSize {
		for _, turn := range found.waiting {
			close(turn)
		}
		delete(b.by, oldest)
	}
}
