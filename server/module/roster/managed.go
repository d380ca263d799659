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

// pushManagers tells privileged entities of a change (XEP-0356 §4.4).
func pushManagers(t *module.Transit, i *roster.Item) {
	for _, c := range t.Host.Managers((*config.Privileges).Pushes) {
		st := stanza.New(stanza.IQ, stanza.Set, t.Account.JID, c,
			&xroster.Query{Versioned: true, Ver: roster.Of(t.Account).VersionOf(i), Items: []xroster.Item{i.Words()}})
		st.ID = stream.NewID()
		t.Send(st)
	}
}
