// Package delay holds the words of XEP-0203: Delayed Delivery.
package delay

import (
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/xep/xtime"
	"kith/xmpp/xmltree"
)

// Name is the name of the element.
var Name = xmltree.Name{Space: ns.Delay, Local: "delay"}

// Delay says that a stanza did not come at once. Anybody may write one: only the
// notes of those who are trusted tell anything.
type Delay struct {
	From   jid.JID   // who delayed it; zero if that is not told
	Stamp  time.Time // when it was sent
	Reason string    // for people; "" if none
}

// AppendXML implements xmltree.Appender.
func (d Delay) AppendXML(w *xmltree.Writer) {
	w.Open(Name)
	w.AttrOpt("from", d.From.String())
	w.Attr("stamp", xtime.Format(d.Stamp))
	w.Text(d.Reason)
	w.Close()
}

// Parse reads a delay element.
func Parse(el xmltree.Element) (Delay, error) {
	stamp, err := xtime.Parse(el.Attr("stamp"))
	if err != nil {
		return Delay{}, err
	}
	d := Delay{Stamp: stamp.UTC(), Reason: el.Text()}
	if from := el.Attr("from"); from != "" {
		if d.From, err = jid.Parse(from); err != nil {
			return Delay{}, err
		}
	}
	return d, nil
}
