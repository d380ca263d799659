// Package s2s speaks with other servers: RFC 6120 between servers, XEP-0220
// (dialback), XEP-0178 (SASL EXTERNAL), XEP-0368 (direct TLS) and XEP-0478 (limits).
//
// What is sent to another domain waits in the queue of its link, one for each pair
// of a domain of ours and one of theirs, with a goroutine of its own: no domain
// waits for another. A queue is bounded in bytes and in time; what cannot be sent
// goes back to its sender, also when the server stops. A domain that has failed for a
// while is not tried for each stanza.
//
// Links share a stream where the peer permits it. What it has taken is known of each
// pair on each stream; one that it refuses gets a stream of its own.
//
// What another server sends is read as long as there is credit for it, and taken
// from domains only that it has proved, on that stream, to be its own. TLS is
// required, always.
package s2s

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"kith/server/config"
	"kith/server/limit"
	"kith/server/route"
	"kith/xmpp/jid"
	"kith/xmpp/resolve"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

// Parts are what the server is made of.
type Parts struct {
	Config *config.Config
	Router *route.Router
	Secret []byte // of dialback keys (XEP-0185)
	Log    *slog.Logger
	// TLS returns what stream.ServerTLS has made for a domain of ours, or for ""
	// while none was named.
	TLS func(domain string) *tls.Config
	// Certificate returns what is shown of a domain of ours on streams that we
	// begin; nil for nothing.
	Certificate func(domain string) *tls.Certificate
	// Roots returns the authorities of others' certificates; nil: the system's.
	Roots func() *x509.CertPool
}

// Network is how other servers are found and reached; what is nil is usual.
type Network struct {
	Resolver resolve.Resolver
	Connect  func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
}

// Server speaks with other servers.
type Server struct {
	parts      Parts
	router     *route.Router
	log        *slog.Logger
	config     atomic.Pointer[config.Config]
	network    atomic.Pointer[Network]
	waiting    *limit.Slots  // connections that have proved nothing
	handshakes limit.Gate    // TLS handshakes of others under way
	verifiers  chan struct{} // keys of others that are being verified
	turns      *turns        // of them, of one address

	ctx    context.Context // ends with the server
	cancel context.CancelFunc

	mu       sync.Mutex // guards what follows; a link's own is taken after it
	links    map[pair]*link
	streams  map[string]int // links by their domains
	incoming map[*incoming]struct{}
	outgoing map[*outgoing]struct{}
	attempts map[string]chan struct{} // to begin a stream, by domain; closed when they are over
	troubles map[string]*trouble
	failures map[string]failure // the last of a domain, for people to see
	plain    map[pair]time.Time // pairs for which our certificate was refused, and when
	given    map[pair]bool      // up, by a stop
	closing  bool
	linked   sync.WaitGroup // the links' goroutines
	wg       sync.WaitGroup // all others

	counts    counts
	returning atomic.Int64 // links that send back what they had
}

// counts are figures since the start.
type counts struct {
	accepted, refused, sent, received, bounced, spoofed, failed atomic.Int64
}

// pair is a domain of ours and one of theirs.
type pair struct{ from, to string }

const (
	maxLinks          = 10_000 // pairs of domains with something to send
	maxLinksTo        = 64     // of them with one domain: below a component there are as many as anybody likes
	maxVerifiers      = 256
	maxVerifiersPerIP = 16
)

// New returns a server that knows the system's resolver and network.
func New(p Parts) *Server {
	l := p.Config.Limits
	s := &Server{
		parts: p, router: p.Router, log: p.Log,
		waiting:   limit.NewSlots(l.BeforeLogin, l.BeforeLoginPerIP),
		verifiers: make(chan struct{}, maxVerifiers), turns: newTurns(maxVerifiersPerIP),
		links: make(map[pair]*link), streams: make(map[string]int), incoming: make(map[*incoming]struct{}),
		outgoing: make(map[*outgoing]struct{}), attempts: make(map[string]chan struct{}), given: make(map[pair]bool),
		troubles: make(map[string]*trouble), failures: make(map[string]failure), plain: make(map[pair]time.Time),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.Configure(p.Config)
	return s
}

// SetNetwork has other servers found and reached in another way than the
// configuration says. It is called before there is anything to send.
func (s *Server) SetNetwork(n Network) { s.network.Store(&n) }

// Configure has the streams that begin from now on go by c, and all stanzas by its
// lists of domains. What the router has for ours is to be so already.
func (s *Server) Configure(c *config.Config) {
	l := &c.Limits
	old := s.config.Swap(c)
	s.handshakes.Resize(l.Handshakes)
	s.waiting.Resize(l.BeforeLogin, l.BeforeLoginPerIP)
	if old != nil {
		s.mu.Lock()
		clear(s.troubles) // what is configured anew is tried anew
		s.mu.Unlock()
		s.part()
	}
}

// part ends the streams with domains that are not allowed any more, are ours now, or
// were believed more easily than they would be now.
func (s *Server) part() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.incoming {
		if !c.allowed() {
			s.wg.Go(func() { c.end(stream.ErrPolicyViolation) })
		}
	}
	for o := range s.outgoing {
		if !o.allowed() {
			s.wg.Go(func() { o.hangUp(stream.ErrPolicyViolation) })
		}
	}
	for _, l := range s.links {
		l.rouse() // what waits for a stream may have another answer now
	}
}

