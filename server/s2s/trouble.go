package s2s

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"kith/xmpp/negotiate"
	"kith/xmpp/resolve"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
)

// trouble is what is known of a domain to which there is no stream.
type trouble struct {
	n     int       // failures in a row
	since time.Time // the first
	until time.Time // no attempt before
	why   *stanza.Error
	final bool // what is sent meanwhile goes back at once
}

// open reports whether stanzas go back at once: the domain has failed for longer than
// anything waits, or there is nothing to wait for. When the time has come the next
// stanza is an attempt again.
func (t *trouble) open(now time.Time, age time.Duration) bool {
	return now.Before(t.until) && (t.final || now.Sub(t.since) >= age)
}

// Waits after failures: doubled with each.
const (
	firstWait      = time.Second
	firstWaitFinal = 10 * time.Second
	maxWait        = 5 * time.Minute
	maxTroubles    = 10_000
)

// verdict is what follows from an error.
type verdict struct {
	why   *stanza.Error
	final bool // it would be the same in a minute
	ours  bool // it concerns only the domain of ours: the peer does not believe it
}

// certificateError says that a peer's certificate is not good enough.
type certificateError struct{ err error }

func (e certificateError) Error() string { return "certificate of the other server: " + e.err.Error() }

func (e certificateError) Unwrap() error { return e.err }

// refusedUs reports whether a peer has refused the certificate that it was shown: by
// SASL, or in TLS, which in version 1.3 shows at the first read.
func refusedUs(err error) bool {
	var op *net.OpError
	return errors.Is(err, negotiate.ErrExternal) || errors.As(err, &op) && op.Op == "remote error"
}

// judge says what the senders of stanzas learn of an error (RFC 6120 §8.3.3.16,
// §8.3.3.17), and what it means for others.
func judge(err error) verdict {
	notFound, timeout := stanza.ErrRemoteServerNotFound, stanza.ErrRemoteServerTimeout
	var cert certificateError
	var record tls.RecordHeaderError
	switch {
	case errors.Is(err, resolve.ErrNotFound):
		return verdict{why: notFound, final: true}
	case errors.Is(err, resolve.ErrForbidden):
		return verdict{why: notFound.With("The domain leads to a private address."), final: true}
	case errors.Is(err, stream.ErrHostUnknown), errors.Is(err, stream.ErrHostGone):
		return verdict{why: notFound, final: true}
	case errors.As(err, &cert):
		return verdict{why: timeout.With("The certificate of the other server is not valid."), final: true}
	case errors.Is(err, negotiate.ErrNoTLS), errors.As(err, &record):
		return verdict{why: timeout.With("The other server offers no encryption."), final: true}
	case refusedUs(err), errors.Is(err, negotiate.ErrDialback), errors.Is(err, negotiate.ErrNotOffered),
		errors.Is(err, stream.ErrNotAuthorized), errors.Is(err, stream.ErrPolicyViolation):
		return verdict{why: timeout.With("The other server does not accept this one."), final: true, ours: true}
	}
	return verdict{why: timeout}
}

// failure is the last error of a domain, for people.
type failure struct {
	At   time.Time
	Text string
}

// key is what a trouble is filed under: the domain, or the pair.
func (v verdict) key(p pair) string {
	if v.ours {
		return p.from + " " + p.to
	}
	return p.to
}

// failed notes a failure.
func (s *Server) failed(p pair, v verdict, err error) {
	now := time.Now()
	s.counts.failed.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.troubles[v.key(p)]
	if t == nil {
		s.forget(now)
		t = &trouble{since: now}
		s.troubles[v.key(p)] = t
	}
	wait := firstWait
	if v.final {
		wait = firstWaitFinal
	}
	t.until = now.Add(min(maxWait, wait<<min(t.n, 16)))
	t.n++
	t.why, t.final = v.why, v.final
	s.note(p.to, err)
}

// maxText is how many bytes of an error are kept: a peer may say much when it ends a
// stream.
const maxText = 500

// note keeps an error for people. s.mu is held.
func (s *Server) note(domain string, err error) {
	if len(s.failures) >= maxTroubles {
		clear(s.failures)
	}
	text := err.Error()
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	s.failures[strings.Clone(domain)] = failure{time.Now(), strings.Clone(text)}
}

// forget makes room for one more. s.mu is held.
func (s *Server) forget(now time.Time) {
	if len(s.troubles) < maxTroubles {
		return
	}
	for k, t := range s.troubles {
		if now.After(t.until) || len(s.troubles) >= maxTroubles {
			delete(s.troubles, k)
		}
	}
}

// succeeded forgets what was.
func (s *Server) succeeded(p pair) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.troubles, verdict{}.key(p))
	delete(s.troubles, verdict{ours: true}.key(p))
}

// troubleWith returns what keeps a pair from being tried now, or did last. s.mu is held.
func (s *Server) troubleWith(p pair, now time.Time) *trouble {
	a, b := s.troubles[verdict{}.key(p)], s.troubles[verdict{ours: true}.key(p)]
	if a == nil || b != nil && b.until.After(a.until) {
		return b
	}
	return a
}

func (s *Server) trouble(p pair, now time.Time) *trouble {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.troubleWith(p, now); t != nil {
		c := *t
		return &c
	}
	return nil
}

// pause is how long a pair must not be tried yet.
func (s *Server) pause(p pair, now time.Time) time.Duration {
	if t := s.trouble(p, now); t != nil {
		return max(0, t.until.Sub(now))
	}
	return 0
}

func (p pair) clone() pair { return pair{strings.Clone(p.from), strings.Clone(p.to)} }

func (p pair) String() string { return fmt.Sprintf("%s to %s", p.from, p.to) }
