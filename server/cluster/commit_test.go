package cluster_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kith/server/cluster"
	"kith/server/storage"
)

func TestEffectsOnlyAfterTheCommitInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cluster.Options{Lanes: 8})
		k := keysIn(2, 8, 1)
		a, b := k[0][0], k[1][0]
		w.warm(a, b)
		gate := make(chan struct{})
		w.shelf.gate = gate
		var j journal
		note := func(s string) *item { return do(func(*cluster.Turn, *actor) { j.add("%s", s) }) }
		w.Send(a, do(func(turn *cluster.Turn, self *actor) {
			turn.After(then(func() { j.add("first") }))
			self.write(turn, "row")
			turn.After(cluster.EffectFunc(func(turn *cluster.Turn) {
				j.add("second")
				turn.After(then(func() { j.add("fourth") }))
				turn.Send(b, note("sent by effect"))
			}))
			turn.Pass(b, note("passed"))
			turn.Send(b, note("sent"))
			turn.After(then(func() { j.add("third") }))
		}))
		synctest.Wait()
		j.want(t, "before the commit", "passed")
		gate <- struct{}{}
		synctest.Wait()
		j.want(t, "after it", "passed", "first", "second", "third", "fourth", "sent by effect", "sent")
		w.close()
	})
}

func TestReaderNeverWaitsForACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cluster.Options{Lanes: 8})
		k := keysIn(2, 8, 2)
		w.warm(k[0][0], k[0][1], k[1][0])
		gate := make(chan struct{})
		w.shelf.gate = gate
		var j journal
		w.Send(k[0][0], j.row("one")) // returns, or the bubble is dead
		synctest.Wait()
		w.Send(k[0][1], do(func(*cluster.Turn, *actor) { j.add("same lane") }))
		w.Send(k[1][0], do(func(*cluster.Turn, *actor) { j.add("other lane") }))
		synctest.Wait()
		j.want(t, "while the store is slow", "other lane")
		gate <- struct{}{}
		synctest.Wait()
		j.want(t, "after the commit", "other lane", "one stored", "same lane")
		w.close()
	})
}

// Lanes that a goroutine has claimed do not wait with it for a commit.
func TestClaimedLanesDoNotWaitForTheCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cluster.Options{Lanes: 8})
		k := keysIn(3, 8, 1)
		a, b, c := k[0][0], k[1][0], k[2][0]
		w.warm(a, b, c)
		gate := make(chan struct{})
		w.shelf.gate = gate
		var j journal
		// a's goroutine claims b and c; b writes, c must not wait for that.
		w.Send(a, do(func(turn *cluster.Turn, _ *actor) {
			turn.Send(b, j.row("b"))
			turn.Send(c, do(func(*cluster.Turn, *actor) { j.add("c") }))
		}))
		synctest.Wait()
		j.want(t, "while b waits", "c")
		gate <- struct{}{}
		synctest.Wait()
		j.want(t, "in the end", "c", "b stored")
		w.close()
	})
}

func TestOnlyTheGuiltyIsFailed(t *testing.T) {
	w := newWorld(t, cluster.Options{Lanes: 1})
	w.shelf.failWith(badRows)
	w.warm("a", "b", "c")
	w.Send("a", do(func(_ *cluster.Turn, a *actor) { a.sessions = 2 }))
	var j journal
	passed := do(func(*cluster.Turn, *actor) { j.add("passed") })
	var rows []int
	inside, goOn := make(chan struct{}), make(chan struct{})
	go w.Send("c", do(func(*cluster.Turn, *actor) { close(inside); <-goOn }))
	<-inside
	w.Send("a", j.row("1"), j.row("bad"),
		do(func(turn *cluster.Turn, _ *actor) { turn.Pass("c", passed) }), j.row("2"))
	w.Send("b", j.row("3"))
	close(goOn)
	w.Send("a", do(func(_ *cluster.Turn, a *actor) { rows = []int{a.rows, a.sessions} }))
	w.settle()
	w.close()
	got := map[string]int{}
	for _, s := range j.list() {
		got[s]++
	}
	for _, want := range []string{"1 stored", "2 stored", "3 stored", "bad failed: constraint violated", "passed"} {
		if got[want] != 1 {
			t.Errorf("%q %d times in %q", want, got[want], j.list())
		}
	}
	if fmt.Sprint(w.shelf.of("a")) != "[a/1 a/2]" {
		t.Errorf("stored: %q", w.shelf.of("a"))
	}
	if fmt.Sprint(rows) != "[2 2]" {
		t.Errorf("the actor has [rows sessions] %v, want [2 2]", rows)
	}
	if w.library.loaded("a") < 2 || w.library.loaded("b") != 2 {
		t.Errorf("loaded a %d times, b %d times; want all of the batch twice or more", w.library.loaded("a"), w.library.loaded("b"))
	}
	if w.library.loaded("c") > 2 {
		t.Errorf("c was loaded %d times", w.library.loaded("c"))
	}
}

// What failed before the commit did is told so, although the commit failed too.
func TestFailureSurvivesTheFailedCommit(t *testing.T) {
	w := newWorld(t, cluster.Options{})
	w.shelf.failWith(badRows)
	w.warm("a", "sender")
	var j journal
	bounce := &item{
		handle: func(*cluster.Turn, *actor) { panic("broken") },
		fail: func(turn *cluster.Turn, err error) {
			j.add("failed: %v", err)
			turn.After(then(func() { j.add("done") }))
			turn.Send("sender", do(func(*cluster.Turn, *actor) { j.add("bounced") }))
		},
	}
	w.Send("a", bounce, j.row("parked"))
	w.Send("a", j.row("bad"))
	w.settle()
	w.close()
	got := map[string]int{}
	for _, s := range j.list() {
		got[s]++
	}
	for _, want := range []string{"failed: handling panicked", "done", "bounced", "parked stored", "bad failed: constraint violated"} {
		if got[want] != 1 {
			t.Errorf("%q %d times in %q", want, got[want], j.list())
		}
	}
}

