// Package order holds the words of XEP-0413: Order-By.
package order

import (
	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

// Name is the name of the element.
var Name = xmltree.Name{Space: ns.OrderBy, Local: "order"}

// By what items may be ordered (§4.1, §4.2).
const (
	Creation     = "creation"
	Modification = "modification"
)

// By is an order. Of several the first counts most.
type By struct {
	By         string
	Descending bool // the last comes first
}

// AppendXML implements xmltree.Appender.
func (b By) AppendXML(w *xmltree.Writer) {
	w.Open(Name)
	w.Attr("by", b.By)
	if b.Descending {
		w.Attr("desc", "true")
	}
	w.Close()
}

// Parse reads the orders among the children of an element.
func Parse(in xmltree.Element) []By {
	var list []By
	for c := range in.Children() {
		if c.Is(Name) {
			desc := c.Attr("desc")
			list = append(list, By{By: c.Attr("by"), Descending: desc == "true" || desc == "1"})
		}
	}
	return list
}

// Feature is announced by who orders what is asked for in a namespace (§6).
func Feature(namespace string) string { return ns.OrderBy + "@" + namespace }
