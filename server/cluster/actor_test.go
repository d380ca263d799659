package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"kith/server/cluster"
	"kith/server/storage"
)

func TestLaneGoesOnWhileAnActorLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cluster.Options{Lanes: 1})
		w.warm("warm")
		gate := make(chan struct{})
		w.library.onLoad(func(context.Context, cluster.Key) error { <-gate; return nil })
		var j journal
		note := func(s string) *item { return do(func(*cluster.Turn, *actor) { j.add("%s", s) }) }
		w.Send("cold", note("1"), note("2"))
		w.Send("warm", note("warm"))
		w.Send("cold", note("3"))
		w.SendLive("cold", note("live, behind what is parked"))
		synctest.Wait()
		j.want(t, "while it loads", "warm")
		close(gate)
		synctest.Wait()
		j.want(t, "when it is loaded", "warm", "1", "2", "3", "live, behind what is parked")
		if n := w.library.loaded("cold"); n != 1 {
			t.Errorf("loaded %d times", n)
		}
		w.close()
	})
}

func TestLiveItemForAnAbsentActorLoadsNothing(t *testing.T) {
	w := newWorld(t, cluster.Options{})
	defer w.close()
	var got error
	w.SendLive("absent", &item{fail: func(turn *cluster.Turn, err error) {
		if got = err; turn.Key() != "absent" {
			t.Errorf("Fail for %q", turn.Key())
		}
	}})
	if !errors.Is(got, cluster.ErrAbsent) {
		t.Errorf("failed with %v", got)
	}
	if n := w.library.loaded("absent"); n != 0 {
		t.Errorf("loaded %d times", n)
	}
}

func TestEvictionOfTheLeastRecentlyUsed(t *testing.T) {
	w := newWorld(t, cluster.Options{Lanes: 1, ActorBytes: 400})
	defer w.close()
	w.warm("a", "b", "c")
	w.Send("busy", do(func(_ *cluster.Turn, a *actor) { a.sessions, a.size = 1, 100_000 }))
	w.settle()
	w.warm("d", "a", "e") // the order of use: b c d a e
	w.warm("f")
	if n := w.Stats().Actors; n != 5 {
		t.Errorf("%d actors in memory, want 5", n)
	}
	for k, want := range map[cluster.Key]bool{"a": true, "b": false, "c": false, "d": true, "e": true, "f": true, "busy": true} {
		here := true
		w.SendLive(k, &item{fail: func(*cluster.Turn, error) { here = false }})
		if here != want {
			t.Errorf("%s in memory: %v, want %v", k, here, want)
		}
	}
	// Once nobody is attached, it counts.
	w.Send("busy", do(func(_ *cluster.Turn, a *actor) { a.sessions = 0 }))
	if n := w.Stats().Actors; n != 0 {
		t.Errorf("%d actors in memory beside one that is too large", n)
	}
	w.warm("b")
	if n := w.library.loaded("b"); n != 2 {
		t.Errorf("b was loaded %d times, want 2", n)
	}
}

func TestFailedLoad(t *testing.T) {
	w := newWorld(t, cluster.Options{})
	defer w.close()
	broken := errors.New("row is not readable")
	w.library.onLoad(func(context.Context, cluster.Key) error { return broken })
	var j journal
	w.Send("a", j.row("1"), j.row("2"))
	w.settle()
	if got := j.list(); fmt.Sprint(got) != "[1 failed: load a: row is not readable 2 failed: load a: row is not readable]" {
		t.Errorf("got %q", got)
	}
	if n := w.Stats().Actors; n != 0 {
		t.Errorf("%d actors in memory", n)
	}
	w.library.onLoad(nil)
	w.Send("a", j.row("3"))
	w.settle()
	if got := w.shelf.of("a"); fmt.Sprint(got) != "[a/3]" {
		t.Errorf("stored %q", got)
	}
}

func TestLoadWaitsForTheStoreTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cluster.Options{})
		w.library.onLoad(func(context.Context, cluster.Key) error { return storage.ErrUnavailable })
		var j journal
		w.Send("a", j.row("1"))
		w.Send("b", j.row("2"))
		time.Sleep(9500 * time.Millisecond)
		j.want(t, "after 9.5 s")
		time.Sleep(time.Second)
		if got := slices.Sorted(slices.Values(j.list())); fmt.Sprint(got) != "[1 failed: database unavailable 2 failed: database unavailable]" {
			t.Errorf("after 10.5 s: %q", got)
		}
		w.Send("a", j.row("3"))
		time.Sleep(5 * time.Second)
		w.library.onLoad(nil)
		time.Sleep(2 * time.Second)
		if got := j.list(); len(got) != 3 || got[2] != "3 stored" {
			t.Errorf("when the store is back: %q", got)
		}
		w.close()
	})
}

