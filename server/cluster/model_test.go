package cluster_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kith/server/cluster"
	"kith/server/storage"
)

// A step of the model: one item for an actor.
type step struct {
	to, next int    // actors
	row      string // "", "good" or "bad": its commit always fails
	pass     bool   // passes something to next
	send     bool   // sends something to next after its commit
	panics   bool
	forgets  bool
	live     bool
}

func steps(keys int) *rapid.Generator[[]step] {
	one := rapid.Custom(func(t *rapid.T) step {
		odds := func(name string, in int) bool { return rapid.IntRange(1, in).Draw(t, name) == 1 }
		s := step{
			to:      rapid.IntRange(0, keys-1).Draw(t, "to"),
			next:    rapid.IntRange(0, keys-1).Draw(t, "next"),
			row:     rapid.SampledFrom([]string{"", "good", "good", "good"}).Draw(t, "row"),
			pass:    rapid.Bool().Draw(t, "pass"),
			send:    rapid.Bool().Draw(t, "send"),
			panics:  odds("panics", 12),
			forgets: odds("forgets", 12),
			live:    odds("live", 8),
		}
		if odds("bad", 10) {
			s.row = "bad"
		}
		return s
	})
	return rapid.SliceOfN(one, 0, 40)
}

// fate counts what happened to a step.
type fate struct{ stored, failed, passed, sent int }

// model runs steps of several senders and notes what becomes of them.
type model struct {
	w    *world
	mu   sync.Mutex // guards what follows
	fate map[string]*fate
	errs []string
	last map[string]int
}

func (m *model) of(id string) *fate {
	f := m.fate[id]
	if f == nil {
		f = new(fate)
		m.fate[id] = f
	}
	return f
}

func (m *model) note(id string, change func(*fate)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(m.of(id))
}

// inOrder wants numbers to grow.
func (m *model) inOrder(what string, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n <= m.last[what] {
		m.errs = append(m.errs, fmt.Sprintf("%s: %d after %d", what, n, m.last[what]))
	}
	m.last[what] = n
}

func key(i int) cluster.Key { return cluster.Key(fmt.Sprintf("k%d", i)) }

// item is the n-th thing that a sender does.
func (m *model) item(sender, n int, s step) cluster.Item {
	id := fmt.Sprintf("%d.%d", sender, n)
	told := func(kind string, count func(*fate)) *item {
		line := fmt.Sprintf("%d by %d to %d, %s", sender, s.to, s.next, kind)
		return do(func(t *cluster.Turn, _ *actor) {
			t.After(then(func() { m.note(id, count); m.inOrder(line, n) }))
		})
	}
	return &item{
		handle: func(t *cluster.Turn, a *actor) {
			if s.row != "" {
				a.write(t, id+s.row)
			}
			t.After(then(func() {
				m.note(id, func(f *fate) { f.stored++ })
				m.inOrder(fmt.Sprintf("%d to %d", sender, s.to), n)
			}))
			if s.pass {
				t.Pass(key(s.next), told("passed", func(f *fate) { f.passed++ }))
			}
			if s.send {
				t.Send(key(s.next), told("sent", func(f *fate) { f.sent++ }))
			}
			if s.forgets {
				t.Forget()
			}
			if s.panics {
				panic("by the model")
			}
		},
		fail: func(t *cluster.Turn, _ error) { m.note(id, func(f *fate) { f.failed++ }) },
	}
}

// check compares with what must have happened.
func (m *model) check(t *rapid.T, all [][]step) {
	for _, e := range m.errs {
		t.Errorf("order: %s", e)
	}
	rows := m.w.shelf.all()
	for sender, steps := range all {
		for n, s := range steps {
			n++
			id := fmt.Sprintf("%d.%d", sender, n)
			got := *m.of(id)
			want := fate{stored: 1}
			row := 1
			if s.panics || s.row == "bad" {
				want, row = fate{failed: 1}, 0
			}
			if s.pass && !s.panics {
				want.passed = 1
			}
			if s.send && want.stored == 1 {
				want.sent = 1
			}
			if s.live && got.failed == 1 && got.stored+got.passed+got.sent == 0 {
				want, row = got, 0 // the actor may not have been there
			}
			if got != want {
				t.Errorf("item %s %+v: got %+v, want %+v", id, s, got, want)
			}
			if s.row == "" {
				row = 0
			}
			if k := strings.Count("\n"+strings.Join(rows, "\n")+"\n", "/"+id+s.row+"\n"); s.row != "" && k != row {
				t.Errorf("item %s %+v: %d rows, want %d", id, s, k, row)
			}
		}
	}
}

// Whatever fails, each item has exactly one fate, its row, what it passes on and
// what it sends are there exactly as often as that says, and the order of each
// sender at each actor, and from there on, is kept.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const keys = 4
		lanes := rapid.IntRange(1, 4).Draw(t, "lanes")
		bytes := rapid.SampledFrom([]int{1, 300, 1 << 20}).Draw(t, "memory")
		outages := rapid.SliceOfN(rapid.IntRange(1, 30), 0, 6).Draw(t, "commits that find no store")
		all := rapid.SliceOfN(steps(keys), 1, 4).Draw(t, "senders")
		w := newWorld(t, cluster.Options{Lanes: lanes, Readers: 2, ActorBytes: bytes, RetryEvery: time.Microsecond})
		commit := 0
		w.shelf.failWith(func(rows []string) error {
			w.shelf.mu.Lock()
			commit++
			down := slices.Contains(outages, commit)
			w.shelf.mu.Unlock()
			if down {
				return storage.ErrUnavailable
			}
			return badRows(rows)
		})
		m := &model{w: w, fate: map[string]*fate{}, last: map[string]int{}}
		var wg sync.WaitGroup
		for sender, steps := range all {
			wg.Go(func() {
				for n, s := range steps {
					if s.live {
						w.SendLive(key(s.to), m.item(sender, n+1, s))
					} else {
						w.Send(key(s.to), m.item(sender, n+1, s))
					}
				}
			})
		}
		wg.Wait()
		w.settle()
		w.close()
		m.check(t, all)
	})
}
