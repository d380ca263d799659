// Package disco holds the words of XEP-0030: Service Discovery, with the forms
// of XEP-0128.
package disco

import (
	"errors"
	"slices"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/xep/form"
	"kith/xmpp/xmltree"
)

// Names of the payloads, of request and result.
var (
	NameInfo  = xmltree.Name{Space: ns.DiscoInfo, Local: "query"}
	NameItems = xmltree.Name{Space: ns.DiscoItems, Local: "query"}
)

var (
	nameIdentity = xmltree.Name{Space: ns.DiscoInfo, Local: "identity"}
	nameFeature  = xmltree.Name{Space: ns.DiscoInfo, Local: "feature"}
	nameItem     = xmltree.Name{Space: ns.DiscoItems, Local: "item"}
	nameLang     = xmltree.Name{Space: ns.XML, Local: "lang"}
)

// ErrMalformed is returned for a result that is none.
var ErrMalformed = errors.New("malformed result of service discovery")

// Info is what somebody is and can do. With nothing but a node it is the request.
type Info struct {
	Node       string
	Identities []Identity
	Features   []string
	Forms      []xmltree.Appender // XEP-0128; *form.Form each when it was parsed
}

// Identity is what somebody is: a category and a type of the registry.
type Identity struct {
	Category, Type string
	Lang, Name     string // "" if there is none
}

// AppendXML implements xmltree.Appender.
func (i *Info) AppendXML(w *xmltree.Writer) {
	w.Open(NameInfo)
	w.AttrOpt("node", i.Node)
	for _, id := range i.Identities {
		w.Open(nameIdentity)
		w.Attr("category", id.Category)
		w.Attr("type", id.Type)
		if id.Lang != "" {
			w.AttrNS(nameLang, id.Lang)
		}
		w.AttrOpt("name", id.Name)
		w.Close()
	}
	for _, f := range i.Features {
		w.Open(nameFeature)
		w.Attr("var", f)
		w.Close()
	}
	for _, f := range i.Forms {
		w.Append(f)
	}
	w.Close()
}

// Has reports whether a feature is among them.
func (i *Info) Has(feature string) bool { return slices.Contains(i.Features, feature) }

// Is reports whether one of the identities has that category and type.
func (i *Info) Is(category, typ string) bool {
	return slices.ContainsFunc(i.Identities, func(id Identity) bool { return id.Category == category && id.Type == typ })
}

// Form returns the form of that FORM_TYPE, nil if there is none.
func (i *Info) Form(name string) *form.Form {
	for _, x := range i.Forms {
		if f, ok := x.(*form.Form); ok && f.Name() == name {
			return f
		}
	}
	return nil
}

// ParseInfo reads a result of disco#info, or a request. What it does not know it
// skips; forms that are none are skipped too. The language of an identity is what
// stands at it: it is a part of what tells two apart (XEP-0030 §3.1).
func ParseInfo(el xmltree.Element) (*Info, error) {
	if !el.Is(NameInfo) {
		return nil, ErrMalformed
	}
	i := &Info{Node: el.Attr("node")}
	for c := range el.Children() {
		switch c.Name() {
		case nameIdentity:
			lang, _ := c.LookupAttr(nameLang)
			i.Identities = append(i.Identities, Identity{
				Category: c.Attr("category"), Type: c.Attr("type"), Lang: lang, Name: c.Attr("name"),
			})
		case nameFeature:
			i.Features = append(i.Features, c.Attr("var"))
		case form.Name:
			if f, err := form.Parse(c); err == nil {
				i.Forms = append(i.Forms, f)
			}
		}
	}
	return i, nil
}

// Items are what belongs to somebody. With nothing but a node it is the request.
type Items struct {
	Node  string
	Items []Item
}

// Item is an address, or a node of one.
type Item struct {
	JID        jid.JID
	Node, Name string // "" if there is none
}

// AppendXML implements xmltree.Appender.
func (i *Items) AppendXML(w *xmltree.Writer) {
	w.Open(NameItems)
	w.AttrOpt("node", i.Node)
	for _, it := range i.Items {
		w.Open(nameItem)
		w.Attr("jid", it.JID.String())
		w.AttrOpt("node", it.Node)
		w.AttrOpt("name", it.Name)
		w.Close()
	}
	w.Close()
}

// ParseItems reads a result of disco#items, or a request. Items without a
// readable address are skipped.
func ParseItems(el xmltree.Element) (*Items, error) {
	if !el.Is(NameItems) {
		return nil, ErrMalformed
	}
	i := &Items{Node: el.Attr("node")}
	for c := range el.Children() {
		if !c.Is(nameItem) {
			continue
		}
		if j, err := jid.Parse(c.Attr("jid")); err == nil {
			i.Items = append(i.Items, Item{JID: j, Node: c.Attr("node"), Name: c.Attr("name")})
		}
	}
	return i, nil
}
