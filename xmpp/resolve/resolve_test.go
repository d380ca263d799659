package resolve_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kith/xmpp/resolve"
)

// zone is a name service that knows what a test says.
type zone struct {
	srv   map[string][]resolve.SRV
	addrs map[string][]string
	tlsa  map[string][]resolve.TLSA
	fails map[string]error
	slow  time.Duration
	// secure are the names whose answers DNSSEC proves.
	secure map[string]bool
}

func (z zone) SRV(ctx context.Context, name string) (out resolve.Answer[resolve.SRV], err error) {
	if err := z.wait(ctx, name); err != nil {
		return out, err
	}
	if records, ok := z.srv[name]; ok {
		return resolve.Answer[resolve.SRV]{Records: records, Secure: z.secure[name]}, nil
	}
	return out, fmt.Errorf("%s: %w", name, resolve.ErrNotFound)
}

func (z zone) Addresses(ctx context.Context, name string) (out resolve.Answer[netip.Addr], err error) {
	if err := z.wait(ctx, name); err != nil {
		return out, err
	}
	for _, a := range z.addrs[name] {
		out.Records = append(out.Records, netip.MustParseAddr(a))
	}
	if out.Secure = z.secure[name]; out.Records == nil {
		err = resolve.ErrNotFound
	}
	return out, err
}

func (z zone) TLSA(ctx context.Context, name string) (out resolve.Answer[resolve.TLSA], err error) {
	if err := z.wait(ctx, name); err != nil {
		return out, err
	}
	if records, ok := z.tlsa[name]; ok {
		return resolve.Answer[resolve.TLSA]{Records: records, Secure: z.secure[name]}, nil
	}
	return out, resolve.ErrNotFound
}

