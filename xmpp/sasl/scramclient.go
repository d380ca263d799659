package sasl

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

type scramClient struct {
	mech     string
	hash     algorithm
	choice   choice
	password string
	memory   *Memory
	header   string // GS2
	bare     string // of the client-first-message
	nonce    string
	offer    ClientOptions
	vouched  bool // the server has vouched for it

	started   bool
	step      func(string) (string, error) // what the next challenge is
	signature []byte                       // what the server must send
	done      bool
}

func newScramClient(mech string, c Credentials, b choice, nonce string) (*scramClient, error) {
	h, err := hashOf(mech)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoMechanism, err)
	}
	username, password, err := c.prepare()
	if err != nil {
		return nil, err
	}
	s := &scramClient{mech: mech, hash: h, choice: b, password: password, memory: c.Memory, nonce: nonce}
	s.header = string(b.flag)
	if b.flag == 'p' {
		s.header += "=" + b.binding.Type
	}
	s.header += ","
	if c.Authzid != "" {
		s.header += "a=" + escape(c.Authzid)
	}
	s.header += ","
	s.bare = "n=" + escape(username) + ",r=" + nonce
	return s, nil
}

func (s *scramClient) Mechanism() string { return s.mech }

func (s *scramClient) Done() bool { return s.done }

// Vouched reports whether the server has vouched for its offer (XEP-0474).
func (s *scramClient) Vouched() bool { return s.vouched && s.done }

func (s *scramClient) Start() ([]byte, error) {
	if s.started {
		return nil, errStarted
	}
	s.started, s.step = true, s.takeFirst
	return []byte(s.header + s.bare), nil
}

func (s *scramClient) Next(challenge []byte) ([]byte, error) {
	step := s.step
	if step == nil {
		if s.done && len(challenge) == 0 {
			return nil, nil
		}
		s.done = false
		return nil, fmt.Errorf("%w: it sent a challenge out of turn", ErrServer)
	}
	s.step = nil // a failure is final
	if len(challenge) > maxMessage || !utf8.Valid(challenge) {
		return nil, fmt.Errorf("%w: its message is no text", ErrServer)
	}
	response, err := step(string(challenge))
	if err != nil || response == "" {
		return nil, err
	}
	return []byte(response), nil
}

// takeFirst answers the server-first-message.
func (s *scramClient) takeFirst(message string) (string, error) {
	if err := serverError(message); err != nil {
		return "", err
	}
	first, reason := parseServerFirst(message)
	switch {
	case reason != "":
		return "", fmt.Errorf("%w: %s", ErrServer, reason)
	case !strings.HasPrefix(first.nonce, s.nonce) || len(first.nonce) == len(s.nonce):
		return "", fmt.Errorf("%w: the nonce is not ours, or nothing was added to it", ErrServer)
	case first.iterations < clientMinIterations || first.iterations > maxIterations:
		return "", fmt.Errorf("%w: %d iterations", ErrServer, first.iterations)
	}
	if err := s.offer.verify(s.hash, first.offer, first.tls, s.choice.vouched); err != nil {
		return "", err
	}
	s.vouched = first.offer != ""
	d, err := s.memory.derive(s.hash, s.password, first.salt, first.iterations)
	if err != nil {
		return "", err
	}
	withoutProof := "c=" + boundTo(s.header, s.choice.binding.Data) + ",r=" + first.nonce
	auth := authMessage(s.bare, first.raw, withoutProof)
	proof := xor(d.clientKey, s.hash.mac(s.hash.sum(d.clientKey), auth))
	s.signature = s.hash.mac(d.serverKey, auth)
	s.password = ""
	s.step = s.takeFinal
	return withoutProof + ",p=" + encode(proof), nil
}

// takeFinal verifies the server-final-message.
func (s *scramClient) takeFinal(message string) (string, error) {
	if err := serverError(message); err != nil {
		return "", err
	}
	values, reason := attributes(message, "v")
	if reason != "" {
		return "", fmt.Errorf("%w: %s", ErrServer, reason)
	}
	if !equal(values[0], encode(s.signature)) {
		return "", fmt.Errorf("%w: it does not know the account's keys", ErrServer)
	}
	s.done = true
	return "", nil
}

// serverError: RFC 5802 §5.1, attribute e.
func serverError(message string) error {
	reason, ok := strings.CutPrefix(message, "e=")
	if !ok {
		return nil
	}
	reason, _, _ = strings.Cut(reason, ",")
	return fmt.Errorf("%w: %q", ErrRefused, reason)
}
