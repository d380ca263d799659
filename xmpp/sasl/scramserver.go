package sasl

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"strconv"
	"unicode/utf8"
)

var errWeakKeys = errors.New("sasl: stored keys are incomplete or too weak")

type scramServer struct {
	mech     string
	hash     algorithm
	backend  Backend
	opts     ServerOptions
	bindings []Binding
	nonce    func() string // overridden by the vectors of the RFCs

	step  func(context.Context, string) (string, error) // what the next response is
	asked bool                                          // an empty challenge has been sent

	first    clientFirst
	answer   string // the server-first-message
	expected string // the value of "c"
	keys     Keys
	account  string // who claims to be authenticated
	done     bool
}

func newScramServer(mech string, b Backend, o ServerOptions) (Server, error) {
	h, err := hashOf(mech)
	if err != nil {
		return nil, &Failure{Condition: InvalidMechanism}
	}
	s := &scramServer{mech: mech, hash: h, backend: b, opts: o, bindings: usable(o.Bindings), nonce: rand.Text}
	if isPlus(mech) && (!o.PlusOffered || len(s.bindings) == 0) {
		return nil, &Failure{Condition: InvalidMechanism}
	}
	if o.MinIterations == 0 {
		o.MinIterations = MinIterations
	}
	s.opts.MinIterations = max(o.MinIterations, clientMinIterations)
	s.step = s.takeFirst
	return s, nil
}

func (s *scramServer) Mechanism() string { return s.mech }

func (s *scramServer) Username() string {
	if !s.done {
		return ""
	}
	return s.account
}

func (s *scramServer) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	step := s.step
	if step == nil {
		return nil, false, malformed("the exchange is over")
	}
	if response == nil && !s.asked && s.answer == "" {
		s.asked = true
		return []byte{}, false, nil
	}
	s.step = nil // a failure is final
	if len(response) > maxMessage || !utf8.Valid(response) {
		return nil, false, malformed("invalid-encoding")
	}
	challenge, err := step(ctx, string(response))
	if err != nil {
		return nil, false, err
	}
	return []byte(challenge), s.done, nil
}

// takeFirst answers the client-first-message. It does not tell whether the
// account exists.
func (s *scramServer) takeFirst(ctx context.Context, message string) (string, error) {
	first, reason := parseClientFirst(message)
	if reason != "" {
		return "", malformed(reason)
	}
	data, err := s.bind(first.gs2)
	if err != nil {
		return "", err
	}
	if s.account, err = authorize(first.username, first.authzid, s.opts.Domain); err != nil {
		return "", err
	}
	keys, err := s.backend.SCRAM(ctx, s.account, s.hash.name)
	if err != nil {
		return "", refused(err)
	}
	if !keys.complete(s.hash, s.opts.MinIterations) {
		return "", &Failure{Condition: TemporaryAuthFailure, Err: errWeakKeys}
	}
	s.first, s.keys = first, keys
	s.expected = boundTo(first.gs2.raw, data)
	s.first.nonce += s.nonce()
	s.answer = "r=" + s.first.nonce + ",s=" + encode(keys.Salt) + ",i=" + strconv.Itoa(keys.Iterations) + s.opts.vouch(s.hash)
	s.step = s.takeFinal
	return s.answer, nil
}

// bind returns the data that the client must have bound to, and refuses what
// RFC 5802 §6 refuses.
func (s *scramServer) bind(h gs2) ([]byte, error) {
	no := func(text string) error { return &Failure{Condition: NotAuthorized, Text: text} }
	switch {
	case h.flag == 'y' && s.opts.PlusOffered:
		// The client has not seen the -PLUS that we offered.
		return nil, no("server-does-support-channel-binding")
	case h.flag == 'p' && !isPlus(s.mech), h.flag != 'p' && isPlus(s.mech):
		return nil, malformed("the channel binding flag does not fit the mechanism")
	case h.flag != 'p':
		return nil, nil
	}
	for _, b := range s.bindings {
		if b.Type == h.binding {
			return b.Data, nil
		}
	}
	return nil, no("unsupported-channel-binding-type")
}

// takeFinal verifies the client-final-message.
func (s *scramServer) takeFinal(_ context.Context, message string) (string, error) {
	final, reason := parseClientFinal(message)
	if reason != "" {
		return "", malformed(reason)
	}
	if !equal(final.nonce, s.first.nonce) {
		return "", &Failure{Condition: NotAuthorized, Text: "another nonce"}
	}
	if !equal(final.binding, s.expected) {
		return "", &Failure{Condition: NotAuthorized, Text: "channel-bindings-dont-match"}
	}
	message = authMessage(s.first.bare, s.answer, final.withoutProof)
	if len(final.proof) != s.hash.new().Size() {
		return "", malformed("invalid proof")
	}
	serverKey := s.keys.prove(func(stored []byte) bool {
		clientKey := xor(final.proof, s.hash.mac(stored, message))
		return subtle.ConstantTimeCompare(s.hash.sum(clientKey), stored) == 1
	})
	if serverKey == nil {
		return "", &Failure{Condition: NotAuthorized}
	}
	s.done = true
	return "v=" + encode(s.hash.mac(serverKey, message)), nil
}

// equal compares in constant time.
func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
