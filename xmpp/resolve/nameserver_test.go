package resolve_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"kith/xmpp/resolve"
)

const typeTLSA = dnsmessage.Type(52)

// nameserver is one on loopback, on one port by UDP and TCP.
type nameserver struct {
	t  *testing.T
	at netip.AddrPort
	// answer returns what is sent for a question, one after the other.
	answer func(q dnsmessage.Message, tcp bool) []dnsmessage.Message

	mu    sync.Mutex // guards what follows
	asked []dnsmessage.Message
}

func startNameserver(t *testing.T, answer func(q dnsmessage.Message, tcp bool) []dnsmessage.Message) *nameserver {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &nameserver{t: t, at: tcp.Addr().(*net.TCPAddr).AddrPort(), answer: answer}
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(n.at))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 4096)
		for {
			size, from, err := udp.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			for _, msg := range n.serve(buf[:size], false) {
				udp.WriteToUDPAddrPort(msg, from) //nolint:errcheck // who asked has gone
			}
		}
	})
	wg.Go(func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				var size [2]byte
				io.ReadFull(c, size[:]) //nolint:errcheck // then there is no message
				query := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(c, query); err != nil {
					return
				}
				for _, msg := range n.serve(query, true) {
					c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)) //nolint:errcheck // who asked has gone
				}
			})
		}
	})
	t.Cleanup(func() {
		udp.Close()
		tcp.Close()
		wg.Wait()
	})
	return n
}

func (n *nameserver) serve(query []byte, tcp bool) (out [][]byte) {
	var q dnsmessage.Message
	if err := q.Unpack(query); err != nil || len(q.Questions) != 1 {
		n.t.Errorf("question %x: %v", query, err)
		return nil
	}
	n.mu.Lock()
	n.asked = append(n.asked, q)
	n.mu.Unlock()
	for _, m := range n.answer(q, tcp) {
		msg, err := m.Pack()
		if err != nil {
			n.t.Error(err)
		}
		out = append(out, msg)
	}
	return out
}

// to answers a question: with an answer that is authenticated, if ad.
func to(q dnsmessage.Message, ad bool, records ...dnsmessage.Resource) dnsmessage.Message {
	return dnsmessage.Message{
		Header:    dnsmessage.Header{ID: q.ID, Response: true, RecursionAvailable: true, AuthenticData: ad},
		Questions: q.Questions, Answers: records,
	}
}

func record(owner string, body dnsmessage.ResourceBody) dnsmessage.Resource {
	return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(owner), Class: dnsmessage.ClassINET, TTL: 1}, Body: body}
}

func srv(target string, port uint16) dnsmessage.ResourceBody {
	return &dnsmessage.SRVResource{Port: port, Target: dnsmessage.MustNewName(target)}
}

func alias(of string) dnsmessage.ResourceBody {
	return &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(of)}
}

func tlsa(data ...byte) dnsmessage.ResourceBody {
	return &dnsmessage.UnknownResource{Type: typeTLSA, Data: data}
}

// failing is an answer with an error.
func failing(code dnsmessage.RCode) func(q dnsmessage.Message, tcp bool) []dnsmessage.Message {
	return func(q dnsmessage.Message, _ bool) []dnsmessage.Message {
		m := to(q, code == dnsmessage.RCodeNameError)
		m.RCode = code
		return []dnsmessage.Message{m}
	}
}

// always is an answer with the same records.
func always(ad bool, records ...dnsmessage.Resource) func(q dnsmessage.Message, tcp bool) []dnsmessage.Message {
	return func(q dnsmessage.Message, _ bool) []dnsmessage.Message {
		return []dnsmessage.Message{to(q, ad, records...)}
	}
}

// anyError stands for each that is not ErrNotFound.
var anyError = errors.New("any")

