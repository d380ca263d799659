// Package mam implements XEP-0313: Message Archive Management, as far as messages
// are recorded, with the ids of XEP-0359: Unique and Stable Stanza IDs.
//
// A message is recorded as it came, before our own id is added to it: the id is
// in the row.
package mam

import (
	"context"

	"kith/server/archive"
	"kith/server/module"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/stanzaid"
	"kith/xmpp/xmltree"
)

// Module is the module.
var Module = module.Define("mam", attach,
	module.XEP(313, "1.1.3").Partly("messages are recorded; queries are not in this version"),
	module.XEP(359, "0.7.0"),
	module.XEP(334, "1.0.0").Partly("what is kept; no-copy concerns carbons"))

func attach(h *module.Host, _ struct{}) error {
	h.AccountFeature(ns.StanzaID)
	leaving, arriving := &h.Stages.Leaving, &h.Stages.Arriving
	leaving.Stamp = append(leaving.Stamp, dropForged)
	leaving.Record = append(leaving.Record, recordSent)
	arriving.Stamp = append(arriving.Stamp, dropForged)
	arriving.Record = append(arriving.Record, recordReceived)
	return nil
}

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

// recordSent keeps what the owner can look up later. What is kept only until it
// is delivered is the recipient's business, and what the owner sends to itself is
// recorded when it arrives.
func recordSent(_ context.Context, t *module.Transit) error {
	if !t.Account.Exists() || t.To.Bare() == t.Account.JID {
		return nil
	}
	if c := archive.Classify(t.Stanza); c == archive.Archive {
		t.Store = archive.Record(t.Turn, t.Account, t.To, true, c, t.Whole())
	}
	return nil
}

// recordReceived keeps a message and tells its id (XEP-0313 §3.2). One that need
// not last is kept until somebody is sure to have it.
func recordReceived(_ context.Context, t *module.Transit) error {
	if t.Settled || !t.Account.Exists() {
		return nil
	}
	switch c := archive.Classify(t.Stanza); {
	case c == archive.Archive:
		t.Store = archive.Record(t.Turn, t.Account, t.From, false, c, t.Whole())
		t.Add(stanzaid.ID{ID: archive.Format(t.Store), By: t.Account.JID})
	case c == archive.Transit && (len(t.Targets) == 0 || archive.Confirmed(t.Targets)):
		t.Store = archive.Record(t.Turn, t.Account, t.From, false, c, t.Whole())
	}
	return nil
}
