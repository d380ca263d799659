package push

import (
	"slices"
	"unicode/utf8"

	"kith/server/account"
	"kith/server/archive"
	"kith/server/module"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xmltree"
)

var (
	nameBody    = xmltree.Name{Space: ns.Client, Local: "body"}
	namePropose = xmltree.Name{Space: ns.CallInvite, Local: "propose"}
)

// encryptedIn are the elements that hold an encrypted message, each with the
// child without which there is none: OMEMO carries keys in the same element.
var encryptedIn = map[xmltree.Name]string{
	{Space: "eu.siacs.conversations.axolotl", Local: "encrypted"}: "payload", // XEP-0384 0.3
	{Space: "urn:xmpp:omemo:1", Local: "encrypted"}:               "payload", // XEP-0384
	{Space: "urn:xmpp:omemo:2", Local: "encrypted"}:               "payload", // XEP-0384
	{Space: "urn:xmpp:openpgp:0", Local: "openpgp"}:               "",        // XEP-0373
	{Space: "jabber:x:encrypted", Local: "x"}:                     "",        // XEP-0027
}

// matters reports whether somebody wants to be woken for a message: for what
// another has said, or a call (XEP-0353). What a person is doing and whether a
// message was read waits.
func matters(t *module.Transit) bool {
	if t.Kind != stanza.Message || t.From.Bare() == t.Account.JID {
		return false
	}
	switch t.MessageType() {
	case stanza.TypeError, stanza.Headline:
		return false
	}
	for c := range t.Children() {
		if c.Is(nameBody) && c.Text() != "" || c.Is(namePropose) || encrypted(c) {
			return true
		}
	}
	return false
}

// encrypted reports whether an element holds an encrypted message.
func encrypted(c xmltree.Element) bool {
	n := c.Name()
	inner, known := encryptedIn[n]
	return known && (inner == "" || c.Child(xmltree.Name{Space: n.Space, Local: inner}).Exists())
}

// body returns what a message says, at most so many bytes of it; "" if it is
// encrypted, when the body only says that.
func body(st *stanza.Stanza) (text string) {
	for c := range st.Children() {
		switch {
		case encrypted(c):
			return ""
		case c.Is(nameBody) && text == "":
			text = c.Text()
		}
	}
	if n := longestBody; len(text) > n {
		for !utf8.RuneStart(text[n]) {
			n--
		}
		text = text[:n]
	}
	return text
}

// concerns reports whether a device can find a message when it comes: what is not
// kept, only the one that it goes to.
func concerns(t *module.Transit, r *account.Resource) bool {
	return archive.Classify(t.Stanza) != archive.Nothing || r != nil && slices.Contains(t.Targets, r)
}
