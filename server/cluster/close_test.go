package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kith/server/cluster"
	"kith/server/storage"
)

func TestCloseWaitsForWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cluster.Options{Lanes: 8})
		k := keysIn(3, 8, 1)
		a, b, cold := k[0][0], k[1][0], k[2][0]
		w.warm(a, b)
		gate := make(chan struct{})
		w.shelf.gate = gate
		w.library.onLoad(func(context.Context, cluster.Key) error { time.Sleep(3 * time.Second); return nil })
		var j journal
		w.Send(a, do(func(turn *cluster.Turn, self *actor) {
			self.write(turn, "row")
			turn.Send(b, j.row("follows"))
			turn.Query(new(cluster.Asker), "x", func(context.Context) func() {
				time.Sleep(time.Second)
				return func() { j.add("answered") }
			}, nil)
		}))
		w.Send(cold, do(func(*cluster.Turn, *actor) { j.add("loaded") }))
		go func() {
			time.Sleep(time.Second)
			close(gate)
		}()
		begun := time.Now()
		if err := w.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
		j.want(t, "when Close returns", "follows stored", "answered", "loaded")
		if d := time.Since(begun); d != 3*time.Second {
			t.Errorf("Close took %v", d)
		}
	})
}

func TestAfterCloseItemsFail(t *testing.T) {
	w := newWorld(t, cluster.Options{})
	w.warm("a")
	w.close()
	var j journal
	w.Send("a", j.row("1"), j.row("2"))
	w.SendLive("a", j.row("3"))
	w.SendMany([]cluster.Key{"a", "b"}, j.row("4"), false)
	w.Send("a", &item{fail: func(turn *cluster.Turn, err error) { turn.Send("b", j.row("bounce")) }})
	j.want(t, "fates", "1 failed: shutting down", "2 failed: shutting down", "3 failed: shutting down",
		"4 failed: shutting down", "4 failed: shutting down", "bounce failed: shutting down")
	if rows := w.shelf.all(); len(rows) != 0 || !w.Idle() {
		t.Errorf("stored after Close: %q", rows)
	}
	w.close() // again
}

// Close while a store fails: what waits for it is told at once, no timer is left.
func TestCloseEndsTheWaitForAFailingStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cluster.Options{})
		w.warm("a", "busy")
		w.Send("busy", do(func(_ *cluster.Turn, a *actor) { a.sessions = 1 }))
		w.shelf.failWith(func([]string) error { return storage.ErrUnavailable })
		w.library.onLoad(func(_ context.Context, k cluster.Key) error {
			if k == "cold" {
				return storage.ErrUnavailable
			}
			return nil
		})
		var j journal
		w.Send("a", j.row("1"))
		w.Send("a", j.row("2"))
		w.Send("busy", j.row("3"))
		w.Send("cold", j.row("4"))
		time.Sleep(1500 * time.Millisecond)
		begun := time.Now()
		w.close()
		if d := time.Since(begun); d != 0 {
			t.Errorf("Close took %v", d)
		}
		if got := j.list(); len(got) != 4 {
			t.Errorf("fates: %q", got)
		}
	})
}

func TestCloseGivesUpWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cluster.Options{})
		w.library.onLoad(func(ctx context.Context, _ cluster.Key) error { <-ctx.Done(); return ctx.Err() })
		var j journal
		w.Send("cold", j.row("1"))
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		begun := time.Now()
		if err := w.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		if d := time.Since(begun); d != 5*time.Second {
			t.Errorf("Close took %v", d)
		}
		j.want(t, "what waited", "1 failed: context canceled")
	})
}

// Everybody sends while the cluster is closed: each item has one fate, and
// nothing is stored once Close has returned.
func TestCloseUnderLoad(t *testing.T) {
	for range 20 {
		w := newWorld(t, cluster.Options{Lanes: 4})
		var j journal
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				for i := range 200 {
					w.Send(cluster.Key(fmt.Sprintf("k%d", i%7)), j.row(fmt.Sprintf("%d.%d", g, i)))
				}
			})
		}
		w.close()
		stored := len(w.shelf.all())
		wg.Wait()
		w.settle()
		if now := len(w.shelf.all()); now != stored {
			t.Fatalf("%d rows when Close returned, %d later", stored, now)
		}
		if n := len(j.list()); n != 800 {
			t.Fatalf("%d fates for 800 items", n)
		}
	}
}
