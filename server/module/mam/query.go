package mam

import (
	"context"
	"errors"

	"kith/server/account"
	"kith/server/archive"
	"kith/server/cluster"
	"kith/server/module"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
	xmam "kith/xmpp/xep/mam"
	"kith/xmpp/xep/order"
	"kith/xmpp/xmltree"
)

const (
	// counted is how far the messages are counted that match: beside a page, and
	// where a client asks for nothing else or for a page by its number.
	counted, countedAlone = 100, 100_000
	// maxQueryID is how long the name of a query may be, which is in each result.
	maxQueryID = 256
	// overhead is about what a result has beside the message and the addresses.
	overhead = 300
)

// request is a page that a session has asked for.
type request struct {
	*archives
	key     cluster.Key
	to      *account.Resource // belongs to the lane
	address jid.JID           // the session's
	iq      *stanza.Stanza
	owner   jid.JID
	queryID string
	flip    bool
	filter  archive.Filter
	page    archive.Page
}

// fields tells by what messages can be looked for (XEP-0313 §4.1.5).
func (m *archives) fields(_ context.Context, t *module.Transit) (xmltree.Appender, error) {
	if err := owned(t); err != nil {
		return nil, err
	}
	return form{}, nil
}

// form is the payload that holds the form.
type form struct{}

// AppendXML implements xmltree.Appender.
func (form) AppendXML(w *xmltree.Writer) {
	w.Open(xmam.NameQuery)
	xmam.Fields().AppendXML(w)
	w.Close()
}

// query has a page read (XEP-0313 §4). The answer comes later.
func (m *archives) query(_ context.Context, t *module.Transit) (xmltree.Appender, error) {
	if err := owned(t); err != nil {
		return nil, err
	}
	q, err := m.request(t)
	if err != nil {
		return nil, err
	}
	r := t.Sender
	if !r.Available() { // what comes from now on waits for it
		q.filter.UpTo = max(1, archive.Last(t.Account)) // no message has so low an id
	}
	t.Turn.After(cluster.EffectFunc(func(turn *cluster.Turn) {
		if q.filter.UpTo > 0 {
			archive.CaughtUp.Set(r, q.filter.UpTo)
		}
		lineOf(r).add(turn, q)
	}))
	return nil, module.Stop
}

// request reads what is asked for.
func (m *archives) request(t *module.Transit) (*request, error) {
	words, err := xmam.ParseQuery(t.Payload())
	switch {
	case errors.Is(err, xmam.ErrField):
		return nil, stanza.ErrFeatureNotImplemented.With("This archive does not know one of the fields.")
	case errors.Is(err, xmam.ErrAddress):
		return nil, stanza.ErrJIDMalformed
	case err != nil:
		return nil, stanza.ErrBadRequest
	case words.Node != "": // XEP-0442: an account's archive has none
		return nil, stanza.ErrItemNotFound
	case len(words.QueryID) > maxQueryID:
		return nil, stanza.ErrBadRequest.With("The queryid is too long.")
	case len(words.Filter.IDs) > m.rows:
		return nil, stanza.ErrNotAcceptable.With("These are more ids than a page has messages.")
	}
	q := &request{
		archives: m, key: t.Turn.Key(), to: t.Sender, address: t.Sender.JID, iq: t.Stanza.Copy(), owner: t.Account.JID,
		queryID: words.QueryID, flip: words.Flip,
		filter: archive.Filter{
			Owner: t.Account.ID(), Floor: archive.Floor(t.Account),
			With: words.Filter.With, Start: words.Filter.Start, End: words.Filter.End,
		},
	}
	if err := q.named(&words.Filter); err != nil {
		return nil, err
	}
	return q, q.where(words)
}

// id reads the id of a message that must be there; "" is none.
func (q *request) id(s string, to *int64) error {
	if s == "" {
		return nil
	}
	id, ok := q.ids.Parse(q.filter.Owner, s)
	if !ok {
		return stanza.ErrItemNotFound // XEP-0313 §4.1.3, §4.3.2
	}
	*to = id
	return nil
}

// named reads the ids in the form.
func (q *request) named(f *xmam.Filter) error {
	if err := q.id(f.AfterID, &q.filter.After); err != nil {
		return err
	}
	if err := q.id(f.BeforeID, &q.filter.Before); err != nil {
		return err
	}
	for _, s := range f.IDs {
		var id int64
		if err := q.id(s, &id); err != nil {
			return err
		}
		q.filter.IDs = append(q.filter.IDs, id)
	}
	return nil
}

// where reads which page it is (XEP-0059), and in which order (XEP-0413).
func (q *request) where(words *xmam.Query) error {
	p, set := &q.page, &words.Set
	p.Rows, p.Bytes, p.Count = min(q.config.Page, q.rows), q.bytes, counted
	p.Each = overhead + len(q.queryID) + len(q.owner.String()) + len(q.address.String())
	if set.Max.Is {
		p.Rows = min(set.Max.N, q.rows)
	}
	if len(words.Order) > 0 { // no two messages are equal in either order: the others do not matter
		switch words.Order[0].By {
		case order.Creation, order.Modification:
			p.Descending = words.Order[0].Descending
		default:
			return stanza.ErrFeatureNotImplemented
		}
	}
	if p.Backwards = set.Backwards(); !p.Backwards && set.Index.Is {
		p.ByIndex, p.Index = true, set.Index.N
	}
	if p.ByIndex || p.Rows == 0 {
		p.Count = countedAlone
	}
	if err := q.id(set.After, &p.After); err != nil {
		return err
	}
	return q.id(set.Before, &p.Before)
}

// metadata tells where the archive begins and ends (XEP-0313 §5).
func (m *archives) metadata(_ context.Context, t *module.Transit) (func(context.Context) (xmltree.Appender, error), error) {
	if err := owned(t); err != nil {
		return nil, err
	}
	return m.ends(t), nil
}

// bound tells where the archive begins and ends to a client that has just bound a
// resource. It reads the archive, so that nothing is delivered to it a second time
// (XEP-0386 §3.2).
func (m *archives) bound(t *module.Transit, _ xmltree.Element) func(context.Context) (xmltree.Appender, error) {
	archive.CaughtUp.Set(t.Sender, max(1, archive.Last(t.Account)))
	return m.ends(t)
}

// ends returns what reads the ends of the archive.
func (m *archives) ends(t *module.Transit) func(context.Context) (xmltree.Appender, error) {
	owner, floor := t.Account.ID(), archive.Floor(t.Account)
	return func(ctx context.Context) (xmltree.Appender, error) {
		first, last, err := archive.Ends(ctx, m.host.DB, owner, floor)
		if err != nil || first == 0 {
			return &xmam.Metadata{}, err
		}
		return &xmam.Metadata{Start: m.mark(owner, first), End: m.mark(owner, last)}, nil
	}
}

func (m *archives) mark(owner, id int64) *xmam.Mark {
	return &xmam.Mark{ID: m.ids.Format(owner, id), At: archive.Time(id)}
}
