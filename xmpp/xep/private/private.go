// Package private holds the words of XEP-0049: Private XML Storage.
package private

import (
	"errors"
	"strings"

	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

// Name is the name of the payload, of requests and results.
var Name = xmltree.Name{Space: ns.Private, Local: "query"}

// ErrMalformed is returned for what is no query.
var ErrMalformed = errors.New("malformed query for private data")

// Query is data that is stored, or elements that say by their names what is asked
// for.
type Query struct{ Items []xmltree.Appender } // xmltree.Element each when it was parsed

// AppendXML implements xmltree.Appender.
func (q *Query) AppendXML(w *xmltree.Writer) {
	w.Open(Name)
	for _, i := range q.Items {
		w.Append(i)
	}
	w.Close()
}

// Nothing is what there is of an element that was not stored.
type Nothing xmltree.Name

// AppendXML implements xmltree.Appender.
func (n Nothing) AppendXML(w *xmltree.Writer) { w.Element(xmltree.Name(n), "") }

// Parse returns the elements of a query.
func Parse(el xmltree.Element) ([]xmltree.Element, error) {
	if !el.Is(Name) {
		return nil, ErrMalformed
	}
	var items []xmltree.Element
	for c := range el.Children() {
		items = append(items, c)
	}
	return items, nil
}

// Reserved reports whether nothing of a namespace can be stored: it is one of the
// protocol's own, or none (XEP-0049 §2.3).
func Reserved(space string) bool {
	return space == "" || space == ns.VCardTemp ||
		strings.HasPrefix(space, "jabber:") || strings.HasPrefix(space, "http://jabber.org/")
}
