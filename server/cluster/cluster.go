// Package cluster decides who owns a bare JID and runs what arrives for it:
// actors, lanes, and delivery to the node that owns an actor. Local is the
// cluster of one node.
//
// Every account, room, service and outgoing server-to-server pair is an actor
// with a key. A key belongs to a shard for ever, a shard to one lane of its
// owner. A lane handles what arrives for its actors one after the other, in
// batches; nobody else touches an actor. The laws:
//
//   - Everything goes through Send. A lane is a queue with a run token: who puts
//     something into an idle lane runs it on its own goroutine for a few
//     batches. Lanes never nest: what a batch sends is pushed into other lanes
//     before its own is released and run afterwards.
//   - What one actor sends to another arrives in the order in which it was asked
//     for. Pass does not overtake an earlier Send of the batch: it waits with it.
//   - An item changes its actor at once; its rows, sends and effects wait in the
//     Turn. Rows of a batch are committed together; what the batch wants to send
//     leaves after that, in order. A lane waits for its commit, but never on a
//     goroutine that reads a stream: there the rest is handed to a goroutine of
//     the lane.
//   - A lane never waits for a client, the network, a long read or another lane.
//     Its queue has no bound of its own: admission bounds it, since who sends
//     holds credit until the item is finished.
//   - A commit that fails makes every actor of the batch forget its durable
//     state; it is loaded again and the items run one by one, each in a batch of
//     its own. What fails alone is told so by Fail.
//   - An item is handled or told why not (Fail), exactly one of them with
//     effect, also after a panic. Fail is an effect: it is called after the
//     commit, whatever becomes of that, and once.
package cluster

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zeebo/xxh3"

	"kith/server/storage"
)

// Key names an actor: a bare JID, or s2s|from|to.
type Key string

// Shards is the number of shards, a constant for ever: a key's shard decides
// which node owns it.
const Shards = 16384

// Shard returns the shard that the key is in.
func (k Key) Shard() int { return int(xxh3.HashString(string(k)) % Shards) }

// Item is something for an actor to do.
type Item interface {
	// Handle does the work in the actor's lane. It must not block. Whatever
	// depends on a row that it writes goes through the Turn. After a failed
	// commit it is called again, on an actor whose durable state was loaded anew.
	Handle(t *Turn, a Actor)
	// Fail is called once, when the item cannot be handled or its rows cannot be
	// stored; effects of an earlier Handle did not and will not happen, but for
	// what was Passed. t may be used to send the bad news, not to write rows.
	Fail(t *Turn, err error)
}

// Stranded is an Item that can make do with what is alive of its actor while the
// durable state cannot be loaded.
type Stranded interface {
	Item
	// Strand is called before Fail, in an effect, with the actor as it was; true
	// says that the item is handled, and Fail is not called.
	Strand(t *Turn, a Actor) bool
}

// Actor is the state that belongs to a key. Only its lane calls it.
type Actor interface {
	// Busy reports whether something alive is attached, a session say: then the
	// actor is not evicted.
	Busy() bool
	// Size is about the number of bytes that the actor holds in memory.
	Size() int
}

// Loader reads actors from the store.
type Loader interface {
	// Load reads the durable state of an actor. It runs outside the lane.
	Load(ctx context.Context, k Key) (state any, err error)
	// New makes an actor of what Load returned, in the lane. prev is the actor as
	// it was, if a failed commit made it forget: what is not durable stays.
	New(k Key, state any, prev Actor) Actor
}

// Store is what a cluster needs of the database.
type Store interface {
	// Commit makes the rows durable, all or none of them.
	Commit(ops []storage.Op) error
}

var (
	// ErrAbsent is given to an item that concerns only live actors, when the
	// actor is not in memory.
	ErrAbsent = errors.New("actor is not in memory")
	// ErrPanic is given to an item whose handling panicked.
	ErrPanic = errors.New("handling panicked")
	// ErrClosed is given to what arrives after Close.
	ErrClosed = errors.New("shutting down")
)

// Options of a Local; the zero value of each field is replaced by its default.
type Options struct {
	Lanes       int           // number of lanes; default 4 × GOMAXPROCS, at least 8
	Readers     int           // loads and queries under way at once; default 8
	ActorBytes  int           // memory for actors nobody is attached to; default 64 MiB
	RetryEvery  time.Duration // pause between tries while the store fails; default 1 s
	GiveUpAfter time.Duration // how long the store may fail before items are; default 10 s
	Log         *slog.Logger
}

// Local is the cluster of one node.
type Local struct {
	store   Store
	loader  Loader
	log     *slog.Logger
	opts    Options
	lanes   []lane
	pool    pool
	runners sync.Pool // of *runner
	soon    soon
	ctx     context.Context
	cancel  context.CancelFunc

	closing atomic.Bool
	busy    atomic.Int64  // lanes that run, loads and queries under way
	quiet   chan struct{} // told when busy comes to 0 while closing
	down    atomic.Int64  // since when the store fails, in Unix nanoseconds; 0: it does not

	envelopes, batches, commits, failures, panics atomic.Int64
}

