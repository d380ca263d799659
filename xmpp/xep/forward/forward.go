// Package forward holds the words of XEP-0297: Stanza Forwarding.
package forward

import (
	"errors"
	"time"

	"kith/xmpp/ns"
	"kith/xmpp/xep/delay"
	"kith/xmpp/xmltree"
)

// Name is the name of the element.
var Name = xmltree.Name{Space: ns.Forward, Local: "forwarded"}

// ErrMalformed is returned for what forwards nothing that can be read.
var ErrMalformed = errors.New("malformed forwarded stanza")

// Forwarded is a stanza in another. Who it says it is from is as true as the one
// who forwards it is trusted (§6).
type Forwarded struct {
	Stamp  time.Time       // when it was received by the one who forwards it; zero if that is not told
	Stanza xmltree.Element // in the namespace jabber:client; need not exist
}

// AppendXML implements xmltree.Appender. It has a value receiver: it is part of
// others.
func (f Forwarded) AppendXML(w *xmltree.Writer) {
	f.open(w)
	f.Stanza.AppendXML(w)
	w.Close()
}

// AppendStored is AppendXML with a stanza that is kept as bytes in the place of
// Stanza, see xmltree.Writer.Stored. What was written is of no use if it fails.
func (f Forwarded) AppendStored(w *xmltree.Writer, stanza []byte, l xmltree.Limits) error {
	f.open(w)
	if err := w.Stored(ns.Client, stanza, l); err != nil {
		return err
	}
	w.Close()
	return nil
}

func (f Forwarded) open(w *xmltree.Writer) {
	w.Open(Name)
	if !f.Stamp.IsZero() {
		delay.Delay{Stamp: f.Stamp}.AppendXML(w)
	}
}

// Parse reads the element. Of several stanzas it takes the first; a note of delay
// that cannot be read is as none.
func Parse(el xmltree.Element) (Forwarded, error) {
	if !el.Is(Name) {
		return Forwarded{}, ErrMalformed
	}
	var f Forwarded
	for c := range el.Children() {
		switch {
		case c.Is(delay.Name):
			if d, err := delay.Parse(c); err == nil {
				f.Stamp = d.Stamp
			}
		case f.Stanza.Exists():
		case c.Name().Space == ns.Client: // §4: the namespace of the stanza is kept
			f.Stanza = c
		}
	}
	return f, nil
}
