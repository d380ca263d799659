// Package reporting holds the words of XEP-0377: Blocking Command Reports, which are said
// with the blocking of XEP-0191.
package reporting

import (
	"errors"

	"kith/xmpp/ns"
	"kith/xmpp/xep/stanzaid"
	"kith/xmpp/xmltree"
)

// Reasons of XEP-0377 §4. Others may follow.
const (
	Spam  = "urn:xmpp:reporting:spam"  // unwanted messages
	Abuse = "urn:xmpp:reporting:abuse" // everything else
)

// Name is the name of the element, in an item of what is blocked.
var Name = xmltree.Name{Space: ns.Reporting, Local: "report"}

var (
	nameText   = xmltree.Name{Space: ns.Reporting, Local: "text"}
	nameOrigin = xmltree.Name{Space: ns.Reporting, Local: "report-origin"}
	nameThird  = xmltree.Name{Space: ns.Reporting, Local: "third-party"}
)

// ErrMalformed is returned for what is no report: it has no reason.
var ErrMalformed = errors.New("report without a reason")

// Report says why somebody is blocked.
type Report struct {
	Reason   string
	Messages []stanzaid.ID // that are reported
	Text     string        // in words; the first, if there are several
	Lang     string        // of the text, "" if that is not told
	// What may be done with it (XEP-0377 §5): told to the server of who is reported,
	// told to others.
	Origin, ThirdParty bool
}

// AppendXML implements xmltree.Appender.
func (r *Report) AppendXML(w *xmltree.Writer) {
	w.Open(Name)
	w.Attr("reason", r.Reason)
	for _, m := range r.Messages {
		m.AppendXML(w)
	}
	if r.Text != "" {
		w.Open(nameText)
		if r.Lang != "" {
			w.AttrNS(xmltree.Name{Space: ns.XML, Local: "lang"}, r.Lang)
		}
		w.Text(r.Text)
		w.Close()
	}
	if r.Origin {
		w.Element(nameOrigin, "")
	}
	if r.ThirdParty {
		w.Element(nameThird, "")
	}
	w.Close()
}

// Parse reads a report. Ids that are none are passed over.
func Parse(el xmltree.Element) (*Report, error) {
	r := &Report{Reason: el.Attr("reason")}
	if !el.Is(Name) || r.Reason == "" { // XEP-0377 §4
		return nil, ErrMalformed
	}
	for c := range el.Children() {
		switch {
		case c.Is(stanzaid.Name):
			if id, err := stanzaid.Parse(c); err == nil {
				r.Messages = append(r.Messages, id)
			}
		case c.Is(nameText) && r.Text == "":
			r.Text, r.Lang = c.Text(), c.Lang()
		case c.Is(nameOrigin):
			r.Origin = true
		case c.Is(nameThird):
			r.ThirdParty = true
		}
	}
	return r, nil
}
