package xmltree

import "unicode/utf8"

// begin pushes the element whose name starts at i.
func (s *scanner) begin(i int) {
	o := openElement{node: uint32(len(s.nodes)), scope: len(s.scope), space: s.ctx.space}
	o.usedSpace, o.usedPrefix = maxDepth+1, maxDepth+1
	if depth := len(s.open); depth > 0 {
		o.space, o.declared = s.open[depth-1].space, s.open[depth-1].declared
	}
	s.addNode(node{start: uint32(i - 1)})
	s.open = append(s.open, o)
}

// addNode grows the index by an eighth where doubling it would let a peer hold
// much more memory than it has sent.
func (s *scanner) addNode(n node) {
	if len(s.nodes) == cap(s.nodes) && len(s.nodes) >= 256 {
		s.nodes = append(make([]node, 0, len(s.nodes)+len(s.nodes)/8), s.nodes...)
	}
	s.nodes = append(s.nodes, n)
}

// qname reads the qualified name that began at s.mark, to the byte behind it
// (Namespaces in XML §4: two names without colon, the first with one optional).
// Only names in ASCII pass: which others are names depends on the edition of XML
// that a parser was written for, and behind us there are parsers of all editions.
func (s *scanner) qname(data []byte) error {
	i, most := s.pos, s.mark+maxName
	end := min(len(data), most+1)
	for {
		if i > s.mark+s.colon {
			for i < end && class[data[i]]&className != 0 {
				i++
			}
		}
		if i > most {
			return s.fail(most, PolicyViolation, "name too long")
		}
		if i >= len(data) {
			return s.stop(i)
		}
		first := i == s.mark+s.colon
		switch c := data[i]; {
		case c >= utf8.RuneSelf:
			return s.fail(i, NotWellFormed, "name not in ASCII")
		case first:
			if class[c]&classStart == 0 {
				return s.fail(i, NotWellFormed, "not the start of a name")
			}
		case c == ':':
			if s.colon != 0 {
				return s.fail(i, NotWellFormed, "two colons in a name")
			}
			s.colon = i + 1 - s.mark
		default:
			s.pos = i
			return nil
		}
		i++
	}
}

func (s *scanner) tagName(data []byte) error {
	if err := s.qname(data); err != nil {
		return err
	}
	n := &s.nodes[len(s.nodes)-1]
	n.name, n.colon = uint16(s.pos-s.mark), uint16(s.colon)
	s.state, s.gap = inTag, false
	return nil
}

// spaces skips white space from i on.
func spaces(data []byte, i int) int {
	for i < len(data) && class[data[i]]&classSpace != 0 {
		i++
	}
	return i
}

// tag reads what stands between attributes.
func (s *scanner) tag(data []byte) error {
	i := spaces(data, s.pos)
	s.gap = s.gap || i > s.pos
	if i >= len(data) {
		return s.stop(i)
	}
	switch c := data[i]; {
	case c == '>':
		return s.opened(data, i+1)
	case c == '/':
		s.pos, s.state = i+1, atSlash
		return nil
	case !s.gap:
		return s.fail(i, NotWellFormed, "no white space before an attribute")
	}
	top := int(s.open[len(s.open)-1].node)
	if len(s.nodes)-top > s.limits.Attrs || len(s.nodes) >= maxNodes {
		return s.fail(i, PolicyViolation, "too many attributes")
	}
	s.pos, s.mark, s.colon, s.state = i, i, 0, inAttrName
	return s.attrName(data)
}

func (s *scanner) attrName(data []byte) error {
	if err := s.qname(data); err != nil {
		return err
	}
	s.addNode(node{
		start: uint32(s.mark), name: uint16(s.pos - s.mark), colon: uint16(s.colon), ns: flagAttr,
	})
	s.state = atEquals
	return s.attrQuote(data)
}

// attrQuote reads from behind the name of an attribute to its value.
func (s *scanner) attrQuote(data []byte) error {
	i := spaces(data, s.pos)
	if i >= len(data) {
		return s.stop(i)
	}
	c := data[i]
	if s.state == atEquals {
		if c != '=' {
			return s.fail(i, NotWellFormed, "attribute without value")
		}
		s.pos, s.state = i+1, atQuote
		return s.attrQuote(data)
	}
	if c != '\'' && c != '"' {
		return s.fail(i, NotWellFormed, "attribute value without quotes")
	}
	s.pos, s.mark, s.quote, s.flags, s.state = i+1, i+1, c, 0, inValue
	return s.value(data)
}

