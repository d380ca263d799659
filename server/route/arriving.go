package route

import (
	"context"
	"errors"

	"kith/server/account"
	"kith/server/archive"
	"kith/server/cluster"
	"kith/server/module"
	"kith/server/session"
	"kith/xmpp/stanza"
)

// Arriving is a stanza on its way through the lane of its recipient.
type Arriving struct {
	module.Transit
	router *Router
	asker  *cluster.Asker
	read   stanza.Stanza // as it came
	work   stanza.Stanza // the copy that the steps act on
	store  int64         // handed back: its id in the archive
	owed   bool          // and marked there
	brief  bool          // and kept for its delivery only
	again  bool          // handed back by a session that has ended
	kept   bool          // for nobody was there
	sent   bool          // back, with an error
	copies bool          // other sessions may want to know of it
	origin origin        // who waits until it has arrived; may be nil
}

// arriving makes an item of a stanza. It has its own copy.
func (r *Router) arriving(st *stanza.Stanza) *Arriving {
	a := &Arriving{router: r}
	st.CopyTo(&a.read)
	return a
}

// Handle implements cluster.Item.
func (a *Arriving) Handle(t *cluster.Turn, ac cluster.Actor) {
	host := a.host()
	if host == nil {
		a.away(t)
		return
	}
	owner := ac.(*account.Actor)
	a.read.CopyTo(&a.work)
	a.Transit = module.Transit{Stanza: &a.work, Host: host, Turn: t, Account: owner,
		Store: a.store, Owed: a.owed, Brief: a.brief, Settled: a.again}
	a.sent, a.copies = false, false
	t.After(a)
	if a.To.Local() == "" {
		a.server()
		return
	}
	st := &host.Stages.Arriving
	if owner.Known() && !a.again && (!a.run(st.Check) || !a.run(st.Stamp)) {
		return
	}
	if a.Kind == stanza.Presence && managed(a.Type) {
		a.run(st.Manage)
		return
	}
	typ := a.Type
	if a.Kind == stanza.Message {
		typ = a.MessageType()
	}
	fate, targets := Choose(a.Kind, typ, a.To, owner.Known(), a.again, owner.Resources())
	switch fate {
	case Ignore:
		a.router.answered(t, a.Stanza)
	case Bounce:
		a.refuse(stanza.ErrServiceUnavailable)
	case Answer:
		a.router.answer(&a.Transit, a.asker, module.ToAccount, a.refuse)
	case Deliver, Keep:
		a.Targets = targets
		if !a.run(st.Record) {
			return
		}
		a.copies = a.Kind == stanza.Message && !a.again
		if fate != Keep {
			return
		}
		// RFC 6121 §8.5.2.2.1: a message is kept or sent back, never dropped.
		if a.kept = a.Store != 0; !a.kept && archive.Classify(a.Stanza) != archive.Nothing {
			a.refuse(stanza.ErrServiceUnavailable)
			a.copies = false
		}
	}
}

// server deals with what other domains send to the host itself (RFC 6120 §10.5.1).
func (a *Arriving) server() {
	a.Account = nil
	switch {
	case a.Kind == stanza.IQ:
		a.router.answer(&a.Transit, a.asker, module.ToServer, a.refuse)
	case a.Kind == stanza.Message:
		if f := a.Host.Addressed(a.Stanza); f == nil {
			a.refuse(stanza.ErrServiceUnavailable)
		} else if err := f(context.Background(), &a.Transit); err != nil && !errors.Is(err, module.Stop) {
			a.refuse(err)
		}
	}
}

// host is the recipient's. What a session hands back that ended because its host
// was taken away is kept like anything else.
func (a *Arriving) host() *module.Host {
	if a.again {
		return a.router.lastHost(a.read.To.Domain())
	}
	return a.router.Host(a.read.To.Domain())
}

// away sends it back: the host was taken away while it was under way, and there
// is no way to other servers (RFC 6120 §10.4).
func (a *Arriving) away(t *cluster.Turn) {
	a.Transit = module.Transit{Turn: t, Host: a.router.lastHost(a.read.To.Domain())}
	a.sent, a.kept = false, false
	t.After(a)
	a.refuse(stanza.ErrRemoteServerNotFound)
}

// managed reports whether a type of presence is no presence, but about it.
func managed(typ string) bool {
	switch typ {
	case stanza.Subscribe, stanza.Subscribed, stanza.Unsubscribe, stanza.Unsubscribed, stanza.Probe:
		return true
	}
	return false
}

// run runs steps; when they end the stanza's way, it is delivered to nobody.
func (a *Arriving) run(s module.Steps) bool {
	if a.router.run(s, &a.Transit, a.refuse) {
		return true
	}
	a.Targets = nil
	return false
}

// refuse sends it back.
func (a *Arriving) refuse(err error) {
	// What was taken before is not sent back: it is kept, unless there is no account
	// that keeps anything.
	if !a.read.MayBounce() || a.again && (a.Account == nil || a.Account.Exists()) {
		return
	}
	a.sent = true
	a.router.bad.Add(1)
	if a.read.Kind == stanza.Message {
		a.router.count(a.read.To.Domain()).bounced.Add(1)
	}
	a.router.Route(&a.Transit, a.read.ErrorReply(a.router.errorFor(err)))
}

