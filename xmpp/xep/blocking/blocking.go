// Package blocking holds the words of XEP-0191: Blocking Command.
package blocking

import (
	"errors"
	"fmt"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xmltree"
)

// Names of the payloads.
var (
	List    = xmltree.Name{Space: ns.Blocking, Local: "blocklist"} // a request for the list, and the list
	Block   = xmltree.Name{Space: ns.Blocking, Local: "block"}     // a set and its push
	Unblock = xmltree.Name{Space: ns.Blocking, Local: "unblock"}   // a set and its push; without items, all of them
)

var (
	nameItem    = xmltree.Name{Space: ns.Blocking, Local: "item"}
	nameBlocked = xmltree.Name{Space: ns.Blocked, Local: "blocked"}
)

// Errors of what is no payload.
var (
	ErrMalformed = errors.New("malformed block list")
	ErrAddress   = errors.New("malformed address in a block list")
)

// ErrBlocked is what a user gets who sends something to an address that the user
// blocks (XEP-0191 §3.3).
var ErrBlocked = &stanza.Error{Type: stanza.Cancel, Condition: stanza.ErrNotAcceptable.Condition, App: blocked{}}

// blocked is the condition of an application in ErrBlocked.
type blocked struct{}

// AppendXML implements xmltree.Appender.
func (blocked) AppendXML(w *xmltree.Writer) { w.Element(nameBlocked, "") }

// Payload is a payload: a name, and the addresses that it is about.
type Payload struct {
	Name  xmltree.Name
	Items []jid.JID
}

// AppendXML implements xmltree.Appender.
func (p *Payload) AppendXML(w *xmltree.Writer) {
	w.Open(p.Name)
	for _, j := range p.Items {
		w.Open(nameItem)
		w.Attr("jid", j.String())
		w.Close()
	}
	w.Close()
}

// Parse reads a payload. An item without an address is ErrMalformed, one whose
// address is none ErrAddress. What is no item is passed over, but not alone: an
// empty unblock means all of them, and nobody is to say so by mistake. The
// addresses share memory with the element.
func Parse(el xmltree.Element) (*Payload, error) {
	p := &Payload{Name: el.Name()}
	switch p.Name {
	case List, Block, Unblock:
	default:
		return nil, ErrMalformed
	}
	for c := range el.Children() {
		if !c.Is(nameItem) {
			continue
		}
		address := c.Attr("jid")
		if address == "" {
			return nil, ErrMalformed
		}
		j, err := jid.Parse(address)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrAddress, err)
		}
		p.Items = append(p.Items, j)
	}
	if len(p.Items) == 0 && el.First().Exists() {
		return nil, ErrMalformed
	}
	return p, nil
}
