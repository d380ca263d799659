package negotiate

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/sasl"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

// ErrExternal says that a server did not let us in by our certificate.
var ErrExternal = errors.New("authentication by certificate failed")

// External is SASL EXTERNAL between servers (RFC 6120 §6, XEP-0178 §3): one proves
// its domain by the certificate that it has shown.
type External struct {
	// Certified, of a receiving server, reports whether the peer has shown a
	// certificate for a domain that is to be believed.
	Certified func(domain jid.JID) bool
	// Use has an initiating server authenticate so, if it can.
	Use bool
}

// peer is the domain that a receiving server is told to be spoken to by.
func (st *State) peer() jid.JID {
	from, err := jid.Parse(st.Header.From)
	if err != nil || from != from.Host() {
		return jid.JID{}
	}
	return from
}

// Offer implements Step.
func (e External) Offer(st *State) xmltree.Appender {
	if !e.certified(st) {
		return nil
	}
	return markup(func(w *xmltree.Writer) {
		w.Open(nameMechanisms)
		w.Element(nameMechanism, sasl.External)
		w.Close()
	})
}

// certified: XEP-0178 §3, step 7: it is offered to those only who can use it.
func (e External) certified(st *State) bool {
	if e.Certified == nil || !st.User.IsZero() || !st.Conn.Secure() {
		return false
	}
	from := st.peer()
	return !from.IsZero() && e.Certified(from)
}

// Serve implements Step.
func (e External) Serve(ctx context.Context, st *State, el xmltree.Element) (Outcome, error) {
	if el.Name().Space != ns.SASL || e.Certified == nil {
		return Pass, nil
	}
	if !st.User.IsZero() {
		return 0, stream.ErrNotAuthorized.With("already authenticated")
	}
	switch el.Name() {
	case nameAuth:
		st.asked = false
		if !st.Conn.Secure() {
			return SASL{}.refuse(ctx, st, &sasl.Failure{Condition: sasl.EncryptionRequired})
		}
		if el.Attr("mechanism") != sasl.External {
			return SASL{}.refuse(ctx, st, &sasl.Failure{Condition: sasl.InvalidMechanism})
		}
	case nameResponse:
		if !st.asked {
			return SASL{}.refuse(ctx, st, &sasl.Failure{Condition: sasl.MalformedRequest})
		}
	case nameAbort:
		return SASL{}.refuse(ctx, st, &sasl.Failure{Condition: sasl.Aborted})
	default:
		return Pass, nil
	}
	authzid, err := decode(el.Text())
	if err != nil {
		return SASL{}.refuse(ctx, st, &sasl.Failure{Condition: sasl.IncorrectEncoding, Err: err})
	}
	if authzid == nil && !st.asked {
		st.asked = true
		return Handled, st.write(message{nameChallenge, "", nil})
	}
	return e.authorize(ctx, st, string(authzid))
}

// authorize lets the peer in as the domain that its header names.
func (e External) authorize(ctx context.Context, st *State, authzid string) (Outcome, error) {
	st.asked = false
	from := st.peer()
	// XEP-0178 §3, step 11: another domain than that of the header would be one
	// that was not checked.
	if asked, err := jid.Parse(authzid); authzid != "" && (err != nil || asked != from) {
		return SASL{}.refuse(ctx, st, &sasl.Failure{Condition: sasl.InvalidAuthzid, Err: err})
	}
	if !e.certified(st) {
		return SASL{}.refuse(ctx, st, &sasl.Failure{Condition: sasl.NotAuthorized})
	}
	st.User, st.Mechanism = from.Clone(), sasl.External
	// The peer has nothing to say before it has read the answer.
	if err := st.Conn.Restart(); err != nil {
		return 0, err
	}
	return Restart, st.write(message{nameSuccess, "", nil})
}

// Take implements Step.
func (e External) Take(_ context.Context, st *State, features xmltree.Element) (Outcome, error) {
	if !e.Use || !st.User.IsZero() || !st.Conn.Secure() || !offersExternal(features) {
		return Pass, nil
	}
	// XEP-0178 §3, step 8: the authorization identity is sent, for those who want it.
	client, err := sasl.NewClient(sasl.External, sasl.Credentials{Authzid: st.own.String(), Certified: true}, sasl.ClientOptions{OverTLS: true})
	if err != nil {
		return 0, err
	}
	if err := authenticate(st, client); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrExternal, err)
	}
	st.User, st.Mechanism = st.own, sasl.External
	return Restart, st.Conn.Restart()
}

func offersExternal(features xmltree.Element) bool {
	for m := range features.Child(nameMechanisms).Children() {
		if m.Is(nameMechanism) && strings.TrimSpace(m.Text()) == sasl.External {
			return true
		}
	}
	return false
}
