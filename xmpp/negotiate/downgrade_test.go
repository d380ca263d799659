package negotiate

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/sasl"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

// memory is a Known.
type memory struct {
	seen  Seen
	calls int
}

func (m *memory) Seen(jid.JID) Seen { return m.seen }

func (m *memory) Remember(_ jid.JID, s Seen) {
	m.seen = s
	m.calls++
}

// unbound is a transport of a client that has no channel binding.
type unbound struct{ *stream.TCP }

func (unbound) Bindings() []sasl.Binding { return nil }

// between is somebody in the middle who has the server's key: it reads and changes
// what the server says.
type between struct {
	rewrite func(string) string
	version uint16 // of TLS towards the server; 0: the newest
}

func (b *between) serve(client, server net.Conn, config, trust *tls.Config) {
	trust = trust.Clone()
	trust.MaxVersion = b.version
	one, two := tls.Server(client, config), tls.Client(server, trust)
	go func() {
		io.Copy(two, one) //nolint:errcheck // either end ends it
		server.Close()
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := two.Read(buf)
		if n > 0 {
			if _, werr := io.WriteString(one, b.rewrite(string(buf[:n]))); werr != nil {
				err = werr
			}
		}
		if err != nil {
			client.Close()
			return
		}
	}
}

// dial logs juliet in, through somebody if that is not nil.
func dial(t *testing.T, who *between, steps func(SASL) []Step, known Known, bound bool) (*State, error) {
	t.Helper()
	config, trust := tlsConfigs(t)
	a := &accounts{passwords: map[string]string{"juliet": "r0m30myr0m30"}}
	ours, theirs := net.Pipe()
	client := ours
	if who != nil {
		mine, his := net.Pipe()
		client = mine
		go who.serve(his, ours, config, trust)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(func() {
		cancel()
		ours.Close()
		theirs.Close()
		client.Close()
	})
	go func() {
		tcp := stream.NewTCP(theirs, stream.Options{Server: true, Limits: xmltree.DefaultLimits()})
		if err := tcp.StartTLS(ctx, config); err != nil {
			return
		}
		mechanisms := SASL{Backend: a}
		Serve(ctx, tcp, ServerOptions{Steps: func(jid.JID) []Step { //nolint:errcheck // the client's end is looked at
			return []Step{SASL2{SASL: mechanisms}, mechanisms, Bind{Binder: a}, Version{}}
		}, Limits: xmltree.DefaultLimits()})
	}()
	tcp := stream.NewTCP(client, stream.Options{})
	if err := tcp.StartTLS(ctx, trust); err != nil {
		t.Fatal(err)
	}
	var conn stream.Transport = tcp
	if !bound {
		conn = unbound{tcp}
	}
	return Initiate(ctx, conn, ClientOptions{
		Account: jid.MustParse("juliet@montague.example"),
		Steps:   steps(SASL{Credentials: sasl.Credentials{Username: "juliet", Password: "r0m30myr0m30"}, Known: known}),
	})
}

func modern(s SASL) []Step  { return []Step{SASL2{SASL: s, Login: &Login{}}, s, Bind{}} }
func classic(s SASL) []Step { return []Step{s, Bind{}} }

// without leaves out what an expression finds.
func without(expr string) func(string) string {
	re := regexp.MustCompile(expr)
	return func(s string) string { return re.ReplaceAllString(s, "") }
}

// unvouched takes what the server says of its offer out of the challenge.
func unvouched(s string) string {
	return regexp.MustCompile(`(<challenge [^>]*>)([^<]*)<`).ReplaceAllStringFunc(s, func(m string) string {
		open, data, _ := strings.Cut(strings.TrimSuffix(m, "<"), ">")
		b, _ := base64.StdEncoding.DecodeString(data)
		first, _, _ := strings.Cut(string(b), ",h=")
		return open + ">" + base64.StdEncoding.EncodeToString([]byte(first)) + "<"
	})
}

func same(s string) string { return s }

// TestDowngrade: somebody in between, who has the server's key, makes the offer
// smaller. The client does not log in, and does not show its password.
func TestDowngrade(t *testing.T) {
	refused := &sasl.Failure{Condition: sasl.NotAuthorized}
	const plus = `<mechanism>[^<]*-PLUS</mechanism>`
	for _, test := range []struct {
		name  string
		who   *between
		bound bool
		known Seen
		want  error
	}{
		{"nobody", nil, true, Seen{}, nil},
		{"nobody, without channel binding", nil, false, Seen{}, nil},
		{"nobody, and more is known", nil, true, Seen{true, true, true}, nil},
		{"who only listens", &between{rewrite: same}, true, Seen{}, refused},
		{"no exporter", &between{rewrite: without(`<channel-binding type='tls-exporter'/>`)}, true, Seen{}, sasl.ErrDowngrade},
		{"no type", &between{rewrite: without(`<channel-binding .*?/>`)}, true, Seen{}, sasl.ErrDowngrade},
		{"a type that nobody knows", &between{rewrite: strings.NewReplacer("tls-exporter", "tls-x", "tls-server-end-point", "tls-y").Replace}, true, Seen{}, sasl.ErrDowngrade},
		{"no -PLUS", &between{rewrite: without(plus)}, true, Seen{}, sasl.ErrDowngrade},
		{"no -PLUS and no types", &between{rewrite: without(plus + `|<sasl-channel-binding.*?</sasl-channel-binding>`)}, true, Seen{}, refused},
		{"a weaker hash", &between{rewrite: without(`<mechanism>SCRAM-SHA-(256|512)[^<]*</mechanism>`)}, false, Seen{}, sasl.ErrDowngrade},
		{"a weaker hash, and nothing vouched for", &between{rewrite: func(s string) string {
			return unvouched(without(`<mechanism>SCRAM-SHA-(256|512)[^<]*</mechanism>`)(s))
		}}, false, Seen{}, refused},
		{"nothing vouched for, by who did so", &between{rewrite: unvouched}, false, Seen{Protected: true}, sasl.ErrDowngrade},
		{"only PLAIN, where it was SCRAM", &between{rewrite: without(`<mechanism>SCRAM[^<]*</mechanism>`)}, false, Seen{Proved: true}, sasl.ErrDowngrade},
		{"no channel binding, where there was", &between{rewrite: without(plus + `|<sasl-channel-binding.*?</sasl-channel-binding>`)}, true, Seen{Bound: true}, sasl.ErrDowngrade},
		{"older TLS behind it", &between{rewrite: same, version: tls.VersionTLS12}, false, Seen{}, sasl.ErrDowngrade},
	} {
		for name, steps := range map[string]func(SASL) []Step{"SASL2": modern, "SASL": classic} {
			bubble(t, test.name+"/"+name, func(t *testing.T) {
				known := &memory{seen: test.known}
				st, err := dial(t, test.who, steps, known, test.bound)
				if !errors.Is(err, test.want) || (err == nil) != !st.JID.IsZero() {
					t.Errorf("%v, bound %s, want %v", err, st.JID, test.want)
				}
				if test.want == nil && known.seen != (Seen{Proved: true, Protected: true, Bound: test.bound}) {
					t.Errorf("%+v is remembered", known.seen)
				}
				if test.want != nil && known.calls > 0 {
					t.Errorf("%+v is remembered of a failure", known.seen)
				}
			})
		}
	}
}

// TestStripSASL2: who is shown the old profile only, and less of that, is as well
// off.
func TestStripSASL2(t *testing.T) {
	bubble(t, "less", func(t *testing.T) {
		who := &between{rewrite: without(`<authentication.*?</authentication>|<mechanism>SCRAM-SHA-(256|512)[^<]*</mechanism>`)}
		if _, err := dial(t, who, modern, nil, false); !errors.Is(err, sasl.ErrDowngrade) {
			t.Errorf("%v, want %v", err, sasl.ErrDowngrade)
		}
	})
}
