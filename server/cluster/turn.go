package cluster

import (
	"slices"
	"time"

	"kith/server/storage"
)

// Effect is something that happens after the commit of a batch.
type Effect interface {
	// Committed runs in the lane, in the order in which effects were asked for.
	// It writes no rows: what needs one sends an item.
	Committed(t *Turn)
}

// EffectFunc is a function as an Effect.
type EffectFunc func(t *Turn)

// Committed implements Effect.
func (f EffectFunc) Committed(t *Turn) { f(t) }

// Flusher is an outbound queue that a batch has put something into.
type Flusher interface {
	// Flush sends what is queued. alone is true if no other queue is to be
	// flushed by this batch: then it may write at once if that does not block.
	Flush(alone bool)
}

// Turn is what one batch of a lane wants done. It is valid only during the call
// it is given to.
type Turn struct {
	lane      *lane
	run       *runner
	now       time.Time
	key       Key
	effecting bool // the batch is committed: what is sent leaves at once
	forget    bool // the item under way asked for it
	passes    int  // how often the item under way has called Pass
	left      int  // how many of these have left before, when it runs again

	ops     []storage.Op
	passed  []send // leaves without waiting for the commit
	after   []effect
	sends   []send    // of effects
	failed  []failure // of effects
	items   []handled
	touched []*slot
	dirty   []Flusher
	isDirty map[Flusher]struct{} // once dirty is too long to be searched
}

// effect is what happens after the commit, and the actor whose item asked for
// it.
type effect struct {
	Effect // of the kind happens
	key    Key
	kind   effectKind
	n      int // which of Turn.sends or Turn.failed
}

type effectKind uint8

const (
	happens effectKind = iota
	sends
	passes // a send that happens even if the commit fails
	fails  // happens even if the commit fails
)

// send is an item on its way to other lanes.
type send struct {
	from Key
	key  Key
	item Item
	fan  []Key
	live bool
}

// failure is an item that must learn why it was not handled.
type failure struct {
	item  Item
	err   error
	actor Actor // alive, nil if it is not
}

func (t *Turn) begin(l *lane, r *runner) {
	t.lane, t.run, t.now, t.effecting, t.left = l, r, time.Now(), false, 0
}

// end forgets what the batch held, keeping the arrays.
func (t *Turn) end() {
	clear(t.ops)
	clear(t.after)
	clear(t.sends)
	clear(t.failed)
	clear(t.items)
	clear(t.touched)
	t.ops, t.after, t.sends, t.failed = t.ops[:0], t.after[:0], t.sends[:0], t.failed[:0]
	t.items, t.touched = t.items[:0], t.touched[:0]
	t.run = nil
}

type mark struct{ ops, passed, after, sends int }

func (t *Turn) mark() mark { return mark{len(t.ops), len(t.passed), len(t.after), len(t.sends)} }

func (t *Turn) rollback(m mark) {
	t.ops, t.passed, t.after, t.sends = t.ops[:m.ops], t.passed[:m.passed], t.after[:m.after], t.sends[:m.sends]
}

// keepCertain drops the effects that do not happen because the commit failed.
func (t *Turn) keepCertain() {
	t.after = slices.DeleteFunc(t.after, func(e effect) bool { return e.kind == happens || e.kind == sends })
}

// Now is the time of the batch.
func (t *Turn) Now() time.Time { return t.now }

// Write adds a row to what the batch commits. The strings and slices among args
// must stay as they are until then. An effect must not call it.
func (t *Turn) Write(sql string, args ...any) {
	if t.effecting {
		panic("cluster: Write in an effect")
	}
	t.ops = append(t.ops, storage.Op{SQL: sql, Args: args})
}

// Key is the actor whose item is being handled, or whose effect happens.
func (t *Turn) Key() Key { return t.key }

// Forget has the actor of the item under way loaded anew after the batch:
// somebody changed its rows outside the lane.
func (t *Turn) Forget() { t.forget = true }

// Pass sends an item to another actor at the end of the batch, without waiting
// for its commit; behind what the same actor has sent there in this batch, it
// waits all the same. When the item that asks for it runs again after a failed
// commit, what has left already does not leave again.
func (t *Turn) Pass(k Key, it Item) {
	s := send{from: t.key, key: k, item: it}
	if t.effecting {
		t.passed = append(t.passed, s)
		return
	}
	if t.passes++; t.passes <= t.left {
		return
	}
	if t.hasSent(k) { // RFC 6120 §10.1: in order
		t.later(s, passes)
		return
	}
	t.passed = append(t.passed, s)
}

// hasSent reports whether something from this actor to k waits for the commit.
func (t *Turn) hasSent(k Key) bool {
	for i := range t.sends {
		if s := &t.sends[i]; s.from == t.key && (s.key == k || s.fan != nil) {
			return true
		}
	}
	return false
}

// Send sends an item to another actor after the commit.
func (t *Turn) Send(k Key, it Item) { t.send(send{from: t.key, key: k, item: it}) }

// SendMany sends one item to many actors after the commit; live as for SendLive.
// The keys must stay as they are until then.
func (t *Turn) SendMany(keys []Key, it Item, live bool) {
	if len(keys) > 0 {
		t.send(send{from: t.key, fan: keys, item: it, live: live})
	}
}

func (t *Turn) send(s send) {
	if t.effecting {
		t.passed = append(t.passed, s)
		return
	}
	t.later(s, sends)
}

func (t *Turn) later(s send, kind effectKind) {
	t.after = append(t.after, effect{key: t.key, kind: kind, n: len(t.sends)})
	t.sends = append(t.sends, s)
}

// fail has an item learn why it is not handled.
func (t *Turn) fail(k Key, it Item, err error) {
	t.after = append(t.after, effect{key: k, kind: fails, n: len(t.failed)})
	t.failed = append(t.failed, failure{item: it, err: err})
}

// strand is fail for an item whose actor is there, but not its durable state.
func (t *Turn) strand(s *slot, it Item, err error) {
	t.fail(s.key, it, err)
	t.failed[len(t.failed)-1].actor = s.actor
}

// tell has the item learn it.
func (f failure) tell(t *Turn) {
	if s, ok := f.item.(Stranded); ok && f.actor != nil && s.Strand(t, f.actor) {
		return
	}
	f.item.Fail(t, f.err)
}

// After has e happen after the commit; within an effect, behind the effects
// already asked for.
func (t *Turn) After(e Effect) { t.after = append(t.after, effect{Effect: e, key: t.key}) }

// searched is how long a list of dirty queues may be searched.
const searched = 16

// Dirty has f flushed at the end of the batch.
func (t *Turn) Dirty(f Flusher) {
	if len(t.dirty) < searched {
		if !slices.Contains(t.dirty, f) {
			t.dirty = append(t.dirty, f)
		}
		return
	}
	if t.isDirty == nil {
		t.isDirty = make(map[Flusher]struct{})
	}
	if len(t.isDirty) == 0 {
		for _, d := range t.dirty {
			t.isDirty[d] = struct{}{}
		}
	}
	if _, is := t.isDirty[f]; !is {
		t.isDirty[f] = struct{}{}
		t.dirty = append(t.dirty, f)
	}
}
