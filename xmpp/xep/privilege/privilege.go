// Package privilege holds the words of XEP-0356: Privileged Entity.
package privilege

import (
	"errors"

	"kith/xmpp/ns"
	"kith/xmpp/xep/forward"
	"kith/xmpp/xmltree"
)

// Names of the elements, those of the version before among them.
var (
	Name    = xmltree.Name{Space: ns.Privilege, Local: "privilege"}
	Name1   = xmltree.Name{Space: ns.Privilege1, Local: "privilege"}
	NameIQ  = xmltree.Name{Space: ns.Privilege, Local: "privileged_iq"}
	NameIQ1 = xmltree.Name{Space: ns.Privilege1, Local: "privileged_iq"}

	namePerm  = xmltree.Name{Space: ns.Privilege, Local: "perm"}
	nameSpace = xmltree.Name{Space: ns.Privilege, Local: "namespace"}
)

// ErrMalformed is returned for what is no permission.
var ErrMalformed = errors.New("malformed privilege")

// Perm is one permission (§4 to §7).
type Perm struct {
	Access string // "roster", "message", "iq" or "presence"
	Type   string // "" for iq
	Push   string // roster: "true", "false" or ""
	Spaces []Space
}

// Space is a namespace whose requests a permission for iq allows (§6).
type Space struct{ NS, Type string }

// Perms are what an entity is granted (§4.2).
type Perms []Perm

// AppendXML implements xmltree.Appender.
func (ps Perms) AppendXML(w *xmltree.Writer) {
	w.Open(Name)
	for _, p := range ps {
		w.Open(namePerm)
		w.Attr("access", p.Access)
		w.AttrOpt("type", p.Type)
		w.AttrOpt("push", p.Push)
		for _, s := range p.Spaces {
			w.Open(nameSpace)
			w.Attr("ns", s.NS)
			w.Attr("type", s.Type)
			w.Close()
		}
		w.Close()
	}
	w.Close()
}

// Parse reads what an entity is granted. What it does not know it leaves out.
func Parse(el xmltree.Element) (Perms, error) {
	if !el.Is(Name) {
		return nil, ErrMalformed
	}
	var ps Perms
	for c := range el.Children() {
		if !c.Is(namePerm) {
			continue
		}
		p := Perm{Access: c.Attr("access"), Type: c.Attr("type"), Push: c.Attr("push")}
		for s := range c.Children() {
			if s.Is(nameSpace) {
				p.Spaces = append(p.Spaces, Space{s.Attr("ns"), s.Attr("type")})
			}
		}
		ps = append(ps, p)
	}
	return ps, nil
}

// Forwarded is a stanza in a <privilege/>: a message to be sent in somebody's name
// (§5), or the answer to a request that was (§6).
type Forwarded struct {
	Name   xmltree.Name // of the wrapper: Name or Name1
	Stanza xmltree.Appender
}

// AppendXML implements xmltree.Appender.
func (f Forwarded) AppendXML(w *xmltree.Writer) {
	w.Open(f.Name)
	w.Open(forward.Name)
	f.Stanza.AppendXML(w)
	w.Close()
	w.Close()
}

// Message returns the message that a <privilege/> forwards; it does not exist if
// there is none.
func Message(el xmltree.Element) xmltree.Element {
	return el.Child(forward.Name).Child(xmltree.Name{Space: ns.Client, Local: "message"})
}

// Request is a request in somebody's name (§6.3).
type Request struct{ Stanza xmltree.Appender }

// AppendXML implements xmltree.Appender.
func (r Request) AppendXML(w *xmltree.Writer) {
	w.Open(NameIQ)
	r.Stanza.AppendXML(w)
	w.Close()
}
