package cluster_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"kith/server/cluster"
)

func TestIdleLaneRunsOnTheCallersGoroutine(t *testing.T) {
	w := newWorld(t, cluster.Options{})
	defer w.close()
	w.warm("romeo@montague.example")
	var ran string
	w.Send("romeo@montague.example", do(func(*cluster.Turn, *actor) { ran = goroutine() }))
	if ran != goroutine() {
		t.Errorf("item ran on %q, the caller is %q", ran, goroutine())
	}
}

func TestWhatArrivesMeanwhileIsOneBatchWithOneCommit(t *testing.T) {
	w := newWorld(t, cluster.Options{Lanes: 1})
	defer w.close()
	w.warm("a", "b")
	before := w.Stats()
	inside, goOn := make(chan struct{}), make(chan struct{})
	go w.Send("a", do(func(*cluster.Turn, *actor) { close(inside); <-goOn }))
	<-inside
	var j journal
	w.Send("a", j.row("1"), j.row("2"))
	w.Send("b", j.row("3"))
	w.Send("a", j.row("4"))
	close(goOn)
	w.settle()
	j.want(t, "stored", "1 stored", "2 stored", "3 stored", "4 stored")
	s := w.Stats()
	if s.Batches-before.Batches != 2 || s.Commits-before.Commits != 1 || s.Envelopes-before.Envelopes != 5 {
		t.Errorf("batches %d, commits %d, items %d; want 2, 1, 5", s.Batches-before.Batches, s.Commits-before.Commits, s.Envelopes-before.Envelopes)
	}
}

// A lane that never gets empty keeps the goroutine that woke it for 16 batches,
// however many lanes it goes through.
func TestBudgetThenTheLaneIsHandedOver(t *testing.T) {
	for _, keys := range [][2]cluster.Key{{"a", "a"}, {"a", "b"}} {
		w := newWorld(t, cluster.Options{Lanes: 16})
		w.warm("a", "b")
		const all = 100
		var mine, n int
		var wg sync.WaitGroup
		wg.Add(1)
		caller := goroutine()
		var again func(turn *cluster.Turn, a *actor)
		again = func(turn *cluster.Turn, a *actor) {
			if n++; goroutine() == caller {
				mine++
			}
			if n == all {
				wg.Done()
				return
			}
			turn.Send(keys[n%2], do(again))
		}
		w.Send(keys[0], do(again))
		if mine != 16 {
			t.Errorf("%v: the caller ran %d batches, want 16", keys, mine)
		}
		wg.Wait()
		w.close()
	}
}

func TestLanesNeverNest(t *testing.T) {
	w := newWorld(t, cluster.Options{Lanes: 8})
	defer w.close()
	k := keysIn(2, 8, 1)
	a, b := k[0][0], k[1][0]
	w.warm(a, b)
	var j journal
	w.Send(a, do(func(turn *cluster.Turn, _ *actor) {
		j.add("begin")
		turn.Pass(b, do(func(turn *cluster.Turn, _ *actor) {
			j.add("passed")
			turn.Send(a, do(func(*cluster.Turn, *actor) { j.add("back") }))
		}))
		turn.Send(b, do(func(*cluster.Turn, *actor) { j.add("sent") }))
		turn.After(then(func() { j.add("effect") }))
		j.add("end")
	}))
	w.settle()
	j.want(t, "order", "begin", "end", "effect", "passed", "sent", "back")
}

// A lane that is kept busy without rows does not keep those waiting that it has
// claimed.
func TestClaimedLaneWaitsForOneBatchAtMost(t *testing.T) {
	w := newWorld(t, cluster.Options{Lanes: 8})
	defer w.close()
	k := keysIn(2, 8, 1)
	a, b := k[0][0], k[1][0]
	w.warm(a, b)
	reached := make(chan struct{})
	var spin func(turn *cluster.Turn, _ *actor)
	first := true
	spin = func(turn *cluster.Turn, _ *actor) {
		if first {
			first = false
			turn.Pass(b, do(func(*cluster.Turn, *actor) { close(reached) }))
		}
		select {
		case <-reached:
		default:
			turn.Send(a, do(spin))
		}
	}
	w.Send(a, do(spin))
	<-reached
}