func (z zone) wait(ctx context.Context, name string) error {
	if err := z.fails[name]; err != nil {
		return err
	}
	if z.slow == 0 {
		return nil
	}
	select {
	case <-time.After(z.slow):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

const plain, tls = "_xmpp-server._tcp.", "_xmpps-server._tcp."

func TestTargets(t *testing.T) {
	broken := errors.New("no answer")
	for _, tt := range []struct {
		name, domain string
		zone         zone
		want         []resolve.Target
		err          error
	}{
		{"RFC 6120 §3.2.2: no records", "a.example", zone{}, []resolve.Target{{Host: "a.example", Port: 5269}}, nil},
		{"an address", "192.0.2.7", zone{}, []resolve.Target{{Host: "192.0.2.7", Port: 5269}}, nil},
		{"an IPv6 address", "[2001:db8::7]", zone{}, []resolve.Target{{Host: "2001:db8::7", Port: 5269}}, nil},
		{"in A-labels", "bücher.example", zone{srv: map[string][]resolve.SRV{plain + "xn--bcher-kva.example": {{Target: "h.example.", Port: 1}}}},
			[]resolve.Target{{Host: "h.example", Port: 1}}, nil},
		{"by priority, both kinds in one row", "a.example", zone{srv: map[string][]resolve.SRV{
			plain + "a.example": {{Target: "c.example", Port: 3, Priority: 30}, {Target: "a.example", Port: 1, Priority: 10}},
			tls + "a.example":   {{Target: "b.example", Port: 2, Priority: 20}},
		}}, []resolve.Target{{Host: "a.example", Port: 1}, {Host: "b.example", Port: 2, Direct: true}, {Host: "c.example", Port: 3}}, nil},
		{"XEP-0368: only direct TLS", "a.example", zone{srv: map[string][]resolve.SRV{
			tls + "a.example": {{Target: "b.example", Port: 2}},
		}}, []resolve.Target{{Host: "b.example", Port: 2, Direct: true}}, nil},
		{"RFC 2782: there is none", "a.example", zone{srv: map[string][]resolve.SRV{plain + "a.example": {{Target: ".", Port: 1}}}}, nil, resolve.ErrNotFound},
		{"there is none of one kind", "a.example", zone{srv: map[string][]resolve.SRV{
			plain + "a.example": {{Target: "."}}, tls + "a.example": {{Target: "b.example", Port: 2}},
		}}, []resolve.Target{{Host: "b.example", Port: 2, Direct: true}}, nil},
		{"no answer is not no records", "a.example", zone{fails: map[string]error{plain + "a.example": broken}}, nil, broken},
		{"no answer for one kind", "a.example", zone{
			fails: map[string]error{tls + "a.example": broken},
			srv:   map[string][]resolve.SRV{plain + "a.example": {{Target: "b.example", Port: 2}}},
		}, []resolve.Target{{Host: "b.example", Port: 2}}, nil},
	} {
		got, err := resolve.Targets(t.Context(), tt.zone, tt.domain, resolve.Server())
		if !reflect.DeepEqual(got, tt.want) || !errors.Is(err, tt.err) {
			t.Errorf("%s: Targets(%q) = %v, %v; want %v, %v", tt.name, tt.domain, got, err, tt.want, tt.err)
		}
	}
}

// TestWeights: RFC 2782 wants them to be chosen in proportion.
func TestWeights(t *testing.T) {
	z := zone{srv: map[string][]resolve.SRV{plain + "a.example": {{Target: "heavy.example", Port: 1, Weight: 90}, {Target: "light.example", Port: 1, Weight: 10}}}}
	first := map[string]int{}
	for range 2000 {
		targets, err := resolve.Targets(t.Context(), z, "a.example", resolve.Server())
		if err != nil || len(targets) != 2 {
			t.Fatalf("Targets = %v, %v", targets, err)
		}
		first[targets[0].Host]++
	}
	if n := first["light.example"]; n < 100 || n > 350 {
		t.Errorf("the light one came first %d times of 2000, want about 215", n)
	}
}

func TestPrivate(t *testing.T) {
	for _, tt := range []struct {
		want  bool
		addrs string
	}{
		{true, "127.0.0.1 10.0.0.1 172.16.0.1 192.168.1.1 169.254.1.1 100.64.0.1 0.0.0.0 0.1.2.3 224.0.0.1 240.0.0.1 255.255.255.255 198.18.0.1 192.0.0.1"},
		{true, ":: ::1 fe80::1 fc00::1 fd12::1 ff02::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::127.0.0.1 64:ff9b::10.0.0.1 64:ff9b::7f00:1 2002:7f00:1:: 2002:a00:1:: fec0::1 64:ff9b:1::1 2001::1 100::1"},
		{false, "8.8.8.8 192.0.2.1 172.32.0.1 100.128.0.1 2001:4860:4860::8888 2001:db8::1 64:ff9b::808:808 2002:808:808:: ::ffff:8.8.8.8"},
	} {
		for _, a := range strings.Fields(tt.addrs) {
			if got := resolve.Private(netip.MustParseAddr(a)); got != tt.want {
				t.Errorf("Private(%s) = %v, want %v", a, got, tt.want)
			}
		}
	}
	if !resolve.Private(netip.Addr{}) {
		t.Error("Private of no address is false")
	}
}

// net0 is a network in which some addresses answer.
type net0 struct {
	mu    sync.Mutex // guards tried
	tried []string
	after map[string]time.Duration // when one answers; others never do
}

func (n *net0) connect(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	n.mu.Lock()
	n.tried = append(n.tried, to.String())
	d, ok := n.after[to.String()]
	n.mu.Unlock()
	if !ok {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if d > 0 {
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	a, b := net.Pipe()
	b.Close()
	return a, nil
}

func each(ctx context.Context, d *resolve.Dialer, domain string) (reached []string, err error) {
	err = d.Each(ctx, domain, resolve.Server(), func(_ context.Context, c net.Conn, t resolve.Target) (bool, error) {
		c.Close()
		reached = append(reached, t.String())
		return false, nil
	})
	return reached, err
}

// TestRace: RFC 8305: a family that does not answer costs a quarter of a second.
func TestRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &net0{after: map[string]time.Duration{"192.0.2.1:5269": time.Millisecond}}
		d := &resolve.Dialer{Connect: n.connect, Resolver: zone{addrs: map[string][]string{"a.example": {"192.0.2.1", "192.0.2.2", "2001:db8::1"}}}}
		begun := time.Now()
		if _, err := each(t.Context(), d, "a.example"); err != nil {
			t.Fatalf("Each: %v", err)
		}
		if took := time.Since(begun); took != 251*time.Millisecond {
			t.Errorf("it took %v, want 251ms", took)
		}
		if want := []string{"[2001:db8::1]:5269", "192.0.2.1:5269"}; !reflect.DeepEqual(n.tried, want) {
			t.Errorf("tried %v, want %v", n.tried, want)
		}
	})
}

// TestEvilNameServer: what a stranger's names lead to is bounded, and not into our
// network.
func TestEvilNameServer(t *testing.T) {
	many := func(n int, target string) map[string][]resolve.SRV {
		var out []resolve.SRV
		for i := range n {
			out = append(out, resolve.SRV{Target: target, Port: uint16(i + 1), Priority: uint16(i)})
		}
		return map[string][]resolve.SRV{plain + "evil.example": out}
	}
	var crowd []string
	for i := range 250 {
		crowd = append(crowd, fmt.Sprintf("192.0.2.%d", i+1))
	}
	for _, tt := range []struct {
		name    string
		zone    zone
		private bool
		tried   int // connections at the most
		err     error
		within  time.Duration
	}{
		{name: "loopback", zone: zone{addrs: map[string][]string{"evil.example": {"127.0.0.1", "::1"}}}, err: resolve.ErrForbidden},
		{name: "by SRV to this machine", zone: zone{srv: many(1, "localhost"), addrs: map[string][]string{"localhost": {"127.0.0.1"}}}, err: resolve.ErrForbidden},
		{name: "by SRV to an address", zone: zone{srv: many(1, "10.0.0.1")}, err: resolve.ErrForbidden},
		{name: "mapped", zone: zone{addrs: map[string][]string{"evil.example": {"::ffff:192.168.0.1"}}}, err: resolve.ErrForbidden},
		{name: "allowed by the operator", zone: zone{addrs: map[string][]string{"evil.example": {"127.0.0.1"}}}, private: true, tried: 1, err: context.DeadlineExceeded},
		{name: "one of them is private", zone: zone{addrs: map[string][]string{"evil.example": {"10.0.0.1", "192.0.2.1"}}}, tried: 1, err: context.DeadlineExceeded},
		{name: "ten thousand targets that are nowhere", zone: zone{srv: many(10_000, "nowhere.example")}, err: resolve.ErrNotFound},
		{name: "ten thousand targets that are silent", zone: zone{srv: many(10_000, "a.example"), addrs: map[string][]string{"a.example": {"192.0.2.1"}}}, tried: 16, err: context.DeadlineExceeded},
		{name: "hundreds of addresses", zone: zone{addrs: map[string][]string{"evil.example": crowd}}, tried: 16, err: context.DeadlineExceeded},
		{name: "slow answers", zone: zone{slow: time.Hour}, err: context.DeadlineExceeded},
		{name: "addresses that come slowly", zone: zone{slow: 9 * time.Second, srv: many(16, "a.example"), addrs: map[string][]string{"a.example": {"192.0.2.1"}}}, tried: 3, err: context.DeadlineExceeded},
		{name: "a name that is none", zone: zone{srv: many(1, "..")}, err: resolve.ErrNotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(net0)
				d := &resolve.Dialer{Connect: n.connect, Resolver: tt.zone, Private: tt.private}
				begun := time.Now()
				reached, err := each(t.Context(), d, "evil.example")
				if err == nil || !errors.Is(err, tt.err) {
					t.Errorf("Each: reached %v, error %v; want %v", reached, err, tt.err)
				}
				if took := time.Since(begun); took > 30*time.Second {
					t.Errorf("it took %v, want at most 30s", took)
				}
				synctest.Wait()
				if len(n.tried) > tt.tried {
					t.Errorf("%d connections were tried, want at most %d: %v", len(n.tried), tt.tried, n.tried)
				}
			})
		})
	}
}

// TestNextTarget: a place that does not do is followed by the next.
func TestNextTarget(t *testing.T) {
	n := &net0{after: map[string]time.Duration{"192.0.2.1:1": 0, "192.0.2.1:2": 0, "192.0.2.1:3": 0}}
	d := &resolve.Dialer{Connect: n.connect, Resolver: zone{
		addrs: map[string][]string{"a.example": {"192.0.2.1"}},
		srv: map[string][]resolve.SRV{plain + "a.example": {
			{Target: "a.example", Port: 1, Priority: 1}, {Target: "a.example", Port: 2, Priority: 2}, {Target: "a.example", Port: 3, Priority: 3},
		}},
	}}
	bad := errors.New("bad")
	for _, tt := range []struct {
		final bool
		want  int
	}{{false, 3}, {true, 1}} {
		tries := 0
		err := d.Each(t.Context(), "a.example", resolve.Server(), func(_ context.Context, c net.Conn, _ resolve.Target) (bool, error) {
			c.Close()
			tries++
			return tt.final, bad
		})
		if tries != tt.want || !errors.Is(err, bad) {
			t.Errorf("final %v: %d tries, error %v; want %d, %v", tt.final, tries, err, tt.want, bad)
		}
	}
}
