package s2s

import (
	"errors"
	"fmt"
	"time"

	"kith/server/session"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

// intake takes the stanzas in that come over one stream, from whichever end it was
// begun.
type intake struct {
	s      *Server
	in     *session.Inbound         // credit
	oneWay bool                     // the stream carries no stanzas to us
	proved func(domain string) bool // whether a domain is the peer's
	known  func(p pair) bool        // whether it was proved for a domain that was ours then
}

// arrival is a stanza that has come.
type arrival struct {
	stanza.Stanza
	session.Ticket
}

// stanza checks the addresses (RFC 6120 §4.9.3.9, §8.1.1.2, §8.1.2.2) and has the
// stanza routed. An error ends the stream.
func (t *intake) stanza(el xmltree.Element) error {
	if t.oneWay {
		return stream.ErrNotAuthorized.With("this stream carries stanzas the other way only")
	}
	a := new(arrival)
	bad := a.Read(el)
	if a.Kind == 0 {
		return stream.ErrUnsupportedStanzaType
	}
	t.s.counts.received.Add(1)
	// Whatever becomes of it, it is counted (XEP-0198 §4).
	t.in.Take(&a.Ticket, el.Len(), time.Now())
	passed, err := t.pass(a, el, bad)
	if !passed {
		a.Done()
	}
	return err
}

// pass has the stanza routed; if it is not, passed is false.
func (t *intake) pass(a *arrival, el xmltree.Element, bad error) (passed bool, err error) {
	var malformed *stanza.Error
	if errors.As(bad, &malformed) && malformed.Is(stanza.ErrJIDMalformed) {
		return false, t.malformed(el, &a.Stanza)
	}
	if a.From.IsZero() || a.To.IsZero() {
		return false, stream.ErrImproperAddressing.With("a stanza between servers has from and to")
	}
	if !t.proved(a.From.Domain()) {
		t.s.counts.spoofed.Add(1)
		return false, stream.ErrInvalidFrom
	}
	switch {
	case !t.s.router.Local(a.To.Domain()): // a host that was taken away; nothing is relayed
		t.bounce(&a.Stanza, stanza.ErrRemoteServerNotFound)
	case bad != nil:
		t.bounce(&a.Stanza, bad)
	default:
		t.s.router.Accept(&a.Stanza, a.Done)
		return true, nil
	}
	return false, nil
}

// bounce sends a stanza back, in the name of its recipient. That is one of ours, or was
// when the peer proved its domain: no stream is begun in a name that a peer makes up.
func (t *intake) bounce(st *stanza.Stanza, why error) {
	if to := st.To.Domain(); t.s.router.Local(to) || t.known(pair{to, st.From.Domain()}) {
		t.s.router.Bounce(st, why)
	}
}

// malformed deals with an address that is none for us. The other server may know other
// rules, and has other users: so it is one stanza that fails, and not the stream. It is
// answered if it is the recipient's address.
func (t *intake) malformed(el xmltree.Element, st *stanza.Stanza) error {
	from, err := jid.Parse(el.Attr("from"))
	switch {
	case el.Attr("from") == "" || el.Attr("to") == "":
		return stream.ErrImproperAddressing
	case err != nil:
		return nil //nolint:nilerr // whoever it is, he cannot be answered
	case !t.proved(from.Domain()):
		t.s.counts.spoofed.Add(1)
		return stream.ErrInvalidFrom
	}
	hosts := t.s.router.Hosts()
	if len(hosts) > 0 && st.MayBounce() {
		st.From, st.To = from, hosts[0].Domain
		t.s.router.Bounce(st, stanza.ErrJIDMalformed)
	}
	return nil
}

// oversize bounces a stanza that was too large to be kept. It reports whether the
// error was of that kind, and the stream goes on.
func (t *intake) oversize(err error) bool {
	var large *xmltree.OversizeError
	if t.oneWay || !errors.As(err, &large) || stanza.KindOf(large.Start) == 0 {
		return false
	}
	var st stanza.Stanza
	if e := st.Read(large.Start); e != nil && st.From.IsZero() || st.To.IsZero() || !t.proved(st.From.Domain()) {
		return false
	}
	var counted session.Ticket
	t.in.Take(&counted, 0, time.Now())
	counted.Done()
	t.bounce(&st, stanza.ErrPolicyViolation.With(
		fmt.Sprintf("The stanza is too large: it has %d bytes, at most %d are allowed.", large.Size, large.Limit)))
	return true
}
