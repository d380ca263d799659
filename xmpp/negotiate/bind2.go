package negotiate

import (
	"context"
	"strings"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

// Names of XEP-0386.
var (
	nameBind2       = xmltree.Name{Space: ns.Bind2, Local: "bind"}
	nameBindInline  = xmltree.Name{Space: ns.Bind2, Local: "inline"}
	nameBindFeature = xmltree.Name{Space: ns.Bind2, Local: "feature"}
	nameTag         = xmltree.Name{Space: ns.Bind2, Local: "tag"}
	nameBound       = xmltree.Name{Space: ns.Bind2, Local: "bound"}
)

// Bind2 asks for a resource while logging in (XEP-0386 §3.2).
type Bind2 struct {
	Tag   string             // part of the resource; others may see it
	Wants []xmltree.Appender // what the session is to have from its beginning (client)

	asked xmltree.Element
}

// Asked goes over what the client wants for its session.
func (b *Bind2) Asked(yield func(xmltree.Element) bool) {
	for c := range b.asked.Children() {
		if c.Name().Space != ns.Bind2 && !yield(c) {
			return
		}
	}
}

// AppendXML implements xmltree.Appender.
func (b *Bind2) AppendXML(w *xmltree.Writer) {
	w.Open(nameBind2)
	if b.Tag != "" {
		w.Element(nameTag, b.Tag)
	}
	for _, a := range b.Wants {
		w.Append(a)
	}
	w.Close()
}

func parseBind2(el xmltree.Element) *Bind2 {
	return &Bind2{Tag: strings.Clone(strings.TrimSpace(el.Child(nameTag).Text())), asked: el}
}

// Establisher gives streams that log in by XEP-0388 their sessions. Nothing may be
// written to the stream before Serve has returned.
type Establisher interface {
	Resumer
	// Bind2 binds a resource for the user of st, by the tag and for the agent of a,
	// and returns its address and what goes into <bound/>. A *stanza.Error says
	// that there is no resource to be had; the client may ask again as of old.
	Bind2(ctx context.Context, st *State, a *Authenticate) (full jid.JID, answers []xmltree.Appender, err error)
}

// bound2 is what has become of a <bind/>.
type bound2 []xmltree.Appender

// AppendXML implements xmltree.Appender.
func (b bound2) AppendXML(w *xmltree.Writer) {
	w.Open(nameBound)
	for _, a := range b {
		w.Append(a)
	}
	w.Close()
}

// offerBind2 writes the inline feature (XEP-0386 §3.1).
func offerBind2(w *xmltree.Writer, features []string) {
	w.Open(nameBind2)
	if len(features) > 0 {
		w.Open(nameBindInline)
		for _, f := range features {
			w.Open(nameBindFeature)
			w.Attr("var", f)
			w.Close()
		}
		w.Close()
	}
	w.Close()
}
