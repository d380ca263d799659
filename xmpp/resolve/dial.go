package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Dialer connects to domains.
type Dialer struct {
	Resolver Resolver
	// Connect opens a connection to an address; nil: by TCP.
	Connect func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	// Private allows addresses of our own network and of this machine.
	Private bool
	// DANE has what the Resolver says of DNSSEC count, and targets come with their
	// TLSA records (RFC 7673).
	DANE bool
	// Timeout bounds all that is done to get a connection that is good enough;
	// 30 s if it is 0.
	Timeout time.Duration
}

const (
	defaultTimeout = 30 * time.Second
	// fallbackAfter is how long one address is tried before the next one is, too
	// (RFC 8305 §5).
	fallbackAfter = 250 * time.Millisecond
	// targetTimeout bounds connecting to one target, so that the next has a turn.
	targetTimeout = 10 * time.Second
)

// Each connects to the places where a domain listens, one after the other, until try
// is content with one: it returns nil, or an error that is final. Errors that are not
// final are those of one place; the most telling is returned when there is none left.
// The connection is try's to close. The context that try gets ends with Timeout.
func (d *Dialer) Each(ctx context.Context, domain string, s Service, try func(context.Context, net.Conn, Target) (final bool, err error)) error {
	timeout := d.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	targets, err := Targets(ctx, d.Resolver, domain, s)
	if err != nil {
		return err
	}
	for told, rank := error(nil), -1; ; {
		if len(targets) == 0 || ctx.Err() != nil {
			if told == nil {
				told = ctx.Err()
			}
			return told
		}
		t := targets[0]
		targets = targets[1:]
		t.Secure = t.Secure && d.DANE
		conn, err := d.connect(ctx, &t)
		says := saysConnect
		if err == nil {
			var final bool
			if final, err = try(ctx, conn, t); final || err == nil {
				return err
			}
			says = saysTry
		} else if errors.Is(err, ErrNotFound) {
			says = saysNotFound
		}
		if says > rank {
			told, rank = fmt.Errorf("%s: %w", t, err), says
		}
	}
}

// What says more about a domain: of several errors the first of the most telling kind
// is told.
const (
	saysNotFound = iota
	saysConnect
	saysTry
)

// connect opens a connection to a target, at whichever of its addresses answers
// first. It notes the target's TLSA records.
func (d *Dialer) connect(ctx context.Context, t *Target) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, targetTimeout)
	defer cancel()
	var addrs Answer[netip.Addr]
	if a, err := netip.ParseAddr(t.Host); err == nil {
		addrs.Records, t.Secure = []netip.Addr{a}, false // that is no name
	} else if addrs, err = d.Resolver.Addresses(ctx, t.Host); err != nil {
		return nil, err
	}
	allowed := d.allowed(addrs.Records)
	switch {
	case len(addrs.Records) == 0:
		return nil, fmt.Errorf("%w: it has no address", ErrNotFound)
	case len(allowed) == 0:
		return nil, ErrForbidden
	}
	if t.Secure && addrs.Secure {
		var err error
		if t.TLSA, err = d.vouched(ctx, *t); err != nil {
			return nil, err
		}
	}
	return d.race(ctx, alternate(allowed), t.Port)
}

// Vouched returns those places where a domain listens of which it has published the
// certificates, and DNSSEC proves that; none without DANE. Nothing is connected to.
func (d *Dialer) Vouched(ctx context.Context, domain string, s Service) (out []Target, err error) {
	if !d.DANE {
		return nil, nil
	}
	targets, err := Targets(ctx, d.Resolver, domain, s)
	if err != nil {
		return nil, err
	}
	for _, t := range targets {
		if _, err := netip.ParseAddr(t.Host); !t.Secure || err == nil {
			continue
		}
		if addrs, err := d.Resolver.Addresses(ctx, t.Host); err != nil || !addrs.Secure {
			continue // one of several: it is none for us
		}
		if t.TLSA, err = d.vouched(ctx, t); err == nil && len(t.TLSA) > 0 {
			out = append(out, t)
		}
	}
	return out, ctx.Err()
}

