package presence

import (
	"context"

	"kith/server/account"
	"kith/server/module"
	"kith/server/roster"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
)

// directed are those to whom a resource has sent presence by itself and who have
// not been told yet that it is gone (RFC 6121 §4.6.1).
var directed = account.NewSlot[map[jid.JID]struct{}]("directed presence")

// mostDirected bounds them. Each room that one is in counts.
const mostDirected = 1000

// direct notes to whom presence is sent (RFC 6121 §4.6.3). What the account sends
// itself needs no note.
func direct(_ context.Context, t *module.Transit) error {
	r := t.Sender
	switch t.Type {
	case "":
		to := directed.Get(r)
		if _, noted := to[t.To]; noted || t.To.Bare() == t.Account.JID {
			return nil
		}
		if len(to) >= mostDirected {
			return stanza.ErrResourceConstraint.With("Presence was sent to too many addresses.")
		}
		if to == nil {
			to = make(map[jid.JID]struct{})
			directed.Set(r, to)
		}
		to[t.To.Clone()] = struct{}{}
	case stanza.Unavailable:
		delete(directed.Get(r), t.To)
	case stanza.Probe, stanza.TypeError:
		// RFC 6121 §4.3: a client should not probe, but is not told off for it.
	default:
		if !roster.IsSubscription(t.Type) {
			return stanza.ErrBadRequest // §4.7.1
		}
	}
	return nil
}

// left forgets that somebody was sent presence who is gone now, and so has
// forgotten it too (RFC 6121 §4.6.1).
func left(_ context.Context, t *module.Transit) error {
	if t.Kind == stanza.Presence && t.Type == stanza.Unavailable {
		for _, r := range t.Account.Resources() {
			delete(directed.Get(r), t.From)
		}
	}
	return nil
}

// shown reports whether a resource has sent somebody presence by itself.
func shown(r *account.Resource, to jid.JID) bool {
	_, full := directed.Get(r)[to]
	_, bare := directed.Get(r)[to.Bare()]
	return full || bare
}
