// Package retract holds the words of XEP-0424: Message Retraction.
package retract

import (
	"errors"
	"time"

	"kith/xmpp/ns"
	"kith/xmpp/xep/xtime"
	"kith/xmpp/xmltree"
)

// FeatureTombstone says that an archive has tombstones in the place of retracted
// messages (XEP-0424 §4).
const FeatureTombstone = ns.Retract + "#tombstone"

// Names of the elements.
var (
	Name          = xmltree.Name{Space: ns.Retract, Local: "retract"}   // in the retraction
	NameTombstone = xmltree.Name{Space: ns.Retract, Local: "retracted"} // in what is left
)

// ErrIncomplete is returned for an element without an id.
var ErrIncomplete = errors.New("retraction without an id")

// Retract asks that a message be taken for not sent. It counts only if its sender
// is that of the message (XEP-0424 §5).
type Retract struct {
	ID string // of the message
}

// AppendXML implements xmltree.Appender.
func (r Retract) AppendXML(w *xmltree.Writer) {
	w.Open(Name)
	w.Attr("id", r.ID)
	w.Close()
}

// Parse reads a retract element.
func Parse(el xmltree.Element) (Retract, error) {
	id := el.Attr("id")
	if !el.Is(Name) || id == "" {
		return Retract{}, ErrIncomplete
	}
	return Retract{ID: id}, nil
}

// Tombstone is what is left of a message.
type Tombstone struct {
	ID    string    // of the message that retracted it
	Stamp time.Time // when that came; zero if it is not told
}

// AppendXML implements xmltree.Appender.
func (t Tombstone) AppendXML(w *xmltree.Writer) {
	w.Open(NameTombstone)
	if !t.Stamp.IsZero() {
		w.Attr("stamp", xtime.Format(t.Stamp))
	}
	w.Attr("id", t.ID)
	w.Close()
}

// ParseTombstone reads a retracted element.
func ParseTombstone(el xmltree.Element) (Tombstone, error) {
	t := Tombstone{ID: el.Attr("id")}
	if !el.Is(NameTombstone) || t.ID == "" {
		return Tombstone{}, ErrIncomplete
	}
	if stamp := el.Attr("stamp"); stamp != "" {
		var err error
		if t.Stamp, err = xtime.Parse(stamp); err != nil {
			return Tombstone{}, err
		}
	}
	return t, nil
}
