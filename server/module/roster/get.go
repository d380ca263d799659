package roster

import (
	"context"

	"kith/server/account"
	"kith/server/cluster"
	"kith/server/module"
	"kith/server/roster"
	"kith/server/session"
	"kith/xmpp/stanza"
	xroster "kith/xmpp/xep/roster"
	"kith/xmpp/xmltree"
)

// big is from how many contacts on a roster is written outside the lane.
const big = 200

// get answers with the roster, or with what has changed since the version that
// the client has (RFC 6121 §2.1.3, §2.6). From now on the resource gets pushes.
func (m *contacts) get(_ context.Context, t *module.Transit) (xmltree.Appender, error) {
	asManager, err := managed(t)
	if err != nil {
		return nil, err
	}
	q, err := xroster.Parse(t.Payload())
	if err != nil || t.Payload().First().Exists() {
		return nil, stanza.ErrBadRequest.With("A request for the roster has no items.")
	}
	if asManager {
		return whole(roster.Of(t.Account).List(), roster.Of(t.Account).Version()), nil
	}
	in := interests.Get(t.Sender)
	if in == nil {
		in = new(interest)
		interests.Set(t.Sender, in)
	}
	r := roster.Of(t.Account)
	if q.Versioned {
		// §2.6.3: whichever is shorter.
		if changed, known := r.Since(q.Ver); known && len(changed) <= r.Len()/2 {
			interim(t, r, changed)
			return nil, module.Stop
		}
	}
	if r.Len() > big {
		m.read(t, in, r)
		return nil, module.Stop
	}
	return whole(r.List(), r.Version()), nil
}

// whole is the result that consists of these contacts.
func whole(list []*roster.Item, version string) *xroster.Query {
	roster.Sort(list)
	q := &xroster.Query{Versioned: true, Ver: version, Items: make([]xroster.Item, len(list))}
	for n, i := range list {
		q.Items[n] = i.Words()
	}
	return q
}

// interim answers that the rest will be pushed, and pushes it.
func interim(t *module.Transit, r *roster.Roster, changed []*roster.Item) {
	to := t.Sender
	t.Send(t.Reply(nil))
	tails := make([][]byte, len(changed))
	for n, i := range changed {
		tails[n] = pushed(r, i)
	}
	t.Turn.After(cluster.EffectFunc(func(turn *cluster.Turn) {
		for _, tail := range tails {
			send(turn, to, tail)
		}
	}))
}

// read has the answer written by a reader. What it reads are the contacts of now,
// which do not change; pushes wait for the answer.
func (m *contacts) read(t *module.Transit, in *interest, r *roster.Roster) {
	key, to, list, version := t.Turn.Key(), t.Sender, r.List(), r.Version()
	request := t.Stanza.Copy()
	t.Turn.After(cluster.EffectFunc(func(*cluster.Turn) { in.reading++ }))
	answer := func(st *stanza.Stanza) {
		m.lanes.Send(key, &result{to: to, entry: session.Entry{Kind: st.Kind, To: st.To.String(), Tail: st.Tail()}})
	}
	t.Turn.Query(&in.asker, key, func(context.Context) func() {
		st := request.Reply(whole(list, version))
		st.Tail() // here, not in the lane
		return func() { answer(st) }
	}, func(error) { answer(request.ErrorReply(stanza.ErrInternalServerError)) })
}

// result is a roster on its way to the resource that has asked for it.
type result struct {
	to    *account.Resource
	entry session.Entry
}

// Handle implements cluster.Item.
func (r *result) Handle(t *cluster.Turn, _ cluster.Actor) { t.After(r) }

// Fail implements cluster.Item. Where the account cannot be read, its sessions
// stay, and so does what they have asked for.
func (r *result) Fail(t *cluster.Turn, _ error) { r.Committed(t) }

// Committed delivers it, and what has been pushed since.
func (r *result) Committed(t *cluster.Turn) {
	in := interests.Get(r.to)
	r.to.Out.Send(r.entry)
	if in.reading--; in.reading == 0 {
		for _, e := range in.held {
			r.to.Out.Send(e)
		}
		in.held = nil
	}
	t.Dirty(r.to.Out)
}
