package route

import (
	"sync"
	"time"

	"kith/server/account"
	"kith/server/cluster"
	"kith/server/module"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
)

// asked are requests that the server has sent, and whose answers it waits for.
type asked struct {
	mu sync.Mutex // guards by
	by map[string]*awaited
}

// maxAsked bounds what a component can have the server wait for.
const maxAsked = 10_000

// awaited waits for one answer.
type awaited struct {
	from, to jid.JID
	answer   func(*stanza.Stanza)
	timer    *time.Timer
}

// Ask implements module.Asker.
func (r *Router) Ask(st *stanza.Stanza, within time.Duration, answer func(*stanza.Stanza)) {
	st = st.Copy()
	st.ID = stream.NewID() // nobody else can guess it
	st.Changed()
	q := &awaited{from: st.From, to: st.To, answer: answer}
	late := func(e *stanza.Error) {
		if r.asked.take(st.ID) != nil {
			answer(st.ErrorReply(e))
		}
	}
	r.asked.mu.Lock()
	if len(r.asked.by) >= maxAsked {
		r.asked.mu.Unlock()
		answer(st.ErrorReply(stanza.ErrResourceConstraint))
		return
	}
	if r.asked.by == nil {
		r.asked.by = make(map[string]*awaited)
	}
	r.asked.by[st.ID] = q
	q.timer = time.AfterFunc(within, func() { late(stanza.ErrRemoteServerTimeout) })
	r.asked.mu.Unlock()
	if err := r.dispatch(st); err != nil {
		late(r.errorFor(err))
	}
}

// take returns a question once.
func (a *asked) take(id string) *awaited {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := a.by[id]
	if q != nil {
		delete(a.by, id)
		q.timer.Stop()
	}
	return q
}

// answered reports whether a stanza is the answer to a request of the server's own:
// by its id and who sends it.
func (r *Router) answered(t *cluster.Turn, st *stanza.Stanza) bool {
	if st.Kind != stanza.IQ || st.IsRequest() || st.To.IsFull() {
		return false
	}
	a := &r.asked
	a.mu.Lock()
	q := a.by[st.ID]
	a.mu.Unlock()
	if q == nil || st.From != q.to || st.To != q.from {
		return false
	}
	st = st.Copy()
	t.After(cluster.EffectFunc(func(*cluster.Turn) {
		if a.take(st.ID) != nil {
			q.answer(st)
		}
	}))
	return true
}

// Behalf implements module.Asker: the message goes the way of one that a session of
// the account has sent, so that it is checked, archived and copied like that.
func (r *Router) Behalf(t *module.Transit, st *stanza.Stanza, refuse func(error)) {
	b := &behalf{router: r, refuse: refuse}
	st.CopyTo(&b.read)
	t.Turn.Send(keyOf(st.From), b)
}

// behalf is a message in the name of an account, in its owner's lane.
type behalf struct {
	module.Transit
	router *Router
	read   stanza.Stanza
	work   stanza.Stanza
	sent   bool
	refuse func(error) // called in an effect
}

// Handle implements cluster.Item.
func (b *behalf) Handle(t *cluster.Turn, ac cluster.Actor) {
	a := ac.(*account.Actor)
	host := b.router.Host(a.JID.Domain())
	b.sent = false
	if host == nil || !a.Exists() || a.Disabled() {
		b.back(t, stanza.ErrForbidden)
		return
	}
	b.read.CopyTo(&b.work)
	b.Transit = module.Transit{Stanza: &b.work, Host: host, Turn: t, Account: a}
	refuse := func(err error) { b.back(t, err) }
	st := &host.Stages.Leaving
	if b.router.run(st.Check, &b.Transit, refuse) && b.router.run(st.Stamp, &b.Transit, refuse) && b.router.run(st.Record, &b.Transit, refuse) {
		b.sent = true
		b.router.Route(&b.Transit, &b.work)
	}
	t.After(b)
}

func (b *behalf) back(t *cluster.Turn, err error) {
	t.After(cluster.EffectFunc(func(*cluster.Turn) { b.refuse(err) }))
}

// Committed copies the message to the sessions of the account.
func (b *behalf) Committed(*cluster.Turn) {
	if b.sent {
		b.router.run(b.Host.Stages.Leaving.Copy, &b.Transit, func(error) {})
	}
	b.Transit = module.Transit{}
}

// Fail implements cluster.Item.
func (b *behalf) Fail(t *cluster.Turn, err error) { b.back(t, err) }

// Accounts implements module.Asker: who has a session at a host.
func (r *Router) Accounts(host jid.JID) []jid.JID { return r.online.accounts(host.Domain()) }

// Connected implements module.Asker.
func (r *Router) Connected(component jid.JID) bool {
	c, ok := r.remotes.Load().by[component.Domain()].(interface{ Connected() bool })
	return ok && c.Connected()
}
