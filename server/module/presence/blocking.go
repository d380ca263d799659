package presence

import (
	"kith/server/account"
	"kith/server/blocklist"
	"kith/server/cluster"
	"kith/server/module"
	"kith/server/roster"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
)

// blocking hides the account from subscribers whom it has begun to block, and
// shows it again to those whom it has ceased to (XEP-0191 §3.3, §3.4).
func (p *presence) blocking(t *module.Transit, c *blocklist.Change) {
	contacts := roster.Of(t.Account)
	var blocked, unblocked []jid.JID
	for _, j := range c.Concerned(contacts.Subscribers(), contacts.Subscribed) {
		if c.Blocked(j) {
			blocked = append(blocked, j)
		} else {
			unblocked = append(unblocked, j)
		}
	}
	for r := range t.Account.Available() {
		t.SendMany(blocked, stanza.New(stanza.Presence, stanza.Unavailable, r.JID, jid.JID{}), true)
		t.SendMany(unblocked, r.Presence, true)
	}
	retract(t, contacts, c)
	p.catchUp(t, contacts, c)
}

// retract tells those who are blocked now that a resource is gone which had sent
// them presence by itself: subscribers have been told.
func retract(t *module.Transit, contacts *roster.Roster, c *blocklist.Change) {
	for _, r := range t.Account.Resources() {
		for to := range directed.Get(r) {
			if !c.Blocked(to) {
				continue
			}
			if !r.Available() || !contacts.Subscribed(to) {
				t.Send(stanza.New(stanza.Presence, stanza.Unavailable, r.JID, to))
			}
			// After the commit, since the step may run twice.
			t.Turn.After(cluster.EffectFunc(func(*cluster.Turn) { delete(directed.Get(r), to) }))
		}
	}
}

// catchUp asks contacts who are not blocked any more for their presence: what
// they said of it meanwhile was dropped.
func (p *presence) catchUp(t *module.Transit, contacts *roster.Roster, c *blocklist.Change) {
	var first *account.Resource
	for r := range t.Account.Available() {
		first = r
		break
	}
	if first == nil {
		return
	}
	var ask []jid.JID
	for _, j := range c.Concerned(contacts.Subscriptions(), func(j jid.JID) bool { return contacts.Item(j).State.Has(roster.To) }) {
		if c.Unblocked(j) {
			ask = append(ask, j)
		}
	}
	p.probe(t, first, ask)
}
