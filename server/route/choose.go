package route

import (
	"kith/server/account"
	"kith/server/archive"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
)

// Fate is what becomes of a stanza for an account.
type Fate uint8

// The fates. Those of RFC 6121 §8.5.4 in its letters: D, A and M are Deliver.
const (
	Deliver Fate = iota // to the targets
	Keep                // O: nobody takes it now; store it for later
	Bounce              // E: service-unavailable
	Ignore              // S
	Answer              // the server answers for the account
)

// Choose decides what becomes of a stanza that has arrived for an account, and
// to which of its sessions it goes (RFC 6121 §8.5). Subscriptions and probes are
// not its business (§3, §4.3). It changes nothing and knows nothing but its
// arguments. settled says that the message was taken before and handed back.
func Choose(kind stanza.Kind, typ string, to jid.JID, exists, settled bool, rs []*account.Resource) (Fate, []*account.Resource) {
	if !exists {
		return chooseNobody(kind, typ), nil
	}
	if to.IsFull() {
		// §8.5.3.1: any stanza is delivered. To refuse requests of those whom the
		// account shows no presence is left to us there; we do not, since no client
		// expects it of its own contacts.
		for i, r := range rs {
			if r.JID == to {
				return Deliver, rs[i : i+1 : i+1] // §8.5.3.1
			}
		}
	}
	switch kind {
	case stanza.Message:
		return chooseMessage(typ, to.IsFull() && !settled, rs)
	case stanza.Presence:
		if to.IsFull() {
			return Ignore, nil // §8.5.3.2.2
		}
		return fallback(available(rs), Ignore) // §8.5.2.1.2, §8.5.2.2.2
	}
	switch {
	case typ == stanza.Result || typ == stanza.TypeError:
		return Ignore, nil // nobody asked
	case to.IsFull():
		return Bounce, nil // §8.5.3.2.3
	}
	return Answer, nil // §8.5.2.1.3, §8.5.2.2.3
}

// chooseNobody: §8.5.1. A message is answered as one to a resource that is not
// there, so that neither tells who exists.
func chooseNobody(kind stanza.Kind, typ string) Fate {
	switch {
	case typ == stanza.TypeError, kind == stanza.Presence, kind == stanza.IQ && typ == stanza.Result:
		return Ignore
	case kind == stanza.Message && typ == stanza.Headline:
		return Ignore
	}
	return Bounce
}

// chooseMessage follows §8.5.2.1.1, §8.5.2.2.1 and, for a full JID that matches
// no session, §8.5.3.2.1. Where the text leaves a choice, we deliver to every
// session of non-negative priority, and store rather than bounce.
func chooseMessage(typ string, full bool, rs []*account.Resource) (Fate, []*account.Resource) {
	switch typ {
	case stanza.TypeError:
		return Ignore, nil
	case stanza.GroupChat:
		return Bounce, nil
	case stanza.Headline:
		if full {
			return Ignore, nil
		}
		return fallback(nonNegative(rs), Ignore)
	case stanza.Chat:
		return fallback(nonNegative(rs), Keep)
	}
	if full {
		return Bounce, nil
	}
	return fallback(nonNegative(rs), Keep)
}

func fallback(rs []*account.Resource, otherwise Fate) (Fate, []*account.Resource) {
	if len(rs) == 0 {
		return otherwise, nil
	}
	return Deliver, rs
}

func available(rs []*account.Resource) []*account.Resource {
	return filter(rs, (*account.Resource).Available)
}

// nonNegative: a session of negative priority gets no message that is not
// addressed to it (§8.5.2.1.1).
func nonNegative(rs []*account.Resource) []*account.Resource {
	return filter(rs, archive.Fit)
}

// filter returns rs itself when everything is kept, which is the usual case and
// costs nothing.
func filter(rs []*account.Resource, keep func(*account.Resource) bool) []*account.Resource {
	for i, r := range rs {
		if keep(r) {
			continue
		}
		out := append([]*account.Resource(nil), rs[:i]...)
		for _, r := range rs[i+1:] {
			if keep(r) {
				out = append(out, r)
			}
		}
		return out
	}
	return rs
}
