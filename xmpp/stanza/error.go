package stanza

import (
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

// ErrorType says what the sender may do about an error (RFC 6120 §8.3.2).
type ErrorType string

// The types of RFC 6120 §8.3.2.
const (
	Auth     ErrorType = "auth"     // retry after providing credentials
	Cancel   ErrorType = "cancel"   // do not retry
	Continue ErrorType = "continue" // it was only a warning
	Modify   ErrorType = "modify"   // retry after changing what was sent
	Wait     ErrorType = "wait"     // retry after waiting
)

// Error is a stanza error (RFC 6120 §8.3): what the peer must learn.
type Error struct {
	Type      ErrorType
	Condition string           // one of §8.3.3
	Text      string           // for people; "" if none
	URI       string           // for gone and redirect: the new address
	By        jid.JID          // who found it, if not the addressee
	App       xmltree.Appender // an application's own condition, or nil
}

// The conditions of RFC 6120 §8.3.3, each with the type that the text gives it
// (§8.3.3.x; where it leaves a choice, the first).
var (
	ErrBadRequest            = &Error{Type: Modify, Condition: "bad-request"}
	ErrConflict              = &Error{Type: Cancel, Condition: "conflict"}
	ErrFeatureNotImplemented = &Error{Type: Cancel, Condition: "feature-not-implemented"}
	ErrForbidden             = &Error{Type: Auth, Condition: "forbidden"}
	ErrGone                  = &Error{Type: Cancel, Condition: "gone"}
	ErrInternalServerError   = &Error{Type: Cancel, Condition: "internal-server-error"}
	ErrItemNotFound          = &Error{Type: Cancel, Condition: "item-not-found"}
	ErrJIDMalformed          = &Error{Type: Modify, Condition: "jid-malformed"}
	ErrNotAcceptable         = &Error{Type: Modify, Condition: "not-acceptable"}
	ErrNotAllowed            = &Error{Type: Cancel, Condition: "not-allowed"}
	ErrNotAuthorized         = &Error{Type: Auth, Condition: "not-authorized"}
	ErrPolicyViolation       = &Error{Type: Modify, Condition: "policy-violation"}
	ErrRecipientUnavailable  = &Error{Type: Wait, Condition: "recipient-unavailable"}
	ErrRedirect              = &Error{Type: Modify, Condition: "redirect"}
	ErrRegistrationRequired  = &Error{Type: Auth, Condition: "registration-required"}
	ErrRemoteServerNotFound  = &Error{Type: Cancel, Condition: "remote-server-not-found"}
	ErrRemoteServerTimeout   = &Error{Type: Wait, Condition: "remote-server-timeout"}
	ErrResourceConstraint    = &Error{Type: Wait, Condition: "resource-constraint"}
	ErrServiceUnavailable    = &Error{Type: Cancel, Condition: "service-unavailable"}
	ErrSubscriptionRequired  = &Error{Type: Auth, Condition: "subscription-required"}
	ErrUndefinedCondition    = &Error{Type: Cancel, Condition: "undefined-condition"}
	ErrUnexpectedRequest     = &Error{Type: Wait, Condition: "unexpected-request"}
)

// Error implements error.
func (e *Error) Error() string {
	if e.Text != "" {
		return "stanza error " + e.Condition + ": " + e.Text
	}
	return "stanza error " + e.Condition
}

// With returns a copy of e that explains itself to a person.
func (e *Error) With(text string) *Error {
	c := *e
	c.Text = text
	return &c
}

// WithApp returns a copy of e with a condition of its own specification's.
func (e *Error) WithApp(a xmltree.Appender) *Error {
	c := *e
	c.App = a
	return &c
}

// Is makes errors.Is compare conditions.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Condition == e.Condition
}

// AppendXML writes the error element (RFC 6120 §8.3.2).
func (e *Error) AppendXML(w *xmltree.Writer) {
	w.Open(errorName)
	w.Attr("type", string(e.Type))
	if !e.By.IsZero() {
		w.Attr("by", e.By.String())
	}
	w.Open(xmltree.Name{Space: ns.Stanzas, Local: e.Condition})
	if e.URI != "" {
		w.Text(e.URI)
	}
	w.Close()
	if e.Text != "" {
		w.Open(xmltree.Name{Space: ns.Stanzas, Local: "text"})
		w.Text(e.Text)
		w.Close()
	}
	if e.App != nil {
		e.App.AppendXML(w)
	}
	w.Close()
}

var errorName = xmltree.Name{Space: ns.Client, Local: "error"}

// ErrorOf returns the error that a stanza of type error carries; if it carries
// none that can be read, undefined-condition.
func ErrorOf(s *Stanza) *Error {
	for _, a := range s.added { // one that we made
		if e, ok := a.(*Error); ok {
			return e
		}
	}
	el := s.Child(errorName)
	e := &Error{Type: ErrorType(el.Attr("type")), Condition: "undefined-condition"}
	if !el.Exists() {
		e.Type = Cancel
		return e
	}
	if by, err := jid.Parse(el.Attr("by")); err == nil {
		e.By = by
	}
	for c := range el.Children() {
		n := c.Name()
		switch {
		case n.Space != ns.Stanzas:
			if e.App == nil {
				e.App = c
			}
		case n.Local == "text":
			e.Text = c.Text()
		default:
			e.Condition, e.URI = n.Local, c.Text()
		}
	}
	return e
}
