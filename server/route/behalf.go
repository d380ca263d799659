package route

import (
	"kith/server/account"
	"kith/server/cluster"
	"kith/server/module"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
)

// Behalf implements module.Deputy: the message goes the way of one that a session of
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

// Accounts implements module.Deputy: who has a session at a host.
func (r *Router) Accounts(host jid.JID) []jid.JID { return r.online.accounts(host.Domain()) }

// Connected implements module.Deputy.
func (r *Router) Connected(component jid.JID) bool {
	c, ok := r.remotes.Load().by[component.Domain()].(interface{ Connected() bool })
	return ok && c.Connected()
}
