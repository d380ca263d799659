package cluster_test

import (
	"context"
	"fmt"
	"testing"

	"kith/server/cluster"
)

func TestPanicFailsOneItemOnly(t *testing.T) {
	w := newWorld(t, cluster.Options{Lanes: 1})
	w.warm("a", "b")
	w.Send("a", do(func(_ *cluster.Turn, a *actor) { a.sessions = 1 }))
	var j journal
	var seen []int
	broken := &item{
		handle: func(turn *cluster.Turn, a *actor) {
			a.write(turn, "half")
			turn.Send("b", j.row("sent by the broken"))
			turn.Pass("b", j.row("passed by the broken"))
			turn.After(then(func() { j.add("effect of the broken") }))
			panic("broken item")
		},
		fail: func(_ *cluster.Turn, err error) { j.add("failed: %v", err) },
	}
	inside, goOn := make(chan struct{}), make(chan struct{})
	go w.Send("b", do(func(*cluster.Turn, *actor) { close(inside); <-goOn }))
	<-inside
	w.Send("a", j.row("1"), broken, j.row("2"))
	w.Send("b", j.row("3"))
	w.Send("a", do(func(_ *cluster.Turn, a *actor) { seen = []int{a.rows, a.sessions, a.made} }))
	close(goOn)
	w.settle()
	w.close()
	j.want(t, "fates", "1 stored", "failed: handling panicked", "3 stored", "2 stored")
	if fmt.Sprint(w.shelf.all()) != "[a/1 b/3 a/2]" {
		t.Errorf("stored: %q", w.shelf.all())
	}
	if fmt.Sprint(seen) != "[2 1 2]" || w.library.loaded("b") != 1 {
		t.Errorf("a has [rows sessions made] %v, want [2 1 2]; b loaded %d times", seen, w.library.loaded("b"))
	}
	if s := w.Stats(); s.Panics != 1 || w.log.count("broken item") != 1 || w.log.count("panic_test.go") == 0 {
		t.Errorf("%d panics counted, want 1; logged %d times with its stack", s.Panics, w.log.count("broken item"))
	}
}

// The actor whose item panics is not evicted while it is loaded anew.
func TestPanicInAnActorThatCouldBeEvicted(t *testing.T) {
	w := newWorld(t, cluster.Options{Lanes: 1, ActorBytes: 1})
	w.library.size = 0
	w.warm("a")
	w.library.size = 100
	var j journal
	w.Send("a", &item{handle: func(*cluster.Turn, *actor) { panic("broken") }, fail: func(*cluster.Turn, error) { j.add("failed") }}, j.row("1"))
	w.settle()
	w.close()
	j.want(t, "fates", "failed", "1 stored")
}

// Several rounds: what panics, what was parked behind it panics too.
func TestPanicAfterPanic(t *testing.T) {
	w := newWorld(t, cluster.Options{})
	var j journal
	broken := func(s string) *item {
		return &item{handle: func(*cluster.Turn, *actor) { panic(s) }, fail: func(*cluster.Turn, error) { j.add("%s failed", s) }}
	}
	w.Send("a", broken("1"), j.row("2"), broken("3"), broken("4"), j.row("5"))
	w.settle()
	w.close()
	j.want(t, "fates", "1 failed", "2 stored", "3 failed", "4 failed", "5 stored")
	if s := w.Stats(); s.Panics != 3 {
		t.Errorf("%d panics counted, want 3", s.Panics)
	}
}

// A panic and a failed commit in one batch.
func TestPanicInABatchWhoseCommitFails(t *testing.T) {
	w := newWorld(t, cluster.Options{Lanes: 1})
	w.shelf.failWith(badRows)
	w.warm("a", "b")
	var j journal
	broken := &item{handle: func(*cluster.Turn, *actor) { panic("broken") }, fail: func(*cluster.Turn, error) { j.add("panic failed") }}
	inside, goOn := make(chan struct{}), make(chan struct{})
	go w.Send("b", do(func(*cluster.Turn, *actor) { close(inside); <-goOn }))
	<-inside
	w.Send("a", j.row("1"), j.row("bad"), broken, j.row("2"))
	close(goOn)
	w.settle()
	w.close()
	j.want(t, "fates", "panic failed", "1 stored", "bad failed: constraint violated", "2 stored")
	if fmt.Sprint(w.shelf.all()) != "[a/1 a/2]" {
		t.Errorf("stored: %q", w.shelf.all())
	}
}

// An item that panics only when it runs again.
func TestPanicOnTheSecondRun(t *testing.T) {
	w := newWorld(t, cluster.Options{})
	w.shelf.failWith(badRows)
	w.warm("a")
	var j journal
	runs := 0
	w.Send("a", j.row("bad"), &item{
		handle: func(turn *cluster.Turn, a *actor) {
			if runs++; runs > 1 {
				panic("broken later")
			}
			a.write(turn, "first run")
		},
		fail: func(_ *cluster.Turn, err error) { j.add("failed: %v", err) },
	}, j.row("1"))
	w.settle()
	w.close()
	j.want(t, "fates", "bad failed: constraint violated", "failed: handling panicked", "1 stored")
}

func TestPanicInFailEffectFlushLoadAndCommit(t *testing.T) {
	w := newWorld(t, cluster.Options{})
	w.warm("a")
	var j journal
	w.Send("a",
		&item{handle: func(*cluster.Turn, *actor) { panic("broken item") }, fail: func(*cluster.Turn, error) { panic("broken fail") }},
		j.row("1"))
	w.settle()
	w.Send("a", do(func(turn *cluster.Turn, _ *actor) {
		turn.After(then(func() { panic("broken effect") }))
		turn.After(cluster.EffectFunc(func(turn *cluster.Turn) { turn.Write("rows in an effect") }))
		turn.Dirty(brokenFlusher{})
		turn.After(then(func() { j.add("next effect") }))
	}))
	w.settle()
	w.library.onLoad(func(context.Context, cluster.Key) error { panic("broken load") })
	w.Send("cold", j.row("2"))
	w.settle()
	w.library.onLoad(nil)
	first := true
	w.shelf.failWith(func([]string) error {
		if first {
			first = false
			panic("broken commit")
		}
		return nil
	})
	w.Send("a", j.row("3"))
	w.settle()
	w.close()
	j.want(t, "fates", "1 stored", "next effect", "2 failed: handling panicked", "3 stored")
	for _, s := range []string{"broken item", "broken fail", "broken effect", "Write in an effect", "broken flush", "broken load", "broken commit"} {
		if n := w.log.count("panic=\"" + s); n != 1 && w.log.count("panic=\"cluster: "+s) != 1 {
			t.Errorf("%q logged %d times", s, n)
		}
	}
	if s := w.Stats(); s.Panics != 7 {
		t.Errorf("%d panics counted, want 7", s.Panics)
	}
}

type brokenFlusher struct{}

func (brokenFlusher) Flush(bool) { panic("broken flush") }
