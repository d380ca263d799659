// Package stanza implements the three stanzas of XMPP, message, presence and
// iq, and their errors: RFC 6120 §8.
//
// A Stanza is a header that we understood and the element it came in. It is
// immutable once sent on. Who wants to change one takes a Copy, which shares
// the element, and edits the copy's header, removes children or adds some: the
// bytes are never touched.
//
// Serialised, a stanza is cut in two: the head names the recipient, the tail is
// everything behind and is the same for all recipients, so that many receive
// one slice.
package stanza

import (
	"bytes"
	"iter"
	"slices"
	"strings"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

// Kind tells the three stanzas apart.
type Kind uint8

// The kinds of RFC 6120 §8.2.
const (
	Message Kind = iota + 1
	Presence
	IQ
)

var (
	kinds = [...]string{"", "message", "presence", "iq"}
	ends  = [...][]byte{nil, []byte("</message>"), []byte("</presence>"), []byte("</iq>")}
)

func (k Kind) end() []byte { return ends[k] }

// String returns the element's local name.
func (k Kind) String() string { return kinds[k] }

// KindOf returns the kind of stanza that the element is, or 0 if it is none.
func KindOf(el xmltree.Element) Kind {
	n := el.Name()
	if n.Space != ns.Client {
		return 0
	}
	switch n.Local {
	case "message":
		return Message
	case "presence":
		return Presence
	case "iq":
		return IQ
	}
	return 0
}

// Types of messages (RFC 6121 §5.2.2), presences (RFC 6121 §4.7.1) and iqs
// (RFC 6120 §8.2.3).
const (
	Normal       = "normal"
	Chat         = "chat"
	GroupChat    = "groupchat"
	Headline     = "headline"
	TypeError    = "error"
	Unavailable  = "unavailable"
	Subscribe    = "subscribe"
	Subscribed   = "subscribed"
	Unsubscribe  = "unsubscribe"
	Unsubscribed = "unsubscribed"
	Probe        = "probe"
	Get          = "get"
	Set          = "set"
	Result       = "result"
)

// Stanza is a message, presence or iq. Its strings alias the bytes it came in:
// whoever keeps one longer than the stanza clones it.
type Stanza struct {
	Kind     Kind
	Type     string // as sent; "" if there was none. Messages: see MessageType
	ID       string
	Lang     string // xml:lang, "" if none
	From, To jid.JID

	src   xmltree.Element    // what it came in; does not exist for one that we made
	cut   []xmltree.Element  // children of src that are no longer there
	added []xmltree.Appender // children behind those of src
	whole []byte             // serialised once: head, recipient, tail
	tail  []byte             // the end of whole, see Tail
}

// Parse reads the header of a first-level element. The address errors are
// *Error with the condition jid-malformed (RFC 6120 §8.3.3.8); an iq without id
// or of an unknown type is bad-request (§8.2.3). Even then the Stanza is
// returned, with what could be read, so that the error can be sent back.
func Parse(el xmltree.Element) (*Stanza, error) {
	s := new(Stanza)
	return s, s.Read(el)
}

// Read is Parse into a Stanza that the caller has.
func (s *Stanza) Read(el xmltree.Element) error {
	*s = Stanza{Kind: KindOf(el), src: el}
	if s.Kind == 0 {
		return ErrBadRequest
	}
	var from, to string
	for n, v := range el.Attrs() {
		switch {
		case n.Space == ns.XML && n.Local == "lang":
			s.Lang = v
		case n.Space != "": // RFC 6120 §8.1: what is not defined is ignored
		case n.Local == "to":
			to = v
		case n.Local == "from":
			from = v
		case n.Local == "id":
			s.ID = v
		case n.Local == "type":
			s.Type = v
		}
	}
	var err error
	if to != "" {
		if s.To, err = jid.Parse(to); err != nil {
			return ErrJIDMalformed
		}
	}
	if from != "" {
		if s.From, err = jid.Parse(from); err != nil {
			return ErrJIDMalformed
		}
	}
	if s.Kind == IQ {
		return s.checkIQ()
	}
	return nil
}

// checkIQ applies the rules of RFC 6120 §8.2.3.
func (s *Stanza) checkIQ() error {
	if s.ID == "" {
		return ErrBadRequest
	}
	n := 0
	for range s.src.Children() {
		n++
	}
	switch s.Type {
	case Get, Set:
		if n != 1 {
			return ErrBadRequest
		}
	case Result:
		if n > 1 {
			return ErrBadRequest
		}
	case TypeError:
	default:
		return ErrBadRequest
	}
	return nil
}

// MessageType returns the type of a message by which it is handled: an
// unknown or missing one counts as normal (RFC 6121 §5.2.2).
func (s *Stanza) MessageType() string {
	switch s.Type {
	case Chat, GroupChat, Headline, TypeError:
		return s.Type
	}
	return Normal
}

// IsRequest reports whether the stanza is an iq that wants an answer.
func (s *Stanza) IsRequest() bool { return s.Kind == IQ && (s.Type == Get || s.Type == Set) }

// MayBounce reports whether an error may be sent for the stanza: never for an
// error (RFC 6120 §8.3.1) nor for the answer to an iq.
func (s *Stanza) MayBounce() bool {
	return s.Type != TypeError && (s.Kind != IQ || s.Type != Result)
}

// Size is the number of bytes the stanza came in; 0 for one that we made.
func (s *Stanza) Size() int {
	if !s.src.Exists() {
		return 0
	}
	return s.src.Len()
}

// Children goes over the child elements the stanza came with and still has.
// What was added is not among them.
func (s *Stanza) Children() iter.Seq[xmltree.Element] {
	return func(yield func(xmltree.Element) bool) {
		if !s.src.Exists() {
			return
		}
		for c := range s.src.Children() {
			if len(s.cut) > 0 && slices.Contains(s.cut, c) {
				continue
			}
			if !yield(c) {
				return
			}
		}
	}
}

// Child returns the first child of that name, of those that Children goes over.
func (s *Stanza) Child(n xmltree.Name) xmltree.Element {
	for c := range s.Children() {
		if c.Is(n) {
			return c
		}
	}
	return xmltree.Element{}
}

// Has reports whether there is a child of that name.
func (s *Stanza) Has(n xmltree.Name) bool { return s.Child(n).Exists() }

// Payload returns the first child: what an iq is about.
func (s *Stanza) Payload() xmltree.Element {
	for c := range s.Children() {
		return c
	}
	return xmltree.Element{}
}

// Copy returns a stanza that can be edited without changing s. Who changes its
// header calls Changed.
func (s *Stanza) Copy() *Stanza {
	c := new(Stanza)
	s.CopyTo(c)
	return c
}

// CopyTo is Copy into a Stanza that the caller has.
func (s *Stanza) CopyTo(c *Stanza) {
	*c = *s
	c.cut, c.added = slices.Clip(c.cut), slices.Clip(c.added)
}

// Changed makes the stanza be serialised anew.
func (s *Stanza) Changed() { s.whole, s.tail = nil, nil }

// Readdress sends the stanza to somebody else. The tail, if it was made, stays.
func (s *Stanza) Readdress(to jid.JID) {
	s.Tail()
	s.To, s.whole = to, nil
}

// Add puts a child behind the others. What was serialised before is kept and
// continued.
func (s *Stanza) Add(a xmltree.Appender) {
	s.added = append(s.added, a)
	if s.tail == nil {
		return
	}
	open, ok := bytes.CutSuffix(s.tail, s.Kind.end())
	if !ok {
		s.Changed()
		return
	}
	var w xmltree.Writer
	w.Reset(append(make([]byte, 0, len(s.tail)+128), open...), ns.Client)
	a.AppendXML(&w)
	s.whole, s.tail = nil, append(w.Bytes(), s.Kind.end()...)
}

// Remove takes away each child the stanza came with for which drop is true and
// reports whether there was one.
func (s *Stanza) Remove(drop func(xmltree.Element) bool) bool {
	n := len(s.cut)
	for c := range s.Children() {
		if drop(c) {
			s.cut = append(s.cut, c)
		}
	}
	if len(s.cut) == n {
		return false
	}
	s.Changed()
	return true
}

// Tail is the serialised stanza without its beginning, which is `<message` (or
// presence, iq) and the to attribute: what all recipients share. It is made at
// the first call; the slice is never written to again.
func (s *Stanza) Tail() []byte {
	if s.tail == nil {
		s.Whole()
	}
	return s.tail
}

// Whole is the serialised stanza. It is made at the first call, with the tail as
// its end; the slice is never written to again.
func (s *Stanza) Whole() []byte {
	if s.whole != nil {
		return s.whole
	}
	if s.tail != nil {
		s.whole = append(AppendHead(make([]byte, 0, len(s.tail)+64), s.Kind, s.To.String()), s.tail...)
		return s.whole
	}
	var w xmltree.Writer
	w.Reset(make([]byte, 0, s.Size()+128*(1+len(s.added))), ns.Client)
	w.Open(xmltree.Name{Space: ns.Client, Local: s.Kind.String()})
	if !s.To.IsZero() {
		w.Attr("to", s.To.String())
	}
	n := len(w.Bytes())
	s.rest(&w)
	s.whole = w.Bytes()
	s.tail = s.whole[n:]
	return s.whole
}

// rest writes what the tail consists of, and closes the element.
func (s *Stanza) rest(w *xmltree.Writer) {
	if !s.From.IsZero() {
		w.Attr("from", s.From.String())
	}
	w.AttrOpt("type", s.Type)
	w.AttrOpt("id", s.ID)
	if s.Lang != "" {
		w.AttrNS(xmltree.Name{Space: ns.XML, Local: "lang"}, s.Lang)
	}
	for c := range s.Children() {
		c.AppendXML(w)
	}
	for _, a := range s.added {
		a.AppendXML(w)
	}
	w.Close()
}

// AppendXML writes the whole stanza.
func (s *Stanza) AppendXML(w *xmltree.Writer) {
	w.Open(xmltree.Name{Space: ns.Client, Local: s.Kind.String()})
	if !s.To.IsZero() {
		w.Attr("to", s.To.String())
	}
	s.rest(w)
}

// AppendHead appends what stands before a tail: the beginning of the start tag
// and, unless it is "", the recipient.
func AppendHead(b []byte, k Kind, to string) []byte {
	b = append(b, '<')
	b = append(b, k.String()...)
	if to == "" {
		return b
	}
	if strings.ContainsAny(to, `&<>'"`) {
		return xmltree.AppendAttr(b, "to", to)
	}
	b = append(b, " to='"...)
	b = append(b, to...)
	return append(b, '\'')
}

// New makes a stanza of our own.
func New(k Kind, typ string, from, to jid.JID, children ...xmltree.Appender) *Stanza {
	return &Stanza{Kind: k, Type: typ, From: from, To: to, added: children}
}

// Reply returns the result of an iq request (RFC 6120 §8.2.3), addressed to the
// one who asked, from the one who was asked. payload may be nil.
func (s *Stanza) Reply(payload xmltree.Appender) *Stanza {
	r := &Stanza{Kind: IQ, Type: Result, ID: s.ID, From: s.To, To: s.From}
	if payload != nil {
		r.added = []xmltree.Appender{payload}
	}
	return r
}

// ErrorReply returns the stanza as it goes back with an error: same kind and
// id, the addresses exchanged, without the original's children, which the
// sender has (RFC 6120 §8.3.1 leaves that to us).
func (s *Stanza) ErrorReply(e *Error) *Stanza {
	return &Stanza{Kind: s.Kind, Type: TypeError, ID: s.ID, From: s.To, To: s.From, added: []xmltree.Appender{e}}
}
