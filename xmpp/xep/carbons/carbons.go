// Package carbons holds the words of XEP-0280: Message Carbons.
package carbons

import (
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/forward"
	"kith/xmpp/xmltree"
)

// FeatureRules is the disco feature that promises the rules of XEP-0280 §6.1.
const FeatureRules = "urn:xmpp:carbons:rules:0"

// Names of the elements.
var (
	NameEnable   = xmltree.Name{Space: ns.Carbons, Local: "enable"}
	NameDisable  = xmltree.Name{Space: ns.Carbons, Local: "disable"}
	NamePrivate  = xmltree.Name{Space: ns.Carbons, Local: "private"}
	NameReceived = xmltree.Name{Space: ns.Carbons, Local: "received"}
	NameSent     = xmltree.Name{Space: ns.Carbons, Local: "sent"}
)

// Copy is a message that another session of the same account has sent or
// received.
type Copy struct {
	Sent    bool
	Message *stanza.Stanza
}

// AppendXML implements xmltree.Appender.
func (c Copy) AppendXML(w *xmltree.Writer) {
	n := NameReceived
	if c.Sent {
		n = NameSent
	}
	w.Open(n)
	w.Open(forward.Name)
	c.Message.AppendXML(w)
	w.Close()
	w.Close()
}

// IsCopy reports whether an element is the wrapper of a copy. It means something
// only in a message from one's own account (XEP-0280 §11).
func IsCopy(el xmltree.Element) bool { return el.Is(NameReceived) || el.Is(NameSent) }

// Forwarded returns the message in a wrapper; it does not exist if there is none.
func Forwarded(el xmltree.Element) xmltree.Element {
	return el.Child(forward.Name).Child(xmltree.Name{Space: ns.Client, Local: "message"})
}
