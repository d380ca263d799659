package sasl

import (
	"context"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// AnonymousBackend is a Backend that lets people in who have no account.
type AnonymousBackend interface {
	Backend
	// Anonymous makes an account that lasts as long as it is used, and returns its
	// localpart. A Failure says why it does not.
	Anonymous(ctx context.Context) (username string, err error)
}

// maxTrace bounds, in characters, what a client says of itself (RFC 4505 §2).
const maxTrace = 255

// anonymousServer is ANONYMOUS (RFC 4505), by XEP-0175.
type anonymousServer struct {
	backend  AnonymousBackend
	over     bool
	username string
}

func (a *anonymousServer) Mechanism() string { return Anonymous }

func (a *anonymousServer) Username() string { return a.username }

// Next needs no message: XEP-0175 §4 has none, where RFC 4505 §2 has an empty one.
// What a client says of itself is for nothing but to trace it (XEP-0175 §3), which
// its address does better.
func (a *anonymousServer) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	if a.over {
		return nil, false, malformed("the exchange is over")
	}
	a.over = true
	if len(response) > utf8.UTFMax*maxTrace || !utf8.Valid(response) || utf8.RuneCount(response) > maxTrace ||
		strings.ContainsFunc(string(response), unicode.IsControl) {
		return nil, false, malformed("not an ANONYMOUS message")
	}
	username, err := a.backend.Anonymous(ctx)
	if err != nil {
		return nil, false, refused(err)
	}
	a.username = username
	return nil, true, nil
}

// anonymousClient is the client's end. It says nothing of itself (XEP-0175 §3).
type anonymousClient struct{ started, failed bool }

func (a *anonymousClient) Mechanism() string { return Anonymous }

func (a *anonymousClient) Start() ([]byte, error) {
	if a.started {
		return nil, errStarted
	}
	a.started = true
	return []byte{}, nil
}

// Next has nothing to answer: ANONYMOUS is one message (RFC 4505 §2).
func (a *anonymousClient) Next(challenge []byte) ([]byte, error) {
	if !a.started || len(challenge) > 0 {
		a.failed = true
		return nil, fmt.Errorf("%w: it sent a challenge for ANONYMOUS", ErrServer)
	}
	return nil, nil
}

// Done: ANONYMOUS has no proof of the server but its certificate.
func (a *anonymousClient) Done() bool { return a.started && !a.failed }
