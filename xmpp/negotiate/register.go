package negotiate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"kith/xmpp/jid"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

// maxRequests is how many iqs a client may send before it logs in.
const maxRequests = 10

// Register implements XEP-0077 and XEP-0445 before log-in: what a client needs to
// get an account in the band.
type Register struct {
	// Answer answers an iq of type get or set with the payload of the result;
	// what the client must learn is a *stanza.Error. (Server.)
	Answer func(ctx context.Context, st *State, iq *stanza.Stanza) (xmltree.Appender, error)
	// Names are the payloads that Answer is asked for. (Server.)
	Names []xmltree.Name
	// Features are what is offered; a server that would only refuse offers
	// nothing. (Server.)
	Features []xmltree.Appender

	// Query makes it a client's step: the payload of the iq that registers.
	Query xmltree.Appender
	// Preauth, if it is not nil, is sent before, to a server that takes
	// invitations (XEP-0445 §4). (Client.)
	Preauth xmltree.Appender
}

// Offer implements Step.
func (r Register) Offer(st *State) xmltree.Appender {
	if r.Answer == nil || len(r.Features) == 0 || !st.User.IsZero() || st.locked() {
		return nil
	}
	return markup(func(w *xmltree.Writer) {
		for _, f := range r.Features {
			w.Append(f)
		}
	})
}

// Serve implements Step.
func (r Register) Serve(ctx context.Context, st *State, el xmltree.Element) (Outcome, error) {
	if r.Answer == nil || !st.User.IsZero() || st.locked() ||
		stanza.KindOf(el) != stanza.IQ || !slices.Contains(r.Names, el.First().Name()) {
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
	for _, payload := range []xmltree.Appender{r.Preauth, r.Query} {
		if payload == nil {
			continue
		}
		iq := stanza.New(stanza.IQ, stanza.Set, jid.JID{}, st.Host, payload)
		iq.ID = stream.NewID()
		if _, err := st.ask(iq); err != nil {
			return 0, fmt.Errorf("register: %w", err)
		}
	}
	return Handled, nil
}
