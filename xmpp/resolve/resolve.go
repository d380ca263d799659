// Package resolve finds out where a domain listens and connects to it: RFC 6120
// §3.2 with XEP-0368, RFC 2782 and RFC 8305.
//
// What the name service says is a stranger's word. So the number of targets and of
// addresses is bounded, the time for all of it too, and addresses that lead into
// our own network are refused unless they are allowed. What DNSSEC proves of it counts
// only where who validates is trusted (NameServer, Dialer.DANE).
package resolve

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/idna"
)

// Bounds of what is looked at for one domain.
const (
	maxTargets   = 16 // of all SRV records
	maxAddresses = 16 // of one target
)

// Errors of a domain that cannot be reached. Any other is one that may pass.
var (
	// ErrNotFound says that there is no such domain, or that it has nothing of the
	// kind and says so.
	ErrNotFound = errors.New("domain has no such service")
	// ErrForbidden says that a name leads only to addresses that are not allowed.
	ErrForbidden = errors.New("address is private")
	// ErrNoAnswer says that the name server has found no answer, or none that holds.
	ErrNoAnswer = errors.New("no answer from the name service, or a forged one")
)

// SRV is a service record (RFC 2782).
type SRV struct {
	Target           string
	Port             uint16
	Priority, Weight uint16
}

// Answer is what the name service says of a name.
type Answer[T any] struct {
	Records []T
	// Secure says that DNSSEC proves all of it, in the words of somebody who is trusted.
	Secure bool
}

// Resolver asks the name service. What does not exist is an error that wraps
// ErrNotFound; what is forged is another error.
type Resolver interface {
	// SRV returns the records of a name, such as _xmpp-server._tcp.example.org.
	SRV(ctx context.Context, name string) (Answer[SRV], error)
	// Addresses returns the IPv6 and IPv4 addresses of a name.
	Addresses(ctx context.Context, name string) (Answer[netip.Addr], error)
	// TLSA returns the records of a name, such as _5269._tcp.xmpp.example.org.
	TLSA(ctx context.Context, name string) (Answer[TLSA], error)
}

// Service is what is looked for.
type Service struct {
	direct, plain string // SRV labels
	port          uint16 // without SRV records
}

// Client and Server return the services of RFC 6120 §14.7 and §14.8, with those of XEP-0368.
func Client() Service { return Service{"_xmpps-client._tcp.", "_xmpp-client._tcp.", 5222} }

// Server is the one that other servers use.
func Server() Service { return Service{"_xmpps-server._tcp.", "_xmpp-server._tcp.", 5269} }

// Target is one place where a domain listens.
type Target struct {
	Host   string // a name or an IP address
	Port   uint16
	Direct bool // TLS begins at once (XEP-0368)
	// Secure says that DNSSEC proves that the domain listens there, so that the host's
	// name is as good as the domain's (RFC 7673 §4.1).
	Secure bool
	// TLSA are the records of its certificate, proved by DNSSEC (RFC 7673 §3.3).
	TLSA []TLSA
}

// String returns host and port.
func (t Target) String() string { return net.JoinHostPort(t.Host, fmt.Sprint(t.Port)) }

