package negotiate

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

var (
	nameBind     = xmltree.Name{Space: ns.Bind, Local: "bind"}
	nameResource = xmltree.Name{Space: ns.Bind, Local: "resource"}
	nameJID      = xmltree.Name{Space: ns.Bind, Local: "jid"}

	// SessionName is what old clients send in an iq of type set once they have
	// bound a resource (RFC 3921 §3). An empty result is the answer.
	SessionName = xmltree.Name{Space: ns.Session, Local: "session"}

	nameOptional = xmltree.Name{Space: ns.Session, Local: "optional"}
)

// maxBinds is how often binding may fail: RFC 6120 §7.7.3 wants 5 to 10
// retries.
const maxBinds = 6

// Binder gives resources to those who have authenticated.
type Binder interface {
	// Bind binds a resource of the user and returns the full JID, of that
	// resource or of another. What the client must learn is a *stanza.Error,
	// after which it may try again. Nothing may be written to the stream
	// before Serve has returned.
	Bind(ctx context.Context, user jid.JID, resource string) (jid.JID, error)
}

// Bind implements RFC 6120 §7. With it the negotiation is complete.
type Bind struct {
	Binder   Binder // makes it a server's step
	Resource string // a client's wish; "" leaves it to the server
}

// Offer implements Step.
func (b Bind) Offer(st *State) xmltree.Appender {
	if b.Binder == nil || st.User.IsZero() || !st.JID.IsZero() {
		return nil
	}
	return empty(nameBind)
}

// Serve implements Step.
func (b Bind) Serve(ctx context.Context, st *State, el xmltree.Element) (Outcome, error) {
	if b.Binder == nil || st.User.IsZero() || stanza.KindOf(el) != stanza.IQ || !el.First().Is(nameBind) {
		return Pass, nil
	}
	iq, err := stanza.Parse(el)
	if err != nil {
		return b.refuse(st, iq, err)
	}
	if iq.Type != stanza.Set {
		return b.refuse(st, iq, stanza.ErrBadRequest)
	}
	// RFC 6120 §7.7.2.1: an empty resource is mended by making one.
	resource := strings.Clone(el.First().Child(nameResource).Text())
	if resource == "" {
		resource = rand.Text() // RFC 6120 §7.6: random; 130 bits
	}
	wanted, err := st.User.WithResource(resource)
	if err != nil {
		return b.refuse(st, iq, stanza.ErrBadRequest)
	}
	full, err := b.Binder.Bind(ctx, st.User, wanted.Resource())
	if err != nil {
		return b.refuse(st, iq, err)
	}
	st.JID = full
	return Complete, st.write(iq.Reply(bound(full)))
}

// refuse answers a request to bind with an error. An error that is not the
// client's business ends the stream.
func (b Bind) refuse(st *State, iq *stanza.Stanza, err error) (Outcome, error) {
	var e *stanza.Error
	if !errors.As(err, &e) {
		return 0, fmt.Errorf("bind a resource of %s: %w", st.User, err)
	}
	if !iq.IsRequest() {
		return 0, stream.ErrNotAuthorized
	}
	if err := st.write(iq.ErrorReply(e)); err != nil {
		return 0, err
	}
	if st.binds++; st.binds >= maxBinds {
		return 0, stream.ErrPolicyViolation.With("too many attempts to bind a resource")
	}
	return Handled, nil
}

// bound tells the client its address.
type bound jid.JID

// AppendXML implements xmltree.Appender.
func (b bound) AppendXML(w *xmltree.Writer) {
	w.Open(nameBind)
	w.Element(nameJID, jid.JID(b).String())
	w.Close()
}

// Take implements Step.
func (b Bind) Take(_ context.Context, st *State, features xmltree.Element) (Outcome, error) {
	if st.User.IsZero() || !st.JID.IsZero() || !features.Child(nameBind).Exists() {
		return Pass, nil
	}
	iq := stanza.New(stanza.IQ, stanza.Set, jid.JID{}, jid.JID{}, markup(func(w *xmltree.Writer) {
		w.Open(nameBind)
		if b.Resource != "" {
			w.Element(nameResource, b.Resource)
		}
		w.Close()
	}))
	iq.ID = stream.NewID()
	reply, err := st.ask(iq)
	if err != nil {
		return 0, fmt.Errorf("bind a resource: %w", err)
	}
	full, err := jid.Parse(reply.Child(nameBind).Child(nameJID).Text())
	if err != nil || full.IsBare() {
		return 0, fmt.Errorf("bind a resource: server gives no full address: %w", errors.Join(err, stream.ErrBadFormat))
	}
	// RFC 6120 §4.3.6: our address is what the server says it is.
	st.JID = full.Clone()
	st.User = st.JID.Bare()
	return Handled, nil
}

// Session offers the session of RFC 3921 §3, which does nothing any more, to
// clients that look for it. As an iq it is answered after the negotiation, see
// SessionName. A client does not ask for it.
type Session struct{}

// Offer implements Step.
func (Session) Offer(st *State) xmltree.Appender {
	if st.User.IsZero() || !st.JID.IsZero() {
		return nil
	}
	return markup(func(w *xmltree.Writer) {
		w.Open(SessionName)
		w.Element(nameOptional, "")
		w.Close()
	})
}

// Serve implements Step.
func (Session) Serve(context.Context, *State, xmltree.Element) (Outcome, error) { return Pass, nil }

// Take implements Step.
func (Session) Take(context.Context, *State, xmltree.Element) (Outcome, error) { return Pass, nil }
