package limit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// waitOf is how long a source must wait before its next try; 0 if it need not.
func waitOf(b *Backoff, source string, now time.Time) time.Duration {
	if t := b.by[source]; t != nil {
		return max(0, t.until.Sub(now))
	}
	return 0
}

func TestBackoff(t *testing.T) {
	b := NewBackoff(2, time.Second, 5*time.Second)
	now := time.Unix(1000, 0)
	for i, want := range []time.Duration{0, 0, time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second, 5 * time.Second} {
		b.Failed("x", now)
		if got := waitOf(b, "x", now); got != want {
			t.Errorf("after %d failures: wait %v, want %v", i+1, got, want)
		}
	}
	if got := waitOf(b, "y", now); got != 0 {
		t.Errorf("another source waits %v", got)
	}
	if got := waitOf(b, "x", now.Add(4*time.Second)); got != time.Second {
		t.Errorf("4 s later: wait %v, want 1s", got)
	}
	b.Failed("x", now.Add(time.Minute)) // long ago: counts anew
	if got := waitOf(b, "x", now.Add(time.Minute)); got != 0 {
		t.Errorf("a minute later: wait %v, want 0", got)
	}
	for range 5 {
		b.Failed("x", now.Add(time.Minute))
	}
	b.Succeeded("x")
	if got := waitOf(b, "x", now.Add(time.Minute)); got != 0 {
		t.Errorf("after success: wait %v, want 0", got)
	}
}

// TestBackoffLong: however often it has failed, and however long the first wait is, the
// next is never shorter.
func TestBackoffLong(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, first := range []time.Duration{time.Second, 10 * time.Second, time.Hour} {
		b := NewBackoff(0, first, 2*time.Hour)
		last := time.Duration(0)
		for i := range 100 {
			b.Failed("x", now)
			got := waitOf(b, "x", now)
			if got < max(last, first) || got > 2*time.Hour {
				t.Fatalf("first %v: after %d failures the wait is %v, it was %v", first, i+1, got, last)
			}
			last = got
		}
	}
}

func TestBackoffIsBounded(t *testing.T) {
	b := NewBackoff(0, time.Second, time.Hour)
	now := time.Unix(1000, 0)
	for i := range tableSize + 500 {
		b.Failed(fmt.Sprint(i), now.Add(time.Duration(i)))
	}
	if len(b.by) > tableSize {
		t.Errorf("%d entries, want at most %d", len(b.by), tableSize)
	}
}

// crowd begins n attempts of a source at the same time and returns, in their order,
// when they began, and how many could not.
func crowd(ctx context.Context, b *Backoff, n int, then func()) (begun []time.Duration, refused int) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := time.Now()
	for range n {
		wg.Go(func() {
			err := b.Begin(ctx, "x")
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				refused++
				return
			}
			begun = append(begun, time.Since(start))
			then()
		})
	}
	wg.Wait()
	slices.Sort(begun)
	return begun, refused
}

// TestBackoffParallel: attempts that are made at the same time wait as those do that
// are made one after the other, whenever they fail.
func TestBackoffParallel(t *testing.T) {
	want := []time.Duration{0, 0, 0, time.Second, 3 * time.Second, 7 * time.Second, 15 * time.Second}
	for name, lasts := range map[string]time.Duration{"fail at once": 0, "fail later": 100 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			b := NewBackoff(2, time.Second, time.Minute)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			begun, refused := crowd(ctx, b, 50, func() {
				if lasts == 0 {
					b.Fail("x", time.Now())
				}
			})
			if !slices.Equal(begun, want) || refused != 50-len(want) {
				t.Errorf("%s: begun after %v, %d refused; want %v", name, begun, refused, want)
			}
			if err := b.Begin(t.Context(), "y"); err != nil {
				t.Errorf("%s: another source: %v", name, err)
			}
		})
	}
}

// TestBackoffWaitsForNobody: who waits behind attempts that turn out well goes on at
// once; none of them is forgotten.
func TestBackoffWaitsForNobody(t *testing.T) {
	for name, end := range map[string]func(*Backoff){
		"succeed": func(b *Backoff) { b.Succeed("x") },
		"drop":    func(b *Backoff) { b.Drop("x") },
	} {
		synctest.Test(t, func(t *testing.T) {
			b := NewBackoff(2, time.Second, time.Minute)
			begun, refused := crowd(t.Context(), b, 50, func() { time.AfterFunc(time.Millisecond, func() { end(b) }) })
			// Three at a time, each for a millisecond.
			if refused > 0 || len(begun) != 50 || begun[49] > 20*time.Millisecond {
				t.Errorf("%s: begun after %v, %d refused", name, begun, refused)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if len(b.by) != 0 {
				t.Errorf("%s: sources are remembered of which nothing is under way: %v", name, b.by)
			}
		})
	}
}

// TestBackoffGivesUp: who leaves takes nobody's turn.
func TestBackoffGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBackoff(0, time.Hour, time.Hour)
		if err := b.Begin(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
		soon, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := b.Begin(soon, "x"); !errors.Is(err, ErrWait) {
			t.Errorf("a wait that would be too long: %v, want ErrWait", err)
		}
		first, leave := context.WithCancel(t.Context())
		left, got := make(chan error, 1), make(chan error, 1)
		go func() { left <- b.Begin(first, "x") }()
		synctest.Wait()
		go func() { got <- b.Begin(t.Context(), "x") }()
		synctest.Wait()
		// The turn of the first comes as it leaves: then it is the second's.
		leave()
		b.Drop("x")
		if err := <-got; err != nil {
			t.Error(err)
		}
		if err := <-left; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// TestBackoffForgets: an attempt whose source was forgotten can end nevertheless.
func TestBackoffForgets(t *testing.T) {
	b := NewBackoff(1, time.Second, time.Hour)
	for i := range tableSize + 10 {
		if err := b.Begin(t.Context(), fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.by) > tableSize {
		t.Errorf("%d entries, want at most %d", len(b.by), tableSize)
	}
	for i := range tableSize + 10 {
		switch source := fmt.Sprint(i); i % 3 {
		case 0:
			b.Drop(source)
		case 1:
			b.Succeed(source)
		case 2:
			b.Fail(source, time.Now())
		}
	}
	for source, s := range b.by {
		if s.open != 0 {
			t.Errorf("%s has %d attempts under way", source, s.open)
		}
	}
}
