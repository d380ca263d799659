// Package address holds the words of XEP-0033: Extended Stanza Addressing.
package address

import (
	"errors"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

// Name is the name of the element.
var Name = xmltree.Name{Space: ns.Addresses, Local: "addresses"}

var nameAddress = xmltree.Name{Space: ns.Addresses, Local: "address"}

// Type says what an address is for.
type Type string

// The types of XEP-0033 §4.6.
const (
	To           Type = "to"
	CC           Type = "cc"
	BCC          Type = "bcc" // the others do not see it
	ReplyTo      Type = "replyto"
	ReplyRoom    Type = "replyroom"
	NoReply      Type = "noreply"
	OriginalFrom Type = "ofrom" // said by rooms
)

// Receives reports whether the stanza is sent to addresses of this type.
func (t Type) Receives() bool { return t == To || t == CC || t == BCC }

// Address is one address.
type Address struct {
	Type      Type
	JID       jid.JID // zero if there is none
	URI       string  // in another system; "" if there is none
	Node      string
	Desc      string
	Delivered bool // it has got the stanza
}

// Addresses are those of one stanza.
type Addresses []Address

// AppendXML implements xmltree.Appender.
func (l Addresses) AppendXML(w *xmltree.Writer) {
	w.Open(Name)
	for _, a := range l {
		w.Open(nameAddress)
		w.Attr("type", string(a.Type))
		w.AttrOpt("jid", a.JID.String())
		w.AttrOpt("uri", a.URI)
		w.AttrOpt("node", a.Node)
		w.AttrOpt("desc", a.Desc)
		if a.Delivered {
			w.Attr("delivered", "true")
		}
		w.Close()
	}
	w.Close()
}

// Errors of what is no list of addresses.
var (
	ErrMalformed = errors.New("malformed addresses")
	ErrAddress   = errors.New("malformed address")
)

// Parse reads addresses by the rules of XEP-0033 §4: each has a type that is known
// and says something, and not both an address and a URI. What is in an address is
// passed over (§4.7). It shares memory with the element.
func Parse(el xmltree.Element) (Addresses, error) {
	if !el.Is(Name) {
		return nil, ErrMalformed
	}
	var list Addresses
	for c := range el.Children() {
		if !c.Is(nameAddress) {
			continue
		}
		a := Address{
			Type: Type(c.Attr("type")), URI: c.Attr("uri"), Node: c.Attr("node"), Desc: c.Attr("desc"),
			Delivered: c.Attr("delivered") == "true",
		}
		switch a.Type {
		case To, CC, BCC, ReplyTo, ReplyRoom, NoReply, OriginalFrom:
		default:
			return nil, ErrMalformed
		}
		text := c.Attr("jid")
		if a.URI != "" && (text != "" || a.Node != "") || text == "" && a.URI == "" && a.Node == "" && a.Desc == "" && a.Type != NoReply {
			return nil, ErrMalformed
		}
		if text != "" {
			var err error
			if a.JID, err = jid.Parse(text); err != nil {
				return nil, ErrAddress
			}
		}
		list = append(list, a)
	}
	if len(list) == 0 {
		return nil, ErrMalformed
	}
	return list, nil
}
