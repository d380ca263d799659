package xmltree

import (
	"bytes"
	"unsafe"
)

// tree is one parsed element: its bytes as they came and a flat index over
// them. Both are exactly as large as needed and never change.
type tree struct {
	data  []byte
	nodes []node
	outer *outer
}

// outer holds what a tree takes from outside its own bytes. It is shared by
// all trees of a stream.
type outer struct {
	uris []string // namespace names; the first are those of the constants below
	lang string   // xml:lang around the tree; only a clone of an inner element has it
}

// node is an element or an attribute. An element's attributes stand right
// behind it, then its children; text has no node, it is what lies between.
type node struct {
	start uint32 // element: its "<"; attribute: the first byte of its name
	open  uint32 // element: behind its open tag; attribute: the first byte of its value
	end   uint32 // element: behind its end tag; attribute: behind the last byte of its value
	next  uint32 // element: index of the node behind all that is inside it
	ns    uint32 // namespace reference, and flags in the upper eight bits
	name  uint16 // bytes of the qualified name
	colon uint16 // bytes of the prefix with its colon
}

// Flags of a node.
const (
	flagAttr     = 1 << (24 + iota) // an attribute
	flagDecl                        // a namespace declaration; its reference is what it declares
	flagDecode                      // value or own text is not what its bytes are
	flagDirty                       // element: its bytes cannot stand anywhere else
	flagInherits                    // element: takes its default namespace from outside
	flagContent                     // element: declares the content namespace itself
	flagLang                        // first node: there is an xml:lang in the tree
)

// A namespace reference is the index of the node that declares the namespace
// first, or with refOuter set an index of outer.uris; 0 is no namespace. Equal
// namespaces have equal references.
const (
	refMask   = 1<<24 - 1
	refOuter  = 1 << 23
	refNone   = 0
	refXML    = refOuter
	refClient = refOuter | 1
	refStream = refOuter | 2
	refXMLNS  = refOuter | 3
)

// wellKnown begins the uris of every outer, in the order of the constants.
func wellKnown() []string { return []string{nsXML, nsClient, nsStream, nsXMLNS} }

func (n *node) ref() uint32 { return n.ns & refMask }

// str gives out bytes of the tree as a string, which is safe since they never change.
func (t *tree) str(from, to uint32) string {
	return unsafe.String(unsafe.SliceData(t.data), len(t.data))[from:to]
}

func (t *tree) uri(ref uint32) string {
	switch {
	case ref == refNone:
		return ""
	case ref&refOuter != 0:
		return t.outer.uris[ref&^refOuter]
	}
	n := &t.nodes[ref]
	return t.str(n.open, n.end)
}

// nameStart is the offset of the qualified name of node n.
func (n *node) nameStart() uint32 {
	if n.ns&flagAttr != 0 {
		return n.start
	}
	return n.start + 1
}

func (t *tree) qname(n *node) string {
	from := n.nameStart()
	return t.str(from, from+uint32(n.name))
}

func (t *tree) local(n *node) string {
	from := n.nameStart()
	return t.str(from+uint32(n.colon), from+uint32(n.name))
}

// prefix is what stands before the colon.
func (t *tree) prefix(n *node) string {
	if n.colon == 0 {
		return ""
	}
	from := n.nameStart()
	return t.str(from, from+uint32(n.colon)-1)
}

// value is the value of an attribute.
func (t *tree) value(n *node) string {
	s := t.str(n.open, n.end)
	if n.ns&flagDecode != 0 {
		return decodeValue(s)
	}
	return s
}

func (t *tree) is(n *node, name Name) bool {
	return t.local(n) == name.Local && t.uri(n.ref()) == name.Space
}

// inner is the index of the first child element of element i, or its next.
func (t *tree) inner(i uint32) uint32 {
	next := t.nodes[i].next
	for i++; i < next && t.nodes[i].ns&flagAttr != 0; i++ {
	}
	return i
}

// contentEnd is the offset of the end tag. An end tag holds no other "<".
func (t *tree) contentEnd(n *node) uint32 {
	if n.open == n.end {
		return n.end
	}
	return n.open + uint32(bytes.LastIndexByte(t.data[n.open:n.end], '<'))
}

// extract copies the element at i with all that is inside it into a tree of its own.
func (t *tree) extract(i uint32, lang string) *tree {
	n := &t.nodes[i]
	c := &tree{
		data:  append(make([]byte, 0, n.end-n.start), t.data[n.start:n.end]...),
		nodes: append(make([]node, 0, n.next-i), t.nodes[i:n.next]...),
		outer: &outer{uris: append(make([]string, 0, len(t.outer.uris)), t.outer.uris...), lang: lang},
	}
	moved := map[uint32]uint32{} // declarations that stay behind
	hasLang := uint32(0)
	for k := range c.nodes {
		m := &c.nodes[k]
		m.start, m.open, m.end = m.start-n.start, m.open-n.start, m.end-n.start
		m.next -= i
		if m.ns&flagAttr != 0 {
			m.next = 0
		}
		ref := m.ref()
		switch {
		case ref == refNone || ref&refOuter != 0:
		case ref >= i && ref < n.next:
			ref -= i
		default:
			to, ok := moved[ref]
			if !ok {
				to = refOuter | uint32(len(c.outer.uris))
				moved[ref] = to
				c.outer.uris = append(c.outer.uris, string(append([]byte(nil), t.uri(ref)...)))
			}
			ref = to
		}
		m.ns = m.ns&^refMask | ref
		if m.ns&flagAttr != 0 && ref == refXML && c.local(m) == "lang" {
			hasLang = flagLang
		}
	}
	c.nodes[0].ns = c.nodes[0].ns&^flagLang | hasLang
	return c
}
