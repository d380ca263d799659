package xmltree

import "io"

// Decoder reads one XML stream, element by element, from bytes that arrive in
// any pieces. It does no I/O. Nothing is kept between elements but what the
// stream's header declares, so an idle stream costs next to nothing.
type Decoder struct {
	limits Limits
	rest   []byte // fed and not yet read
	owned  bool   // rest is the decoder's own memory
	wasted int    // bytes in front of rest that its memory holds for nothing
	offset int64  // of rest in the stream

	ctx    *context // nil until the header is there
	begun  bool     // what may stand before the header is over
	header Header
	s      *scanner // of the element under way
	err    error    // final

	skipped *skipped // the element under way, if it is too long
}

// NewDecoder begins a stream.
func NewDecoder(limits Limits) *Decoder {
	return &Decoder{limits: limits.withDefaults()}
}

// SetLimits changes the limits from the next element on.
func (d *Decoder) SetLimits(limits Limits) { d.limits = limits.withDefaults() }

// Feed gives the decoder more bytes. It does not copy them yet: p must stay
// unchanged until Header or Next has returned an error, ErrIncomplete included.
func (d *Decoder) Feed(p []byte) {
	switch {
	case len(p) == 0:
	case len(d.rest) == 0:
		d.rest, d.owned, d.wasted = p, false, 0
	default:
		d.own()
		d.rest = append(d.rest, p...)
	}
}

// Buffered is the number of bytes fed and not yet read, those of an incomplete
// element included.
func (d *Decoder) Buffered() int { return len(d.rest) }

// Reset begins a new stream on the same connection. What is buffered is
// dropped: bytes that came before the peer could know of the new stream must
// not be read as part of it, so a caller looks at Buffered first.
func (d *Decoder) Reset() {
	if d.s != nil {
		d.s.release()
	}
	*d = Decoder{limits: d.limits}
}

// Next returns the next first-level element. It skips white space between
// elements, reads the header first if nobody has, and returns io.EOF for the
// stream's end tag, ErrIncomplete when it needs more bytes, an *OversizeError in
// place of an element that was too long, or a *SyntaxError.
func (d *Decoder) Next() (Element, error) {
	if d.ctx == nil {
		if _, err := d.Header(); err != nil {
			return Element{}, err
		}
	}
	if d.err != nil {
		return Element{}, d.err
	}
	if d.s == nil {
		d.advance(spaces(d.rest, 0))
		if len(d.rest) == 0 {
			return Element{}, d.incomplete()
		}
		if d.rest[0] != '<' {
			return Element{}, d.fail(&SyntaxError{Kind: BadFormat, Msg: "character data between elements"})
		}
		d.s = newScanner(d.ctx, d.limits, false)
	}
	if err := d.scan(); err != nil {
		return Element{}, err
	}
	if d.skipped != nil {
		return Element{}, d.oversize()
	}
	if d.s.eof {
		d.finish()
		d.err = io.EOF
		return Element{}, d.err
	}
	e := d.s.element(d.rest)
	d.finish()
	return e, nil
}

// scan goes on with the element under way.
func (d *Decoder) scan() error {
	if d.skipped != nil {
		return d.skipOn()
	}
	switch err := d.s.scan(d.rest); {
	case err == nil:
		return nil
	case err == ErrIncomplete:
		d.s.shrink()
		return d.incomplete()
	case d.s.maySkip():
		return d.skip()
	default:
		return d.fail(err)
	}
}

// finish drops what the scanner has read, and the scanner.
func (d *Decoder) finish() {
	d.advance(d.s.pos)
	d.s.release()
	d.s = nil
}

func (d *Decoder) advance(n int) {
	d.rest = d.rest[n:]
	d.offset += int64(n)
	if d.wasted += n; len(d.rest) == 0 {
		d.rest, d.owned, d.wasted = nil, false, 0
	}
}

// incomplete makes the rest the decoder's own and asks for more.
func (d *Decoder) incomplete() error {
	if d.wasted > len(d.rest)+256 {
		d.owned = false // its memory is mostly behind us
	}
	d.own()
	return ErrIncomplete
}

