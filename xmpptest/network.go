package xmpptest

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"

	"kith/server/s2s"
	"kith/xmpp/resolve"
)

// Network is what servers find and reach each other by: a name service and pipes.
// Servers that Join it have certificates of its authority.
type Network struct {
	// STARTTLS and Direct say which records there are for each server.
	STARTTLS, Direct bool
	// Through, if it is not nil, stands between the two ends of each connection:
	// it gets the one of who connects and returns what he has.
	Through func(c *Conn) net.Conn

	// Signature, if it is not nil, says what DNSSEC makes of the answers for a name and a
	// type, "SRV", "A" or "TLSA".
	Signature func(name, typ string) Signature
	// Published are the TLSA records of names such as
	// _5270._tcp.stranger.evil.example.
	Published map[string][]resolve.TLSA

	// Sockets has the servers connected by sockets on loopback, for measurements; else
	// they are by pipes.
	Sockets bool

	mu        sync.Mutex // guards what follows
	strangers map[string]func(c net.Conn, direct bool)
	servers   []*Server
	authority *authority
	port      int
}

// Signature is what DNSSEC makes of an answer.
type Signature int

// There is none; one that holds; one that does not.
const (
	Unsigned Signature = iota
	Signed
	Forged
)

// errForged is what a resolver says of an answer whose signature does not hold.
var errForged = errors.New("the signature does not hold")

// signed says what DNSSEC makes of an answer.
func (n *Network) signed(name, typ string) (secure bool, err error) {
	if n.Signature == nil {
		return false, nil
	}
	switch n.Signature(strings.TrimSuffix(name, "."), typ) {
	case Signed:
		return true, nil
	case Forged:
		return false, errForged
	}
	return false, nil
}

// NewNetwork returns a network without servers.
func NewNetwork() *Network { return &Network{STARTTLS: true, Direct: true, port: 40000} }

// Join puts the server into a network, so that it speaks with others.
func Join(n *Network) Option { return func(o *options) { o.network = n } }

// Elsewhere has some hosts live at a second server, in a network with the first one.
// Whoever is at one of them connects to it.
func Elsewhere(hosts ...string) Option {
	return func(o *options) { o.elsewhere = append(o.elsewhere, hosts...) }
}

// add gives a server its place.
func (n *Network) add(s *Server) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.servers = append(n.servers, s)
}

// Stranger makes a domain that of a server which the test plays itself: each connection
// to it is given to serve, which returns at once.
func (n *Network) Stranger(domain string, serve func(c net.Conn, direct bool)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.strangers == nil {
		n.strangers = make(map[string]func(net.Conn, bool))
	}
	n.strangers[domain] = serve
}

// stranger returns what serves the connections to an address of a server that the test
// plays, or nil.
func (n *Network) stranger(at netip.Addr) func(c net.Conn, direct bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for domain, serve := range n.strangers {
		if strangerAddr(domain) == at {
			return serve
		}
	}
	return nil
}

// isStranger tells whether the test plays the domain's server.
func (n *Network) isStranger(domain string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.strangers[domain] != nil
}

// Authority issues what is a certificate in this network. It is made when it is
// needed, for the time in a bubble is another.
func (n *Network) issuer() (*authority, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.authority == nil {
		a, err := newAuthority()
		if err != nil {
			return nil, err
		}
		n.authority = a
	}
	return n.authority, nil
}

const (
	netDomain    = "net.example"
	strangerHost = "stranger."
)

// strangerAddr is the address of a server that a test plays.
func strangerAddr(domain string) netip.Addr {
	sum := sha256.Sum256([]byte(domain))
	return netip.AddrFrom4([4]byte{203, 0, sum[0]%100 + 1, sum[1]})
}

