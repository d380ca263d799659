package negotiate

import (
	"context"
	"errors"
	"fmt"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

var (
	nameRegister = xmltree.Name{Space: ns.IQReg, Local: "register"}
	nameQuery    = xmltree.Name{Space: ns.Register, Local: "query"}
)

// maxRequests is how many iqs a client may send before it logs in.
const maxRequests = 10

// Register implements XEP-0077 before log-in: what a client needs to get an
// account in the band.
type Register struct {
	// Answer answers an iq of jabber:iq:register, of type get or set, with the
	// payload of the result; what the client must learn is a *stanza.Error.
	// Without it registration is not offered. (Server.)
	Answer func(ctx context.Context, st *State, iq *stanza.Stanza) (xmltree.Appender, error)

	// Query makes it a client's step: the payload of the iq that registers.
	Query xmltree.Appender
}

// Offer implements Step.
func (r Register) Offer(st *State) xmltree.Appender {
	if r.Answer == nil || !st.User.IsZero() || st.locked() {
		return nil
	}
	return empty(nameRegister)
}

// Serve implements Step.
func (r Register) Serve(ctx context.Context, st *State, el xmltree.Element) (Outcome, error) {
	if r.Answer == nil || !st.User.IsZero() || st.locked() ||
		stanza.KindOf(el) != stanza.IQ || !el.First().Is(nameQuery) {
		return Pass, nil
	}
	if st.requests++; st.requests > maxRequests {
		return 0, stream.ErrPolicyViolation.With("too many requests before authentication")
	}
	iq, err := stanza.Parse(el)
	if !iq.IsRequest() {
		return Pass, nil
	}
	// RFC 6120 §8.1.1.1: to nobody is to the server.
	if err == nil && !iq.To.IsZero() && iq.To != st.Host {
		return Pass, nil
	}
	var payload xmltree.Appender
	if err == nil {
		payload, err = r.Answer(ctx, st, iq)
	}
	if err == nil {
		return Handled, st.write(iq.Reply(payload))
	}
	var e *stanza.Error
	if !errors.As(err, &e) {
		return 0, fmt.Errorf("register at %s: %w", st.Host, err)
	}
	return Handled, st.write(iq.ErrorReply(e))
}

// Take implements Step.
func (r Register) Take(_ context.Context, st *State, features xmltree.Element) (Outcome, error) {
	if r.Query == nil || !st.User.IsZero() || !features.Child(nameMechanisms).Exists() {
		return Pass, nil
	}
	iq := stanza.New(stanza.IQ, stanza.Set, jid.JID{}, st.Host, r.Query)
	iq.ID = stream.NewID()
	if _, err := st.ask(iq); err != nil {
		return 0, fmt.Errorf("register: %w", err)
	}
	return Handled, nil
}