// An actor with sessions stays, whatever becomes of its rows.
func TestSessionsStayWhileTheActorCannotBeLoaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cluster.Options{})
		w.warm("a")
		w.Send("a", do(func(_ *cluster.Turn, a *actor) { a.sessions = 1 }))
		w.shelf.failWith(badRows)
		w.library.onLoad(func(context.Context, cluster.Key) error { return storage.ErrUnavailable })
		var j journal
		w.Send("a", j.row("bad"))
		time.Sleep(25 * time.Second)
		w.Send("a", j.row("1"))
		w.shelf.failWith(nil)
		w.library.onLoad(nil)
		time.Sleep(2 * time.Second)
		j.want(t, "fates", "bad failed: database unavailable", "1 stored")
		var got *actor
		w.Send("a", do(func(_ *cluster.Turn, a *actor) { got = a }))
		if got == nil || got.sessions != 1 || got.rows != 1 {
			t.Errorf("actor: %+v", got)
		}
		w.close()
	})
}

func TestForgetLoadsTheActorAnew(t *testing.T) {
	w := newWorld(t, cluster.Options{})
	defer w.close()
	w.warm("a")
	var j journal
	var rows []int
	see := do(func(_ *cluster.Turn, a *actor) { rows = append(rows, a.rows) })
	w.shelf.mu.Lock()
	w.shelf.rows = append(w.shelf.rows, "a/from elsewhere")
	w.shelf.mu.Unlock()
	w.Send("a", do(func(turn *cluster.Turn, _ *actor) {
		turn.Forget()
		turn.Send("a", see)
		turn.After(then(func() { j.add("effect") }))
	}))
	w.settle()
	j.want(t, "effects", "effect")
	if fmt.Sprint(rows) != "[1]" || w.library.loaded("a") != 2 {
		t.Errorf("saw %v rows after %d loads, want [1] after 2", rows, w.library.loaded("a"))
	}
}

// Forget holds also for an item that runs again after a failed commit.
func TestForgetAfterAFailedCommit(t *testing.T) {
	w := newWorld(t, cluster.Options{RetryEvery: time.Millisecond})
	defer w.close()
	w.warm("a")
	fails := 1
	w.shelf.failWith(func([]string) error {
		if fails--; fails >= 0 {
			return storage.ErrUnavailable
		}
		return nil
	})
	var rows int
	w.Send("a",
		do(func(turn *cluster.Turn, a *actor) { a.write(turn, "1") }),
		do(func(turn *cluster.Turn, a *actor) { a.rows = 1000; turn.Forget() }),
		do(func(_ *cluster.Turn, a *actor) { rows = a.rows }),
	)
	w.settle()
	if rows != 1 {
		t.Errorf("the actor has %d rows, want 1", rows)
	}
}

// stranded is an item that is content with the sessions of its actor.
type stranded struct {
	*item
	strand func(a *actor) bool
}

func (s stranded) Strand(_ *cluster.Turn, a cluster.Actor) bool { return s.strand(a.(*actor)) }

// While an actor cannot be loaded, what can do with its sessions alone is not
// failed.
func TestStrandedItemFindsTheSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cluster.Options{})
		w.warm("a", "b")
		w.Send("a", do(func(_ *cluster.Turn, a *actor) { a.sessions = 1 }))
		w.shelf.failWith(badRows)
		w.library.onLoad(func(context.Context, cluster.Key) error { return storage.ErrUnavailable })
		var j journal
		w.Send("a", j.row("bad"))
		w.Send("a", stranded{j.row("1"), func(a *actor) bool { j.add("1 told to %d session", a.sessions); return true }})
		w.Send("a", stranded{j.row("2"), func(*actor) bool { return false }})
		w.Send("c", stranded{j.row("3"), func(*actor) bool { t.Error("there is nobody"); return true }})
		time.Sleep(25 * time.Second)
		w.shelf.failWith(nil)
		w.library.onLoad(nil)
		time.Sleep(2 * time.Second)
		got := slices.Sorted(slices.Values(j.list()))
		want := []string{"1 told to 1 session", "2 failed: database unavailable", "3 failed: database unavailable", "bad failed: database unavailable"}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		w.close()
	})
}
