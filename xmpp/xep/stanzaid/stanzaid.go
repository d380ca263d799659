// Package stanzaid holds the words of XEP-0359: Unique and Stable Stanza IDs.
package stanzaid

import (
	"errors"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

// Names of the elements.
var (
	Name       = xmltree.Name{Space: ns.StanzaID, Local: "stanza-id"}
	NameOrigin = xmltree.Name{Space: ns.StanzaID, Local: "origin-id"}
)

// ErrIncomplete is returned for an element without an id.
var ErrIncomplete = errors.New("stanza id without an id")

// ID is the id that an archive gave a stanza. It means something only if it was
// By that let it through: an archive takes away what others write in its name.
type ID struct {
	ID string
	By jid.JID
}

// AppendXML implements xmltree.Appender.
func (i ID) AppendXML(w *xmltree.Writer) {
	w.Open(Name)
	w.Attr("id", i.ID)
	w.Attr("by", i.By.String())
	w.Close()
}

// Parse reads a stanza-id element.
func Parse(el xmltree.Element) (ID, error) {
	id := el.Attr("id")
	if !el.Is(Name) || id == "" {
		return ID{}, ErrIncomplete
	}
	by, err := jid.Parse(el.Attr("by"))
	if err != nil {
		return ID{}, err
	}
	return ID{ID: id, By: by}, nil
}

// Origin is the id that the sender gave a stanza.
type Origin struct{ ID string }

// AppendXML implements xmltree.Appender.
func (o Origin) AppendXML(w *xmltree.Writer) {
	w.Open(NameOrigin)
	w.Attr("id", o.ID)
	w.Close()
}