// The same, with both in one batch for sure: the live item fails in the batch
// whose commit fails.
func TestAbsentInABatchThatFails(t *testing.T) {
	w := newWorld(t, cluster.Options{Lanes: 1})
	w.shelf.failWith(badRows)
	w.warm("a")
	var j journal
	inside, goOn := make(chan struct{}), make(chan struct{})
	go w.Send("a", do(func(*cluster.Turn, *actor) { close(inside); <-goOn }))
	<-inside
	w.Send("a", j.row("bad"))
	w.SendLive("nobody", &item{fail: func(turn *cluster.Turn, err error) {
		turn.After(then(func() { j.add("%v", err) }))
	}})
	close(goOn)
	w.settle()
	w.close()
	j.want(t, "fates", "actor is not in memory", "bad failed: constraint violated")
}

// An item that changes its mind when it runs again may pass on what it did not
// pass before, and nothing twice.
func TestPassedOnceAlsoWhenRunAgain(t *testing.T) {
	w := newWorld(t, cluster.Options{RetryEvery: time.Millisecond})
	w.warm("a", "b")
	fails := 2
	w.shelf.failWith(func([]string) error {
		if fails--; fails >= 0 {
			return storage.ErrUnavailable
		}
		return nil
	})
	var j journal
	runs := 0
	note := func(s string) *item { return do(func(*cluster.Turn, *actor) { j.add("%s", s) }) }
	w.Send("a", do(func(turn *cluster.Turn, a *actor) {
		runs++
		a.write(turn, "row")
		turn.Pass("b", note("one"))
		if runs > 1 {
			turn.Pass("b", note("two"))
		}
	}))
	w.settle()
	w.close()
	j.want(t, "passed", "one", "two")
	if runs != 3 {
		t.Errorf("ran %d times, want 3", runs)
	}
}

func TestUnavailableStoreFailsNobodyForTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cluster.Options{Lanes: 1})
		w.warm("a", "b")
		w.shelf.failWith(func([]string) error { return storage.ErrUnavailable })
		var j journal
		w.Send("a", j.row("1"), j.row("2"))
		w.Send("a", do(func(*cluster.Turn, *actor) { j.add("behind") }))
		time.Sleep(9 * time.Second)
		w.Send("b", do(func(*cluster.Turn, *actor) { j.add("b goes on") }))
		synctest.Wait()
		j.want(t, "after 9 s", "b goes on")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		j.want(t, "after 11 s", "b goes on",
			"1 failed: database unavailable", "2 failed: database unavailable", "behind")
		// By now nobody needs to wait to learn it.
		w.Send("b", j.row("3"))
		w.Send("b", do(func(*cluster.Turn, *actor) { j.add("b again") }))
		synctest.Wait()
		if got := j.list()[4:]; len(got) != 2 || got[0] != "3 failed: database unavailable" || got[1] != "b again" {
			t.Errorf("after 11 s: %q", got)
		}
		w.shelf.failWith(nil)
		w.Send("b", j.row("4"))
		synctest.Wait()
		if got := j.list(); got[len(got)-1] != "4 stored" {
			t.Errorf("once the store is back: %q", got)
		}
		w.close()
	})
}

func TestRecoversWhenTheStoreIsBackInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cluster.Options{})
		w.warm("a")
		w.Send("a", do(func(_ *cluster.Turn, a *actor) { a.sessions++ }))
		for range 3 { // each trouble has its own ten seconds
			w.shelf.failWith(func([]string) error { return storage.ErrUnavailable })
			var j journal
			w.Send("a", j.row("1"), j.row("2"))
			time.Sleep(8 * time.Second)
			w.Send("a", j.row("3"))
			synctest.Wait()
			j.want(t, "while it is away")
			w.shelf.failWith(nil)
			time.Sleep(time.Second)
			synctest.Wait()
			j.want(t, "when it is back", "1 stored", "2 stored", "3 stored")
			time.Sleep(time.Hour)
		}
		var a2 *actor
		w.Send("a", do(func(_ *cluster.Turn, a *actor) { a2 = a }))
		if a2.rows != 9 || a2.sessions != 1 {
			t.Errorf("actor: %+v", a2)
		}
		if n := w.log.count("takes no rows"); n != 3 {
			t.Errorf("trouble was logged %d times, want 3", n)
		}
		w.close()
	})
}

// Rows that the store took are never written again, although a commit that is
// tried beside them fails.
func TestNoRowTwice(t *testing.T) {
	w := newWorld(t, cluster.Options{Lanes: 2})
	var mu sync.Mutex
	n := 0
	w.shelf.failWith(func([]string) error {
		mu.Lock()
		defer mu.Unlock()
		if n++; n%3 == 0 {
			return errRow
		}
		return nil
	})
	var j journal
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				w.Send(cluster.Key(fmt.Sprintf("k%d", i%10)), j.row(fmt.Sprintf("%d-%d", g, i)))
			}
		})
	}
	wg.Wait()
	w.settle()
	w.close()
	seen := map[string]int{}
	for _, r := range w.shelf.all() {
		if seen[r]++; seen[r] > 1 {
			t.Errorf("row %s stored twice", r)
		}
	}
	if len(j.list()) != 1600 {
		t.Errorf("%d fates for 1600 items", len(j.list()))
	}
}