// dialer returns how others are reached as of now.
func (s *Server) dialer(c *config.Config) *resolve.Dialer {
	d := &resolve.Dialer{Private: c.S2S.Private, Timeout: connectWithin, Connect: connect, DANE: c.S2S.Trusted()}
	if n := s.network.Load(); n != nil {
		d.Resolver = n.Resolver
		if n.Connect != nil {
			d.Connect = n.Connect
		}
	}
	switch {
	case d.Resolver != nil:
	case d.DANE:
		d.Resolver = resolve.NewNameServer(c.S2S.Resolver)
	default:
		d.Resolver = resolve.NewSystem(c.S2S.Resolver)
	}
	return d
}

// permitted returns nil if there may be streams with a domain.
func (s *Server) permitted(domain string) error {
	c := &s.config.Load().S2S
	switch {
	case !c.Enabled:
		return stanza.ErrRemoteServerNotFound
	case listed(c.Deny, domain), len(c.Allow) > 0 && !listed(c.Allow, domain):
		return stanza.ErrNotAllowed.With("This server does not speak with " + domain + ".")
	}
	return nil
}

// needsCertificate reports whether a domain is believed with a certificate only.
func needsCertificate(c *config.Config, domain string) bool {
	return c.S2S.RequireCertificate && !listed(c.S2S.Dialback, domain)
}

// foreign returns nil if there may be streams with a domain, and it is not one of ours.
func (s *Server) foreign(domain string) error {
	if err := s.permitted(domain); err != nil {
		return err
	}
	if !s.acceptable(domain) {
		return stanza.ErrRemoteServerNotFound.With(domain + " has moved to this server. Try again.")
	}
	return nil
}

// listed reports whether a domain, or one above it, is in a list.
func listed(list []jid.JID, domain string) bool {
	for _, j := range list {
		d := j.Domain()
		if domain == d || len(domain) > len(d) && domain[len(domain)-len(d):] == d && domain[len(domain)-len(d)-1] == '.' {
			return true
		}
	}
	return false
}

// Serve accepts connections until the listener is closed; direct says that TLS
// begins at once (XEP-0368).
func (s *Server) Serve(l net.Listener, direct bool) error {
	return limit.Accept(l, s.log, func(c net.Conn) { s.Take(c, direct) })
}

// Take serves one connection, on goroutines of its own.
func (s *Server) Take(conn net.Conn, direct bool) {
	s.counts.accepted.Add(1)
	conf := s.config.Load()
	source := limit.Source(conn.RemoteAddr())
	if !conf.S2S.Enabled || !s.waiting.Take(source) {
		s.counts.refused.Add(1)
		conn.Close()
		return
	}
	c := newIncoming(s, conf, stream.NewTCP(conn, stream.Options{Server: true, Limits: before(conf)}), source)
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		s.waiting.Free(source)
		conn.Close()
		return
	}
	s.incoming[c] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	go c.serve(direct)
}

// before are the limits of a peer that has proved nothing.
func before(c *config.Config) xmltree.Limits {
	l := &c.Limits
	return xmltree.Limits{
		Bytes: int(l.StanzaBeforeLogin), Depth: l.DepthBeforeLogin, Elements: l.Elements, Attrs: l.Attributes, Namespaces: l.Namespaces,
	}
}

// after are those of one that has.
func after(c *config.Config) xmltree.Limits {
	l := &c.Limits
	return xmltree.Limits{
		Bytes: int(l.StanzaServer), Depth: l.Depth, Elements: l.Elements, Attrs: l.Attributes, Namespaces: l.Namespaces,
		Skip: l.Skip(l.StanzaServer),
	}
}
