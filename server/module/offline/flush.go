package offline

import (
	"context"
	"math"
	"slices"
	"time"

	"kith/server/account"
	"kith/server/archive"
	"kith/server/blocklist"
	"kith/server/cluster"
	"kith/server/session"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
)

// How long to wait before looking again whether a client has taken a page:
// at first, and at last.
const firstPause, lastPause = 100 * time.Millisecond, time.Second

// flushing is the flush that a resource is getting. A flush that it does not
// hold any more has been overtaken, and does nothing.
var flushing = account.NewSlot[*flush]("offline messages under way")

// flush hands offline messages over to one session. It is used in the lane, and
// by one reader at a time.
type flush struct {
	*offline
	key      cluster.Key
	owner    jid.JID
	id       int64             // of the account
	to       *account.Resource // belongs to the lane
	caughtUp int64             // up to this id it has what is in the archive
	pause    time.Duration
	follows  bool // it has them; what has come meanwhile follows
	sent     bool // something of the last page

	// Of the page that is read: the last id before it, and the last there was when
	// it was asked for. What came later goes its own way; what was carried then may
	// be settled now, though the page has it.
	behind, upTo int64
	carried      map[int64]struct{}
}

// begin has the first page read for a session, unless another session of the
// account is being served. It is an effect; last is the last id there was when its
// item was handled, since what was recorded behind that is delivered behind this.
func (o *offline) begin(t *cluster.Turn, owner *account.Actor, r *account.Resource, last int64) {
	if !owner.Exists() || !archive.Waiting(owner) || !archive.Fit(r) || owner.Resource(r.ID) == nil {
		return
	}
	for _, other := range owner.Resources() {
		if flushing.Get(other) != nil {
			return
		}
	}
	f := &flush{offline: o, key: t.Key(), owner: owner.JID, id: owner.ID(), to: r, caughtUp: archive.CaughtUp.Get(r)}
	flushing.Set(r, f)
	served.Set(r, false)
	r.Behind = true
	if s, ok := r.Out.(follower); ok {
		s.Catching()
	}
	f.ask(t, owner, last)
}

// follower is a way to a session on which what comes now can wait behind older
// messages (RFC 6120 §10.1).
type follower interface {
	Catching()
	Follow(most, bytes int) (more bool)
}

// letGo sends at once what has waited behind older messages. It is an effect.
func letGo(t *cluster.Turn, r *account.Resource) {
	r.Behind = false
	if s, ok := r.Out.(follower); ok {
		s.Follow(math.MaxInt, math.MaxInt)
		t.Dirty(r.Out)
	}
}

// next goes on with another session, if there is one. It is an effect.
func (o *offline) next(t *cluster.Turn, owner *account.Actor, last int64) {
	for _, r := range owner.Resources() {
		if archive.Fit(r) {
			o.begin(t, owner, r, last)
			return
		}
	}
}

// current reports whether the session still is to get the messages.
func (f *flush) current(a *account.Actor) bool {
	return a.ID() == f.id && a.Resource(f.to.ID) == f.to && archive.Fit(f.to) && flushing.Get(f.to) == f
}

// stop ends the flush. It is an effect.
func (f *flush) stop(t *cluster.Turn) {
	if flushing.Get(f.to) == f {
		flushing.Set(f.to, nil)
		served.Set(f.to, true)
		letGo(t, f.to)
	}
}

// fail ends the flush for an error; the next presence tries again. What waited
// goes on: it may be long until then. It is an effect.
func (f *flush) fail(t *cluster.Turn, err error) {
	f.host.Log.Error("offline messages not delivered; they are kept", "account", f.owner, "error", err)
	f.stop(t)
	served.Set(f.to, false)
}

// ask has the next page read, as begin does.
func (f *flush) ask(t *cluster.Turn, owner *account.Actor, last int64) {
	f.upTo, f.carried = last, archive.Carried(owner)
	archive.WatchMarks(owner)
	send := func(p *page) { f.lanes.Send(f.key, p) }
	read := func(ctx context.Context) func() {
		p := &page{flush: f}
		p.err = f.read(ctx, p)
		return func() { send(p) }
	}
	t.Query(new(cluster.Asker), f.key, read, func(err error) { send(&page{flush: f, err: err}) })
}

// page is what was read, on its way to the session.
type page struct {
	*flush
	messages []message
	all      bool // that are marked from the first of them to the last
	more     bool
	err      error
	confirms bool // the marks stay until the client acknowledges
	actor    *account.Actor
	last     int64 // the last id there was when it was handled
}

// message is one that was read, ready to be delivered.
type message struct {
	id      int64
	transit bool // not in the archive but for this
	from    jid.JID
	to      string
	whole   []byte // with our notes; nil if it cannot be read
	blocked bool   // whoever sent it was blocked since (XEP-0191 §3.3)
	had     bool   // the session was given a copy of it
}