// TestNameServer: what is made of what a name server says.
func TestNameServer(t *testing.T) {
	const name = "_xmpp-server._tcp.a.example."
	one := []resolve.SRV{{Target: "h.example.", Port: 1}}
	var crowd []dnsmessage.Resource
	for i := range 600 {
		crowd = append(crowd, record(name, srv(".", uint16(i))))
	}
	for _, tt := range []struct {
		name   string
		answer func(q dnsmessage.Message, tcp bool) []dnsmessage.Message
		want   []resolve.SRV
		secure bool
		err    error
		asked  int
	}{
		{name: "secure", answer: always(true, record(name, srv("h.example.", 1))), want: one, secure: true},
		{name: "insecure", answer: always(false, record(name, srv("h.example.", 1))), want: one},
		{name: "in capitals", answer: always(true, record(strings.ToUpper(name), srv("h.example.", 1))), want: one, secure: true},
		{name: "by aliases", answer: always(true, record("c.example.", srv("h.example.", 1)), record(name, alias("B.example.")), record("b.example.", alias("c.example."))),
			want: one, secure: true},
		{name: "aliases in a ring", answer: always(true, record(name, alias("b.example.")), record("b.example.", alias(name))), err: anyError},
		{name: "an alias of nothing", answer: always(true, record(name, alias("b.example."))), err: resolve.ErrNotFound},
		{name: "of somebody else", answer: always(true, record("b.example.", srv("h.example.", 1))), err: resolve.ErrNotFound},
		{name: "of another kind", answer: always(true, record(name, &dnsmessage.AResource{})), err: resolve.ErrNotFound},
		{name: "nothing", answer: always(true), err: resolve.ErrNotFound},
		{name: "no such name", answer: failing(dnsmessage.RCodeNameError), err: resolve.ErrNotFound},
		{name: "bogus", answer: failing(dnsmessage.RCodeServerFailure), err: resolve.ErrNoAnswer},
		{name: "refused", answer: failing(dnsmessage.RCodeRefused), err: anyError},
		{name: "a service that is none", answer: always(true, record(name, srv(".", 0))), want: []resolve.SRV{{Target: "."}}, secure: true},
		{name: "targets that are no names", answer: always(true, record(name, srv("a\nb.example.", 1)), record(name, srv("h.example.", 1)), record(name, srv("<b>.example.", 1))),
			want: one, secure: true},
		{name: "signatures beside it", answer: always(true, record(name, &dnsmessage.UnknownResource{Type: 46, Data: make([]byte, 90)}), record(name, srv("h.example.", 1))),
			want: one, secure: true},
		{name: "guesses before it", answer: func(q dnsmessage.Message, _ bool) []dnsmessage.Message {
			evil := record(name, srv("evil.example.", 1))
			id, asked, question := to(q, true, evil), to(q, true, evil), to(q, true, evil)
			id.ID++
			asked.Questions = []dnsmessage.Question{{Name: dnsmessage.MustNewName("b.example."), Type: dnsmessage.TypeSRV, Class: dnsmessage.ClassINET}}
			question.Response = false
			return []dnsmessage.Message{id, asked, question, to(q, true, record(name, srv("h.example.", 1)))}
		}, want: one, secure: true},
		{name: "too long for UDP", answer: func(q dnsmessage.Message, tcp bool) []dnsmessage.Message {
			m := to(q, true)
			if m.Truncated = !tcp; tcp {
				m.Answers = []dnsmessage.Resource{record(name, srv("h.example.", 1))}
			}
			return []dnsmessage.Message{m}
		}, want: one, secure: true, asked: 2},
		{name: "too long for TCP", answer: func(q dnsmessage.Message, _ bool) []dnsmessage.Message {
			m := to(q, true, record(name, srv("h.example.", 1)))
			m.Truncated = true
			return []dnsmessage.Message{m}
		}, err: anyError, asked: 2},
		{name: "hundreds of records", answer: func(q dnsmessage.Message, tcp bool) []dnsmessage.Message {
			m := to(q, true)
			if m.Truncated = !tcp; tcp {
				m.Answers = crowd
			}
			return []dnsmessage.Message{m}
		}, err: anyError, asked: 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := startNameserver(t, tt.answer)
			got, err := resolve.NewNameServer(n.at).SRV(t.Context(), strings.TrimSuffix(name, "."))
			if !reflect.DeepEqual(got.Records, tt.want) || got.Secure != tt.secure || (err == nil) != (tt.err == nil) ||
				tt.err == anyError && errors.Is(err, resolve.ErrNotFound) || tt.err != anyError && !errors.Is(err, tt.err) {
				t.Errorf("SRV = %+v, %v; want %+v, secure %v, %v", got, err, tt.want, tt.secure, tt.err)
			}
			n.mu.Lock()
			defer n.mu.Unlock()
			if len(n.asked) != max(1, tt.asked) {
				t.Errorf("asked %d times, want %d", len(n.asked), max(1, tt.asked))
			}
		})
	}
}

