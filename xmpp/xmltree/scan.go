package xmltree

import (
	"encoding/binary"
	"math/bits"
	"sync"
	"unicode/utf8"
)

// scanner reads one element, strictly and in one pass. It can stop at any byte
// and go on when more have come: all that it knows are offsets from the start
// of the element, so the bytes may move in between.
type scanner struct {
	limits Limits
	ctx    *context
	outer  *outer // of ctx, or a copy of it with namespace names that had to be decoded
	state  state
	pos    int  // first byte not looked at
	mark   int  // where the name, value or run of text began
	colon  int  // bytes of the prefix with its colon in the name under way
	quote  byte // around the value under way
	flags  uint32
	gap    bool // white space was seen in the tag since the last attribute
	header bool // stop behind the first open tag
	eof    bool // what came was the end tag of the stream, or the whole of it
	lang   bool // some element has an xml:lang
	long   bool // there are more bytes than allowed, and nothing else is wrong so far

	elements   int
	nodes      []node
	open       []openElement
	scope      []binding
	decls      []uint32 // nodes that declared a namespace first
	namespaces int      // different ones declared so far
	table      []uint32 // of names, to find an attribute that came twice
	tree       tree     // what is written, see Writer.Stored
}

type state uint8

const (
	inText     state = iota
	atMarkup         // behind "<"
	inCDATA          // behind "<![CDATA["
	inTagName        // of an open tag
	inTag            // between attributes
	inAttrName       //
	atEquals         // behind the attribute's name
	atQuote          // behind "="
	inValue          //
	atSlash          // behind the "/" of an empty element
	inEndName        // behind "</"
	inEndTag         // behind the name of an end tag
	inDone           // the element is complete
)

// openElement is an element whose end tag has not come.
type openElement struct {
	node     uint32
	scope    int    // bindings in force outside
	flags    uint32 // of its text and its declarations
	space    uint32 // reference of the default namespace in force inside
	declared int    // depth of the element that declared it, 0 for outside
	// The outermost element whose declaration of a default namespace, or of a
	// prefix, is used by this element or in it.
	usedSpace, usedPrefix int
}

// binding is a prefix declared in the element.
type binding struct {
	node  uint32 // the declaration
	ref   uint32
	depth int
}

// scanners keeps the working memory of scanners that have nothing under way,
// so that an idle stream holds none.
var scanners = sync.Pool{New: func() any { return new(scanner) }}

// maxKept is the largest index that is worth keeping between elements.
const maxKept = 16 << 10

// newScanner begins an element in that context.
func newScanner(ctx *context, limits Limits, header bool) *scanner {
	s := scanners.Get().(*scanner)
	s.limits, s.ctx, s.outer, s.header = limits, ctx, ctx.outer, header
	s.state, s.pos = atMarkup, 1
	s.eof, s.lang, s.long, s.elements, s.namespaces = false, false, false, 0, 0
	s.nodes, s.open, s.scope, s.decls = s.nodes[:0], s.open[:0], s.scope[:0], s.decls[:0]
	return s
}

// release gives the scanner's memory back.
func (s *scanner) release() {
	s.ctx, s.outer = nil, nil
	if cap(s.nodes) <= maxKept && cap(s.open) <= maxKept && cap(s.scope) <= maxKept {
		scanners.Put(s)
	}
}

// scan goes on in data, which begins with the element. It returns nil when the
// element is complete, ErrIncomplete when all of data was looked at.
func (s *scanner) scan(data []byte) error {
	n := min(len(data), s.limits.Bytes)
	err := s.run(data[:n])
	if err == ErrIncomplete && n == s.limits.Bytes {
		s.long = true
		return s.fail(n, PolicyViolation, "more bytes than allowed")
	}
	return err
}

// maySkip tells whether the element is too long, but may be read to its end.
func (s *scanner) maySkip() bool {
	return s.long && s.limits.Skip > s.limits.Bytes && len(s.nodes) > 0 && s.nodes[0].open > 0
}

func (s *scanner) run(data []byte) (err error) {
	for err == nil {
		switch s.state {
		case inText:
			err = s.text(data)
		case atMarkup:
			err = s.markup(data)
		case inCDATA:
			err = s.cdata(data)
		case inTagName:
			err = s.tagName(data)
		case inTag:
			err = s.tag(data)
		case inAttrName:
			err = s.attrName(data)
		case atEquals, atQuote:
			err = s.attrQuote(data)
		case inValue:
			err = s.value(data)
		case atSlash:
			err = s.slash(data)
		case inEndName:
			err = s.endName(data)
		case inEndTag:
			err = s.endTag(data)
		case inDone:
			return nil
		}
	}
	return err
}

func (s *scanner) fail(at int, kind Kind, msg string) error {
	return &SyntaxError{Kind: kind, Msg: msg, Offset: int64(at)}
}

// stop notes that all bytes before at were looked at and no more are there.
func (s *scanner) stop(at int) error {
	s.pos = at
	return ErrIncomplete
}

const (
	every = 0x0101010101010101
	tops  = 0x8080808080808080
)

