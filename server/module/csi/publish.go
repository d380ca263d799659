package csi

import (
	"slices"

	"kith/server/session"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xmltree"
)

var (
	nameEvent = xmltree.Name{Space: ns.PubSubEvent, Local: "event"}
	nameItems = xmltree.Name{Space: ns.PubSubEvent, Local: "items"}
)

// current are nodes whose last item is all there is to know of them, whatever its
// id: what somebody does, feels, hears, where, under which name and picture, and
// with which devices.
func current() []string {
	return []string{
		"http://jabber.org/protocol/activity",       // XEP-0108
		"http://jabber.org/protocol/mood",           // XEP-0107
		"http://jabber.org/protocol/tune",           // XEP-0118
		"http://jabber.org/protocol/geoloc",         // XEP-0080
		"http://jabber.org/protocol/nick",           // XEP-0172
		"urn:xmpp:avatar:metadata",                  // XEP-0084
		"eu.siacs.conversations.axolotl.devicelist", // XEP-0384
		"urn:xmpp:omemo:2:devices",                  // XEP-0384
	}
}

// published says what becomes of a notification. One of an item (XEP-0060 §7.1.2,
// XEP-0163 §4.3) takes the place of what was told of the same item before, or of
// any where only the last matters. Of others nothing is known, so each is kept.
func published(st *stanza.Stanza) session.Waiting {
	items := st.Child(nameEvent).Child(nameItems)
	node, id, n := items.Attr("node"), "", 0
	for c := range items.Children() {
		id = c.Attr("id")
		n++
	}
	switch {
	case slices.Contains(current(), node):
		return session.Waiting{Wait: session.Event, Topic: node}
	case n == 1 && id != "":
		return session.Waiting{Wait: session.Event, Topic: node + " " + id}
	}
	return session.Waiting{Wait: session.Whole}
}