// TestQuestion: RFC 6840 §5.7, RFC 3225: that validation matters is said, and nothing is
// asked for that is no name.
func TestQuestion(t *testing.T) {
	n := startNameserver(t, always(false))
	for range 2 {
		if _, err := resolve.NewNameServer(n.at).TLSA(t.Context(), "_5269._tcp.a.example"); !errors.Is(err, resolve.ErrNotFound) {
			t.Errorf("TLSA: %v, want %v", err, resolve.ErrNotFound)
		}
	}
	for _, name := range []string{"..", "a..example", strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 140)} {
		if _, err := resolve.NewNameServer(n.at).SRV(t.Context(), name); !errors.Is(err, resolve.ErrNotFound) {
			t.Errorf("SRV of %q: %v, want %v", name, err, resolve.ErrNotFound)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.asked) != 2 || n.asked[0].ID == n.asked[1].ID {
		t.Fatalf("%d questions, want 2 with an id of their own", len(n.asked))
	}
	q := n.asked[0]
	if !q.RecursionDesired || !q.AuthenticData || q.CheckingDisabled || q.Questions[0].Type != typeTLSA || q.Questions[0].Name.String() != "_5269._tcp.a.example." {
		t.Errorf("question %+v", q)
	}
	if len(q.Additionals) != 1 || q.Additionals[0].Header.Type != dnsmessage.TypeOPT || !q.Additionals[0].Header.DNSSECAllowed() {
		t.Errorf("additional records %+v, want EDNS with DO", q.Additionals)
	}
}

// TestSilentNameServer: a question that is lost is asked again, and all of it ends.
func TestSilentNameServer(t *testing.T) {
	var mu sync.Mutex
	lost := 0
	n := startNameserver(t, func(q dnsmessage.Message, _ bool) []dnsmessage.Message {
		mu.Lock()
		defer mu.Unlock()
		if lost--; lost >= 0 {
			return nil
		}
		return []dnsmessage.Message{to(q, true, record(q.Questions[0].Name.String(), tlsa(3, 1, 1, 7)))}
	})
	for _, tt := range []struct {
		lost int
		ok   bool
	}{{0, true}, {2, true}, {3, false}} {
		mu.Lock()
		lost = tt.lost
		mu.Unlock()
		if got, err := resolve.NewNameServer(n.at).Impatient().TLSA(t.Context(), "a.example"); (err == nil) != tt.ok || got.Secure != tt.ok {
			t.Errorf("%d lost: %+v, %v; want an answer %v", tt.lost, got, err, tt.ok)
		}
	}
	mu.Lock()
	lost = 1000
	mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if _, err := resolve.NewNameServer(n.at).SRV(ctx, "a.example"); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 2*time.Second {
		t.Errorf("SRV: %v after %v, want %v", err, time.Since(begun), context.DeadlineExceeded)
	}
}

