// Package sasl implements the SASL mechanisms of XMPP for both ends: PLAIN
// (RFC 4616), EXTERNAL with a client's certificate (RFC 4422 §A, XEP-0178), OAUTHBEARER (RFC 7628), ANONYMOUS (RFC 4505), and SCRAM with SHA-1, SHA-256 and
// SHA-512, each also with channel binding (RFC 5802, RFC 7677, RFC 9266, RFC 5929). For
// tokens that a server has given to a device (XEP-0484) there is HT-SHA-256.
//
// It does no I/O: whoever holds the stream carries the messages to and fro,
// decoded from base64. Neither end may be used by several goroutines at once.
//
// Laws: a server never says done before it has a proof; a client is never done
// before the server has given one, where the mechanism has such a thing. An
// end that has failed stays failed. Everything derived from a secret is
// compared in constant time, and a user who does not exist fails at the same
// step and in the same words as a wrong password.
package sasl

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"kith/xmpp/jid"
)

// Names of the mechanisms.
const (
	Anonymous       = "ANONYMOUS"
	External        = "EXTERNAL"
	Plain           = "PLAIN"
	ScramSHA1       = "SCRAM-SHA-1"
	ScramSHA256     = "SCRAM-SHA-256"
	ScramSHA512     = "SCRAM-SHA-512"
	ScramSHA1Plus   = "SCRAM-SHA-1-PLUS"
	ScramSHA256Plus = "SCRAM-SHA-256-PLUS"
	ScramSHA512Plus = "SCRAM-SHA-512-PLUS"
)

// maxMessage bounds a message of the peer. A user name, an authorization
// identity and a password of 1,023 bytes each, escaped, stay below it.
const maxMessage = 16 << 10

// Client is the client's end of one authentication.
type Client interface {
	// Mechanism returns the name that was given to NewClient.
	Mechanism() string
	// Start returns the initial response. It is called once.
	Start() ([]byte, error)
	// Next takes a challenge, or the data that came with success, and returns
	// the response, which is nil when there is nothing left to say.
	Next(challenge []byte) (response []byte, err error)
	// Done reports whether the client may believe a success: the server has
	// proved itself as far as the mechanism goes. A success that comes before,
	// counting the data that came with it, is to be treated as a failure.
	Done() bool
}

// Credentials are what a client logs in with.
type Credentials struct {
	Username string // the localpart of the account
	Password string
	Authzid  string // the bare JID to act as; empty (the usual): the account itself
	// Certified says that the client has a certificate that it shows on this
	// connection. Then EXTERNAL comes first; it needs no password.
	Certified bool
	// Token is a bearer token (RFC 6750). With one OAUTHBEARER comes before what
	// takes a password; it needs none.
	Token string
	// Anonymous logs in to no account, by ANONYMOUS and by nothing else; what else
	// there is, is not used. Without it ANONYMOUS is never chosen.
	Anonymous bool
	// Memory, if it is not nil, is asked before a password is hashed.
	Memory *Memory
}

// ClientOptions say what the client knows of the connection and of the server.
type ClientOptions struct {
	Offered      []string  // mechanisms the server offered
	BindingTypes []string  // channel-binding types the server announced (XEP-0440)
	Bindings     []Binding // what the client can bind to; empty: it has no channel binding
	OverTLS      bool      // the stream is encrypted, and the server's certificate verified
	SASL2        bool      // the offer came by XEP-0388, for which XEP-0440 has stricter rules
	// TLS is the version of TLS of the connection, 0 without.
	TLS uint16
	// Protected says that the server is known to vouch for its offer (XEP-0474):
	// one that does not is not believed.
	Protected bool
}

// NewClient returns the client's end of a mechanism, which must be one that
// Choose could have returned for the same offer.
func NewClient(mech string, c Credentials, o ClientOptions) (Client, error) {
	return NewClientOf(mech, c, o, o)
}

// NewClientOf is NewClient for a client that did not choose among all that was
// offered: whole is the whole offer, for which the server vouches.
func NewClientOf(mech string, c Credentials, o, whole ClientOptions) (Client, error) {
	if mech == External {
		if !c.external(o) {
			return nil, fmt.Errorf("%w: EXTERNAL without a certificate, or without TLS", ErrNoMechanism)
		}
		return &externalClient{authzid: c.Authzid}, nil
	}
	if mech == Anonymous {
		if !c.Anonymous {
			return nil, fmt.Errorf("%w: ANONYMOUS was not asked for", ErrNoMechanism)
		}
		return new(anonymousClient), nil
	}
	if mech == OAuthBearer {
		if !c.token(o) {
			return nil, fmt.Errorf("%w: OAUTHBEARER without a token, or without TLS", ErrNoMechanism)
		}
		return newOAuthClient(c)
	}
	b, err := chooseBinding(o)
	if err != nil {
		return nil, err
	}
	if err := b.allows(mech, c, o); err != nil {
		return nil, err
	}
	if mech == Plain {
		return newPlainClient(c)
	}
	s, err := newScramClient(mech, c, b, rand.Text())
	if err != nil {
		return nil, err
	}
	s.offer = whole
	return s, nil
}

