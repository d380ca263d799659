package sasl

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Names of the mechanisms for tokens (XEP-0484). That of tls-unique is left out,
// for TLS 1.3 has no such binding.
const (
	TokenExporter = "HT-SHA-256-EXPR"
	TokenEndPoint = "HT-SHA-256-ENDP"
	TokenUnbound  = "HT-SHA-256-NONE"
)

// TokenMechanisms returns the mechanisms for tokens that a connection allows,
// strongest first. There is none without TLS.
func TokenMechanisms(bindings []Binding, overTLS bool) []string {
	if !overTLS {
		return nil
	}
	var out []string
	for _, b := range usable(bindings) {
		out = append(out, tokenMechanisms[b.Type])
	}
	return append(out, TokenUnbound)
}

// tokenMechanisms are the mechanisms by their type of binding.
var tokenMechanisms = map[string]string{TLSExporter: TokenExporter, TLSServerEndPoint: TokenEndPoint, "": TokenUnbound}

// IsToken reports whether a mechanism is for tokens, be it known or not.
func IsToken(mech string) bool { return strings.HasPrefix(mech, "HT-") }

// DeviceBackend is a Backend that knows the tokens of devices.
type DeviceBackend interface {
	Backend
	// Device finds a token of the user's that is for the mechanism and for which
	// proves says true. If there is none it returns a Failure of NotAuthorized, and
	// calls proves nevertheless; of CredentialsExpired if it is no longer valid.
	Device(ctx context.Context, username, mech string, proves func(token []byte) bool) error
}

// What each end puts before the binding.
const (
	initiator = "Initiator"
	responder = "Responder"
)

// tokenBinding returns the data that a mechanism binds to.
func tokenBinding(mech string, bindings []Binding) ([]byte, bool) {
	if mech == TokenUnbound {
		return nil, true
	}
	for _, b := range usable(bindings) {
		if tokenMechanisms[b.Type] == mech {
			return b.Data, true
		}
	}
	return nil, false
}

func tokenMAC(token []byte, who string, data []byte) []byte {
	w := hmac.New(sha256.New, token)
	w.Write([]byte(who))
	w.Write(data)
	return w.Sum(nil)
}

type tokenClient struct {
	mech, username  string
	token, data     []byte
	started, failed bool
	done            bool
}

// NewTokenClient returns the client's end of a mechanism for tokens.
func NewTokenClient(mech, username string, token []byte, o ClientOptions) (Client, error) {
	data, ok := tokenBinding(mech, o.Bindings)
	switch {
	case !ok || !o.OverTLS:
		return nil, fmt.Errorf("%w: %s on this connection", ErrNoMechanism, mech)
	case username == "" || len(token) == 0 || strings.IndexByte(username, 0) >= 0:
		return nil, fmt.Errorf("%w: user name or token is empty", ErrCredentials)
	}
	return &tokenClient{mech: mech, username: username, token: token, data: data}, nil
}

func (c *tokenClient) Mechanism() string { return c.mech }

func (c *tokenClient) Start() ([]byte, error) {
	if c.started {
		return nil, errStarted
	}
	c.started = true
	return append([]byte(c.username+"\x00"), tokenMAC(c.token, initiator, c.data)...), nil
}

// Next takes what came with success: the server proves that it knows the token.
func (c *tokenClient) Next(challenge []byte) ([]byte, error) {
	if !c.started || c.failed || c.done {
		c.failed, c.done = true, false
		return nil, fmt.Errorf("%w: it sent a challenge out of turn", ErrServer)
	}
	if subtle.ConstantTimeCompare(challenge, tokenMAC(c.token, responder, c.data)) != 1 {
		c.failed = true
		return nil, fmt.Errorf("%w: it does not know the token", ErrServer)
	}
	c.done = true
	return nil, nil
}

func (c *tokenClient) Done() bool { return c.done }

type tokenServer struct {
	mech     string
	backend  DeviceBackend
	domain   string
	data     []byte
	over     bool
	username string
}

func newTokenServer(mech string, b Backend, o ServerOptions) (Server, error) {
	tb, ok := b.(DeviceBackend)
	data, bound := tokenBinding(mech, o.Bindings)
	if !ok || !bound || !slices.Contains(TokenMechanisms(o.Bindings, o.OverTLS), mech) {
		return nil, &Failure{Condition: InvalidMechanism}
	}
	return &tokenServer{mech: mech, backend: tb, domain: o.Domain, data: data}, nil
}

func (s *tokenServer) Mechanism() string { return s.mech }

func (s *tokenServer) Username() string { return s.username }

// Next takes the one message that there is: the user's name, a zero byte, the
// proof. Without it there is no such thing as an empty challenge: the exchange
// has to be over in one round trip (XEP-0484 §4.1).
func (s *tokenServer) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	if s.over {
		return nil, false, malformed("the exchange is over")
	}
	s.over = true
	name, proof, ok := bytes.Cut(response, []byte{0})
	if !ok || len(response) > maxMessage || !utf8.Valid(name) || len(proof) != sha256.Size {
		return nil, false, malformed("not a message of " + s.mech)
	}
	username, err := authorize(string(name), "", s.domain)
	if err != nil {
		return nil, false, err
	}
	var answer []byte
	proves := func(token []byte) bool {
		if !hmac.Equal(proof, tokenMAC(token, initiator, s.data)) {
			return false
		}
		answer = tokenMAC(token, responder, s.data)
		return true
	}
	if err := s.backend.Device(ctx, username, s.mech, proves); err != nil {
		return nil, false, refused(err)
	}
	if answer == nil {
		return nil, false, &Failure{Condition: NotAuthorized}
	}
	s.username = username
	return answer, true, nil
}
