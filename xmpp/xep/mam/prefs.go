package mam

import (
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

// Default says what is archived of those who are in no list (XEP-0441 §2.1.1).
type Default string

// What is archived by default.
const (
	Always Default = "always"
	Never  Default = "never"
	Roster Default = "roster" // of contacts only
)

// Prefs says what is archived.
type Prefs struct {
	Default       Default
	Always, Never []jid.JID
}

var (
	nameAlways = xmltree.Name{Space: ns.MAM, Local: "always"}
	nameNever  = xmltree.Name{Space: ns.MAM, Local: "never"}
	nameJID    = xmltree.Name{Space: ns.MAM, Local: "jid"}
)

// AppendXML implements xmltree.Appender. Both lists are there, even if they are
// empty.
func (p *Prefs) AppendXML(w *xmltree.Writer) {
	w.Open(NamePrefs)
	w.Attr("default", string(p.Default))
	appendJIDs(w, nameAlways, p.Always)
	appendJIDs(w, nameNever, p.Never)
	w.Close()
}

func appendJIDs(w *xmltree.Writer, n xmltree.Name, list []jid.JID) {
	w.Open(n)
	for _, j := range list {
		w.Element(nameJID, j.String())
	}
	w.Close()
}

// ParsePrefs reads preferences: ErrAddress if one of the addresses is none. A list
// that is not there is empty.
func ParsePrefs(el xmltree.Element) (*Prefs, error) {
	p := &Prefs{Default: Default(el.Attr("default"))}
	if !el.Is(NamePrefs) {
		return nil, ErrMalformed
	}
	switch p.Default {
	case Always, Never, Roster:
	default:
		return nil, ErrMalformed
	}
	var err error
	for c := range el.Children() {
		switch c.Name() {
		case nameAlways:
			p.Always, err = parseJIDs(c, p.Always)
		case nameNever:
			p.Never, err = parseJIDs(c, p.Never)
		}
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

func parseJIDs(el xmltree.Element, list []jid.JID) ([]jid.JID, error) {
	for c := range el.Children() {
		if !c.Is(nameJID) {
			continue
		}
		j, err := jid.Parse(c.Text())
		if err != nil {
			return nil, ErrAddress
		}
		list = append(list, j)
	}
	return list, nil
}
