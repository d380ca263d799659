package negotiate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"kith/xmpp/ns"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

var (
	nameStartTLS   = xmltree.Name{Space: ns.TLS, Local: "starttls"}
	nameProceed    = xmltree.Name{Space: ns.TLS, Local: "proceed"}
	nameTLSFailure = xmltree.Name{Space: ns.TLS, Local: "failure"}
	nameRequired   = xmltree.Name{Space: ns.TLS, Local: "required"}
)

// ErrNoTLS says that the stream cannot be encrypted as it has to be.
var ErrNoTLS = errors.New("no TLS")

// StartTLS implements RFC 6120 §5.
type StartTLS struct {
	// Config is that of a server, made by stream.ServerTLS, or of a client.
	// A server without one does not offer the feature.
	Config *tls.Config
	// Timeout bounds the handshake, and the wait for Admit; 10 s if it is 0.
	Timeout time.Duration
	// Admit, if it is not nil, is asked before a server's handshake: it waits
	// until there is room for one more, and release gives the room back.
	Admit func(ctx context.Context) (release func(), err error)
	// Required makes a client refuse to go on without. (For a server see
	// ServerOptions.)
	Required bool
}

// Offer implements Step.
func (s StartTLS) Offer(st *State) xmltree.Appender {
	if s.Config == nil || st.Conn.Secure() {
		return nil
	}
	return markup(func(w *xmltree.Writer) {
		w.Open(nameStartTLS)
		if st.tlsRequired {
			w.Element(nameRequired, "")
		}
		w.Close()
	})
}

// Serve implements Step.
func (s StartTLS) Serve(ctx context.Context, st *State, el xmltree.Element) (Outcome, error) {
	if el.Name().Space != ns.TLS {
		return Pass, nil
	}
	// RFC 6120 §5.4.2.2: a malformed command, or one that was not offered.
	if !el.Is(nameStartTLS) || s.Config == nil || st.Conn.Secure() || !st.User.IsZero() {
		if err := st.write(empty(nameTLSFailure)); err != nil {
			return 0, err
		}
		return 0, fmt.Errorf("starttls refused: %w", stream.ErrClosed)
	}
	ctx, cancel := s.timeout(ctx)
	defer cancel()
	// Behind <proceed/> nothing but the handshake may be sent, so room for it
	// is waited for before.
	if s.Admit != nil {
		release, err := s.Admit(ctx)
		if err != nil {
			return 0, err
		}
		defer release()
	}
	// Whatever follows the command in the clear may be anybody's. Looking for
	// it before <proceed/> saves the answer.
	if err := st.Conn.Restart(); err != nil {
		return 0, err
	}
	if err := st.write(empty(nameProceed)); err != nil {
		return 0, err
	}
	return Restart, st.Conn.StartTLS(ctx, s.Config)
}

// Take implements Step.
func (s StartTLS) Take(ctx context.Context, st *State, features xmltree.Element) (Outcome, error) {
	switch {
	case st.Conn.Secure():
		return Pass, nil
	case s.Config == nil || !features.Child(nameStartTLS).Exists():
		if s.Required {
			return 0, ErrNoTLS
		}
		return Pass, nil
	}
	if err := st.write(empty(nameStartTLS)); err != nil {
		return 0, err
	}
	el, err := st.Conn.ReadElement()
	if err != nil {
		return 0, err
	}
	switch {
	case el.Is(nameProceed):
		ctx, cancel := s.timeout(ctx)
		defer cancel()
		return Restart, st.Conn.StartTLS(ctx, s.Config)
	case el.Is(nameTLSFailure):
		return 0, ErrNoTLS
	}
	return 0, refusal(el)
}

func (s StartTLS) timeout(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout := s.Timeout
	if timeout <= 0 {
		timeout = 10 * time.Second
	}
	return context.WithTimeout(ctx, timeout)
}