// TestNameServerAddresses: both kinds; one that fails is not one that is not there.
func TestNameServerAddresses(t *testing.T) {
	four, six := &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}}, &dnsmessage.AAAAResource{AAAA: [16]byte{0x20, 1, 0xd, 0xb8, 15: 1}}
	name := func(body dnsmessage.ResourceBody) dnsmessage.Resource { return record("a.example.", body) }
	missing, bogus := failing(dnsmessage.RCodeNameError), failing(dnsmessage.RCodeServerFailure)
	for _, tt := range []struct {
		name      string
		four, six func(q dnsmessage.Message, tcp bool) []dnsmessage.Message
		want      string
		secure    bool
		err       error
	}{
		{"both", always(true, name(four)), always(true, name(six)), "2001:db8::1 192.0.2.1", true, nil},
		{"one", always(true, name(four)), always(true), "192.0.2.1", true, nil},
		{"insecure", always(false, name(four)), always(false, name(six)), "2001:db8::1 192.0.2.1", false, nil},
		{"what is not there is no proof", always(false, name(four)), always(true), "192.0.2.1", false, nil},
		{"one is bogus", always(true, name(four)), bogus, "192.0.2.1", true, nil},
		{"none", missing, missing, "", false, resolve.ErrNotFound},
		{"one is bogus, the other missing", missing, bogus, "", false, resolve.ErrNoAnswer},
		{"the other way round", bogus, missing, "", false, resolve.ErrNoAnswer},
	} {
		n := startNameserver(t, func(q dnsmessage.Message, tcp bool) []dnsmessage.Message {
			if q.Questions[0].Type == dnsmessage.TypeA {
				return tt.four(q, tcp)
			}
			return tt.six(q, tcp)
		})
		got, err := resolve.NewNameServer(n.at).Addresses(t.Context(), "a.example")
		var all []string
		for _, a := range got.Records {
			all = append(all, a.String())
		}
		if strings.Join(all, " ") != tt.want || got.Secure != tt.secure || !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
			t.Errorf("%s: Addresses = %+v, %v; want %s, secure %v, %v", tt.name, got, err, tt.want, tt.secure, tt.err)
		}
	}
}

// TestTLSARecords: what cannot be one is left out.
func TestTLSARecords(t *testing.T) {
	name := "_5269._tcp.a.example."
	n := startNameserver(t, always(true, record(name, tlsa()), record(name, tlsa(3, 1, 1)), record(name, tlsa(3, 1, 1, 7, 8)), record(name, tlsa(9, 9, 9, 7))))
	got, err := resolve.NewNameServer(n.at).TLSA(t.Context(), name)
	want := []resolve.TLSA{{Usage: resolve.DANEEE, Selector: 1, Matching: 1, Data: []byte{7, 8}}, {Usage: 9, Selector: 9, Matching: 9, Data: []byte{7}}}
	if err != nil || !got.Secure || !reflect.DeepEqual(got.Records, want) {
		t.Errorf("TLSA = %+v, %v; want %+v", got, err, want)
	}
}

// TestUsable: RFC 6698 §4.1, RFC 7671 §9.
func TestUsable(t *testing.T) {
	sum := func(u resolve.Usage, selector, matching uint8, size int) resolve.TLSA {
		return resolve.TLSA{Usage: u, Selector: selector, Matching: matching, Data: bytes.Repeat([]byte{1}, size)}
	}
	for _, tt := range []struct {
		name    string
		records []resolve.TLSA
		want    []int
	}{
		{"all usages", []resolve.TLSA{sum(0, 0, 1, 32), sum(1, 1, 1, 32), sum(2, 0, 2, 64), sum(3, 1, 2, 64)}, []int{0, 1, 2, 3}},
		{"unknown", []resolve.TLSA{sum(4, 0, 1, 32), sum(255, 0, 1, 32), sum(3, 2, 1, 32), sum(3, 1, 3, 32), sum(3, 1, 255, 32)}, nil},
		{"lengths", []resolve.TLSA{sum(3, 1, 1, 31), sum(3, 1, 1, 33), sum(3, 1, 2, 32), sum(3, 1, 1, 64), sum(3, 1, 0, 0), sum(3, 1, 0, 1)}, []int{5}},
		{"the stronger hash", []resolve.TLSA{sum(3, 1, 1, 32), sum(3, 1, 2, 64), sum(3, 0, 1, 32), sum(2, 1, 1, 32), sum(3, 1, 0, 9)}, []int{1, 2, 3, 4}},
		{"a stronger one that is none", []resolve.TLSA{sum(3, 1, 1, 32), sum(3, 1, 2, 63)}, []int{0}},
	} {
		var want []resolve.TLSA
		for _, i := range tt.want {
			want = append(want, tt.records[i])
		}
		if got := resolve.Usable(tt.records); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: Usable = %v, want %v", tt.name, got, want)
		}
	}
}