// vouched returns the TLSA records of a target. RFC 7673 §3.4: without an answer it is
// not connected to, or who keeps the answer from us would be believed.
func (d *Dialer) vouched(ctx context.Context, t Target) ([]TLSA, error) {
	a, err := d.Resolver.TLSA(ctx, fmt.Sprintf("_%d._tcp.%s", t.Port, t.Host))
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("look up TLSA records: %w", err)
	case !a.Secure:
		return nil, nil
	}
	return a.Records[:min(len(a.Records), maxTLSA)], nil
}

func (d *Dialer) allowed(addrs []netip.Addr) (out []netip.Addr) {
	for _, a := range addrs {
		a = a.Unmap().WithZone("")
		if (d.Private && a.IsValid() || !Private(a)) && len(out) < maxAddresses {
			out = append(out, a)
		}
	}
	return out
}

// alternate puts the families in turn, IPv6 first (RFC 8305 §4).
func alternate(addrs []netip.Addr) []netip.Addr {
	var six, four, out []netip.Addr
	for _, a := range addrs {
		if a.Is4() {
			four = append(four, a)
		} else {
			six = append(six, a)
		}
	}
	for len(six)+len(four) > 0 {
		if len(six) > 0 {
			out, six = append(out, six[0]), six[1:]
		}
		if len(four) > 0 {
			out, four = append(out, four[0]), four[1:]
		}
	}
	return out
}

// race begins with the first address, and with one more whenever a while has passed
// or one has failed. The first connection wins.
func (d *Dialer) race(ctx context.Context, addrs []netip.Addr, port uint16) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		conn net.Conn
		err  error
	}
	results := make(chan result, len(addrs))
	timer := time.NewTimer(fallbackAfter)
	defer timer.Stop()
	next, open := 0, 0
	begin := func() {
		to := netip.AddrPortFrom(addrs[next], port)
		next, open = next+1, open+1
		go func() {
			conn, err := d.open(ctx, to)
			results <- result{conn, err}
		}()
		timer.Reset(fallbackAfter)
	}
	begin()
	var first error
	for {
		select {
		case r := <-results:
			open--
			if r.err == nil {
				go func() { // those that were too late
					for range open {
						if r := <-results; r.conn != nil {
							r.conn.Close()
						}
					}
				}()
				return r.conn, nil
			}
			if first == nil {
				first = r.err
			}
			if next < len(addrs) && ctx.Err() == nil {
				begin()
			} else if open == 0 {
				return nil, first
			}
		case <-timer.C:
			if next < len(addrs) {
				begin()
			}
		}
	}
}

func (d *Dialer) open(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	if d.Connect != nil {
		return d.Connect(ctx, to)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", to.String())
}

// System is the Resolver of the operating system, or of a name server. Nothing that it
// says is Secure.
type System struct{ net *net.Resolver }

// NewSystem returns a Resolver that asks the name server at an address, or if that is
// not valid, whom the system is configured to ask.
func NewSystem(server netip.AddrPort) System {
	if !server.IsValid() {
		return System{net.DefaultResolver}
	}
	return System{&net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server.String())
	}}}
}

// SRV implements Resolver.
func (s System) SRV(ctx context.Context, name string) (Answer[SRV], error) {
	_, records, err := s.net.LookupSRV(ctx, "", "", name+".") // the dot: no search list
	// Records that are no names are left out of an answer, with an error.
	if err != nil && len(records) == 0 {
		return Answer[SRV]{}, notFound(err)
	}
	out := make([]SRV, len(records))
	for i, r := range records {
		out[i] = SRV{r.Target, r.Port, r.Priority, r.Weight}
	}
	return Answer[SRV]{Records: out}, nil
}

// Addresses implements Resolver.
func (s System) Addresses(ctx context.Context, name string) (Answer[netip.Addr], error) {
	addrs, err := s.net.LookupNetIP(ctx, "ip", strings.TrimSuffix(name, ".")+".")
	if err != nil {
		return Answer[netip.Addr]{}, notFound(err)
	}
	return Answer[netip.Addr]{Records: addrs}, nil
}

// TLSA implements Resolver: without knowing who says so, there are none.
func (System) TLSA(context.Context, string) (Answer[TLSA], error) {
	return Answer[TLSA]{}, ErrNotFound
}

func notFound(err error) error {
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return err
}
