package xmltree

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Appender is what can write itself as XML.
type Appender interface{ AppendXML(w *Writer) }

// Writer appends XML to a byte slice. It escapes what it is given, declares
// namespaces where they change, and closes empty elements in their own tag.
// Calls that do not nest (Attr behind content, Close without Open) are errors
// of the program and panic; no content makes it panic.
type Writer struct {
	b        []byte
	space    string // default namespace in force
	content  string // of the stream, an alias of jabber:client when it is a content namespace
	tag      bool   // inside an open tag
	prefixes int    // made up for attributes of this tag
	stack    []frame
	few      [8]frame
}

// frame is an element that is open.
type frame struct {
	name, end int    // its qualified name is b[name:end]
	space     string // in force outside it
}

// NewWriter appends to b, which stands where the default namespace is content:
// that of the stream, or "" for a document of its own. A stream's own
// jabber:server and jabber:component:accept are called jabber:client here as
// they are everywhere else (RFC 6120 §4.8.3, re-scoping).
func NewWriter(b []byte, content string) *Writer {
	w := new(Writer)
	w.Reset(b, content)
	return w
}

// Reset makes w as new.
func (w *Writer) Reset(b []byte, content string) {
	w.b, w.tag, w.stack, w.content = b, false, w.few[:0], content
	w.space = w.scoped(content)
}

// Bytes returns what was written, behind what the writer was given.
// While an open tag has no content yet, its ">" is still missing.
func (w *Writer) Bytes() []byte { return w.b }

// Open begins an element. A name without namespace takes the one in force.
// Names of the stream namespace get the prefix "stream" with its declaration,
// so that they are right on every transport (RFC 6120 §4.8.5, RFC 7395 §3.3);
// those of dialback likewise the prefix "db".
func (w *Writer) Open(n Name) {
	w.endTag()
	outside := w.space
	switch space := w.scoped(n.Space); space {
	case "", w.space:
		w.openTag("", n.Local, outside)
	case nsStream:
		w.openTag("stream:", n.Local, outside)
		w.b = append(w.b, " xmlns:stream='"+nsStream+"'"...)
	case nsXML:
		w.openTag("xml:", n.Local, outside)
	case nsDialback: // XEP-0220 §2: with the prefix of the stream header
		w.openTag("db:", n.Local, outside)
		w.b = append(w.b, " xmlns:db='"+nsDialback+"'"...)
	default:
		w.openTag("", n.Local, outside)
		w.b = AppendAttr(w.b, "xmlns", space)
		w.space = space
	}
}

// Attr writes an attribute without namespace.
func (w *Writer) Attr(local, value string) {
	w.mustBeInTag()
	w.b = append(w.b, ' ')
	w.name(local)
	w.value(value)
}

// AttrOpt writes an attribute unless its value is empty.
func (w *Writer) AttrOpt(local, value string) {
	if value != "" {
		w.Attr(local, value)
	}
}

// AttrNS writes an attribute of any namespace, declaring a prefix where needed.
func (w *Writer) AttrNS(n Name, value string) {
	w.mustBeInTag()
	switch n.Space {
	case "":
		w.b = append(w.b, ' ')
	case nsXML:
		w.b = append(w.b, " xml:"...)
	default:
		prefix := "ns" + strconv.Itoa(w.prefixes)
		w.prefixes++
		w.b = AppendAttr(w.b, "xmlns:"+prefix, w.scoped(n.Space))
		w.b = append(w.b, ' ')
		w.b = append(w.b, prefix...)
		w.b = append(w.b, ':')
	}
	w.name(n.Local)
	w.value(value)
}

// Text writes character data.
func (w *Writer) Text(s string) {
	if s == "" {
		return
	}
	w.endTag()
	w.b = appendText(w.b, s)
}

// Close ends the element opened last.
func (w *Writer) Close() {
	if len(w.stack) == 0 {
		panic("xmltree: Close without Open")
	}
	f := w.stack[len(w.stack)-1]
	w.stack = w.stack[:len(w.stack)-1]
	w.space = f.space
	if w.tag {
		w.tag = false
		w.b = append(w.b, "/>"...)
		return
	}
	w.b = append(w.b, "</"...)
	w.b = append(w.b, w.b[f.name:f.end]...)
	w.b = append(w.b, '>')
}

// Element writes an element with nothing but text.
func (w *Writer) Element(n Name, text string) {
	w.Open(n)
	w.Text(text)
	w.Close()
}

// Raw writes content that is XML already and can be trusted.
func (w *Writer) Raw(b []byte) {
	if len(b) > 0 {
		w.endTag()
		w.b = append(w.b, b...)
	}
}

// Stored writes an element that is kept as bytes, written where the default
// namespace was content: what AppendXML writes of what ParseIn makes of it, without
// the element in between. If it cannot be parsed nothing is written.
func (w *Writer) Stored(content string, b []byte, limits Limits) error {
	return Lend(content, b, limits, func(el Element) error {
		el.AppendXML(w)
		return nil
	})
}

// Append writes a, or nothing if it is nil.
func (w *Writer) Append(a Appender) {
	if a != nil {
		a.AppendXML(w)
	}
}

// Marshal writes a as it stands where the default namespace is content.
func Marshal(a Appender, content string) []byte {
	w := NewWriter(make([]byte, 0, 128), content) // growing from nothing is most of the work for a small one
	w.Append(a)
	return w.Bytes()
}

// AppendAttr appends an attribute to an unfinished tag, as Writer.Attr does,
// for the one place where a stanza is put together by hand: the address in
// front of its shared tail.
func AppendAttr(b []byte, name, value string) []byte {
	b = append(b, ' ')
	b = append(b, name...)
	b = append(b, "='"...)
	b = appendValue(b, value)
	return append(b, '\'')
}

// scoped maps the content namespace of the stream to jabber:client.
func (w *Writer) scoped(space string) string {
	if space == w.content && isContent(space) {
		return nsClient
	}
	return space
}

func (w *Writer) openTag(prefix, local, outside string) {
	w.b = append(w.b, '<')
	start := len(w.b)
	w.b = append(w.b, prefix...)
	w.name(local)
	w.stack = append(w.stack, frame{start, len(w.b), outside})
	w.tag, w.prefixes = true, 0
}

func (w *Writer) endTag() {
	if w.tag {
		w.tag = false
		w.b = append(w.b, '>')
	}
}

func (w *Writer) mustBeInTag() {
	if !w.tag {
		panic("xmltree: attribute outside an open tag")
	}
}

func (w *Writer) value(s string) {
	w.b = append(w.b, "='"...)
	w.b = appendValue(w.b, s)
	w.b = append(w.b, '\'')
}

// name writes a local name. What cannot be one is bent until it can, so that a
// name taken from a stranger never breaks out of its tag.
func (w *Writer) name(s string) {
	if isNCName(s) {
		w.b = append(w.b, s...)
		return
	}
	bent := strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf && class[r]&className != 0 {
			return r
		}
		return '_'
	}, s)
	if !isNCName(bent) {
		bent = "_" + bent
	}
	w.b = append(w.b, bent...)
}
