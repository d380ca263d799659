package sasl

import "errors"

// Conditions of RFC 6120 §6.5.
const (
	Aborted              = "aborted"
	AccountDisabled      = "account-disabled"
	CredentialsExpired   = "credentials-expired"
	EncryptionRequired   = "encryption-required"
	IncorrectEncoding    = "incorrect-encoding"
	InvalidAuthzid       = "invalid-authzid"
	InvalidMechanism     = "invalid-mechanism"
	MalformedRequest     = "malformed-request"
	MechanismTooWeak     = "mechanism-too-weak"
	NotAuthorized        = "not-authorized"
	TemporaryAuthFailure = "temporary-auth-failure"
)

// Failure is why a server refuses: RFC 6120 §6.4.5.
type Failure struct {
	Condition string // one of RFC 6120 §6.5
	Text      string // for the client; may be empty
	Err       error  // for the log; never sent
}

// Error returns the condition, the text and the cause.
func (f *Failure) Error() string {
	s := "sasl: " + f.Condition
	if f.Text != "" {
		s += ": " + f.Text
	}
	if f.Err != nil {
		s += ": " + f.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Is reports whether target is a Failure of the same condition.
func (f *Failure) Is(target error) bool {
	t, ok := target.(*Failure)
	return ok && t.Condition == f.Condition
}

// Errors of a client, by errors.Is.
var (
	// ErrNoMechanism: nothing that was offered can be used with what the
	// client has.
	ErrNoMechanism = errors.New("sasl: no usable mechanism")
	// ErrDowngrade: somebody seems to have tampered with the offer.
	ErrDowngrade = errors.New("sasl: the offer contradicts itself, as it does when somebody has tampered with it")
	// ErrServer: the server broke the mechanism's rules, or did not prove that
	// it knows the account.
	ErrServer = errors.New("sasl: the server cannot be trusted")
	// ErrRefused: the server said within the mechanism that it refuses.
	ErrRefused = errors.New("sasl: refused by the server")
	// ErrCredentials: the user name or the password cannot be sent.
	ErrCredentials = errors.New("sasl: unusable credentials")
)

var errStarted = errors.New("sasl: the client has been started before")

func malformed(text string) *Failure { return &Failure{Condition: MalformedRequest, Text: text} }

// refused is what a backend's error becomes.
func refused(err error) *Failure {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	return &Failure{Condition: TemporaryAuthFailure, Err: err}
}
