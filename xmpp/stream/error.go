package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"

	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

// Error is a stream error (RFC 6120 §4.9): the stream ends with it.
type Error struct {
	Condition string           // one of §4.9.3
	Value     string           // see-other-host: where to go
	Text      string           // for people; "" if none
	App       xmltree.Appender // an application's own condition, or nil
	cause     error
}

// The conditions of RFC 6120 §4.9.3.
var (
	ErrBadFormat              = &Error{Condition: "bad-format"}
	ErrBadNamespacePrefix     = &Error{Condition: "bad-namespace-prefix"}
	ErrConflict               = &Error{Condition: "conflict"}
	ErrConnectionTimeout      = &Error{Condition: "connection-timeout"}
	ErrHostGone               = &Error{Condition: "host-gone"}
	ErrHostUnknown            = &Error{Condition: "host-unknown"}
	ErrImproperAddressing     = &Error{Condition: "improper-addressing"}
	ErrInternalServerError    = &Error{Condition: "internal-server-error"}
	ErrInvalidFrom            = &Error{Condition: "invalid-from"}
	ErrInvalidNamespace       = &Error{Condition: "invalid-namespace"}
	ErrInvalidXML             = &Error{Condition: "invalid-xml"}
	ErrNotAuthorized          = &Error{Condition: "not-authorized"}
	ErrNotWellFormed          = &Error{Condition: "not-well-formed"}
	ErrPolicyViolation        = &Error{Condition: "policy-violation"}
	ErrRemoteConnectionFailed = &Error{Condition: "remote-connection-failed"}
	ErrReset                  = &Error{Condition: "reset"}
	ErrResourceConstraint     = &Error{Condition: "resource-constraint"}
	ErrRestrictedXML          = &Error{Condition: "restricted-xml"}
	ErrSeeOtherHost           = &Error{Condition: "see-other-host"}
	ErrSystemShutdown         = &Error{Condition: "system-shutdown"}
	ErrUndefinedCondition     = &Error{Condition: "undefined-condition"}
	ErrUnsupportedEncoding    = &Error{Condition: "unsupported-encoding"}
	ErrUnsupportedFeature     = &Error{Condition: "unsupported-feature"}
	ErrUnsupportedStanzaType  = &Error{Condition: "unsupported-stanza-type"}
	ErrUnsupportedVersion     = &Error{Condition: "unsupported-version"}
)

// Errors of a connection that are no stream errors.
var (
	ErrClosed     = errors.New("stream is closed")
	ErrBuffered   = errors.New("data received ahead of a new security layer or stream")
	ErrWouldBlock = errors.New("connection does not take more now")
)

// With returns a copy of e that explains itself to a person.
func (e *Error) With(text string) *Error {
	c := *e
	c.Text = text
	return &c
}

// WithApp returns a copy of e with an application's own condition (§4.9.4).
func (e *Error) WithApp(app xmltree.Appender) *Error {
	c := *e
	c.App = app
	return &c
}

// Because returns a copy of e that wraps its cause, which is for our log and is
// not sent.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// SeeOtherHost sends the peer to another address (§4.9.3.19).
func SeeOtherHost(hostport string) *Error {
	return &Error{Condition: ErrSeeOtherHost.Condition, Value: hostport}
}

// Error implements error.
func (e *Error) Error() string {
	s := "stream error: " + e.Condition
	if e.Text != "" {
		s += ": " + e.Text
	}
	if e.cause != nil {
		s += ": " + e.cause.Error()
	}
	return s
}

// Unwrap returns the cause, if there is one.
func (e *Error) Unwrap() error { return e.cause }

// Is makes errors.Is compare conditions.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Condition == e.Condition
}

// AppendXML writes the error element (§4.9.2).
func (e *Error) AppendXML(w *xmltree.Writer) {
	w.Open(nameError)
	w.Element(xmltree.Name{Space: ns.Streams, Local: e.Condition}, e.Value)
	if e.Text != "" {
		w.Open(xmltree.Name{Space: ns.Streams, Local: "text"})
		w.AttrNS(xmltree.Name{Space: ns.XML, Local: "lang"}, "en")
		w.Text(e.Text)
		w.Close()
	}
	if e.App != nil {
		w.Append(e.App)
	}
	w.Close()
}

// PeerError is a stream error that the peer sent: it is not sent back.
type PeerError struct{ Err *Error }

// Error implements error.
func (e *PeerError) Error() string { return "peer closed the stream: " + e.Err.Error() }

// Unwrap returns what the peer sent.
func (e *PeerError) Unwrap() error { return e.Err }

// IsError reports whether el is a stream error.
func IsError(el xmltree.Element) bool {
	return el.Is(nameError)
}

// ParseError reads a stream error. A condition that RFC 6120 does not know
// counts as undefined-condition (§4.9.2).
func ParseError(el xmltree.Element) *Error {
	e := &Error{Condition: ErrUndefinedCondition.Condition}
	for c := range el.Children() {
		switch n := c.Name(); {
		case n.Space != ns.Streams:
			e.App = c.Clone()
		case n.Local == "text":
			e.Text = strings.Clone(c.Text())
		default:
			if d := defined(n.Local); d != nil {
				e.Condition = d.Condition
				e.Value = strings.Clone(c.Text())
			}
		}
	}
	return e
}

// defined returns the ready-made error of a condition, nil if there is none.
func defined(condition string) *Error {
	for _, e := range [...]*Error{
		ErrBadFormat, ErrBadNamespacePrefix, ErrConflict, ErrConnectionTimeout, ErrHostGone, ErrHostUnknown,
		ErrImproperAddressing, ErrInternalServerError, ErrInvalidFrom, ErrInvalidNamespace, ErrInvalidXML,
		ErrNotAuthorized, ErrNotWellFormed, ErrPolicyViolation, ErrRemoteConnectionFailed, ErrReset,
		ErrResourceConstraint, ErrRestrictedXML, ErrSeeOtherHost, ErrSystemShutdown, ErrUndefinedCondition,
		ErrUnsupportedEncoding, ErrUnsupportedFeature, ErrUnsupportedStanzaType, ErrUnsupportedVersion,
	} {
		if e.Condition == condition {
			return e
		}
	}
	return nil
}

// ErrorFor returns the stream error that tells the peer what err is: nil when
// there is nothing to tell, because the stream ends as it should, the peer
// ended it, or the connection is gone.
func ErrorFor(err error) *Error {
	var (
		own    *Error
		peer   *PeerError
		syntax *xmltree.SyntaxError
		large  *xmltree.OversizeError
		netErr net.Error
		record tls.RecordHeaderError
	)
	switch {
	case err == nil, errors.As(err, &peer):
		return nil
	case errors.As(err, &own):
		return own
	case errors.As(err, &syntax):
		return syntaxError(syntax)
	case errors.As(err, &large): // whoever reads has no use for it
		return ErrPolicyViolation.Because(err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe),
		errors.Is(err, ErrClosed), errors.Is(err, context.Canceled):
		return nil
	// RFC 6120 §4.9.3.4: the peer had something to say and did not.
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return ErrConnectionTimeout
	case errors.As(err, &netErr), errors.As(err, &record):
		return nil
	case errors.Is(err, ErrBuffered):
		return ErrPolicyViolation.Because(err)
	}
	return ErrInternalServerError.Because(err)
}

// syntaxError gives each way of breaking XML its condition: the scanner names
// it by the words of RFC 6120 §4.9.3.
func syntaxError(s *xmltree.SyntaxError) *Error {
	if e := defined(string(s.Kind)); e != nil {
		return e.Because(s)
	}
	return ErrNotWellFormed.Because(s)
}
