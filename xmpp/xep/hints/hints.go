// Package hints holds the words of XEP-0334: Message Processing Hints.
package hints

import (
	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

// Hint tells a server what a message is worth. It is a wish, not an order.
type Hint string

// The hints of XEP-0334 §4.
const (
	NoPermanentStore Hint = "no-permanent-store" // keep it only until it is delivered
	NoStore          Hint = "no-store"           // do not keep it at all
	NoCopy           Hint = "no-copy"            // for the addressed resource alone
	Store            Hint = "store"              // keep it, whatever it looks like
)

// Name is the name of the hint's element.
func (h Hint) Name() xmltree.Name { return xmltree.Name{Space: ns.Hints, Local: string(h)} }

// AppendXML implements xmltree.Appender.
func (h Hint) AppendXML(w *xmltree.Writer) {
	w.Open(h.Name())
	w.Close()
}
