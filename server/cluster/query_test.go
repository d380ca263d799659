package cluster_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kith/server/cluster"
)

// query asks about target; read takes so long. It runs in a synctest bubble.
func (j *journal) query(a *cluster.Asker, target cluster.Key, name string, long time.Duration) *item {
	return do(func(turn *cluster.Turn, _ *actor) {
		turn.Query(a, target, func(context.Context) func() {
			time.Sleep(long)
			return func() { j.add("%s", name) }
		}, func(err error) { j.add("%s: %v", name, err) })
	})
}

func TestAnswersComeInOrderPerTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cluster.Options{})
		w.warm("a")
		var asker cluster.Asker
		var j journal
		w.Send("a",
			j.query(&asker, "x", "x1", 5*time.Second),
			j.query(&asker, "x", "x2", time.Second),
			j.query(&asker, "y", "y1", 2*time.Second),
			j.query(&asker, "x", "x3", 3*time.Second),
		)
		time.Sleep(4 * time.Second)
		synctest.Wait()
		j.want(t, "after 4 s", "y1")
		time.Sleep(2 * time.Second)
		j.want(t, "after 6 s", "y1", "x1", "x2", "x3")
		w.close()
	})
}

func TestFourQueriesOfOneAskerAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cluster.Options{Readers: 100})
		w.warm("a")
		var asker, other cluster.Asker
		var j journal
		var under, most atomic.Int32
		ask := func(i int) *item {
			return do(func(turn *cluster.Turn, _ *actor) {
				turn.Query(&asker, cluster.Key(fmt.Sprint(i%3)), func(context.Context) func() {
					most.Store(max(most.Load(), under.Add(1)))
					time.Sleep(time.Second)
					under.Add(-1)
					return func() { j.add("%d", i%3) }
				}, nil)
			})
		}
		for i := range 10 {
			w.Send("a", ask(i))
		}
		w.Send("a", j.query(&other, "x", "other", time.Second))
		time.Sleep(1500 * time.Millisecond)
		if n := len(j.list()); n != 5 {
			t.Errorf("after one turn: %d answers, want 5", n)
		}
		time.Sleep(time.Minute)
		if n := len(j.list()); n != 11 || most.Load() != cluster.AskerLimit {
			t.Errorf("%d answers, %d under way at once; want 11, %d", n, most.Load(), cluster.AskerLimit)
		}
		w.close()
	})
}

func TestReadersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cluster.Options{Readers: 3})
		w.warm("a")
		var under, most atomic.Int32
		var all int
		for range 20 {
			w.Send("a", do(func(turn *cluster.Turn, _ *actor) {
				turn.Query(new(cluster.Asker), "x", func(context.Context) func() {
					most.Store(max(most.Load(), under.Add(1)))
					time.Sleep(time.Second)
					under.Add(-1)
					return nil
				}, nil)
			}))
		}
		w.Send("cold", do(func(*cluster.Turn, *actor) { all++ }))
		time.Sleep(time.Minute)
		synctest.Wait()
		if most.Load() != 3 || all != 1 {
			t.Errorf("%d readers at once, want 3; cold actor handled %d items", most.Load(), all)
		}
		w.close()
	})
}

// A reader that runs a lane is not kept by it: others wait to be read.
func TestBusyLaneDoesNotKeepAReader(t *testing.T) {
	w := newWorld(t, cluster.Options{Readers: 1, Lanes: 2})
	k := keysIn(2, 2, 1)
	a, b := k[0][0], k[1][0]
	reached := make(chan struct{})
	var spin func(turn *cluster.Turn, _ *actor)
	spin = func(turn *cluster.Turn, _ *actor) {
		select {
		case <-reached:
		default:
			turn.Send(a, do(spin))
		}
	}
	w.Send(a, do(spin)) // cold: the only reader brings it in
	w.Send(b, do(func(*cluster.Turn, *actor) { close(reached) }))
	<-reached
	w.settle()
	w.close()
}

// An answer is sent into a lane, where the same asker asks again: no lock is
// held meanwhile.
func TestAnswerThatLeadsToTheNextQuestion(t *testing.T) {
	w := newWorld(t, cluster.Options{})
	w.warm("a")
	var asker cluster.Asker
	var wg sync.WaitGroup
	wg.Add(1)
	n := 0
	var ask func(turn *cluster.Turn, _ *actor)
	ask = func(turn *cluster.Turn, _ *actor) {
		if n++; n == 50 {
			wg.Done()
			return
		}
		turn.Query(&asker, "x", func(context.Context) func() {
			return func() { w.Send("a", do(ask)) }
		}, nil)
	}
	w.Send("a", do(ask))
	wg.Wait()
	w.close()
}

func TestQueryOfAnItemWhoseCommitFails(t *testing.T) {
	w := newWorld(t, cluster.Options{})
	w.warm("a")
	w.shelf.failWith(badRows)
	var asker cluster.Asker
	var j journal
	ask := func(row string) *item {
		return do(func(turn *cluster.Turn, a *actor) {
			a.write(turn, row)
			turn.Query(&asker, "x", func(context.Context) func() {
				return func() { j.add("%s answered", row) }
			}, nil)
		})
	}
	w.Send("a", ask("1"), ask("bad"), ask("2"))
	w.settle()
	w.close()
	j.want(t, "answers", "1 answered", "2 answered")
}

func TestPanicInAQuery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cluster.Options{})
		w.warm("a")
		var asker cluster.Asker
		var j journal
		w.Send("a",
			j.query(&asker, "x", "slow", time.Second),
			do(func(turn *cluster.Turn, _ *actor) {
				turn.Query(&asker, "x", func(context.Context) func() { panic("broken read") },
					func(err error) { j.add("failed: %v", err) })
			}),
			do(func(turn *cluster.Turn, _ *actor) {
				turn.Query(&asker, "x", func(context.Context) func() {
					return func() { panic("broken answer") }
				}, nil)
			}),
			j.query(&asker, "x", "last", 0),
			j.query(&asker, "x", "very last", 0),
		)
		time.Sleep(2 * time.Second)
		j.want(t, "answers", "slow", "failed: handling panicked", "last", "very last")
		if s := w.Stats(); s.Panics != 2 || w.log.count("broken read") != 1 || w.log.count("broken answer") != 1 {
			t.Errorf("%d panics counted, log:\n%s", s.Panics, w.log.buf.String())
		}
		w.close()
	})
}
