package xmltree

import (
	"bytes"
	"hash/maphash"
	"slices"
)

// context is what a stream's header declares for the elements in it.
type context struct {
	outer    *outer
	name     string // qualified name in the stream's end tag, "" for a document
	space    uint32 // reference of the default namespace
	prefixes []borrowed
	aliases  []string // names by which jabber:client goes here
}

// newContext is a context that declares a default namespace and nothing else.
func newContext(content string) *context {
	c := &context{outer: &outer{uris: wellKnown()}}
	switch content {
	case nsServer, nsAccept: // RFC 6120 §4.8.3, re-scoping
		c.aliases = []string{content}
	case nsStream: // the header leaves it to the elements
		c.aliases = []string{nsServer, nsAccept}
	}
	c.space = c.intern(content)
	return c
}

// document is the context of what stands alone.
var document = newContext("")

// intern returns the reference of a namespace declared outside of the elements.
func (c *context) intern(uri string) uint32 {
	if uri == "" {
		return refNone
	}
	if slices.Contains(c.aliases, uri) {
		return refClient
	}
	i := slices.Index(c.outer.uris, uri)
	if i < 0 {
		i = len(c.outer.uris)
		c.outer.uris = append(c.outer.uris, uri)
	}
	return refOuter | uint32(i)
}

// opened ends an open tag: the declarations in it take force and its names get
// their namespaces.
func (s *scanner) opened(data []byte, end int) error {
	s.pos, s.mark, s.state = end, end, inText
	if s.header {
		s.state = inDone
	}
	depth := len(s.open)
	top := &s.open[depth-1]
	e := &s.nodes[top.node]
	e.open = uint32(end)
	attrs := s.nodes[top.node+1:]
	prefixed := false
	for k := range attrs {
		a := &attrs[k]
		switch {
		case isDeclaration(data, a):
			if err := s.declare(data, top, a, top.node+1+uint32(k)); err != nil {
				return err
			}
		case a.colon != 0:
			prefixed = true
		}
	}
	if err := s.resolveElement(data, top, e); err != nil {
		return err
	}
	if prefixed {
		for k := range attrs {
			a := &attrs[k]
			if a.colon == 0 || a.ns&flagDecl != 0 {
				continue
			}
			ref, err := s.resolve(data, top, a)
			if err != nil {
				return err
			}
			a.ns |= ref
			s.lang = s.lang || ref == refXML && string(localName(data, a)) == "lang"
		}
	}
	return s.unique(data, attrs)
}

// isDeclaration tells whether an attribute declares a namespace (Namespaces in XML §3).
func isDeclaration(data []byte, a *node) bool {
	return a.colon == 0 && a.name == 5 && string(data[a.start:a.start+5]) == "xmlns" ||
		a.colon == 6 && string(data[a.start:a.start+6]) == "xmlns:"
}

func (s *scanner) resolveElement(data []byte, top *openElement, e *node) error {
	at := int(e.start)
	if e.colon == 0 {
		e.ns |= top.space
		top.usedSpace = min(top.usedSpace, top.declared)
	} else {
		ref, err := s.resolve(data, top, e)
		if err != nil {
			return err
		}
		// RFC 6120 §4.8.5: no prefixes for elements of the content namespace.
		if ref == refClient {
			return s.fail(at, BadNamespacePrefix, "prefix on an element of the content namespace")
		}
		e.ns |= ref
	}
	if e.ref() == refStream && len(s.open) > 1 {
		return s.fail(at, InvalidNamespace, "element of the stream namespace inside another")
	}
	return nil
}

// localName is the name of a node without its prefix.
func localName(data []byte, n *node) []byte {
	from := n.nameStart()
	return data[from+uint32(n.colon) : from+uint32(n.name)]
}

// resolve finds the namespace of a prefixed name.
func (s *scanner) resolve(data []byte, top *openElement, n *node) (uint32, error) {
	from := n.nameStart()
	prefix := data[from : from+uint32(n.colon)-1]
	if string(prefix) == "xml" {
		return refXML, nil
	}
	for k := len(s.scope) - 1; k >= 0; k-- {
		b := &s.scope[k]
		if bytes.Equal(localName(data, &s.nodes[b.node]), prefix) {
			top.usedPrefix = min(top.usedPrefix, b.depth)
			return b.ref, nil
		}
	}
	for k := range s.ctx.prefixes {
		if p := &s.ctx.prefixes[k]; p.prefix == string(prefix) {
			top.usedPrefix = 0
			return p.ref, nil
		}
	}
	return 0, s.fail(int(from), NotWellFormed, "prefix without declaration")
}

