package s2s

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"kith/server/config"
	"kith/xmpp/negotiate"
	"kith/xmpp/resolve"
	"kith/xmpp/stream"
)

// A stream of ours carries stanzas of more pairs than the one that it was begun for
// (XEP-0220 §2.6), once the peer has taken each by dialback. What is known of a pair is
// the stream's; a pair that the peer refuses has a stream of its own.

// lookupWithin bounds looking for a stream that leads where a domain listens.
const lookupWithin = 5 * time.Second

// question is a pair that a peer was asked to take on a stream. It is asked once.
type question struct {
	answered chan struct{} // closed with the answer
	err      error         // nil: it does; set before answered is closed
}

// Why a pair is not taken on a stream, but for what the peer says.
var (
	errSilent = errors.New("the other server did not answer")
	errOver   = errors.New("the stream has ended")
)

// along is a stream of ours as a carrier for another pair than its first.
type along struct {
	*outgoing
	pair pair
}

// lost implements carrier.
func (a along) lost() []entry { return a.ledger.lost(a.pair) }

// unsettled implements carrier.
func (a along) unsettled() int { return a.ledger.owed(a.pair) }

// describe implements carrier.
func (a along) describe(i *Info) {
	a.outgoing.describe(i)
	i.Authentication, i.Certificate, i.Shared = negotiate.DialbackMechanism, judged(a.certified(a.pair.to)), true
}

// share returns a stream that was begun for another pair and carries this one's stanzas,
// too; nil if there is none. Where it would have to look up where the domain listens, it
// does so only with look.
func (l *link) share(look bool) carrier {
	if l.alone {
		return nil
	}
	o := l.s.companion(l.pair, look)
	if o == nil {
		return nil
	}
	l.setDialing(true)
	defer l.setDialing(false)
	if err := o.admit(l.s.ctx, l.pair); err != nil {
		l.alone = true
		l.s.log.Info("pair of domains gets a stream of its own", "from", l.from, "to", l.to, "not on that of", o.pair.String(), "error", err)
		return nil
	}
	if !o.allowed() || l.s.permitted(l.to) != nil { // since it was asked
		return nil
	}
	l.s.log.Info("stream to another server shared", "from", l.from, "to", l.to, "with", o.pair.String())
	return along{o, l.pair}
}

// companion returns a stream on which a pair may be asked for: to the same domain or,
// with look, to another one that listens at the same place.
func (s *Server) companion(p pair, look bool) *outgoing {
	conf := s.config.Load()
	nameless := s.parts.Certificate(p.from) == nil
	s.mu.Lock()
	all := slices.Collect(maps.Keys(s.outgoing)) // to look at certificates takes its time
	s.mu.Unlock()
	var others []*outgoing
	for _, o := range all {
		known := o.speaksFor(p.to)
		switch {
		case !known && !look || !o.takes(p, nameless, needsCertificate(conf, p.to)):
		case known:
			return o
		default:
			others = append(others, o)
		}
	}
	if len(others) == 0 {
		return nil
	}
	return s.beside(conf, p.to, others)
}

// beside returns the stream that leads to where a domain listens (XEP-0220 §2.6.2). A
// domain that may have published its certificates has one of its own, which is judged
// by these.
func (s *Server) beside(conf *config.Config, to string, among []*outgoing) *outgoing {
	ctx, cancel := context.WithTimeout(s.ctx, lookupWithin)
	defer cancel()
	dialer := s.dialer(conf)
	resolver := dialer.Resolver
	targets, err := resolve.Targets(ctx, resolver, to, resolve.Server())
	if err != nil {
		return nil // who connects will tell
	}
	for _, t := range targets {
		if dialer.DANE && t.Secure {
			return nil
		}
		same := slices.DeleteFunc(slices.Clone(among), func(o *outgoing) bool { return o.target.Port != t.Port || o.target.Direct != t.Direct })
		for _, o := range same {
			if strings.EqualFold(o.target.Host, t.Host) {
				return o
			}
		}
		if len(same) == 0 {
			continue
		}
		addrs, err := addresses(ctx, resolver, t.Host)
		if err != nil {
			continue
		}
		for _, o := range same {
			if at, err := netip.ParseAddrPort(o.conn.RemoteAddr().String()); err == nil && slices.Contains(addrs, at.Addr().Unmap().WithZone("")) {
				return o
			}
		}
	}
	return nil
}

func addresses(ctx context.Context, r resolve.Resolver, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}, nil
	}
	a, err := r.Addresses(ctx, host)
	for i := range a.Records {
		a.Records[i] = a.Records[i].Unmap().WithZone("")
	}
	return a.Records, err
}

