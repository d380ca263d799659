package privilege

import (
	"context"

	"kith/server/account"
	"kith/server/cluster"
	"kith/server/config"
	"kith/server/module"
	"kith/server/roster"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
)

type effect func()

// Committed implements cluster.Effect.
func (e effect) Committed(*cluster.Turn) { e() }

// broadcast shows the presence of a session: that it comes and that it goes, and
// nothing between (§7.1).
func (m *granter) broadcast(_ context.Context, t *module.Transit) error {
	if t.Type != "" && t.Type != stanza.Unavailable || t.Sender.Available() == (t.Type == "") {
		return nil
	}
	m.show(t, (*config.Privileges).Sees)
	return nil
}

// seen shows the presence of contacts (§7.2).
func (m *granter) seen(_ context.Context, t *module.Transit) error {
	if t.Kind != stanza.Presence || t.Type != "" && t.Type != stanza.Unavailable {
		return nil
	}
	// What contacts of the host say of themselves has been shown when they said it.
	if t.From.Domain() == m.host.Domain.Domain() || !roster.Of(t.Account).Item(t.From.Bare()).State.Has(roster.To) {
		return nil
	}
	m.show(t, (*config.Privileges).SeesContacts)
	return nil
}

// show sends the presence under way to those who may see it.
func (m *granter) show(t *module.Transit, may func(*config.Privileges) bool) {
	for _, to := range m.host.Managers(may) {
		if t.From.Domain() == to.Domain() {
			continue // it is its own
		}
		st := t.Stanza.Copy()
		st.Readdress(to)
		t.Send(st)
	}
}

// showAll shows a component who is there already (§7.3).
func (m *granter) showAll(component jid.JID) {
	for _, j := range m.deputy.Accounts(m.host.Domain) {
		m.lanes.Send(account.Key(j), &shown{m, component})
	}
}

// shown shows a component the sessions of an account.
type shown struct {
	m         *granter
	component jid.JID
}

// Handle implements cluster.Item.
func (s *shown) Handle(t *cluster.Turn, ac cluster.Actor) {
	for r := range ac.(*account.Actor).Available() {
		st := r.Presence.Copy()
		st.Readdress(s.component)
		t.After(effect(func() { s.m.deputy.Take(st) }))
	}
}

// Fail implements cluster.Item: who cannot be read is not shown.
func (*shown) Fail(*cluster.Turn, error) {}