// Certificate issues one for servers, which those of the network trust: for these
// names or, if change is not nil, as that makes it.
func (n *Network) Certificate(change func(t *x509.Certificate), names ...string) (tls.Certificate, error) {
	by, err := n.issuer()
	if err != nil {
		return tls.Certificate{}, err
	}
	t := &x509.Certificate{
		Subject:  pkix.Name{CommonName: "stranger"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, DNSNames: names,
	}
	if change != nil {
		change(t)
	}
	key, der, err := issue(by, t)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// Roots is the authority of the network.
func (n *Network) Roots() (*x509.CertPool, error) {
	by, err := n.issuer()
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(by.cert)
	return pool, nil
}

// SRV implements resolve.Resolver.
func (n *Network) SRV(_ context.Context, name string) (out resolve.Answer[resolve.SRV], err error) {
	if out.Secure, err = n.signed(name, "SRV"); err != nil {
		return out, err
	}
	service, domain, _ := strings.Cut(name, "._tcp.")
	record := resolve.SRV{Port: 5269, Priority: 10}
	if service == "_xmpps-server" {
		record = resolve.SRV{Port: 5270, Priority: 5}
	}
	if service == "_xmpps-server" && !n.Direct || service == "_xmpp-server" && !n.STARTTLS {
		return out, resolve.ErrNotFound
	}
	if n.isStranger(domain) {
		record.Target = strangerHost + domain + "."
		out.Records = []resolve.SRV{record}
		return out, nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, s := range n.servers {
		for _, h := range s.hosts {
			if domain == h || strings.HasSuffix(domain, "."+h) {
				record.Target = fmt.Sprintf("s%d.%s.", i, netDomain)
				out.Records = []resolve.SRV{record}
				return out, nil
			}
		}
	}
	return out, resolve.ErrNotFound
}

// Addresses implements resolve.Resolver.
func (n *Network) Addresses(_ context.Context, name string) (out resolve.Answer[netip.Addr], err error) {
	if out.Secure, err = n.signed(name, "A"); err != nil {
		return out, err
	}
	if domain, ok := strings.CutPrefix(name, strangerHost); ok && n.isStranger(domain) {
		out.Records = []netip.Addr{strangerAddr(domain)}
		return out, nil
	}
	var i byte
	if _, err := fmt.Sscanf(name, "s%d."+netDomain, &i); err != nil {
		return out, resolve.ErrNotFound
	}
	out.Records = []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, 100 + i})}
	return out, nil
}

// TLSA implements resolve.Resolver.
func (n *Network) TLSA(_ context.Context, name string) (out resolve.Answer[resolve.TLSA], err error) {
	if out.Secure, err = n.signed(name, "TLSA"); err != nil {
		return out, err
	}
	if out.Records = n.Published[name]; len(out.Records) == 0 {
		return out, resolve.ErrNotFound
	}
	return out, nil
}

// Connect opens a connection to a server.
func (n *Network) Connect(_ context.Context, to netip.AddrPort) (net.Conn, error) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: syscall.ECONNREFUSED}
	if serve := n.stranger(to.Addr()); serve != nil {
		ours, theirs := Pipe(bufferSize, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 98), Port: 40000}, net.TCPAddrFromAddrPort(to))
		serve(theirs, to.Port() == 5270)
		return ours, nil
	}
	n.mu.Lock()
	i := int(to.Addr().As4()[3]) - 100
	if i < 0 || i >= len(n.servers) {
		n.mu.Unlock()
		return nil, refused
	}
	s := n.servers[i]
	n.port++
	port := n.port
	n.mu.Unlock()
	inside := s.running.Load()
	if inside == nil {
		return nil, refused
	}
	if n.Sockets {
		ours, theirs, err := loopback()
		if err != nil {
			return nil, err
		}
		inside.Federation().Take(theirs, to.Port() == 5270)
		return ours, nil
	}
	ours, theirs := Pipe(s.opts.buffer, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 99), Port: port}, net.TCPAddrFromAddrPort(to))
	inside.Federation().Take(theirs, to.Port() == 5270)
	if n.Through != nil {
		return n.Through(ours), nil
	}
	return ours, nil
}

// loopback returns the two ends of a connection on loopback.
func loopback() (ours, theirs net.Conn, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	if ours, err = net.Dial("tcp", l.Addr().String()); err != nil {
		return nil, nil, err
	}
	theirs, err = l.Accept()
	return ours, theirs, err
}

func (n *Network) reach() s2s.Network { return s2s.Network{Resolver: n, Connect: n.Connect} }

// home is the server of a host: this one, or the other.
func (s *Server) home(host string) *Server {
	if s.other != nil && slices.Contains(s.other.hosts, host) {
		return s.other
	}
	return s
}

// Other is the server of those who live Elsewhere; nil if nobody does.
func (s *Server) Other() *Server { return s.other }

// DialServer opens a connection as another server does, from an address of its own.
func (s *Server) DialServer(direct bool) *Conn {
	s.port++
	to := 5269
	if direct {
		to = 5270
	}
	ours, theirs := Pipe(s.opts.buffer,
		&net.TCPAddr{IP: net.IPv4(192, 0, 2, 50), Port: s.port}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 254), Port: to})
	s.server.Federation().Take(theirs, direct)
	return ours
}

// settle starts the second server of a test.
func (s *Server) settle() {
	if len(s.opts.elsewhere) == 0 {
		return
	}
	o := s.opts
	o.elsewhere, o.components, o.hosts, o.second = nil, nil, s.opts.elsewhere, true
	s.other = newServer(s.t, o)
}
