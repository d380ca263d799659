package archive

import (
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xmltree"
)

// Class says for how long a message is kept.
type Class uint8

// The classes.
const (
	Nothing Class = iota // not at all
	Transit              // until it is delivered
	Archive              // for its owner to look up
)

var (
	store            = xmltree.Name{Space: ns.Hints, Local: "store"}
	noStore          = xmltree.Name{Space: ns.Hints, Local: "no-store"}
	noPermanentStore = xmltree.Name{Space: ns.Hints, Local: "no-permanent-store"}
)

// Classify says what becomes of a message, by its type, its hints (XEP-0334 §4)
// and what it says.
func Classify(st *stanza.Stanza) Class {
	if st.Kind != stanza.Message {
		return Nothing
	}
	switch st.MessageType() {
	case stanza.TypeError, stanza.Headline, stanza.GroupChat:
		return Nothing
	}
	lasting, permanent := false, true
	for c := range st.Children() {
		switch {
		case c.Is(noStore):
			return Nothing
		case c.Is(noPermanentStore):
			permanent = false
		case c.Is(store):
			lasting = true
		case !fleeting(c):
			lasting = true
		}
	}
	switch {
	case !lasting:
		return Nothing
	case !permanent:
		return Transit
	}
	return Archive
}

// fleeting reports whether an element alone gives a message no lasting value:
// what a person is doing just now (XEP-0085), and what only describes the rest.
func fleeting(c xmltree.Element) bool {
	switch n := c.Name(); n.Space {
	case ns.Client:
		return n.Local == "thread"
	case ns.ChatStates, ns.Hints, ns.Delay, ns.StanzaID,
		ns.MAM: // what an archive has answered is in it, and for the one who asked
		return true
	case ns.Receipts:
		return n.Local == "request"
	case ns.Markers:
		return n.Local == "markable"
	}
	return false
}
