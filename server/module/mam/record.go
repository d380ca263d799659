package mam

import (
	"context"

	"kith/server/archive"
	"kith/server/module"
	"kith/server/roster"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/stanzaid"
	"kith/xmpp/xmltree"
)

// dropForged takes away every id that claims to be ours: only we know where a
// message is in our archive (XEP-0359 §3, the second rule). It looks at all of
// them, since a client may look at any.
func dropForged(_ context.Context, t *module.Transit) error {
	if t.Kind == stanza.Message && t.Account != nil {
		t.Remove(func(el xmltree.Element) bool { return el.Is(stanzaid.Name) && ours(t, el.Attr("by")) })
	}
	return nil
}

// ours reports whether an address is the account's, one of its resources', or
// the host's.
func ours(t *module.Transit, by string) bool {
	j, err := jid.Parse(by)
	if err != nil {
		return false
	}
	j = j.Bare()
	return j == t.Account.JID || j == t.Host.Domain
}

// classify says for how long a message is kept, also by what its owner wants
// (XEP-0441 §2): what is not to be archived is kept until it is delivered. What
// the owner sends to itself is always wanted.
func classify(t *module.Transit, peer jid.JID) archive.Class {
	c := archive.Classify(t.Stanza)
	if c != archive.Archive || peer.Bare() == t.Account.JID {
		return c
	}
	listed := func(j jid.JID) bool { return roster.Of(t.Account).Item(j).Listed }
	if !archive.PrefsOf(t.Account).Wants(peer, listed) {
		return archive.Transit
	}
	return c
}

// recordSent keeps what the owner can look up later. What is kept only until it
// is delivered is the recipient's business, and what the owner sends to itself is
// recorded when it arrives.
func recordSent(_ context.Context, t *module.Transit) error {
	if !t.Account.Exists() || t.To.Bare() == t.Account.JID {
		return nil
	}
	if c := classify(t, t.To); c == archive.Archive {
		t.Store = archive.Record(t.Turn, t.Account, t.To, true, c, t.Whole())
	}
	return nil
}

// recordReceived keeps a message and tells its id (XEP-0313 §3.4). One that need
// not last is kept until somebody is sure to have it.
func (m *archives) recordReceived(_ context.Context, t *module.Transit) error {
	if t.Settled || !t.Account.Exists() {
		return nil
	}
	switch c := classify(t, t.From); {
	case c == archive.Archive:
		t.Store = archive.Record(t.Turn, t.Account, t.From, false, c, t.Whole())
		t.Add(stanzaid.ID{ID: m.ids.Format(t.Account.ID(), t.Store), By: t.Account.JID})
	case c == archive.Transit && (len(t.Targets) == 0 || archive.Confirmed(t.Targets)):
		t.Store = archive.Record(t.Turn, t.Account, t.From, false, c, t.Whole())
		t.Brief = true
	}
	return nil
}
