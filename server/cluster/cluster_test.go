package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"kith/server/cluster"
	"kith/server/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shelf is a store in memory. A row is its SQL text.
type shelf struct {
	mu      sync.Mutex
	rows    []string
	commits [][]string
	fail    func(rows []string) error // asked before a commit
	gate    chan struct{}             // if there is one, a commit takes a value from it
}

func (s *shelf) Commit(ops []storage.Op) error {
	var rows []string
	for _, op := range ops {
		rows = append(rows, op.SQL)
	}
	s.mu.Lock()
	gate, fail := s.gate, s.fail
	s.mu.Unlock()
	if gate != nil {
		<-gate
	}
	if fail != nil {
		if err := fail(rows); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows = append(s.rows, rows...)
	s.commits = append(s.commits, rows)
	return nil
}

func (s *shelf) failWith(fail func(rows []string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
}

// all returns what is stored, in the order in which it was.
func (s *shelf) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.rows)
}

// of returns the rows of one actor: those that begin with its key and a slash.
func (s *shelf) of(k cluster.Key) []string {
	return slices.DeleteFunc(s.all(), func(r string) bool { return !strings.HasPrefix(r, string(k)+"/") })
}

var errRow = errors.New("constraint violated")

// badRows fails commits that hold a row with the word bad.
func badRows(rows []string) error {
	if slices.ContainsFunc(rows, func(r string) bool { return strings.Contains(r, "bad") }) {
		return errRow
	}
	return nil
}

// actor is what a key has: how many rows, and sessions.
type actor struct {
	key      cluster.Key
	rows     int // durable
	sessions int // not durable
	size     int
	made     int // how often
}

func (a *actor) Busy() bool { return a.sessions > 0 }
func (a *actor) Size() int  { return a.size }

// write adds a row and counts it in the actor.
func (a *actor) write(t *cluster.Turn, row string) {
	a.rows++
	t.Write(string(a.key) + "/" + row)
}

type library struct {
	shelf *shelf
	size  int

	mu    sync.Mutex
	loads map[cluster.Key]int
	hook  func(context.Context, cluster.Key) error
}

func (l *library) Load(ctx context.Context, k cluster.Key) (any, error) {
	l.mu.Lock()
	l.loads[k]++
	hook := l.hook
	l.mu.Unlock()
	if hook != nil {
		if err := hook(ctx, k); err != nil {
			return nil, err
		}
	}
	return len(l.shelf.of(k)), nil
}

func (l *library) New(k cluster.Key, state any, prev cluster.Actor) cluster.Actor {
	a := &actor{key: k, rows: state.(int), size: l.size, made: 1}
	if p, _ := prev.(*actor); p != nil {
		a.sessions, a.made = p.sessions, p.made+1
	}
	return a
}

func (l *library) loaded(k cluster.Key) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.loads[k]
}

func (l *library) onLoad(hook func(context.Context, cluster.Key) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hook = hook
}

// world is a cluster with its store, and the log.
type world struct {
	*cluster.Local
	t       fataler
	shelf   *shelf
	library *library
	log     *logged
}

type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), s)
}

func newWorld(t fataler, o cluster.Options) *world {
	w := &world{t: t, shelf: &shelf{}, log: &logged{}}
	w.library = &library{shelf: w.shelf, loads: map[cluster.Key]int{}, size: 100}
	o.Log = slog.New(slog.NewTextHandler(w.log, nil))
	w.Local = cluster.NewLocal(w.shelf, w.library, o)
	return w
}

// warm loads actors.
func (w *world) warm(keys ...cluster.Key) {
	w.t.Helper()
	var wg sync.WaitGroup
	wg.Add(len(keys))
	for _, k := range keys {
		w.Send(k, &item{handle: func(t *cluster.Turn, _ *actor) { t.After(then(wg.Done)) }})
	}
	wg.Wait()
	w.settle()
}

// settle waits until nothing is under way.
func (w *world) settle() {
	for !w.Idle() {
		runtime.Gosched()
	}
}

// close closes the cluster, which must come to rest.
func (w *world) close() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := w.Close(ctx); err != nil {
		w.t.Fatalf("Close: %v; %+v", err, w.Stats())
	}
}

type item struct {
	handle func(t *cluster.Turn, a *actor)
	fail   func(t *cluster.Turn, err error)
}

func (it *item) Handle(t *cluster.Turn, a cluster.Actor) {
	if it.handle != nil {
		it.handle(t, a.(*actor))
	}
}

func (it *item) Fail(t *cluster.Turn, err error) {
	if it.fail != nil {
		it.fail(t, err)
	}
}

func do(f func(t *cluster.Turn, a *actor)) *item { return &item{handle: f} }

func then(f func()) cluster.Effect {
	return cluster.EffectFunc(func(*cluster.Turn) { f() })
}

// journal is a list that several goroutines write.
type journal struct {
	mu  sync.Mutex
	all []string
}

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.all = append(j.all, fmt.Sprintf(format, args...))
}

func (j *journal) list() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.all)
}

func (j *journal) want(t *testing.T, what string, want ...string) {
	t.Helper()
	if got := j.list(); !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// row is an item that writes a row, and notes what becomes of it.
func (j *journal) row(name string) *item {
	return &item{
		handle: func(t *cluster.Turn, a *actor) {
			a.write(t, name)
			t.After(then(func() { j.add("%s stored", name) }))
		},
		fail: func(_ *cluster.Turn, err error) { j.add("%s failed: %v", name, reason(err)) },
	}
}

// reason is the known error that err wraps.
func reason(err error) error {
	for _, known := range []error{errRow, storage.ErrUnavailable, cluster.ErrAbsent, cluster.ErrPanic, cluster.ErrClosed, context.Canceled} {
		if errors.Is(err, known) {
			return known
		}
	}
	return err
}

// keysIn returns n keys of each of the first lanes.
func keysIn(lanes, of, n int) [][]cluster.Key {
	out := make([][]cluster.Key, lanes)
	full := 0
	for i := 0; full < lanes; i++ {
		k := cluster.Key(fmt.Sprintf("user%d@montague.example", i))
		if l := k.Shard() % of; l < lanes && len(out[l]) < n {
			if out[l] = append(out[l], k); len(out[l]) == n {
				full++
			}
		}
	}
	return out
}

// goroutine tells goroutines apart.
func goroutine() string {
	var b [64]byte
	s, _, _ := strings.Cut(string(b[:runtime.Stack(b[:], false)]), " [")
	return s
}

// fataler is what testing.TB and rapid.T have in common.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}