// Many senders, each to many actors, which pass on to others: everything arrives
// once, and in order by sender and actor, and by pair of actors.
func TestOrderPerKeyAndPerPair(t *testing.T) {
	w := newWorld(t, cluster.Options{Lanes: 8})
	const senders, keys, each = 16, 24, 400
	type pair struct{ from, to int }
	var mu sync.Mutex
	last := map[pair]int{} // sender to key
	pairs := map[pair]int{}
	count := make([]int, keys) // of what an actor passed on to its neighbour; its own
	var arrived atomic.Int64
	key := func(i int) cluster.Key { return cluster.Key(fmt.Sprintf("k%d", i)) }
	inOrder := func(m map[pair]int, p pair, n int, what string) {
		mu.Lock()
		defer mu.Unlock()
		if m[p]+1 != n {
			t.Errorf("%s %v: %d after %d", what, p, n, m[p])
		}
		m[p] = n
	}
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			sent := make([]int, keys)
			for i := range each {
				to := (i*7 + s) % keys
				sent[to]++
				n := sent[to]
				w.Send(key(to), do(func(turn *cluster.Turn, a *actor) {
					inOrder(last, pair{s, to}, n, "sender to key")
					count[to]++
					m := count[to]
					next := (to + 1) % keys
					on := do(func(*cluster.Turn, *actor) {
						arrived.Add(1)
						inOrder(pairs, pair{to, next}, m, "key to key")
					})
					if i%3 == 0 {
						a.write(turn, "row")
					}
					if i%2 == 0 {
						turn.Pass(key(next), on)
					} else {
						turn.Send(key(next), on)
					}
				}))
			}
		})
	}
	wg.Wait()
	w.settle()
	w.close()
	if got := arrived.Load(); got != senders*each {
		t.Errorf("%d of %d items arrived", got, senders*each)
	}
}

func TestPassDoesNotOvertakeSend(t *testing.T) {
	w := newWorld(t, cluster.Options{})
	defer w.close()
	w.warm("a", "room", "other")
	var j journal
	note := func(s string) *item { return do(func(*cluster.Turn, *actor) { j.add("%s", s) }) }
	w.Send("a",
		do(func(turn *cluster.Turn, a *actor) { a.write(turn, "x"); turn.Send("room", note("join")) }),
		do(func(turn *cluster.Turn, _ *actor) { turn.Pass("room", note("message")) }),
		do(func(turn *cluster.Turn, _ *actor) { turn.SendMany([]cluster.Key{"room"}, note("presence"), false) }),
		do(func(turn *cluster.Turn, _ *actor) { turn.Pass("room", note("another")) }),
	)
	w.settle()
	j.want(t, "order at the room", "join", "message", "presence", "another")
}

func TestSendManyIsOneEnvelopeALaneAndEveryKeyOnce(t *testing.T) {
	w := newWorld(t, cluster.Options{Lanes: 8})
	defer w.close()
	var keys []cluster.Key
	for _, ks := range keysIn(5, 8, 20) {
		keys = append(keys, ks...)
	}
	w.warm(keys...)
	for _, how := range []string{"outside", "turn", "effect"} {
		before := w.Stats()
		var mu sync.Mutex
		seen := map[cluster.Key]int{}
		it := do(func(turn *cluster.Turn, a *actor) {
			mu.Lock()
			defer mu.Unlock()
			if a.key != turn.Key() {
				t.Errorf("%s handled for %s", a.key, turn.Key())
			}
			seen[turn.Key()]++
		})
		extra := int64(1) // the batch that sends
		switch how {
		case "outside":
			w.SendMany(keys, it, false)
			extra = 0
		case "turn":
			w.Send("sender", do(func(turn *cluster.Turn, _ *actor) { turn.SendMany(keys, it, false) }))
		case "effect":
			w.Send("sender", do(func(turn *cluster.Turn, _ *actor) {
				turn.After(cluster.EffectFunc(func(turn *cluster.Turn) { turn.SendMany(keys, it, true) }))
			}))
		}
		w.settle()
		for _, k := range keys {
			if seen[k] != 1 {
				t.Errorf("%s: %s handled %d times", how, k, seen[k])
			}
		}
		s := w.Stats()
		if how != "turn" && s.Batches-before.Batches > 5+extra+1 {
			t.Errorf("%s: %d batches for 5 lanes", how, s.Batches-before.Batches)
		}
		if got := s.Envelopes - before.Envelopes; got != 100+extra {
			t.Errorf("%s: %d items counted, want %d", how, got, 100+extra)
		}
	}
	w.SendMany(nil, do(nil), false)
}

func TestSendManyLiveLoadsNobody(t *testing.T) {
	w := newWorld(t, cluster.Options{})
	defer w.close()
	w.warm("here")
	var j journal
	it := &item{
		handle: func(turn *cluster.Turn, _ *actor) { j.add("%s", turn.Key()) },
		fail:   func(turn *cluster.Turn, err error) { j.add("%s: %v", turn.Key(), err) },
	}
	w.SendMany([]cluster.Key{"here"}, it, true)
	w.SendMany([]cluster.Key{"absent"}, it, true)
	j.want(t, "live", "here", "absent: actor is not in memory")
	if n := w.library.loaded("absent"); n != 0 {
		t.Errorf("absent actor was loaded %d times", n)
	}
}