// plain skips bytes from i on, eight at a time, that are ASCII, not control
// characters, and none of the three. The masks can be wrong only behind the
// first byte that is special, and that one is what we look for.
func plain(data []byte, i int, a, b, c byte) int {
	ma, mb, mc := uint64(a)*every, uint64(b)*every, uint64(c)*every
	for i+8 <= len(data) {
		x := binary.LittleEndian.Uint64(data[i:])
		xa, xb, xc := x^ma, x^mb, x^mc
		special := (xa-every)&^xa | (xb-every)&^xb | (xc-every)&^xc | (x - 0x20*every) | x
		if special &= tops; special != 0 {
			return i + bits.TrailingZeros64(special)/8
		}
		i += 8
	}
	for i < len(data) {
		if x := data[i]; x < 0x20 || x >= utf8.RuneSelf || x == a || x == b || x == c {
			break
		}
		i++
	}
	return i
}

// text reads character data up to the next markup.
func (s *scanner) text(data []byte) error {
	top := &s.open[len(s.open)-1]
	i := s.pos
	for {
		i = plain(data, i, '<', '&', '>')
		if i >= len(data) {
			return s.stop(i)
		}
		switch c := data[i]; c {
		case '<':
			s.pos, s.state = i+1, atMarkup
			return nil
		case '&':
			n, err := s.reference(data, i)
			if err != nil {
				return err
			}
			top.flags |= flagDecode
			i += n
		case '>':
			if i-2 >= s.mark && data[i-1] == ']' && data[i-2] == ']' {
				return s.fail(i, NotWellFormed, "\"]]>\" in character data") // XML 1.0 §2.4
			}
			i++
		default:
			n, err := s.char(data, i)
			if err != nil {
				return err
			}
			if c == '\r' {
				top.flags |= flagDecode | flagDirty
			}
			i += n
		}
	}
}

// cdata reads to the end of a CDATA section.
func (s *scanner) cdata(data []byte) error {
	i := s.pos
	for {
		i = plain(data, i, '>', '>', '>')
		if i >= len(data) {
			return s.stop(i)
		}
		if data[i] == '>' {
			i++
			if i-3 >= s.mark && data[i-2] == ']' && data[i-3] == ']' {
				s.pos, s.mark, s.state = i, i, inText
				return nil
			}
			continue
		}
		n, err := s.char(data, i)
		if err != nil {
			return err
		}
		i += n
	}
}

// char checks the character at i and returns its length.
func (s *scanner) char(data []byte, i int) (int, error) {
	c := data[i]
	if c < utf8.RuneSelf {
		if c >= 0x20 || class[c]&classSpace != 0 {
			return 1, nil
		}
		return 0, s.fail(i, NotWellFormed, "control character")
	}
	r, n := utf8.DecodeRune(data[i:])
	if r == utf8.RuneError && n == 1 {
		if !utf8.FullRune(data[i:]) {
			return 0, s.stop(i)
		}
		return 0, s.fail(i, NotWellFormed, "malformed UTF-8")
	}
	if !isChar(r) {
		return 0, s.fail(i, NotWellFormed, "not a character of XML")
	}
	return n, nil
}

// reference checks the reference at i and returns its length.
func (s *scanner) reference(data []byte, i int) (int, error) {
	r, n := scanRef(data[i:])
	switch r {
	case refIncomplete:
		return 0, s.stop(i)
	case refMalformed:
		return 0, s.fail(i, NotWellFormed, "malformed reference")
	case refUnknown:
		return 0, s.fail(i, RestrictedXML, "entity reference")
	}
	return n, nil
}

// markup decides what follows "<".
func (s *scanner) markup(data []byte) error {
	i := s.pos
	if i >= len(data) {
		return s.stop(i)
	}
	switch data[i] {
	case '/':
		s.pos, s.mark, s.state = i+1, i+1, inEndName
		return nil
	case '?':
		return s.fail(i-1, RestrictedXML, "processing instruction")
	case '!':
		return s.bang(data)
	}
	if len(s.open) >= s.limits.Depth {
		return s.fail(i, PolicyViolation, "elements nested too deeply")
	}
	if s.elements++; s.elements > s.limits.Elements || len(s.nodes) >= maxNodes {
		return s.fail(i, PolicyViolation, "too many elements")
	}
	s.begin(i)
	s.state, s.mark, s.colon = inTagName, i, 0
	return nil
}

// bang accepts "<![CDATA[" and nothing else that begins with "<!".
func (s *scanner) bang(data []byte) error {
	from := s.pos - 1
	n := min(len(cdataOpen), len(data)-from)
	if string(data[from:from+n]) != cdataOpen[:n] {
		return s.fail(from, RestrictedXML, "comment or declaration")
	}
	if n < len(cdataOpen) {
		return s.stop(s.pos)
	}
	if len(s.open) == 0 {
		return s.fail(from, BadFormat, "character data between elements")
	}
	s.open[len(s.open)-1].flags |= flagDecode | flagDirty
	s.pos, s.mark, s.state = from+n, from+n, inCDATA
	return nil
}
