package mam

import (
	"context"
	"errors"
	"time"

	"kith/server/account"
	"kith/server/archive"
	"kith/server/cluster"
	"kith/server/session"
	"kith/server/storage"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/forward"
	xmam "kith/xmpp/xep/mam"
	"kith/xmpp/xep/rsm"
	"kith/xmpp/xmltree"
)

const (
	// waiting is how many requests of a session may wait; further ones are refused.
	waiting = 64
	// How long to wait before looking again whether a client has taken a page: at
	// first, and at last.
	firstPause, lastPause = 20 * time.Millisecond, 10 * time.Second
)

// line is what a session has asked for and has not got. It belongs to the effects
// of the lane.
type line struct {
	asker    cluster.Asker
	requests []*request
	busy     bool // a page is read, or on its way
	pause    time.Duration
}

var lines = account.NewSlot[*line]("pages asked for")

func lineOf(r *account.Resource) *line {
	l := lines.Get(r)
	if l == nil {
		l = new(line)
		lines.Set(r, l)
	}
	return l
}

// add has a request wait for its turn.
func (l *line) add(t *cluster.Turn, q *request) {
	if len(l.requests) >= waiting {
		p := &page{request: q, entries: []session.Entry{entry(q.iq.ErrorReply(
			stanza.ErrResourceConstraint.With("Too many requests wait for an answer.")))}}
		p.deliver(t)
		return
	}
	l.requests = append(l.requests, q)
	if !l.busy {
		l.next(t)
	}
}

// next has the next page read.
func (l *line) next(t *cluster.Turn) {
	if l.busy = len(l.requests) > 0; !l.busy {
		l.requests = nil
		return
	}
	q := l.requests[0]
	l.requests[0] = nil
	l.requests, l.pause = l.requests[1:], firstPause
	send := func(entries []session.Entry) { q.lanes.Send(q.key, &page{request: q, entries: entries}) }
	t.Query(&l.asker, q.key, func(ctx context.Context) func() {
		entries := q.answer(ctx)
		return func() { send(entries) }
	}, func(error) { send([]session.Entry{entry(q.iq.ErrorReply(stanza.ErrInternalServerError))}) })
}

func entry(st *stanza.Stanza) session.Entry {
	return session.Entry{Kind: st.Kind, To: st.To.String(), Tail: st.Tail()}
}

// answer reads a page and makes of it what the client gets: results, and the end
// of them (XEP-0313 §4).
func (q *request) answer(ctx context.Context) []session.Entry {
	var found archive.Found
	err := q.host.DB.Read(ctx, func(r *storage.Reader) (err error) {
		found, err = archive.Read(r, &q.filter, &q.page)
		return err
	})
	if err != nil {
		return []session.Entry{entry(q.iq.ErrorReply(q.refusal(err)))}
	}
	entries := q.results(found.Messages)
	return append(entries, entry(q.iq.Reply(q.fin(&found))))
}

// refusal returns what the client is told of an error.
func (q *request) refusal(err error) *stanza.Error {
	switch {
	case errors.Is(err, archive.ErrNoMessage):
		return stanza.ErrItemNotFound
	case errors.Is(err, archive.ErrTooFar): // XEP-0059 §2.4
		return stanza.ErrFeatureNotImplemented.With("A page so far from the beginning is found by an id only.")
	case errors.Is(err, storage.ErrUnavailable):
		return stanza.ErrResourceConstraint.With("The server cannot read anything at the moment. Try again later.")
	}
	q.host.Log.Error("archive cannot be read", "account", q.owner, "error", err)
	return stanza.ErrInternalServerError
}

// fin tells which page it was.
func (q *request) fin(found *archive.Found) *xmam.Fin {
	f := &xmam.Fin{Complete: !found.More}
	if n := len(found.Messages); n > 0 {
		f.Set.First = q.ids.Format(q.filter.Owner, found.Messages[0].ID)
		f.Set.Last = q.ids.Format(q.filter.Owner, found.Messages[n-1].ID)
	}
	switch {
	case found.Count >= 0:
		f.Set.Count = rsm.Of(found.Count)
	case q.page.Rows == 0: // XEP-0059 §2.6: it may be approximate
		f.Set.Count = rsm.Of(q.page.Count)
	}
	if found.Index >= 0 {
		f.Set.Index = rsm.Of(found.Index)
	}
	return f
}

var nameMessage = xmltree.Name{Space: ns.Client, Local: stanza.Message.String()}

// results writes what the client gets of each message. They share their memory.
func (q *request) results(list []archive.Message) []session.Entry {
	size := 0
	for _, m := range list {
		size += q.page.Each + len(m.Stanza)
	}
	entries := make([]session.Entry, 0, len(list)+1)
	to, from := q.address.String(), q.owner.String()
	result := xmam.Result{QueryID: q.queryID}
	var w xmltree.Writer
	b := make([]byte, 0, size)
	for i := range list {
		m := &list[i]
		if q.flip {
			m = &list[len(list)-1-i]
		}
		begin := len(b)
		w.Reset(b, ns.Client)
		result.ID = q.ids.Format(q.filter.Owner, m.ID)
		result.Forwarded = forward.Forwarded{Stamp: archive.Time(m.ID)}
		w.Open(nameMessage)
		w.Attr("from", from)
		if err := result.AppendStored(&w, m.Stanza, xmltree.StoredLimits()); err != nil {
			q.host.Log.Error("stored message cannot be read; it is skipped", "account", q.owner, "id", m.ID, "error", err)
			continue
		}
		w.Close()
		b = w.Bytes()
		// Without a recipient the tail is what stands behind the name.
		tail := b[begin+len("<")+len(stanza.Message.String()) : len(b) : len(b)]
		entries = append(entries, session.Entry{Kind: stanza.Message, To: to, Tail: tail})
	}
	return entries
}

// page is an answer on its way to the session that has asked.
type page struct {
	*request
	entries []session.Entry
	gone    bool // the session has ended
}

// Handle implements cluster.Item.
func (p *page) Handle(t *cluster.Turn, ac cluster.Actor) {
	p.gone = !current(ac.(*account.Actor), p.to)
	t.After(p)
}

// Fail implements cluster.Item. Where the account cannot be read, its sessions
// stay, and so does what they have asked for.
func (p *page) Fail(t *cluster.Turn, _ error) { p.Committed(t) }

// Committed delivers it and has the next page read, or waits until the client has
// taken what it was sent before. With the session all that waits is forgotten.
func (p *page) Committed(t *cluster.Turn) {
	switch l := lineOf(p.to); {
	case p.gone:
	case p.taken():
		p.deliver(t)
		l.next(t)
	default:
		time.AfterFunc(l.pause, func() { p.lanes.Send(p.key, p) })
		l.pause = min(2*l.pause, lastPause)
	}
}

func (p *page) deliver(t *cluster.Turn) {
	for _, e := range p.entries {
		p.to.Out.Send(e)
	}
	t.Dirty(p.to.Out)
}

// taken reports whether what is on its way to the client is so little that another
// page has room. A way that cannot tell has its own bounds.
func (p *page) taken() bool {
	s, ok := p.to.Out.(interface{ Queued() (bytes, unacked int) })
	if !ok {
		return true
	}
	bytes, unacked := s.Queued()
	return bytes <= p.bytes && unacked <= p.rows
}
