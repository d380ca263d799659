// Package delegation holds the words of XEP-0355: Namespace Delegation.
package delegation

import (
	"kith/xmpp/ns"
	"kith/xmpp/xep/forward"
	"kith/xmpp/xmltree"
)

// Name is the name of the element.
var Name = xmltree.Name{Space: ns.Delegation, Local: "delegation"}

var (
	nameDelegated = xmltree.Name{Space: ns.Delegation, Local: "delegated"}
	nameAttribute = xmltree.Name{Space: ns.Delegation, Local: "attribute"}
)

// Delegated is a namespace that an entity manages: of requests whose payload has
// all of the attributes (§4.1).
type Delegated struct {
	NS         string
	Attributes []string
}

// Granted is what an entity is told that it manages (§4.2).
type Granted []Delegated

// AppendXML implements xmltree.Appender.
func (g Granted) AppendXML(w *xmltree.Writer) {
	w.Open(Name)
	for _, d := range g {
		w.Open(nameDelegated)
		w.Attr("namespace", d.NS)
		for _, a := range d.Attributes {
			w.Open(nameAttribute)
			w.Attr("name", a)
			w.Close()
		}
		w.Close()
	}
	w.Close()
}

// Forwarded is a request on its way to who manages it, or the answer (§4.3).
type Forwarded struct{ Stanza xmltree.Appender }

// AppendXML implements xmltree.Appender.
func (f Forwarded) AppendXML(w *xmltree.Writer) {
	w.Open(Name)
	w.Open(forward.Name)
	f.Stanza.AppendXML(w)
	w.Close()
	w.Close()
}

// IQ returns the request or the answer in a <delegation/>; it does not exist if
// there is none.
func IQ(el xmltree.Element) xmltree.Element {
	if !el.Is(Name) {
		return xmltree.Element{}
	}
	return el.Child(forward.Name).Child(xmltree.Name{Space: ns.Client, Local: "iq"})
}