// NewLocal returns a cluster that keeps its rows in store and reads its actors
// by loader.
func NewLocal(store Store, loader Loader, o Options) *Local {
	if o.Lanes == 0 {
		o.Lanes = max(8, 4*runtime.GOMAXPROCS(0))
	}
	if o.Readers == 0 {
		o.Readers = 8
	}
	if o.ActorBytes == 0 {
		o.ActorBytes = 64 << 20
	}
	if o.RetryEvery == 0 {
		o.RetryEvery = time.Second
	}
	if o.GiveUpAfter == 0 {
		o.GiveUpAfter = 10 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	c := &Local{store: store, loader: loader, log: o.Log, opts: o, lanes: make([]lane, o.Lanes), quiet: make(chan struct{}, 1)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.pool = pool{limit: o.Readers, c: c}
	c.runners.New = func() any { return &runner{c: c} }
	for i := range c.lanes {
		l := &c.lanes[i]
		l.c, l.slots, l.budget = c, make(map[Key]*slot), o.ActorBytes/o.Lanes
		l.idle.next, l.idle.prev = &l.idle, &l.idle
	}
	return c
}

func (c *Local) lane(k Key) *lane { return &c.lanes[k.Shard()%len(c.lanes)] }

// Send hands items to the owner of k, in order, and returns. They may have been
// handled by then: an idle lane runs on the goroutine of the caller, who must
// hold no lock and must not be an item or an effect: those have their Turn.
func (c *Local) Send(k Key, items ...Item) {
	if len(items) == 0 {
		return
	}
	if l := c.lane(k); l.pushItems(k, items) {
		c.runHere(l)
	}
}

// SendLive is Send for an item that concerns only an actor in memory: if it is
// not there, the item fails with ErrAbsent and nothing is loaded.
func (c *Local) SendLive(k Key, it Item) {
	if l := c.lane(k); l.push(envelope{key: k, item: it, live: true}, true) {
		c.runHere(l)
	}
}

// SendMany hands one item to many actors: one envelope a lane. The item's
// Handle is called once for each key, from several lanes at the same time, so
// it must not change the item.
func (c *Local) SendMany(keys []Key, it Item, live bool) {
	r := c.runner(true)
	r.pushMany(send{fan: keys, item: it, live: live}, true)
	r.run()
}

// told gives a lane the word of a reader.
func (c *Local) told(w *loaded) {
	l := c.lane(w.key)
	claimed := l.push(envelope{key: w.key, item: w}, false)
	c.release()
	if claimed {
		c.runHere(l)
	}
}

// hold and release count what is under way, so that Close knows when there is
// nothing left.
func (c *Local) hold() { c.busy.Add(1) }

func (c *Local) release() {
	if c.busy.Add(-1) == 0 && c.closing.Load() {
		select {
		case c.quiet <- struct{}{}:
		default:
		}
	}
}

// Idle reports whether nothing is under way: no lane has anything to do, no load
// and no query is being read.
func (c *Local) Idle() bool { return c.busy.Load() == 0 }

// Close lets the lanes finish what they have. From its beginning, what others
// send fails with ErrClosed, and items that wait for a failing store are failed.
// When the context ends, so do loads and queries, and what waits for them fails.
func (c *Local) Close(ctx context.Context) error {
	c.closing.Store(true)
	c.sendSoon(true)
	c.refuse(fromOutside)
	for i := range c.lanes {
		if l := &c.lanes[i]; l.push(envelope{item: stopWaiting{}}, false) {
			c.goLane(l)
		}
	}
	defer c.refuse(everything)
	defer c.cancel()
	if c.wait(ctx) {
		return nil
	}
	c.cancel()
	grace, stop := context.WithTimeout(context.Background(), time.Second)
	defer stop()
	c.wait(grace)
	return ctx.Err()
}

func (c *Local) refuse(what refusal) {
	for i := range c.lanes {
		l := &c.lanes[i]
		l.mu.Lock()
		l.refuse = what
		l.mu.Unlock()
	}
}

func (c *Local) wait(ctx context.Context) bool {
	for c.busy.Load() != 0 {
		select {
		case <-c.quiet:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// Stats are figures since the start.
type Stats struct {
	Envelopes int64 // items handled
	Batches   int64 // batches of a lane
	Commits   int64 // batches that had rows
	Failures  int64 // commits that failed
	Panics    int64 // recovered
	Queued    int   // envelopes waiting now
	Actors    int   // actors in memory now
}

// Stats returns the figures.
func (c *Local) Stats() Stats {
	s := Stats{Envelopes: c.envelopes.Load(), Batches: c.batches.Load(), Commits: c.commits.Load(),
		Failures: c.failures.Load(), Panics: c.panics.Load()}
	for i := range c.lanes {
		l := &c.lanes[i]
		l.mu.Lock()
		s.Queued += len(l.queue)
		l.mu.Unlock()
		s.Actors += int(l.actors.Load())
	}
	return s
}
