package xmltree

import (
	"bytes"
	"io"
	"strings"
)

// Header is the open tag of a stream, RFC 6120 §4.7. Its strings are its own.
type Header struct {
	Name                        Name
	To, From, ID, Version, Lang string
	Content                     string // default namespace, as declared
}

// Header reads the stream's open tag and the XML declaration that may stand
// before it. Later calls return the same header again.
func (d *Decoder) Header() (Header, error) {
	if d.ctx != nil {
		return d.header, nil
	}
	if d.err != nil {
		return Header{}, d.err
	}
	if d.s == nil {
		if err := d.beforeHeader(); err != nil {
			return Header{}, err
		}
		limits := d.limits
		limits.Bytes -= int(d.offset)
		limits.Skip = 0
		d.s = newScanner(document, limits, true)
	}
	if err := d.scan(); err != nil {
		return Header{}, err
	}
	e := d.s.element(d.rest)
	d.ctx, d.header = d.s.headerContext(e.t)
	if d.ctx == nil {
		return Header{}, d.fail(&SyntaxError{Kind: PolicyViolation, Msg: "too much declared in the header"})
	}
	eof := d.s.eof
	d.finish()
	if eof {
		d.err = io.EOF
	}
	return d.header, nil
}

// beforeHeader skips an XML declaration and white space. What stands before
// the header counts as bytes of it.
func (d *Decoder) beforeHeader() error {
	if !d.begun {
		if len(d.rest) == 0 {
			return d.incomplete()
		}
		n, err := xmlDeclaration(d.rest)
		if err == ErrIncomplete {
			return d.incomplete()
		}
		if err != nil {
			return d.fail(err)
		}
		d.advance(n)
		d.begun = true
	}
	d.advance(spaces(d.rest[:min(len(d.rest), max(0, d.limits.Bytes-int(d.offset)))], 0))
	switch {
	case d.offset >= int64(d.limits.Bytes):
		return d.fail(&SyntaxError{Kind: PolicyViolation, Msg: "no stream header"})
	case len(d.rest) == 0:
		return d.incomplete()
	case d.rest[0] != '<':
		return d.fail(&SyntaxError{Kind: NotWellFormed, Msg: "character data before the stream header"})
	}
	return nil
}

// headerContext makes what the elements of the stream inherit from the header's tree.
func (s *scanner) headerContext(t *tree) (*context, Header) {
	e := Element{t, 0}
	h := Header{
		Name: Name{strings.Clone(e.Name().Space), strings.Clone(e.Name().Local)},
		To:   strings.Clone(e.Attr("to")), From: strings.Clone(e.Attr("from")),
		ID: strings.Clone(e.Attr("id")), Version: strings.Clone(e.Attr("version")),
	}
	lang, _ := e.LookupAttr(Name{nsXML, "lang"})
	h.Lang = strings.Clone(lang)
	total := 0
	for k := range t.nodes {
		if n := &t.nodes[k]; n.ns&flagDecl != 0 {
			uri := t.value(n)
			if total += len(uri); n.colon == 0 {
				h.Content = strings.Clone(uri)
			}
		}
	}
	if total > maxOuter {
		return nil, Header{}
	}
	ctx := newContext(h.Content)
	ctx.name = strings.Clone(t.qname(&t.nodes[0]))
	for k := range t.nodes {
		n := &t.nodes[k]
		if n.ns&flagDecl != 0 && n.colon != 0 && t.local(n) != "xml" {
			ref := ctx.intern(strings.Clone(t.value(n)))
			ctx.prefixes = append(ctx.prefixes, borrowed{strings.Clone(t.local(n)), ref})
		}
	}
	return ctx, h
}

// xmlDeclaration checks the declaration that b may begin with (XML 1.0 §2.8)
// and returns its length, 0 if there is none.
func xmlDeclaration(b []byte) (int, error) {
	const begin = "<?xml"
	fail := func(kind Kind, msg string) (int, error) {
		return 0, &SyntaxError{Kind: kind, Msg: msg}
	}
	if b[0] == 0xFE || b[0] == 0xFF {
		return fail(BadEncoding, "byte order mark of UTF-16")
	}
	if b[0] != '<' || len(b) > 1 && b[1] != '?' {
		return 0, nil
	}
	n := min(len(b), len(begin))
	if string(b[:n]) != begin[:n] || len(b) > len(begin) && class[b[len(begin)]]&classSpace == 0 {
		return fail(RestrictedXML, "processing instruction")
	}
	end := bytes.Index(b[:min(len(b), maxDecl)], []byte("?>"))
	if end < 0 {
		if len(b) >= maxDecl {
			return fail(PolicyViolation, "XML declaration too long")
		}
		return 0, ErrIncomplete
	}
	s := string(b[len(begin):end])
	version, ok := pseudoAttr(&s, "version")
	if !ok || version != "1.0" {
		return fail(NotWellFormed, "XML declaration without version 1.0")
	}
	if encoding, ok := pseudoAttr(&s, "encoding"); ok && !strings.EqualFold(encoding, "utf-8") {
		return fail(BadEncoding, "encoding other than UTF-8") // RFC 6120 §11.6
	}
	// RFC 6120 §11.5: standalone has no meaning here and is ignored.
	if standalone, ok := pseudoAttr(&s, "standalone"); ok && standalone != "yes" && standalone != "no" {
		return fail(NotWellFormed, "malformed XML declaration")
	}
	if strings.Trim(s, " \t\r\n") != "" {
		return fail(NotWellFormed, "malformed XML declaration")
	}
	return end + len("?>"), nil
}

// pseudoAttr cuts S name Eq 'value' off the start of s, if it is there.
func pseudoAttr(s *string, name string) (string, bool) {
	const white = " \t\r\n"
	rest := strings.TrimLeft(*s, white)
	if rest == *s || !strings.HasPrefix(rest, name) {
		return "", false
	}
	rest, ok := strings.CutPrefix(strings.TrimLeft(rest[len(name):], white), "=")
	rest = strings.TrimLeft(rest, white)
	if !ok || rest == "" || rest[0] != '\'' && rest[0] != '"' {
		return "", false
	}
	value, rest, ok := strings.Cut(rest[1:], rest[:1])
	if !ok {
		return "", false
	}
	*s = rest
	return value, true
}