// Handle implements cluster.Item.
func (p *page) Handle(t *cluster.Turn, ac cluster.Actor) {
	a := ac.(*account.Actor)
	last := archive.Last(a)
	switch {
	case !p.current(a):
		t.After(cluster.EffectFunc(func(t *cluster.Turn) { p.stop(t); p.next(t, a, last) }))
		return
	case p.err != nil:
		t.After(cluster.EffectFunc(func(t *cluster.Turn) { p.fail(t, p.err) }))
		return
	}
	p.confirms = p.to.Confirms
	all := p.all && !archive.MarkedSince(a, p.upTo)
	had := archive.Had.Get(p.to)
	var taken, drop []int64
	for n, m := range p.messages {
		if p.messages[n].had = slices.Contains(had, m.id); p.messages[n].had {
			continue // it waits for others
		}
		blocked := m.whole != nil && blocklist.Blocks(a, m.from)
		if !p.confirms || m.whole == nil || blocked {
			taken = append(taken, m.id)
			if m.transit && m.whole != nil { // what cannot be read stays
				drop = append(drop, m.id)
			}
		}
		p.messages[n].blocked = blocked
	}
	if all && len(taken) == len(p.messages) {
		archive.TakenFromTo(t, a, taken, drop)
	} else {
		archive.TakenAll(t, a, taken, drop)
	}
	p.actor, p.last = a, last
	t.After(p)
}

// Fail implements cluster.Item.
func (p *page) Fail(t *cluster.Turn, err error) { p.fail(t, err) }

// Committed delivers.
func (p *page) Committed(t *cluster.Turn) {
	lost := &lost{flush: p.flush, marked: p.confirms}
	p.sent = false
	for _, m := range p.messages {
		if m.whole == nil || m.blocked || m.had {
			continue
		}
		e := session.Entry{Kind: stanza.Message, To: m.to, Tail: m.tail()}
		if p.confirms || !m.transit {
			e.Store = m.id
		}
		e.Owed, e.Transit = p.confirms, p.confirms && m.transit
		sent := p.to.Out.Send(e)
		p.sent = p.sent || sent
		switch {
		case sent && p.confirms:
			archive.Carry(p.actor, p.to.ID, m.id, m.transit)
		case !sent:
			lost.messages = append(lost.messages, m)
		}
	}
	t.Dirty(p.to.Out)
	switch {
	case len(lost.messages) > 0: // its owner will hear of its end; till then nobody else begins
		t.Send(p.key, lost)
	case p.more:
		p.pause = firstPause
		t.Send(p.key, again{p.flush})
	default:
		p.follow(t, p.actor, p.last)
	}
}

// follow sends what has waited behind the messages, page by page too, and ends
// the flush when nothing is left. It is an effect.
func (f *flush) follow(t *cluster.Turn, owner *account.Actor, last int64) {
	f.follows, f.sent = true, true
	if s, ok := f.to.Out.(follower); ok && s.Follow(f.page.rows, f.page.bytes) {
		t.Dirty(f.to.Out)
		f.pause = firstPause
		t.Send(f.key, again{f})
		return
	}
	f.stop(t)
	if f.caughtUp > 0 { // and the others may want what it has read
		f.rest(t, owner, last)
	}
}

// rest goes on with a session that has read less of the archive, if there is one.
// It is an effect.
func (f *flush) rest(t *cluster.Turn, owner *account.Actor, last int64) {
	for _, r := range owner.Resources() {
		if archive.Fit(r) && archive.CaughtUp.Get(r) < f.caughtUp {
			f.begin(t, owner, r, last)
			return
		}
	}
}

// lost are messages that were settled for a session which had ended by then.
type lost struct {
	*flush
	messages []message
	marked   bool // still
}

// Handle marks them again. What was kept for its delivery only is not there any
// more and is recorded anew; our note tells when it came.
func (l *lost) Handle(t *cluster.Turn, ac cluster.Actor) {
	a := ac.(*account.Actor)
	if !a.Exists() {
		return
	}
	for _, m := range l.messages {
		if l.marked {
			break
		}
		id := m.id
		if m.transit {
			id = archive.Record(t, a, m.from, false, archive.Transit, m.whole)
		}
		archive.Missed(t, a, id)
	}
	last := archive.Last(a)
	t.After(cluster.EffectFunc(func(t *cluster.Turn) {
		if !l.current(a) { // the owner has heard of the end before
			l.next(t, a, last)
		}
	}))
}

// Fail implements cluster.Item.
func (l *lost) Fail(_ *cluster.Turn, err error) {
	l.host.Log.Error("offline messages lost with the session that was to get them", "account", l.owner, "messages", len(l.messages), "error", err)
}

// again looks whether the client has taken what it was sent, and goes on.
type again struct{ *flush }

// Handle implements cluster.Item.
func (g again) Handle(t *cluster.Turn, ac cluster.Actor) {
	a := ac.(*account.Actor)
	last := archive.Last(a)
	t.After(cluster.EffectFunc(func(t *cluster.Turn) {
		switch {
		case !g.current(a):
			g.stop(t)
			g.next(t, a, last)
		case g.sent && !g.taken():
			time.AfterFunc(g.pause, func() { g.lanes.Send(g.key, g) })
			g.pause = min(2*g.pause, lastPause)
		case g.follows:
			g.follow(t, a, last)
		default:
			g.ask(t, a, last)
		}
	}))
}

// Fail implements cluster.Item.
func (g again) Fail(t *cluster.Turn, err error) { g.fail(t, err) }

// taken reports whether what is on its way to the client is so little that
// another page has room. A way that cannot tell has its own bounds.
func (f *flush) taken() bool {
	s, ok := f.to.Out.(interface{ Queued() (bytes, unacked int) })
	if !ok {
		return true
	}
	bytes, unacked := s.Queued()
	return bytes == 0 && unacked <= f.page.rows
}
