package negotiate

import (
	"context"
	"fmt"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

// maxElements bounds how long a peer can keep a negotiation going.
const maxElements = 100

// ServerOptions say how the receiving entity negotiates.
type ServerOptions struct {
	// Steps returns the stream features of a host, in their order; nil says
	// that the host is not ours.
	Steps func(host jid.JID) []Step
	// Default is the host that answers a peer who asks for none of ours;
	// it may be zero.
	Default jid.JID
	// Content is the content namespace, jabber:client if it is "".
	Content string
	// TLSRequired says that nothing is offered and taken before TLS.
	TLSRequired bool
	// Limits are those of the peer's elements after it has authenticated.
	// Before, those apply with which the connection was made.
	Limits xmltree.Limits
	// Until, if it is not nil, says after each announcement of features whether
	// that is enough; otherwise a step has to say Complete.
	Until func(st *State) bool
}

// Serve negotiates as the receiving entity until a step says Complete. What the
// peer sent behind that is still to be read from the connection.
//
// If it fails, or when the context ends before it is done, the stream is closed
// and the peer has been told why.
func Serve(ctx context.Context, conn stream.Transport, o ServerOptions) (*State, error) {
	if o.Content == "" {
		o.Content = ns.Client
	}
	stop := context.AfterFunc(ctx, func() { conn.Close(ctx.Err()) })
	s := &server{opts: o, st: &State{Conn: conn, tlsRequired: o.TLSRequired}}
	err := s.run(ctx)
	if !stop() {
		conn.Closed()
		return s.st, fmt.Errorf("negotiate stream: %w", ctx.Err())
	}
	if err != nil {
		conn.Close(err)
		return s.st, err
	}
	return s.st, nil
}

// server is the receiving entity's end of one negotiation.
type server struct {
	opts  ServerOptions
	st    *State
	steps []Step
	count int
}

func (s *server) run(ctx context.Context) error {
	for {
		if err := s.open(); err != nil {
			return err
		}
		if s.opts.Until != nil && s.opts.Until(s.st) {
			return nil
		}
		for {
			outcome, err := s.element(ctx)
			if err != nil {
				return err
			}
			if outcome == Complete {
				return nil
			}
			if outcome == Restart {
				break
			}
			if outcome == Again { // logged in on the same stream
				s.st.Conn.SetLimits(s.opts.Limits)
			}
		}
	}
}

// open exchanges headers and announces the features.
func (s *server) open() error {
	h, err := s.st.Conn.ReadHeader()
	if err != nil {
		return s.refuse(h, err)
	}
	if err := s.check(h); err != nil {
		return s.refuse(h, err)
	}
	st := s.st
	st.Header, st.ID = h, stream.NewID()
	if !st.User.IsZero() {
		st.Conn.SetLimits(s.opts.Limits)
	}
	return st.Conn.Open(s.answer(h, st.Host.Domain(), st.ID), st.offers(s.steps))
}

// answer is our header to the peer's.
func (s *server) answer(h stream.Header, from, id string) stream.Header {
	a := stream.Header{From: from, ID: id, Version: stream.Version, Lang: "en", Content: s.opts.Content}
	// RFC 6120 §4.7.2: to whom it came from, if they said so. One that is no
	// address is not repeated.
	if j, err := jid.Parse(h.From); err == nil && !j.IsZero() {
		a.To = j.Bare().String()
	}
	return a
}

// refuse answers a header with an error: RFC 6120 §4.9.1.2 wants it inside a
// stream.
func (s *server) refuse(h stream.Header, err error) error {
	e := stream.ErrorFor(err)
	if e == nil {
		return err
	}
	host := s.st.Host
	if host.IsZero() {
		host = s.opts.Default // RFC 6120 §4.9.1.3
	}
	if openErr := s.st.Conn.Open(s.answer(h, host.Domain(), stream.NewID()), e); openErr != nil {
		return fmt.Errorf("%w (and the peer cannot be told: %w)", err, openErr)
	}
	return err
}

// check enforces RFC 6120 §4.7 and §4.8.
func (s *server) check(h stream.Header) error {
	if err := checkNames(h, s.opts.Content); err != nil {
		return err
	}
	if err := s.checkHost(h.To); err != nil {
		return err
	}
	// RFC 6120 §4.7.5: what comes without a version is XMPP 0.9, which has
	// neither SASL nor stream errors. Of a later major version we speak 1.0.
	if !stream.AtLeast1(h.Version) {
		return stream.ErrUnsupportedVersion
	}
	return s.st.checkFrom(h)
}

// checkNames enforces RFC 6120 §4.8.1 to §4.8.3 on a header.
func checkNames(h stream.Header, content string) error {
	switch {
	case h.Name.Space != ns.Stream:
		return stream.ErrInvalidNamespace
	case h.Name.Local != "stream":
		return stream.ErrBadFormat
	}
	switch h.Content {
	// §4.8.2: without a content namespace every element names its own.
	case content, "", ns.Stream:
		return nil
	}
	return stream.ErrInvalidNamespace
}

func (s *server) checkHost(to string) error {
	if to == "" {
		// §4.7.2 bids us be liberal, but at the first header we must know the
		// host (§4.9.1.3).
		if s.st.Host.IsZero() {
			return stream.ErrHostUnknown.With("no host is named")
		}
		return nil
	}
	host, err := jid.Parse(to)
	if err != nil {
		return stream.ErrImproperAddressing.Because(err)
	}
	if s.st.Host.IsZero() && host == host.Host() {
		if s.steps = s.opts.Steps(host); s.steps != nil {
			s.st.Host, s.st.steps = host.Clone(), s.steps
			return nil
		}
	}
	// The host of the first header stays the host of the stream.
	if host != s.st.Host || host.IsZero() {
		return stream.ErrHostUnknown
	}
	return nil
}

// checkFrom correlates the header with who has authenticated (RFC 6120 §6.4.6).
// Without TLS a header proves nothing.
func (st *State) checkFrom(h stream.Header) error {
	if h.From == "" || st.User.IsZero() || !st.Conn.Secure() {
		return nil
	}
	from, err := jid.Parse(h.From)
	if err != nil || from.Bare() != st.User {
		return stream.ErrInvalidFrom
	}
	return nil
}

// element reads an element and gives it to the step it is for.
func (s *server) element(ctx context.Context) (Outcome, error) {
	el, err := s.st.Conn.ReadElement()
	if err != nil {
		return 0, err
	}
	if s.count++; s.count > maxElements {
		return 0, stream.ErrPolicyViolation.With("negotiation takes too long")
	}
	// XEP-0388 §2.4: nothing else while somebody authenticates.
	if s.st.login != nil && el.Name().Space != ns.SASL2 {
		return 0, stream.ErrPolicyViolation.With("authentication is under way")
	}
	for _, step := range s.steps {
		outcome, err := step.Serve(ctx, s.st, el)
		if err != nil {
			return 0, err
		}
		if outcome != Pass {
			return outcome, nil
		}
	}
	return 0, refusal(el)
}