// takes reports whether a pair may be asked for on the stream. The peer must be one
// that refuses it without ending the stream. It sees the certificates that were shown
// when the stream began: ours has to be good for our domain, since some end the stream
// where it is not; and theirs for theirs, still.
func (o *outgoing) takes(p pair, nameless, strict bool) bool {
	if !o.st.DialbackErrors || o.conn.Closing() ||
		strict && (o.certified(p.to) != nil || p.to != o.pair.to && time.Now().After(o.theirs.until)) {
		return false
	}
	if o.ours == nil && !nameless || o.ours != nil && o.ours.of(domain(p.from)) != nil {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	q := o.pairs[p]
	return q == nil && len(o.pairs) < maxPairs || q.holds()
}

// certified returns nil if the peer has shown a certificate for a domain. What DNSSEC
// has proved counts as long as who says so is trusted.
func (o *outgoing) certified(to string) error {
	if to == o.pair.to && (!o.target.Secure || o.s.config.Load().S2S.Trusted()) {
		return o.proof.err
	}
	return o.theirs.of(domain(to))
}

// admit asks the peer to take a pair, and waits for its answer (XEP-0220 §2.1.1).
func (o *outgoing) admit(ctx context.Context, p pair) error {
	ctx, cancel := context.WithTimeoutCause(ctx, connectWithin, errSilent)
	defer cancel()
	select {
	case o.asking <- struct{}{}:
		defer func() { <-o.asking }()
	case <-o.done:
		return errOver
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	q, first := o.question(p)
	if first {
		key := negotiate.DialbackKey(o.s.parts.Secret, domain(p.to), domain(p.from), o.st.ID)
		if err := stream.Write(o.conn, negotiate.Dialback{From: domain(p.from), To: domain(p.to), Key: key}); err != nil {
			return err
		}
	}
	select {
	case <-q.answered:
		return q.err
	case <-o.done:
		return errOver // §2.1.1: as good as refused
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// question notes that a pair is asked for; first is false if it was before.
func (o *outgoing) question(p pair) (q *question, first bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if q = o.pairs[p]; q != nil {
		return q, false
	}
	q = &question{answered: make(chan struct{})}
	o.pairs[p.clone()] = q
	return q, true
}

// answer takes what the peer says of a pair. It reports whether that was asked, on this
// stream, and not answered yet (XEP-0220 §4). (Reader.)
func (o *outgoing) answer(d negotiate.Dialback) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	q := o.pairs[pair{d.To.Domain(), d.From.Domain()}]
	if q == nil || q.settled() {
		return false
	}
	switch {
	case d.Err != nil:
		q.err = fmt.Errorf("%w: %w", negotiate.ErrDialback, d.Err)
	case d.Verdict != negotiate.Valid:
		q.err = negotiate.ErrDialback
	}
	close(q.answered)
	return true
}

func (q *question) settled() bool {
	select {
	case <-q.answered:
		return true
	default:
		return false
	}
}

// holds reports whether the peer takes the pair.
func (q *question) holds() bool { return q != nil && q.settled() && q.err == nil }

// first is the question that the stream was begun with.
func first(p pair) map[pair]*question {
	q := &question{answered: make(chan struct{})}
	close(q.answered)
	return map[pair]*question{p: q}
}

// knows reports whether the peer takes a pair on the stream.
func (o *outgoing) knows(p pair) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.pairs[p].holds()
}

// speaksFor reports whether the peer is a domain's server: what is sent there it takes.
func (o *outgoing) speaksFor(domain string) bool {
	if domain == o.pair.to {
		return true
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for p, q := range o.pairs {
		if p.to == domain && q.holds() {
			return true
		}
	}
	return false
}

// domains are those that the peer is the server of.
func (o *outgoing) domains() (all []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for p, q := range o.pairs {
		if q.holds() {
			all = append(all, p.to)
		}
	}
	return all
}

// allowed reports whether the configuration of now has the stream go on.
func (o *outgoing) allowed() bool {
	conf := o.s.config.Load()
	for _, d := range o.domains() {
		if !o.s.acceptable(d) || needsCertificate(conf, d) && o.certified(d) != nil {
			return false
		}
	}
	return true
}

// names are those of a certificate of ours; nil without one.
func names(cert *tls.Certificate) *proof {
	if cert == nil || len(cert.Certificate) == 0 {
		return nil
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return &proof{err: err}
	}
	names, err := alternatives(leaf)
	return &proof{err: err, names: names}
}

// underway returns what is closed when somebody else's attempt to begin a stream to a
// domain is over; nil if there is none.
func (s *Server) underway(to string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attempts[to]
}

// attempting lets others wait for an attempt, whose stream may be good for them, too.
func (s *Server) attempting(to string) (over func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.attempts[to] != nil {
		return func() {}
	}
	c := make(chan struct{})
	s.attempts[to] = c
	return func() {
		s.mu.Lock()
		delete(s.attempts, to)
		s.mu.Unlock()
		close(c)
	}
}
