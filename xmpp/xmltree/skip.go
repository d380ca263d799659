package xmltree

import (
	"slices"
	"strconv"
	"strings"
)

// OversizeError says that an element had more bytes than Limits.Bytes and that
// nothing else was wrong with it. It is gone, but the stream is not: Next goes on
// behind it. See Limits.Skip.
type OversizeError struct {
	Start Element // its start tag, as an element without content
	Size  int     // bytes that came
	Limit int     // bytes that it might have had
}

func (e *OversizeError) Error() string {
	return "xmltree: element of " + strconv.Itoa(e.Size) + " bytes, at most " + strconv.Itoa(e.Limit) + " are allowed"
}

// skipChunk is how many bytes are scanned before those that were are forgotten.
const skipChunk = 16 << 10

// skipped is an element that is scanned to its end and not kept. Bytes are
// forgotten at places that its length decides and not how it arrives, so that
// neither do errors depend on that.
type skipped struct {
	start  Element
	limits Limits
	from   int64 // where it begins in the stream
	until  int64 // where bytes are forgotten next
}

// skip begins to skip the element under way, which has become too long.
func (d *Decoder) skip() error {
	tag := d.s.nodes[0].open
	b := append(make([]byte, 0, tag+1), d.rest[:tag-1]...)
	b = append(b, "/>"...)
	limits := d.s.limits
	limits.Bytes = len(b)
	s := newScanner(d.ctx, limits, false)
	defer s.release()
	if err := s.scan(b); err != nil {
		return d.fail(err)
	}
	d.skipped = &skipped{s.element(b), d.s.limits, d.offset, d.offset + int64(d.s.limits.Bytes)}
	return d.skipOn()
}

// skipOn goes on with the element that is skipped.
func (d *Decoder) skipOn() error {
	k := d.skipped
	end := k.from + int64(k.limits.Skip)
	for {
		n := int(min(int64(len(d.rest)), k.until-d.offset))
		err := d.s.run(d.rest[:n])
		switch at := d.offset + int64(n); {
		case err == nil:
			return nil
		case err != ErrIncomplete:
			return d.fail(err)
		case at == end:
			return d.fail(d.s.fail(n, PolicyViolation, "more bytes than allowed"))
		case at < k.until:
			d.s.shrink()
			return d.incomplete()
		}
		d.forget()
		k.until = min(k.until+int64(min(k.limits.Bytes, skipChunk)), end)
	}
}

// forget drops the bytes that have been scanned, but for what is still needed of
// them; that is moved up to those that have not.
func (d *Decoder) forget() {
	d.own()
	pos := d.s.pos
	kept := d.s.forget(d.rest)
	n := pos - len(kept) // what is kept are pieces of what was there
	copy(d.rest[n:], kept)
	d.rest = d.rest[n:]
	d.offset += int64(n)
	d.wasted += n
}

// oversize ends the element that was skipped.
func (d *Decoder) oversize() error {
	k := d.skipped
	d.finish()
	d.skipped = nil
	return &OversizeError{Start: k.start, Size: int(d.offset - k.from), Limit: k.limits.Bytes}
}

// forget reduces the index to what the rest of the element can still refer to:
// the names of open elements, prefixes in force, and of an open tag that is not
// complete the names and declarations. It returns the bytes that belong to these,
// which take the place of all before s.pos.
func (s *scanner) forget(data []byte) []byte {
	s.keepNamespaces(data)
	k := keeper{data: data}
	complete := len(s.open)
	inTag := s.state >= inTagName && s.state <= atSlash
	if inTag {
		complete--
	}
	for i := range s.open[:complete] {
		s.open[i].node = k.keep(&s.nodes[s.open[i].node])
	}
	for i := range s.scope {
		s.scope[i].node = k.keep(&s.nodes[s.scope[i].node])
	}
	if inTag {
		top := &s.open[complete]
		attrs := s.nodes[top.node+1:]
		top.node = k.keep(&s.nodes[top.node])
		for i := range attrs {
			k.keepAttr(&attrs[i])
		}
	}
	s.keepToken(&k)
	s.nodes = append(s.nodes[:0], k.nodes...)
	s.pos = len(k.b)
	return k.b
}

// keepNamespaces takes the names of namespaces out of the bytes: there are at
// most Limits.Namespaces.
func (s *scanner) keepNamespaces(data []byte) {
	if len(s.decls) == 0 {
		return
	}
	uris := slices.Clone(s.outer.uris)
	first := uint32(len(uris))
	for _, i := range s.decls {
		uris = append(uris, string(data[s.nodes[i].open:s.nodes[i].end]))
	}
	moved := func(ref uint32) uint32 {
		if i := slices.Index(s.decls, ref); i >= 0 {
			return refOuter | (first + uint32(i))
		}
		return ref
	}
	for i := range s.open {
		s.open[i].space = moved(s.open[i].space)
	}
	for i := range s.scope {
		s.scope[i].ref = moved(s.scope[i].ref)
	}
	s.outer = &outer{uris: uris}
	s.decls = s.decls[:0]
}

// keepToken keeps what is needed of the token under way.
func (s *scanner) keepToken(k *keeper) {
	from := s.pos
	switch s.state {
	case inText, inCDATA: // "]]" before a ">"
		from = max(s.mark, from-2)
	case atMarkup: // the "<"
		from--
	case inTagName, inAttrName:
		from = s.mark
	}
	token := k.data[from:s.pos]
	if s.state == inValue && isDeclaration(k.b, &k.nodes[len(k.nodes)-1]) {
		token = namespaceName(k.data[s.mark:s.pos])
	}
	s.mark = len(k.b)
	k.b = append(k.b, token...)
}

// keeper collects the nodes that are kept and their bytes.
type keeper struct {
	data, b []byte
	nodes   []node
}

// keep keeps a node with its name and returns its new index.
func (k *keeper) keep(n *node) uint32 {
	c := *n
	c.start, c.open, c.end = uint32(len(k.b)), 0, 0
	k.b = append(k.b, k.data[n.start:n.nameStart()+uint32(n.name)]...)
	k.nodes = append(k.nodes, c)
	return uint32(len(k.nodes) - 1)
}

// keepAttr keeps an attribute, with its value only if that is a namespace.
func (k *keeper) keepAttr(n *node) {
	c := &k.nodes[k.keep(n)]
	if isDeclaration(k.data, n) {
		c.open = uint32(len(k.b))
		k.b = append(k.b, namespaceName(k.data[n.open:n.end])...)
		c.end = uint32(len(k.b))
	}
}

// namespaceName is the value of a declaration, or one that is too long as well
// but not endless: no reference stands for less than a byte.
func namespaceName(v []byte) []byte {
	if len(v) > maxNamespace*maxRef {
		return []byte(strings.Repeat("x", maxNamespace+1))
	}
	return v
}