// declare checks the namespace declaration a, node number i (Namespaces in XML §3).
func (s *scanner) declare(data []byte, top *openElement, a *node, i uint32) error {
	at := int(a.start)
	uri := data[a.open:a.end]
	if a.ns&flagDecode != 0 {
		uri = []byte(decodeValue(string(uri)))
	}
	if len(uri) > maxNamespace {
		return s.fail(at, PolicyViolation, "namespace name too long")
	}
	ref := s.intern(data, uri, i, a.ns&flagDecode != 0)
	if s.namespaces > s.limits.Namespaces || len(s.scope) >= s.limits.Namespaces {
		return s.fail(at, PolicyViolation, "too many namespaces")
	}
	a.ns |= flagDecl | ref
	if ref == refClient && string(uri) != nsClient {
		top.flags |= flagDirty // to be written by the name that we report
	}
	depth := len(s.open)
	if a.colon == 0 {
		if ref == refXML || ref == refXMLNS {
			return s.fail(at, NotWellFormed, "reserved namespace as default")
		}
		if ref == refClient {
			top.flags |= flagContent
			if top.space == refClient {
				top.flags |= flagDirty // it would not follow a stanza into another content namespace
			}
		}
		top.space, top.declared = ref, depth
		return nil
	}
	prefix := localName(data, a)
	switch {
	case string(prefix) == "xml" && ref == refXML:
		return nil
	case string(prefix) == "xml" || string(prefix) == "xmlns" || ref == refXML || ref == refXMLNS:
		return s.fail(at, NotWellFormed, "reserved prefix or namespace bound")
	case ref == refNone:
		return s.fail(at, NotWellFormed, "prefix bound to nothing")
	}
	s.scope = append(s.scope, binding{node: i, ref: ref, depth: depth})
	return nil
}

// intern returns the one reference of a namespace that node i declares.
func (s *scanner) intern(data, uri []byte, i uint32, decoded bool) uint32 {
	if len(uri) == 0 {
		return refNone
	}
	for _, alias := range s.ctx.aliases {
		if alias == string(uri) {
			return refClient
		}
	}
	for k, known := range s.outer.uris {
		if known == string(uri) {
			return refOuter | uint32(k)
		}
	}
	return s.internOwn(data, uri, i, decoded)
}

func (s *scanner) internOwn(data, uri []byte, i uint32, decoded bool) uint32 {
	for _, k := range s.decls {
		if n := &s.nodes[k]; bytes.Equal(data[n.open:n.end], uri) {
			return k
		}
	}
	s.namespaces++
	if !decoded {
		s.decls = append(s.decls, i)
		return i
	}
	uris := slices.Concat(s.outer.uris, []string{string(uri)})
	s.outer = &outer{uris: uris}
	return refOuter | uint32(len(uris)-1)
}

// few is the number of attributes up to which comparing each with each is fastest.
const few = 12

// unique refuses two attributes of the same expanded name (Namespaces in XML §6.3).
func (s *scanner) unique(data []byte, attrs []node) error {
	if len(attrs) > few {
		return s.uniqueHashed(data, attrs)
	}
	for k := 1; k < len(attrs); k++ {
		a := &attrs[k]
		length := a.name - a.colon
		for j := range attrs[:k] {
			if b := &attrs[j]; b.name-b.colon == length && sameName(data, b, a) {
				return s.fail(int(attrs[k].start), NotWellFormed, "attribute twice")
			}
		}
	}
	return nil
}

func sameName(data []byte, a, b *node) bool {
	return a.name-a.colon == b.name-b.colon && attrSpace(a) == attrSpace(b) &&
		bytes.Equal(localName(data, a), localName(data, b))
}

// attrSpace is the reference of the namespace that the attribute's name is in.
func attrSpace(a *node) uint32 {
	if a.ns&flagDecl != 0 {
		return refXMLNS
	}
	return a.ref()
}

// uniqueHashed is unique in linear time, with a hash that a peer cannot foresee.
func (s *scanner) uniqueHashed(data []byte, attrs []node) error {
	size := 32
	for size < 2*len(attrs) {
		size *= 2
	}
	if cap(s.table) < size {
		s.table = make([]uint32, size)
	}
	table := s.table[:size]
	clear(table)
	seed := maphash.MakeSeed()
	for k := range attrs {
		a := &attrs[k]
		h := maphash.Bytes(seed, localName(data, a)) + uint64(attrSpace(a))*0x9E3779B97F4A7C15
		for slot := h % uint64(size); ; slot = (slot + 1) % uint64(size) {
			if table[slot] == 0 {
				table[slot] = uint32(k) + 1
				break
			}
			if sameName(data, &attrs[table[slot]-1], a) {
				return s.fail(int(a.start), NotWellFormed, "attribute twice")
			}
		}
	}
	return nil
}
