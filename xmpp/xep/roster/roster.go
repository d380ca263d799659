// Package roster holds the words of RFC 6121 §2: the roster, its items and its
// version, with the stream features that belong to it.
package roster

import (
	"errors"
	"fmt"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

// Name is the name of the payload of requests, results and pushes.
var Name = xmltree.Name{Space: ns.Roster, Local: "query"}

// NameItem is the name of an item.
var NameItem = xmltree.Name{Space: ns.Roster, Local: "item"}

var nameGroup = xmltree.Name{Space: ns.Roster, Local: "group"}

// Values of an item's subscription (RFC 6121 §2.1.2.5).
const (
	None   = "none"
	To     = "to"
	From   = "from"
	Both   = "both"
	Remove = "remove" // in a set and in a push: the item goes
)

// Errors of what is no item.
var (
	ErrMalformed = errors.New("malformed roster item")
	ErrAddress   = errors.New("malformed address of a roster item")
)

// Query is a roster, a part of it, or the request for it.
type Query struct {
	// Versioned says that there is a version: in a request, that the client keeps
	// the roster, if only since now (RFC 6121 §2.6.2).
	Versioned bool
	Ver       string
	Items     []Item
}

// Item is one contact (RFC 6121 §2.1.2).
type Item struct {
	JID          jid.JID
	Name         string
	Subscription string // "" stands for none
	Ask          bool   // a request of ours waits for its answer
	Approved     bool   // a request of theirs will be granted (§3.4)
	Groups       []string
}

// AppendXML implements xmltree.Appender.
func (q *Query) AppendXML(w *xmltree.Writer) {
	w.Open(Name)
	if q.Versioned {
		w.Attr("ver", q.Ver)
	}
	for i := range q.Items {
		q.Items[i].AppendXML(w)
	}
	w.Close()
}

// AppendXML implements xmltree.Appender.
func (i *Item) AppendXML(w *xmltree.Writer) {
	w.Open(NameItem)
	w.Attr("jid", i.JID.String())
	w.AttrOpt("name", i.Name)
	w.AttrOpt("subscription", i.Subscription)
	if i.Ask {
		w.Attr("ask", "subscribe")
	}
	if i.Approved {
		w.Attr("approved", "true")
	}
	for _, g := range i.Groups {
		w.Element(nameGroup, g)
	}
	w.Close()
}

// Parse reads a payload. Items that cannot be read are skipped, so that one of
// them does not cost the roster.
func Parse(el xmltree.Element) (*Query, error) {
	if !el.Is(Name) {
		return nil, ErrMalformed
	}
	q := new(Query)
	q.Ver, q.Versioned = el.LookupAttr(xmltree.Name{Local: "ver"})
	for c := range el.Children() {
		if i, err := ParseItem(c); err == nil {
			q.Items = append(q.Items, i)
		}
	}
	return q, nil
}

// ParseItem reads an item: ErrAddress if its address is none, ErrMalformed if it
// has none or is something else.
func ParseItem(el xmltree.Element) (Item, error) {
	address := el.Attr("jid")
	if !el.Is(NameItem) || address == "" {
		return Item{}, ErrMalformed
	}
	j, err := jid.Parse(address)
	if err != nil {
		return Item{}, fmt.Errorf("%w: %w", ErrAddress, err)
	}
	i := Item{
		JID: j, Name: el.Attr("name"), Subscription: el.Attr("subscription"),
		Ask: el.Attr("ask") == "subscribe",
	}
	switch el.Attr("approved") { // XML Schema's boolean
	case "true", "1":
		i.Approved = true
	}
	for c := range el.Children() {
		if c.Is(nameGroup) {
			i.Groups = append(i.Groups, c.Text())
		}
	}
	return i, nil
}

// Features of a stream, which only inform (RFC 6121 §2.6.1, §3.4).
var (
	FeatureVersions    = Feature{ns.Ver, "ver"}
	FeaturePreApproval = Feature{ns.PreAppr, "sub"}
)

// Feature is an empty element among the features of a stream.
type Feature xmltree.Name

// AppendXML implements xmltree.Appender.
func (f Feature) AppendXML(w *xmltree.Writer) { w.Element(xmltree.Name(f), "") }
