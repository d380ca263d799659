package sasl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// OAuthBearer is the mechanism of RFC 7628 for bearer tokens (RFC 6750).
const OAuthBearer = "OAUTHBEARER"

// Statuses of a TokenRefusal: RFC 6750 §3.1.
const (
	InvalidRequest    = "invalid_request"
	InvalidToken      = "invalid_token"
	InsufficientScope = "insufficient_scope"
)

// TokenBackend is a Backend that knows accounts by tokens.
type TokenBackend interface {
	Backend
	// Token returns the localpart, in canonical form, of the account for which a
	// token speaks. One that is not good enough, as "" never is, is refused by a
	// *TokenRefusal.
	Token(ctx context.Context, token string) (username string, err error)
}

// TokenRefusal is why a token is refused, and where there are better ones: what
// RFC 7628 §3.2.2 tells the client.
type TokenRefusal struct {
	Status        string `json:"status"`
	Scope         string `json:"scope,omitempty"`                // to be asked for; may be empty
	Configuration string `json:"openid-configuration,omitempty"` // URL of the issuer's description; may be empty
	Err           error  `json:"-"`                              // for the log; never sent
}

// Error returns the status and the cause.
func (r *TokenRefusal) Error() string {
	s := "sasl: token refused: " + r.Status
	if r.Err != nil {
		s += ": " + r.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (r *TokenRefusal) Unwrap() error { return r.Err }

// Explain adds to a failure what the server has told before about a token: then
// errors.As finds a *TokenRefusal, too.
func Explain(c Client, failure error) error {
	if o, ok := c.(*oauthClient); ok && o.refusal != nil {
		return fmt.Errorf("%w: %w", failure, o.refusal)
	}
	return failure
}

const kvsep = "\x01" // RFC 7628 §3.1

// oauthServer is the server's end. A token that is refused takes one more message
// of the client's than one that is not (§3.2.3).
type oauthServer struct {
	backend  TokenBackend
	opts     ServerOptions
	asked    bool     // an empty challenge has been sent
	told     *Failure // what follows the client's answer to a refusal
	over     bool
	username string
}

func (o *oauthServer) Mechanism() string { return OAuthBearer }

func (o *oauthServer) Username() string { return o.username }

func (o *oauthServer) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	switch {
	case o.over:
		return nil, false, malformed("the exchange is over")
	case o.told != nil: // whatever the client has to say to it
		o.over = true
		return nil, false, o.told
	case response == nil && !o.asked:
		o.asked = true
		return []byte{}, false, nil
	}
	username, err := o.check(ctx, response)
	if r, ok := errors.AsType[*TokenRefusal](err); ok {
		answer, err := json.Marshal(r)
		if err != nil {
			return nil, false, err
		}
		o.told = &Failure{Condition: NotAuthorized, Err: r}
		return answer, false, nil
	}
	o.over = true
	if err != nil {
		return nil, false, err
	}
	o.username = username
	return nil, true, nil
}

func (o *oauthServer) check(ctx context.Context, message []byte) (string, error) {
	authzid, auth, reason := parseBearer(message)
	if reason != "" {
		return "", malformed(reason)
	}
	// The host and port that a client may name are those that it has connected to.
	// They are its own business: behind SRV and NAT we do not know them, and a bearer
	// token is bound to neither.
	username, err := o.backend.Token(ctx, bearer(auth))
	if err != nil {
		return "", tokenError(err)
	}
	return authorize(username, authzid, o.opts.Domain)
}

// tokenError is what a backend's error becomes.
func tokenError(err error) error {
	if r, ok := errors.AsType[*TokenRefusal](err); ok {
		return r
	}
	return refused(err)
}

// parseBearer reads the initial response: a GS2 header, and pairs of which only
// auth matters (RFC 7628 §3.1).
func parseBearer(message []byte) (authzid, auth, reason string) {
	if len(message) > maxMessage || !utf8.Valid(message) {
		return "", "", "invalid-encoding"
	}
	header, rest, reason := parseGS2(string(message))
	switch {
	case reason != "":
		return "", "", reason
	case header.flag == 'p':
		return "", "", "the mechanism has no channel binding"
	}
	const wrong = "not an OAUTHBEARER message"
	pairs, ok := strings.CutPrefix(rest, kvsep)
	if !ok {
		return "", "", wrong
	}
	if pairs, ok = strings.CutSuffix(pairs, kvsep); !ok {
		return "", "", wrong
	}
	seen := false
	for pairs != "" {
		pair, more, ended := strings.Cut(pairs, kvsep)
		key, value, ok := strings.Cut(pair, "=")
		if !ended || !ok || !isKey(key) || strings.ContainsFunc(value, notValue) {
			return "", "", wrong
		}
		if key == "auth" {
			if seen { // which of them?
				return "", "", wrong
			}
			seen, auth = true, value
		}
		pairs = more
	}
	return header.authzid, auth, ""
}

func isKey(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return (r|0x20) < 'a' || (r|0x20) > 'z' })
}

func notValue(r rune) bool {
	return (r < ' ' || r > '~') && r != '\t' && r != '\r' && r != '\n'
}

// bearer returns the token of an Authorization header (RFC 6750 §2.1), "" if it
// holds none.
func bearer(auth string) string {
	scheme, token, _ := strings.Cut(auth, " ")
	token = strings.Trim(token, " ")
	if !strings.EqualFold(scheme, "Bearer") || !isToken(token) {
		return ""
	}
	return token
}

// isToken reports whether s is a b64token.
func isToken(s string) bool {
	s = strings.TrimRight(s, "=")
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		alnum := r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		return !alnum && !strings.ContainsRune("-._~+/", r)
	})
}

// token reports whether OAUTHBEARER can be used; RFC 7628 §3 demands TLS.
func (c Credentials) token(o ClientOptions) bool { return c.Token != "" && o.OverTLS }

type oauthClient struct {
	authzid, token  string
	started, failed bool
	refusal         *TokenRefusal
}

func newOAuthClient(c Credentials) (Client, error) {
	if !isToken(c.Token) {
		return nil, fmt.Errorf("%w: not a bearer token", ErrCredentials)
	}
	return &oauthClient{authzid: c.Authzid, token: c.Token}, nil
}

func (o *oauthClient) Mechanism() string { return OAuthBearer }

func (o *oauthClient) Start() ([]byte, error) {
	if o.started {
		return nil, errStarted
	}
	o.started = true
	as := ""
	if o.authzid != "" {
		as = "a=" + escape(o.authzid)
	}
	return []byte("n," + as + "," + kvsep + "auth=Bearer " + o.token + kvsep + kvsep), nil
}

// Next takes a refusal, and lets the server come to an end (RFC 7628 §3.2.3).
func (o *oauthClient) Next(challenge []byte) ([]byte, error) {
	if !o.started || o.failed {
		o.failed = true
		return nil, fmt.Errorf("%w: it sent a challenge too many for OAUTHBEARER", ErrServer)
	}
	if len(challenge) == 0 { // behind success there is nothing
		return nil, nil
	}
	o.failed = true
	r := new(TokenRefusal)
	if err := json.Unmarshal(challenge, r); err != nil {
		return nil, fmt.Errorf("%w: what it says of the token is no JSON: %w", ErrServer, err)
	}
	o.refusal = r
	return []byte(kvsep), nil
}

// Done: OAUTHBEARER has no proof of the server but its certificate.
func (o *oauthClient) Done() bool { return o.started && !o.failed }
