package main

import (
	"context"
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// TestProcessors: what so many looks in turn, with so much work, come to.
func TestProcessors(t *testing.T) {
	type span struct {
		busy  float64 // processors' worth of work
		looks int
		now   int // behind them
	}
	for name, tt := range map[string]struct {
		most  int
		spans []span
	}{
		"nothing to do":               {8, []span{{0, calmLooks - 1, 8}, {0, 1, 1}, {0, 100, 1}}},
		"a few messages":              {8, []span{{0.1, calmLooks, 1}, {0.45, 100, 1}}},
		"all at once":                 {8, []span{{0, calmLooks, 1}, {1, 1, 3}, {3, 1, 8}, {8, 100, 8}}},
		"two processors":              {2, []span{{0, calmLooks, 1}, {0.6, 1, 2}, {0.6, 100, 2}, {0.3, calmLooks, 1}}},
		"half of them":                {8, []span{{1.5, calmLooks, 4}, {1.5, 100, 4}, {2.1, 1, 8}}},
		"a peak in a calm":            {4, []span{{0.1, calmLooks - 1, 4}, {3, 1, 4}, {0.1, calmLooks - 1, 4}, {0.1, 1, 1}}},
		"a wave in a calm":            {4, []span{{0.1, calmLooks - 1, 4}, {1, 1, 3}, {0.1, calmLooks - 1, 3}, {0.1, 1, 1}}},
		"work between the two shares": {4, []span{{0, calmLooks, 1}, {0.45, 100, 1}, {0.7, 1, 2}, {0.9, 100, 2}}},
	} {
		t.Run(name, func(t *testing.T) {
			p := processors{most: tt.most, now: tt.most}
			for i, s := range tt.spans {
				for range s.looks {
					p.next(s.busy)
				}
				if p.now != s.now {
					t.Errorf("span %d: %d processors behind %d looks with %v busy, want %d", i, p.now, s.looks, s.busy, s.now)
				}
			}
		})
	}
}

// TestAdaptProcessors: a process that rests uses one processor, and again what it
// had afterwards; one to which GOMAXPROCS was given uses that many.
func TestAdaptProcessors(t *testing.T) {
	given := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(given) })
	runtime.SetDefaultGOMAXPROCS()
	usual := runtime.GOMAXPROCS(0)
	if v, set := os.LookupEnv("GOMAXPROCS"); set {
		t.Cleanup(func() { os.Setenv("GOMAXPROCS", v) }) //nolint:errcheck,usetesting // t.Setenv cannot unset
		os.Unsetenv("GOMAXPROCS")                        //nolint:errcheck // it cannot fail here
	}
	rest := func(t *testing.T, want int) {
		synctest.Test(t, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			go adaptProcessors(ctx)
			time.Sleep(time.Hour)
			synctest.Wait()
			if n := runtime.GOMAXPROCS(0); n != want {
				t.Errorf("at rest %d processors are used, want %d", n, want)
			}
			stop()
			synctest.Wait()
			if n := runtime.GOMAXPROCS(0); n != usual {
				t.Errorf("afterwards %d processors are used, want %d", n, usual)
			}
		})
	}
	rest(t, 1)
	t.Setenv("GOMAXPROCS", "2")
	rest(t, usual)
}