// value reads to the end of an attribute's value.
func (s *scanner) value(data []byte) error {
	i := s.pos
	for {
		i = plain(data, i, s.quote, '&', '<')
		if i >= len(data) {
			return s.stop(i)
		}
		switch c := data[i]; c {
		case s.quote:
			n := &s.nodes[len(s.nodes)-1]
			n.open, n.end, n.ns = uint32(s.mark), uint32(i), n.ns|s.flags
			s.pos, s.state, s.gap = i+1, inTag, false
			return nil
		case '&':
			n, err := s.reference(data, i)
			if err != nil {
				return err
			}
			s.flags |= flagDecode
			i += n
		case '<':
			return s.fail(i, NotWellFormed, "\"<\" in an attribute value") // XML 1.0 §3.1
		default:
			n, err := s.char(data, i)
			if err != nil {
				return err
			}
			if c < 0x20 { // white space that is read as a space, XML 1.0 §3.3.3
				s.flags |= flagDecode
				s.open[len(s.open)-1].flags |= flagDirty
			}
			i += n
		}
	}
}

// slash reads the last byte of the tag of an empty element.
func (s *scanner) slash(data []byte) error {
	i := s.pos
	if i >= len(data) {
		return s.stop(i)
	}
	if data[i] != '>' {
		return s.fail(i, NotWellFormed, "\"/\" in a tag")
	}
	if err := s.opened(data, i+1); err != nil {
		return err
	}
	if s.header {
		s.eof = true
		return nil
	}
	s.closed(i + 1)
	return nil
}

// endName compares the name of an end tag with that of the element it ends.
func (s *scanner) endName(data []byte) error {
	var ok bool
	var n, have int
	if len(s.open) == 0 {
		n = len(s.ctx.name)
		have = min(n, len(data)-s.mark)
		ok = n > 0 && string(data[s.mark:s.mark+have]) == s.ctx.name[:have]
	} else {
		e := &s.nodes[s.open[len(s.open)-1].node]
		n = int(e.name)
		have = min(n, len(data)-s.mark)
		from := int(e.start) + 1
		ok = string(data[s.mark:s.mark+have]) == string(data[from:from+have])
	}
	if !ok {
		return s.fail(s.mark, NotWellFormed, "end tag of another element")
	}
	if have < n {
		return s.stop(s.mark)
	}
	s.pos, s.state = s.mark+n, inEndTag
	return nil
}

// endTag reads from behind the name of an end tag to its end.
func (s *scanner) endTag(data []byte) error {
	i := spaces(data, s.pos)
	if i >= len(data) {
		return s.stop(i)
	}
	if data[i] != '>' {
		return s.fail(i, NotWellFormed, "end tag of another element")
	}
	if len(s.open) == 0 {
		s.pos, s.state, s.eof = i+1, inDone, true
		return nil
	}
	s.closed(i + 1)
	return nil
}

// closed pops the element that ends before end.
func (s *scanner) closed(end int) {
	depth := len(s.open)
	top := &s.open[depth-1]
	n := &s.nodes[top.node]
	n.end, n.next = uint32(end), uint32(len(s.nodes))
	if top.usedPrefix < depth {
		top.flags |= flagDirty
	}
	if top.usedSpace < depth {
		top.flags |= flagInherits
		if n.colon != 0 { // the name does not tell which default namespace its content wants
			top.flags |= flagDirty
		}
	}
	n.ns |= top.flags
	s.scope = s.scope[:top.scope]
	s.open = s.open[:depth-1]
	if depth == 1 {
		s.pos, s.state = end, inDone
		return
	}
	outer := &s.open[depth-2]
	outer.flags |= top.flags & flagDirty
	outer.usedSpace = min(outer.usedSpace, top.usedSpace)
	outer.usedPrefix = min(outer.usedPrefix, top.usedPrefix)
	s.pos, s.mark, s.state = end, end, inText
}