// TestSecureTargets: RFC 7673 §3: records are looked for where all that leads there is
// proved, and where there is no answer to that the target is not used.
func TestSecureTargets(t *testing.T) {
	const name, host, at = plain + "a.example", "h.example", "_1._tcp.h.example"
	bogus := errors.New("bogus")
	right := []resolve.TLSA{{Usage: resolve.DANEEE, Selector: 1, Matching: 1, Data: make([]byte, 32)}}
	for _, tt := range []struct {
		name   string
		off    bool
		secure string // names
		fails  string
		tlsa   []resolve.TLSA
		target resolve.Target
		err    error
	}{
		{name: "all", secure: name + " " + host + " " + at, tlsa: right, target: resolve.Target{Host: host, Port: 1, Secure: true, TLSA: right}},
		{name: "nobody is trusted", off: true, secure: name + " " + host + " " + at, tlsa: right, target: resolve.Target{Host: host, Port: 1}},
		{name: "insecure SRV", secure: host + " " + at, tlsa: right, target: resolve.Target{Host: host, Port: 1}},
		{name: "insecure addresses", secure: name + " " + at, tlsa: right, target: resolve.Target{Host: host, Port: 1, Secure: true}},
		{name: "insecure TLSA", secure: name + " " + host, tlsa: right, target: resolve.Target{Host: host, Port: 1, Secure: true}},
		{name: "no TLSA", secure: name + " " + host + " " + at, target: resolve.Target{Host: host, Port: 1, Secure: true}},
		{name: "bogus SRV", secure: host + " " + at, fails: name, tlsa: right, err: bogus},
		{name: "bogus addresses", secure: name + " " + at, fails: host, tlsa: right, err: bogus},
		{name: "bogus TLSA", secure: name + " " + host, fails: at, tlsa: right, err: bogus},
		{name: "bogus TLSA that is not asked for", secure: name, fails: at, tlsa: right, target: resolve.Target{Host: host, Port: 1, Secure: true}},
		{name: "too many", secure: name + " " + host + " " + at, tlsa: make([]resolve.TLSA, 100),
			target: resolve.Target{Host: host, Port: 1, Secure: true, TLSA: make([]resolve.TLSA, 32)}},
	} {
		z := zone{srv: map[string][]resolve.SRV{name: {{Target: host + ".", Port: 1}}}, addrs: map[string][]string{host: {"192.0.2.1"}},
			secure: make(map[string]bool), fails: make(map[string]error)}
		if tt.tlsa != nil {
			z.tlsa = map[string][]resolve.TLSA{at: tt.tlsa}
		}
		for _, n := range strings.Fields(tt.secure) {
			z.secure[n] = true
		}
		for _, n := range strings.Fields(tt.fails) {
			z.fails[n] = bogus
		}
		d := &resolve.Dialer{Connect: (&net0{after: map[string]time.Duration{"192.0.2.1:1": 0}}).connect, Resolver: z, DANE: !tt.off}
		var got resolve.Target
		err := d.Each(t.Context(), "a.example", resolve.Server(), func(_ context.Context, c net.Conn, t resolve.Target) (bool, error) {
			c.Close()
			got = t
			return true, nil
		})
		if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) || !reflect.DeepEqual(got, tt.target) {
			t.Errorf("%s: connected to %+v, %v; want %+v, %v", tt.name, got, err, tt.target, tt.err)
		}
	}
}