// Targets returns where a domain listens, in the order in which it is to be tried.
func Targets(ctx context.Context, r Resolver, domain string, s Service) ([]Target, error) {
	if _, err := netip.ParseAddr(strings.Trim(domain, "[]")); err == nil {
		return []Target{{Host: strings.Trim(domain, "[]"), Port: s.port}}, nil
	}
	name, err := idna.Punycode.ToASCII(strings.TrimSuffix(domain, "."))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	type answer struct {
		Answer[SRV]
		err error
	}
	later := make(chan answer, 1)
	go func() {
		a, err := r.SRV(ctx, s.direct+name)
		later <- answer{a, err}
	}()
	plain, plainErr := r.SRV(ctx, s.plain+name)
	direct := <-later
	if plainErr != nil && errors.Is(plainErr, ErrNotFound) {
		plain, plainErr = Answer[SRV]{}, nil
	}
	if direct.err != nil && errors.Is(direct.err, ErrNotFound) {
		direct = answer{}
	}
	if len(plain.Records)+len(direct.Records) == 0 {
		if err := cmp.Or(plainErr, direct.err); err != nil {
			// Without an answer nobody knows that the domain has no records, and its
			// address may be somebody else's.
			return nil, fmt.Errorf("look up %s: %w", domain, err)
		}
		return []Target{{Host: name, Port: s.port}}, nil // RFC 6120 §3.2.2
	}
	// XEP-0368 §3: both in one row, by their priorities and weights.
	targets := order(append(marked(plain, false), marked(direct.Answer, true)...))
	if len(targets) == 0 { // RFC 2782: "." says that there is no such service
		return nil, fmt.Errorf("%w: %s says that it has none", ErrNotFound, domain)
	}
	return targets[:min(len(targets), maxTargets)], nil
}

// record is an SRV record that knows of which kind it is, and how it is known.
type record struct {
	SRV
	direct, secure bool
}

func marked(a Answer[SRV], direct bool) (out []record) {
	for _, r := range a.Records {
		if target := strings.TrimSuffix(r.Target, "."); target != "" && r.Port != 0 {
			r.Target = target
			out = append(out, record{r, direct, a.Secure})
		}
	}
	return out
}

// order sorts by priority, and shuffles those of one priority by weight (RFC 2782).
func order(records []record) (targets []Target) {
	slices.SortStableFunc(records, func(a, b record) int { return cmp.Compare(a.Priority, b.Priority) })
	for len(records) > 0 {
		n := 1
		for n < len(records) && records[n].Priority == records[0].Priority {
			n++
		}
		same := slices.Clone(records[:n])
		for len(same) > 0 {
			i := pick(same)
			targets = append(targets, Target{Host: same[i].Target, Port: same[i].Port, Direct: same[i].direct, Secure: same[i].secure})
			same = slices.Delete(same, i, i+1)
		}
		records = records[n:]
	}
	return targets
}

// pick chooses one, the likelier the greater its weight.
func pick(records []record) int {
	var sum uint64
	for _, r := range records {
		sum += uint64(r.Weight) + 1 // so that one of weight 0 has a chance, too
	}
	n := below(sum)
	for i, r := range records {
		if w := uint64(r.Weight) + 1; n < w {
			return i
		} else {
			n -= w
		}
	}
	return len(records) - 1
}

// below returns a random number below n.
func below(n uint64) uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:]) % n // the bias is that of 2^64 to a sum of 16-bit numbers
}

// Private reports whether an address is in somebody's own network, or is none at
// all: where no stranger's name may lead us.
func Private(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsValid() || a.IsPrivate() || a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() ||
		a.IsLinkLocalUnicast() || a.IsInterfaceLocalMulticast() {
		return true
	}
	for _, p := range special() {
		if p.Contains(a) {
			return true
		}
	}
	b := a.As16()
	switch {
	case a.Is4():
		return false
	case netip.MustParsePrefix("64:ff9b::/96").Contains(a): // RFC 6052: an IPv4 address behind it
		return Private(netip.AddrFrom4([4]byte(b[12:16])))
	case netip.MustParsePrefix("2002::/16").Contains(a): // RFC 3056
		return Private(netip.AddrFrom4([4]byte(b[2:6])))
	}
	return false
}

// special are the ranges of RFC 6890 and its kin that are nobody's on the Internet,
// but for those of documentation, which lead nowhere.
func special() [10]netip.Prefix {
	return [...]netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
		netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"),
		netip.MustParsePrefix("::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"),
		netip.MustParsePrefix("fec0::/10"), netip.MustParsePrefix("2001::/32"),
	}
}
