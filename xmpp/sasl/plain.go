package sasl

import (
	"bytes"
	"context"
	"fmt"
	"unicode/utf8"
)

type plainClient struct {
	message []byte
	started bool
	failed  bool
}

func newPlainClient(c Credentials) (Client, error) {
	username, password, err := c.prepare()
	if err != nil {
		return nil, err
	}
	return &plainClient{message: []byte(c.Authzid + "\x00" + username + "\x00" + password)}, nil
}

func (p *plainClient) Mechanism() string { return Plain }

func (p *plainClient) Start() ([]byte, error) {
	if p.started {
		return nil, errStarted
	}
	p.started = true
	return p.message, nil
}

// Next has nothing to answer: PLAIN is one message (RFC 4616 §2).
func (p *plainClient) Next(challenge []byte) ([]byte, error) {
	if !p.started || len(challenge) > 0 {
		p.failed = true
		return nil, fmt.Errorf("%w: it sent a challenge for PLAIN", ErrServer)
	}
	return nil, nil
}

// Done: PLAIN has no proof of the server but its certificate.
func (p *plainClient) Done() bool { return p.started && !p.failed }

type plainServer struct {
	backend  Backend
	opts     ServerOptions
	asked    bool // an empty challenge has been sent
	over     bool
	username string
}

func (p *plainServer) Mechanism() string { return Plain }

func (p *plainServer) Username() string { return p.username }

func (p *plainServer) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	if p.over {
		return nil, false, malformed("the exchange is over")
	}
	if response == nil && !p.asked {
		p.asked = true
		return []byte{}, false, nil
	}
	p.over = true
	username, err := p.check(ctx, response)
	if err != nil {
		return nil, false, err
	}
	p.username = username
	return nil, true, nil
}

func (p *plainServer) check(ctx context.Context, message []byte) (string, error) {
	if len(message) > maxMessage || !utf8.Valid(message) {
		return "", malformed("not a PLAIN message")
	}
	// RFC 4616 §2: [authzid] NUL authcid NUL passwd.
	fields := bytes.Split(message, []byte{0})
	if len(fields) != 3 || len(fields[1]) == 0 || len(fields[2]) == 0 {
		return "", malformed("not a PLAIN message")
	}
	username, err := authorize(string(fields[1]), string(fields[0]), p.opts.Domain)
	if err != nil {
		return "", err
	}
	password, err := prepare(string(fields[2]))
	if err != nil {
		return "", &Failure{Condition: NotAuthorized, Err: err}
	}
	if err := p.backend.Plain(ctx, username, password); err != nil {
		return "", refused(err)
	}
	return username, nil
}
