package carbons

import (
	"slices"

	"kith/server/account"
	"kith/server/module"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	xcarbons "kith/xmpp/xep/carbons"
	"kith/xmpp/xmltree"
)

var (
	nameBody   = xmltree.Name{Space: ns.Client, Local: "body"}
	nameNoCopy = xmltree.Name{Space: ns.Hints, Local: "no-copy"}
	nameRoom   = xmltree.Name{Space: ns.MUCUser, Local: "x"}
	nameInvite = xmltree.Name{Space: ns.MUCUser, Local: "invite"}
)

// talk is a message that was eligible, as an error in response names it: by whom
// it was sent to and its id.
type talk struct {
	with jid.JID // bare
	id   string
}

// talks are an account's last eligible messages, both ways.
var talks = account.NewSlot[[]talk]("messages that errors may be about")

// mostTalks bounds them: an error comes soon or never.
const mostTalks = 64

// copied reports whether a message is to be copied (XEP-0280 §6.1). wanted says
// that somebody wants copies: then it is remembered, for the error that may come
// in response.
func copied(t *module.Transit, sent, wanted bool) bool {
	with := t.From.Bare()
	if sent {
		with = t.To.Bare()
	}
	if t.Type == stanza.TypeError {
		return slices.Contains(talks.Live(t.Account), talk{with, t.ID}) && !private(t.Stanza)
	}
	if !eligible(t.Stanza, sent) {
		return false
	}
	if wanted && t.ID != "" {
		list := talks.Live(t.Account)
		if len(list) == mostTalks {
			list = slices.Delete(list, 0, mostTalks/2)
		}
		talks.SetLive(t.Account, append(list, talk{with.Clone(), string([]byte(t.ID))}))
	}
	return true
}

// private reports whether the sender wants no copies (XEP-0280 §9, XEP-0334 §4.3).
func private(st *stanza.Stanza) bool { return st.Has(xcarbons.NamePrivate) || st.Has(nameNoCopy) }

// eligible: XEP-0280 §6.1, but for errors.
func eligible(st *stanza.Stanza, sent bool) bool {
	if private(st) {
		return false
	}
	typ := st.MessageType()
	if typ == stanza.GroupChat {
		return false
	}
	if x := st.Child(nameRoom); x.Exists() {
		// What comes from an occupant of a room is replicated by the room; what is
		// sent to one is not.
		return x.Child(nameInvite).Exists() || sent
	}
	if typ == stanza.Chat || typ == stanza.Normal && st.Has(nameBody) {
		return true
	}
	for c := range st.Children() {
		switch c.Name().Space {
		case ns.Receipts, ns.ChatStates, ns.Markers, ns.Conference:
			return true
		}
	}
	return false
}
