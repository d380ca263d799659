package roster

import (
	"kith/server/config"
	"kith/server/module"
	"kith/server/roster"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	xroster "kith/xmpp/xep/roster"
)

// managed reports whether it is a privileged entity that asks (XEP-0356 §4.3).
// Anybody else has to be a session of the account.
func managed(t *module.Transit) (bool, error) {
	p := t.Host.Config.Privileged(t.From, t.Host.Domain)
	switch {
	case p == nil || t.Sender != nil:
		return false, t.Owned()
	case !p.MayRoster(t.Type):
		return false, stanza.ErrForbidden
	}
	return true, nil
}

// settled is the state of a contact at the domain of the privileged entity that
// sets it. The entity speaks for the contact, and acts in the place of the account,
// so that both have agreed to the subscriptions that it names: a gateway need not
// have them asked for one by one. None is taken away so.
func settled(t *module.Transit, want xroster.Item, was roster.State) roster.State {
	if !t.Host.Config.SpeaksFor(t.From, want.JID.Domain()) {
		return was
	}
	now := was
	if want.Subscription == xroster.To || want.Subscription == xroster.Both {
		now = now&^roster.PendingOut | roster.To
	}
	if want.Subscription == xroster.From || want.Subscription == xroster.Both {
		now = now&^roster.PendingIn | roster.From
	}
	return now
}

// pushManagers tells privileged entities of a change (XEP-0356 §4.4).
func pushManagers(t *module.Transit, i *roster.Item) {
	for _, c := range t.Host.Managers((*config.Privileges).Pushes) {
		st := stanza.New(stanza.IQ, stanza.Set, t.Account.JID, c,
			&xroster.Query{Versioned: true, Ver: roster.Of(t.Account).VersionOf(i), Items: []xroster.Item{i.Words()}})
		st.ID = stream.NewID()
		t.Send(st)
	}
}