// Committed delivers.
func (a *Arriving) Committed(t *cluster.Turn) {
	defer a.finish()
	if a.kept {
		a.router.kept.Add(1)
		a.router.count(a.To.Domain()).kept.Add(1)
	}
	if a.copies {
		a.router.run(a.Host.Stages.Arriving.Copy, &a.Transit, func(error) {})
	}
	if len(a.Targets) == 0 {
		return
	}
	e := a.Host.Entry(a.Stanza, a.To.String(), a.Targets...)
	e.Store, e.Owed, e.Transit = a.Store, a.Owed, a.Owed && a.Brief
	taken := 0
	if len(a.Targets) > 1 && !e.Owed && a.Kind == stanza.Message {
		e.Shared = new(int)
	}
	for _, res := range a.Targets {
		if res.Out.Send(e) {
			t.Dirty(res.Out)
			taken++
			if e.Owed {
				archive.Carry(a.Account, res.ID, e.Store, e.Transit)
			}
			a.router.delivered.Add(1)
		}
	}
	if e.Shared != nil {
		*e.Shared = taken
	}
	switch {
	case taken == 0:
		a.missed(t, e)
	case a.Kind == stanza.Message && a.Type != stanza.TypeError:
		a.router.count(a.To.Domain()).delivered.Add(1)
	}
}

// missed deals with a stanza that was meant for sessions which have just ended.
func (a *Arriving) missed(t *cluster.Turn, e session.Entry) {
	if e.Owed && archive.OnItsWay(a.Account, e.Store) {
		return // as a copy
	}
	if again := a.router.handBack(e); again != nil {
		again.origin, a.origin = a.origin, nil
		t.Send(t.Key(), again)
	}
}

// finish tells the sender's side.
func (a *Arriving) finish() {
	if a.origin != nil {
		a.origin.arrived(a.sent)
	}
	a.Transit = module.Transit{}
}

// Strand implements cluster.Stranded: an answer to what a session has sent finds
// it also while the store fails. It is in nobody's roster or archive, and nobody
// would send it again.
func (a *Arriving) Strand(t *cluster.Turn, ac cluster.Actor) bool {
	if a.read.Type != stanza.TypeError && (a.read.Kind != stanza.IQ || a.read.Type != stanza.Result) {
		return false
	}
	res := ac.(*account.Actor).Named(a.read.To.Resource())
	if res == nil {
		return false
	}
	e := session.Entry{Kind: a.read.Kind, To: a.read.To.String(), Tail: a.read.Tail()}
	if res.Out.Send(e) {
		t.Dirty(res.Out)
	}
	a.finish()
	return true
}

// Fail implements cluster.Item.
func (a *Arriving) Fail(t *cluster.Turn, err error) {
	a.Transit = module.Transit{Turn: t, Host: a.router.lastHost(a.read.To.Domain())}
	if a.Host != nil {
		a.refuse(err)
	}
	t.After(cluster.EffectFunc(func(*cluster.Turn) { a.finish() }))
}

// answer answers an iq request by the host's table; anything else that gets here
// is an answer itself.
func (r *Router) answer(t *module.Transit, asker *cluster.Asker, to module.Target, refuse func(error)) {
	if !t.IsRequest() {
		r.answered(t.Turn, t.Stanza)
		return
	}
	answer, query := t.Host.Answerer(t.Type, t.Payload().Name(), to)
	if f := t.Host.Diverted(t); f != nil {
		answer = f
	}
	request := t.Stanza
	switch {
	case to == module.ToAccount && t.Account != nil && !t.Account.Known():
		refuse(stanza.ErrServiceUnavailable)
	case answer != nil:
		payload, err := answer(context.Background(), t)
		switch {
		case errors.Is(err, module.Stop):
			return
		case err != nil:
			refuse(err)
			return
		}
		r.Route(t, request.Reply(payload))
	case query != nil:
		r.query(t, asker, query, refuse)
	default: // RFC 6120 §8.4: nobody understands it
		refuse(stanza.ErrServiceUnavailable)
	}
}

// query has a reader answer.
func (r *Router) query(t *module.Transit, asker *cluster.Asker, query module.QueryFunc, refuse func(error)) {
	read, err := query(context.Background(), t)
	if err != nil {
		refuse(err)
		return
	}
	if asker == nil { // from another server: each for itself
		asker = new(cluster.Asker)
	}
	request := t.Stanza.Copy()
	reply := func(st *stanza.Stanza) { r.Take(st) }
	t.Turn.Query(asker, keyOf(request.To), func(ctx context.Context) func() {
		payload, err := read(ctx)
		if err != nil {
			return func() { reply(request.ErrorReply(r.errorFor(err))) }
		}
		return func() { reply(request.Reply(payload)) }
	}, func(err error) { reply(request.ErrorReply(r.errorFor(err))) })
}
