package cluster_test

import (
	"fmt"
	"testing"
	"time"

	"kith/server/cluster"
	"kith/server/session"
	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
)

// null is a store that takes everything, and a loader of nothing.
type null struct{}

func (null) Commit([]storage.Op) error { return nil }

// silent is a stream that takes everything.
type silent struct{}

func (silent) TryWriteBatch([][]byte) (bool, error) { return true, nil }
func (silent) WriteBatch([][]byte) error            { return nil }
func (silent) Drain() error                         { return nil }
func (silent) Close(error) error                    { return nil }

func quick(t testing.TB, o cluster.Options) *world {
	w := newWorld(t, o)
	w.Local = cluster.NewLocal(null{}, w.library, o)
	return w
}

// delivery is the least that an arriving stanza does.
type delivery struct {
	out   *session.Session
	entry session.Entry
}

func (d *delivery) Handle(t *cluster.Turn, _ cluster.Actor) { t.After(d) }
func (d *delivery) Fail(*cluster.Turn, error)               {}

func (d *delivery) Committed(t *cluster.Turn) {
	if d.out.Send(d.entry) {
		t.Dirty(d.out)
	}
}

func newSession() *session.Session {
	s := session.New(session.NewID(), jid.MustParse("romeo@montague.example/orchard"), silent{},
		session.NewInbound(64, 1<<20, nil), session.Limits{QueueBytes: 1 << 20})
	s.Start()
	return s
}

var entry = session.Entry{Kind: stanza.Message, To: "romeo@montague.example/orchard", Tail: make([]byte, 400)}

func needsCounts(t *testing.T) {
	t.Helper()
	if race {
		t.Skip("allocations are not counted under the race detector")
	}
}

// Deliver to one: at most two allocations, through the lane, the session's queue
// and the write. One is the item itself.
func TestAllocationsToDeliverToOne(t *testing.T) {
	needsCounts(t)
	w := quick(t, cluster.Options{})
	defer w.close()
	w.warm("romeo@montague.example")
	s := newSession()
	defer s.End()
	got := testing.AllocsPerRun(2000, func() {
		w.Send("romeo@montague.example", &delivery{out: s, entry: entry})
	})
	if got > 2 {
		t.Errorf("%v allocations to deliver to one, want at most 2", got)
	}
}

// Fan-out: one allocation for all of the keys, none for each recipient, also with
// all that each of them does.
func TestAllocationsOfFanOut(t *testing.T) {
	needsCounts(t)
	const lanes = 8
	w := quick(t, cluster.Options{Lanes: lanes})
	defer w.close()
	keys, it, end := fanOut(w, 500)
	defer end()
	got := testing.AllocsPerRun(200, func() { w.SendMany(keys, it, true) })
	if got > 1 {
		t.Errorf("%v allocations for 500 recipients, want at most 1", got)
	}
	// The same from a turn.
	all := do(func(turn *cluster.Turn, _ *actor) { turn.SendMany(keys, it, true) })
	w.warm("room")
	got = testing.AllocsPerRun(200, func() { w.Send("room", all) })
	if got > 1 {
		t.Errorf("%v allocations for 500 recipients of a turn, want at most 1", got)
	}
}

// fanOut makes recipients, and an item that puts something into the session of
// each and has it flushed.
func fanOut(w *world, n int) ([]cluster.Key, cluster.Item, func()) {
	keys := make([]cluster.Key, n)
	outs := make(map[cluster.Key]*outbox, n)
	for i := range keys {
		keys[i] = cluster.Key(fmt.Sprintf("user%d@montague.example", i))
		outs[keys[i]] = &outbox{newSession()}
	}
	w.warm(keys...)
	return keys, &shout{outs}, func() {
		for _, o := range outs {
			o.End()
		}
	}
}

// outbox is a session whose writes happen at once: what a goroutine for each
// costs is not counted here.
type outbox struct{ *session.Session }

func (o *outbox) Flush(bool) { o.Session.Flush(true) }

type shout struct{ outs map[cluster.Key]*outbox }

func (s *shout) Handle(t *cluster.Turn, _ cluster.Actor) { t.After(s) }
func (s *shout) Fail(*cluster.Turn, error)               {}

func (s *shout) Committed(t *cluster.Turn) {
	if out := s.outs[t.Key()]; out.Send(entry) {
		t.Dirty(out)
	}
}

func TestAllocationsOfRows(t *testing.T) {
	needsCounts(t)
	w := quick(t, cluster.Options{Lanes: 1})
	defer w.close()
	w.warm("a")
	// A row costs its arguments and, now and then, a goroutine of the lane.
	it := do(func(turn *cluster.Turn, _ *actor) { turn.Write("INSERT") })
	got := testing.AllocsPerRun(500, func() { w.Send("a", it); w.settle() })
	if got > 3 {
		t.Errorf("%v allocations, want at most 3", got)
	}
}

func BenchmarkSend(b *testing.B) {
	w := quick(b, cluster.Options{})
	defer w.close()
	w.warm("romeo@montague.example")
	it := do(func(*cluster.Turn, *actor) {})
	b.ReportAllocs()
	for b.Loop() {
		w.Send("romeo@montague.example", it)
	}
}

// Each on its way to another actor, from several goroutines.
func BenchmarkSendParallel(b *testing.B) {
	w := quick(b, cluster.Options{})
	defer w.close()
	var keys []cluster.Key
	for i := range 1024 {
		keys = append(keys, cluster.Key(fmt.Sprintf("user%d@montague.example", i)))
	}
	w.warm(keys...)
	it := do(func(*cluster.Turn, *actor) {})
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for i := 0; p.Next(); i++ {
			w.Send(keys[i*31%len(keys)], it)
		}
	})
}

// What a message does: sender's lane, recipient's lane, session, write.
func BenchmarkPassAndDeliver(b *testing.B) {
	w := quick(b, cluster.Options{})
	defer w.close()
	w.warm("juliet@capulet.example", "romeo@montague.example")
	s := newSession()
	defer s.End()
	b.ReportAllocs()
	for b.Loop() {
		w.Send("juliet@capulet.example", do(func(turn *cluster.Turn, _ *actor) {
			turn.Pass("romeo@montague.example", &delivery{out: s, entry: entry})
		}))
	}
}

// With rows, which a store that does nothing commits: the price of handing over.
func BenchmarkSendWithRow(b *testing.B) {
	w := quick(b, cluster.Options{})
	defer w.close()
	w.warm("romeo@montague.example")
	it := do(func(turn *cluster.Turn, _ *actor) { turn.Write("INSERT", 1, "x") })
	b.ReportAllocs()
	for b.Loop() {
		w.Send("romeo@montague.example", it)
		w.settle()
	}
}

// The same under load: whoever comes meanwhile shares the commit.
func BenchmarkSendWithRowLoaded(b *testing.B) {
	w := quick(b, cluster.Options{})
	defer w.close()
	w.warm("romeo@montague.example")
	in := session.NewInbound(64, 1<<30, nil)
	defer in.Stop()
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		in.Wait()
		tk := new(session.Ticket)
		in.Take(tk, 1, now)
		w.Send("romeo@montague.example", do(func(turn *cluster.Turn, _ *actor) {
			turn.Write("INSERT", 1, "x")
			turn.After(then(tk.Done))
		}))
	}
	w.settle()
}

func BenchmarkFanOut500(b *testing.B) {
	w := quick(b, cluster.Options{})
	defer w.close()
	keys, it, end := fanOut(w, 500)
	defer end()
	b.ReportAllocs()
	for b.Loop() {
		w.SendMany(keys, it, true)
	}
}