// Server is the server's end of one authentication.
type Server interface {
	// Mechanism returns the name that was given to NewServer.
	Mechanism() string
	// Next takes a response and returns the challenge; once done, that is the
	// data to be sent with success. A nil response means that the client sent
	// no initial response, which is not the same as an empty one. What is
	// wrong is told by a *Failure.
	Next(ctx context.Context, response []byte) (challenge []byte, done bool, err error)
	// Username returns the localpart of the account, in canonical form, that
	// has been authenticated; "" before Next has said done.
	Username() string
}

// Backend knows the accounts of a domain.
//
// Names are canonical localparts, passwords are prepared by SASLprep. An error
// that is a *Failure goes to the client; any other is told to it as
// temporary-auth-failure.
type Backend interface {
	// SCRAM returns the account's keys for "SHA-1", "SHA-256" or "SHA-512". For
	// an account that does not exist or may not log in it returns FakeKeys.
	SCRAM(ctx context.Context, username, hash string) (Keys, error)
	// Plain checks a password; see Keys.Check. It refuses an unknown user and a
	// wrong password alike, after the same work, with a Failure of NotAuthorized.
	Plain(ctx context.Context, username, password string) error
}

// ServerOptions say what the server knows of the connection.
type ServerOptions struct {
	Domain      string    // of the accounts
	Bindings    []Binding // what the server can bind to on this connection
	PlusOffered bool      // -PLUS mechanisms were offered to this client
	OverTLS     bool      // the stream is encrypted
	// Identities are the accounts for which the client has shown a certificate
	// that was verified, of whichever domain; see Addresses.
	Identities []jid.JID
	// Tokens says that the Backend is a TokenBackend, which takes tokens for this
	// domain.
	Tokens bool
	// Anonymous says that the Backend is an AnonymousBackend, which lets in who has no
	// account.
	Anonymous bool
	// MinIterations is the fewest iterations that keys may have, 10,000 if it
	// is 0. Accounts that come from a server with weaker keys need it lowered,
	// to no less than 4,096.
	MinIterations int
	// Offer, if it is not nil, is what the server has offered in the profile that
	// the client uses; SCRAM vouches for it (XEP-0474).
	Offer *Offer
	// TLS is the version of TLS, for which SCRAM vouches (XEP-0515); 0 for none.
	TLS uint16
}

// NewServer returns the server's end of a mechanism. It fails with a *Failure
// if the connection does not allow it; that a mechanism was offered to this
// client is for the caller to check.
func NewServer(mech string, b Backend, o ServerOptions) (Server, error) {
	domain, err := jid.New("", o.Domain, "")
	if err != nil {
		return nil, err
	}
	o.Domain = domain.Domain()
	switch {
	case mech == Plain && !o.OverTLS:
		return nil, &Failure{Condition: EncryptionRequired}
	case mech == Plain:
		return &plainServer{backend: b, opts: o}, nil
	case mech == OAuthBearer:
		tb, ok := b.(TokenBackend)
		switch {
		case !ok || !o.Tokens:
			return nil, &Failure{Condition: InvalidMechanism}
		case !o.OverTLS: // RFC 7628 §3
			return nil, &Failure{Condition: EncryptionRequired}
		}
		return &oauthServer{backend: tb, opts: o}, nil
	case mech == Anonymous:
		ab, ok := b.(AnonymousBackend)
		if !ok || !o.Anonymous {
			return nil, &Failure{Condition: InvalidMechanism}
		}
		return &anonymousServer{backend: ab}, nil
	case mech == External:
		eb, ok := b.(ExternalBackend)
		if !ok || !o.external() {
			return nil, &Failure{Condition: InvalidMechanism}
		}
		return &externalServer{backend: eb, opts: o}, nil
	case IsToken(mech):
		return newTokenServer(mech, b, o)
	}
	return newScramServer(mech, b, o)
}

// Mechanisms returns the mechanisms that NewServer takes, strongest first.
func Mechanisms(o ServerOptions) []string {
	out := make([]string, 0, len(strongest))
	plus := o.PlusOffered && len(usable(o.Bindings)) > 0
	for _, m := range strongest {
		switch {
		case m == OAuthBearer && (!o.OverTLS || !o.Tokens), m == Anonymous && !o.Anonymous:
		case m == Plain && !o.OverTLS, m == External && !o.external():
		case isPlus(m) && !plus:
		default:
			out = append(out, m)
		}
	}
	return out
}

// external reports whether the client can be expected to log in by EXTERNAL
// (RFC 6120 §6.3.4).
func (o ServerOptions) external() bool { return o.OverTLS && here(o.Identities, o.Domain) }

func isPlus(mech string) bool { return strings.HasSuffix(mech, "-PLUS") }

// authorize returns the account's localpart in canonical form.
//
// RFC 6120 §6.3.8: an authorization identity is a bare JID; acting as anybody
// but oneself is not granted to anyone.
func authorize(username, authzid, domain string) (string, error) {
	account, err := jid.New(username, domain, "")
	if username == "" || err != nil {
		return "", &Failure{Condition: NotAuthorized, Err: err}
	}
	if authzid == "" {
		return account.Local(), nil
	}
	asked, err := jid.Parse(authzid)
	if err != nil || asked != account {
		return "", &Failure{Condition: InvalidAuthzid, Err: err}
	}
	return account.Local(), nil
}
