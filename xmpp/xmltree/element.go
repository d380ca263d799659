package xmltree

import (
	"iter"
	"strings"
)

// Element is one element of a tree, read-only and small enough to pass by
// value. The zero Element does not exist; it has no name, attribute, text or child.
//
// Its strings are parts of the bytes that came; whoever keeps one longer than
// the element clones it, or else keeps all those bytes.
type Element struct {
	t *tree
	i int32
}

// Exists tells whether there is such an element.
func (e Element) Exists() bool { return e.t != nil }

func (e Element) node() *node { return &e.t.nodes[e.i] }

// Name is the expanded name. The content namespace of a stream is always
// called jabber:client.
func (e Element) Name() Name {
	if e.t == nil {
		return Name{}
	}
	n := e.node()
	return Name{e.t.uri(n.ref()), e.t.local(n)}
}

// Is tells whether the element exists and has that name.
func (e Element) Is(n Name) bool { return e.t != nil && e.t.is(e.node(), n) }

// Attr is the value of the attribute without namespace, "" if there is none.
func (e Element) Attr(local string) string {
	v, _ := e.LookupAttr(Name{Local: local})
	return v
}

// LookupAttr is the value of an attribute and whether it is there.
func (e Element) LookupAttr(name Name) (string, bool) {
	if e.t == nil {
		return "", false
	}
	for k := int(e.i) + 1; k < len(e.t.nodes); k++ {
		n := &e.t.nodes[k]
		if n.ns&flagAttr == 0 {
			break
		}
		if n.ns&flagDecl == 0 && e.t.is(n, name) {
			return e.t.value(n), true
		}
	}
	return "", false
}

// Attrs are all attributes in their order, without namespace declarations.
func (e Element) Attrs() iter.Seq2[Name, string] {
	return func(yield func(Name, string) bool) {
		if e.t == nil {
			return
		}
		for k := int(e.i) + 1; k < len(e.t.nodes); k++ {
			n := &e.t.nodes[k]
			if n.ns&flagAttr == 0 {
				return
			}
			if n.ns&flagDecl == 0 && !yield(Name{e.t.uri(n.ref()), e.t.local(n)}, e.t.value(n)) {
				return
			}
		}
	}
}

// Text is the character data directly in the element, decoded; what stands
// between child elements is joined.
func (e Element) Text() string {
	if e.t == nil {
		return ""
	}
	t, n := e.t, e.node()
	i, at := t.inner(uint32(e.i)), n.open
	if i == n.next {
		return e.decoded(t.str(at, t.contentEnd(n)))
	}
	var parts []string
	for ; i < n.next; i = t.nodes[i].next {
		if at < t.nodes[i].start {
			parts = append(parts, e.decoded(t.str(at, t.nodes[i].start)))
		}
		at = t.nodes[i].end
	}
	if end := t.contentEnd(n); at < end {
		parts = append(parts, e.decoded(t.str(at, end)))
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return strings.Join(parts, "")
}

func (e Element) decoded(s string) string {
	if e.node().ns&flagDecode != 0 {
		return decodeText(s)
	}
	return s
}

// Child is the first child element of that name.
func (e Element) Child(name Name) Element {
	if e.t == nil {
		return Element{}
	}
	next := e.node().next
	for i := e.t.inner(uint32(e.i)); i < next; i = e.t.nodes[i].next {
		if e.t.is(&e.t.nodes[i], name) {
			return Element{e.t, int32(i)}
		}
	}
	return Element{}
}

// Children are the child elements in their order.
func (e Element) Children() iter.Seq[Element] {
	return func(yield func(Element) bool) {
		if e.t == nil {
			return
		}
		next := e.node().next
		for i := e.t.inner(uint32(e.i)); i < next; i = e.t.nodes[i].next {
			if !yield(Element{e.t, int32(i)}) {
				return
			}
		}
	}
}

// First is the first child element.
func (e Element) First() Element {
	if e.t == nil {
		return Element{}
	}
	if i := e.t.inner(uint32(e.i)); i < e.node().next {
		return Element{e.t, int32(i)}
	}
	return Element{}
}

// Lang is the language of the element's text: its own xml:lang or that of the
// nearest element around it (XML 1.0 §2.12). That of the stream is left out.
func (e Element) Lang() string {
	if e.t == nil {
		return ""
	}
	lang := e.t.outer.lang
	if e.t.nodes[0].ns&flagLang == 0 {
		return lang
	}
	for i, to := uint32(0), uint32(e.i); ; {
		if own, ok := (Element{e.t, int32(i)}).LookupAttr(Name{nsXML, "lang"}); ok {
			lang = own
		}
		if i == to {
			return lang
		}
		for i = e.t.inner(i); e.t.nodes[i].next <= to; i = e.t.nodes[i].next {
		}
	}
}

// Len is the number of bytes that came.
func (e Element) Len() int {
	if e.t == nil {
		return 0
	}
	return int(e.node().end - e.node().start)
}

// Raw are the bytes that came. They must not be changed.
func (e Element) Raw() []byte {
	if e.t == nil {
		return nil
	}
	n := e.node()
	return e.t.data[n.start:n.end:n.end]
}

// Clean tells whether Raw can stand as it is, and mean the same, on any stream
// right below the stream's root, whatever its content namespace is.
func (e Element) Clean() bool {
	if e.t == nil {
		return false
	}
	n := e.node()
	return n.ns&(flagDirty|flagContent) == 0 && (n.ns&flagInherits == 0 || n.ref() == refClient)
}

// fits tells whether Raw means the same where space is the default namespace.
func (e Element) fits(space string) bool {
	n := e.node()
	switch {
	case n.ns&flagDirty != 0:
		return false
	case n.ns&flagContent != 0:
		return space != nsClient // else the declaration would stand in the way of re-scoping
	case n.ns&flagInherits != 0:
		return e.t.uri(n.ref()) == space
	}
	return true
}

// AppendXML writes the element: the bytes that came where they are proved to
// mean the same, else anew from the tree.
func (e Element) AppendXML(w *Writer) {
	if e.t == nil {
		return
	}
	w.endTag()
	switch n := e.node(); {
	case e.fits(w.space):
		w.b = append(w.b, e.Raw()...)
	case n.ns&(flagDirty|flagContent|flagInherits) == flagInherits:
		// All that it takes from outside is its default namespace, which its own name
		// is in: with that declared on it, its bytes mean the same anywhere.
		name := n.nameStart() + uint32(n.name)
		w.b = append(w.b, e.t.data[n.start:name]...)
		w.b = AppendAttr(w.b, "xmlns", e.t.uri(n.ref()))
		w.b = append(w.b, e.t.data[name:n.end]...)
	default:
		e.rewrite(w)
	}
}

// Clone is the same element in memory of its own, without what is around it.
func (e Element) Clone() Element {
	if e.t == nil {
		return e
	}
	lang := e.t.outer.lang
	if e.i != 0 {
		lang = strings.Clone(e.Lang())
	}
	return Element{e.t.extract(uint32(e.i), lang), 0}
}
