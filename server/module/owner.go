package module

import (
	"kith/server/cluster"
	"kith/server/roster"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
)

// Own reports whether the owner in whose lane we are is the one who asks. What
// an account says to others must not tell them that it exists (RFC 6121 §8.5.1).
func (t *Transit) Own() bool { return t.Account != nil && t.From.Bare() == t.Account.JID }

// Owned refuses what only the account's own sessions may ask. Who may not know
// that there is an account gets the words that one gets that does not exist.
func (t *Transit) Owned() error {
	switch {
	case t.Own() && t.Sender != nil:
		return nil
	case t.Sees(t.From):
		return stanza.ErrForbidden
	}
	return stanza.ErrServiceUnavailable
}

// Sees reports whether somebody may see the presence of the account in whose lane
// we are: its owner, and who is subscribed. Those know that it exists.
func (t *Transit) Sees(who jid.JID) bool {
	if t.Account == nil || !t.Account.Known() {
		return false
	}
	return who.Bare() == t.Account.JID || roster.Of(t.Account).Subscribed(who)
}

// Administers reports whether one asks who administers the server. An app password
// does not do for that: with it anybody's password could be changed, the own one
// too. It is for what the host is asked, in the lane of who asks.
func (t *Transit) Administers() bool {
	return t.Own() && t.Sender != nil && t.Account.Admin() && !t.Sender.Limited()
}

// Lanes is the way into a lane from outside: from a timer, or from what Query
// has read. A Host's Router is one.
type Lanes interface {
	Send(k cluster.Key, items ...cluster.Item)
}

// Online is who has a session, and the way to them from outside. A Host's Router
// is one.
type Online interface {
	Lanes
	// Online returns the accounts of a domain that have a session, in the order of
	// their addresses. What comes and goes meanwhile may be among them or not.
	Online(domain string) []jid.JID
	// SendMany hands one item, which must not change, to many accounts; live leaves
	// out those that are not in memory: for them the item fails.
	SendMany(keys []cluster.Key, it cluster.Item, live bool)
}

// Domains is who knows whose a domain is. A Host's Router is one.
type Domains interface {
	// Local reports whether a domain is one of ours: a host's, a component's, or one
	// below a component's.
	Local(domain string) bool
}

// Outside is the way for stanzas that the server makes outside the lanes. A Host's
// Router is one.
type Outside interface {
	// Take routes stanzas to accounts.
	Take(sts ...*stanza.Stanza)
}
