package presence

import (
	"context"
	"time"

	"kith/server/account"
	"kith/server/blocklist"
	"kith/server/cluster"
	"kith/server/module"
	"kith/server/session"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
)

// How many contacts are asked at once when somebody logs in, and how long the
// next ones have to wait: accounts that nobody is logged in to have to be read.
const (
	probesAtOnce = 250
	probePause   = 100 * time.Millisecond
)

// probe asks contacts for their presence (RFC 6121 §4.3.1). The answers go to
// the account, so to all its resources.
func (p *presence) probe(t *module.Transit, r *account.Resource, contacts []jid.JID) {
	if len(contacts) == 0 {
		return
	}
	now := contacts[:min(probesAtOnce, len(contacts))]
	st := stanza.New(stanza.Presence, stanza.Probe, t.Account.JID, jid.JID{})
	st.ID = stream.NewID()
	t.SendMany(blocklist.Without(t.Account, now), st, false)
	if len(now) == len(contacts) {
		return
	}
	rest := &probes{presence: p, session: r.ID, contacts: contacts[len(now):]}
	t.Turn.After(cluster.EffectFunc(func(turn *cluster.Turn) {
		key := turn.Key()
		time.AfterFunc(probePause, func() { p.lanes.Send(key, rest) })
	}))
}

// probes are those that wait for their turn.
type probes struct {
	*presence
	session  session.ID
	contacts []jid.JID
}

// Handle implements cluster.Item.
func (p *probes) Handle(t *cluster.Turn, ac cluster.Actor) {
	a := ac.(*account.Actor)
	if r := a.Resource(p.session); r != nil && r.Available() {
		p.probe(&module.Transit{Host: p.host, Turn: t, Account: a}, r, p.contacts)
	}
}

// Fail implements cluster.Item: the next log-in asks again.
func (p *probes) Fail(*cluster.Turn, error) {}

// answerProbe answers for the account (RFC 6121 §4.3.2, §4.6.6).
func answerProbe(_ context.Context, t *module.Transit) error {
	if t.Type != stanza.Probe {
		return nil
	}
	answer := func(typ string, from, to jid.JID) {
		st := stanza.New(stanza.Presence, typ, from, to)
		if typ != "" {
			st.ID = t.ID // §4.3.2.1
		}
		t.Send(st)
	}
	resource := t.Account.Named(t.To.Resource())
	switch {
	case !t.Sees(t.From) && resource != nil && shown(resource, t.From):
		// §4.6.6: no more than that it is there.
		answer("", resource.JID, t.From)
	case !t.Sees(t.From):
		// §4.3.2, rule 1: an account that does not exist and one that is not to be
		// seen say the same. It mends the roster of who believes to be subscribed.
		answer(stanza.Unsubscribed, t.To.Bare(), t.From.Bare())
	case t.To.IsFull() && resource != nil && resource.Available():
		answer("", resource.JID, t.From)
	case t.To.IsFull():
		answer(stanza.Unavailable, t.To, t.From)
	default:
		there := false
		for r := range t.Account.Available() { // rule 4
			there = true
			st := r.Presence.Copy()
			st.Readdress(t.From)
			t.Send(st)
		}
		if !there { // rule 3
			answer(stanza.Unavailable, t.Account.JID, t.From)
		}
	}
	return module.Stop
}
