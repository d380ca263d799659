package stream

import (
	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

var (
	nameError    = xmltree.Name{Space: ns.Stream, Local: "error"}
	nameFeatures = xmltree.Name{Space: ns.Stream, Local: "features"}
)

// Features is what the receiving entity offers (RFC 6120 §4.3.2).
type Features []xmltree.Appender

// AppendXML writes the features element.
func (f Features) AppendXML(w *xmltree.Writer) {
	w.Open(nameFeatures)
	for _, a := range f {
		w.Append(a)
	}
	w.Close()
}

// IsFeatures reports whether el is what the receiving entity offers.
func IsFeatures(el xmltree.Element) bool { return el.Is(nameFeatures) }

// Write serialises elements and writes them as one batch.
func Write(c Conn, elements ...xmltree.Appender) error {
	batch := make([][]byte, len(elements))
	for i, a := range elements {
		batch[i] = xmltree.Marshal(a, ns.Client)
	}
	return c.WriteBatch(batch)
}