func (d *Decoder) own() {
	if d.owned || len(d.rest) == 0 {
		return
	}
	d.rest = append(make([]byte, 0, len(d.rest)+len(d.rest)/8), d.rest...)
	d.owned, d.wasted = true, 0
}

// fail ends the stream. The offset in err counts from the start of rest.
func (d *Decoder) fail(err error) error {
	if e, ok := err.(*SyntaxError); ok {
		e.Offset += d.offset
	}
	if d.s != nil {
		d.s.release()
		d.s, d.skipped = nil, nil
	}
	d.err = err
	return err
}

// element makes the tree of the complete element that data begins with.
func (s *scanner) element(data []byte) Element {
	if s.lang {
		s.nodes[0].ns |= flagLang
	}
	return Element{t: &tree{
		data:  append(make([]byte, 0, s.pos), data[:s.pos]...),
		nodes: append(make([]node, 0, len(s.nodes)), s.nodes...),
		outer: s.outer,
	}}
}

// shrink keeps an element that is long in coming from holding memory that an
// earlier one needed.
func (s *scanner) shrink() {
	if cap(s.nodes) > 2*len(s.nodes)+64 {
		large := &scanner{nodes: s.nodes}
		s.nodes = append([]node(nil), s.nodes...)
		large.release()
	}
	if cap(s.table) > 64 {
		s.table = nil
	}
}

// Parse reads one whole document: an element with nothing but white space
// around it, and nothing declared outside. It copies b.
func Parse(b []byte, limits Limits) (Element, error) {
	return parse(b, document, limits)
}

// ParseIn is Parse for an element that was written where the default namespace
// is content, as in a stream.
func ParseIn(content string, b []byte, limits Limits) (Element, error) {
	return parse(b, contextOf(content), limits)
}

// Lend is ParseIn for somebody who is done with the element when f returns: then its
// memory is another's. Strings that were taken from it stay, as parts of b.
func Lend(content string, b []byte, limits Limits, f func(el Element) error) error {
	s, b, err := scanDocument(b, contextOf(content), limits)
	if err != nil {
		return err
	}
	defer s.release()
	if s.lang {
		s.nodes[0].ns |= flagLang
	}
	s.tree = tree{data: b, nodes: s.nodes, outer: s.outer}
	err = f(Element{t: &s.tree})
	s.tree = tree{}
	return err
}

func contextOf(content string) *context {
	if content == nsClient {
		return inClient
	}
	return newContext(content)
}

// inClient is the context of a client's stream.
var inClient = newContext(nsClient)

func parse(b []byte, ctx *context, limits Limits) (Element, error) {
	s, b, err := scanDocument(b, ctx, limits)
	if err != nil {
		return Element{}, err
	}
	defer s.release()
	return s.element(b), nil
}

// scanDocument scans a whole document. It returns a scanner that has the element,
// to be released, and the bytes that it is in.
func scanDocument(b []byte, ctx *context, limits Limits) (*scanner, []byte, error) {
	from := spaces(b, 0)
	if from == len(b) || b[from] != '<' {
		return nil, nil, &SyntaxError{NotWellFormed, "document without element", int64(from)}
	}
	b = b[from:]
	s := newScanner(ctx, limits.withDefaults(), false)
	err := s.scan(b)
	if err == ErrIncomplete {
		err = s.fail(len(b), NotWellFormed, "document ends too early")
	}
	if err == nil && s.eof {
		err = s.fail(0, NotWellFormed, "end tag of another element")
	}
	if err == nil && spaces(b, s.pos) < len(b) {
		err = s.fail(spaces(b, s.pos), NotWellFormed, "content behind the document's element")
	}
	if err != nil {
		s.release()
		err.(*SyntaxError).Offset += int64(from)
		return nil, nil, err
	}
	return s, b[:s.pos:s.pos], nil
}

// Build is the element that a writes: for tests, and for whoever makes XML
// that is read on as if it had come from a stream.
func Build(a Appender) (Element, error) {
	return ParseIn(nsClient, Marshal(a, nsClient), Limits{Bytes: maxBytes, Depth: 1 << 12, Elements: maxNodes, Attrs: 1 << 12, Namespaces: maxNodes})
}
