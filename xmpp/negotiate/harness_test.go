package negotiate

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/sasl"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

// tlsConfigs makes both ends' configurations for montague.example, at the time
// of the bubble it is called in.
func tlsConfigs(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"montague.example"}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return stream.ServerTLS(&tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}),
		&tls.Config{RootCAs: pool, ServerName: "montague.example"}
}

// accounts is a backend with accounts in memory.
type accounts struct {
	mu        sync.Mutex
	passwords map[string]string
}

var nameQuery = xmltree.Name{Space: ns.Register, Local: "query"}

var salt = sasl.NewSalt()

func (a *accounts) password(user string) (string, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p, ok := a.passwords[user]
	return p, ok
}

func (a *accounts) SCRAM(_ context.Context, user, hash string) (sasl.Keys, error) {
	p, ok := a.password(user)
	if !ok {
		return sasl.FakeKeys(bytes.Repeat([]byte{1}, 32), user, hash, sasl.MinIterations), nil
	}
	return sasl.MakeKeys(hash, p, salt, sasl.MinIterations)
}

func (a *accounts) Plain(_ context.Context, user, password string) error {
	switch p, ok := a.password(user); {
	case user == "broken":
		return errors.New("disk is full")
	case ok && p == password:
		return nil
	}
	return &sasl.Failure{Condition: sasl.NotAuthorized}
}

func (a *accounts) register(_ context.Context, _ *State, iq *stanza.Stanza) (xmltree.Appender, error) {
	if iq.Type == stanza.Get {
		return markup(func(w *xmltree.Writer) {
			w.Open(nameQuery)
			w.Element(xmltree.Name{Space: ns.Register, Local: "username"}, "")
			w.Element(xmltree.Name{Space: ns.Register, Local: "password"}, "")
			w.Close()
		}), nil
	}
	child := func(n string) string {
		return strings.Clone(iq.Payload().Child(xmltree.Name{Space: ns.Register, Local: n}).Text())
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.passwords[child("username")]; ok {
		return nil, stanza.ErrConflict
	}
	a.passwords[child("username")] = child("password")
	return nil, nil
}

func (a *accounts) Bind(_ context.Context, user jid.JID, resource string) (jid.JID, error) {
	switch resource {
	case "taken":
		return jid.JID{}, stanza.ErrConflict
	case "broken":
		return jid.JID{}, errors.New("disk is full")
	case "other":
		resource = "another"
	}
	return user.WithResource(resource)
}

// result is what Serve returned.
type result struct {
	st  *State
	err error
}

// raw speaks to a server as a peer may who keeps no rules.
type raw struct {
	t    testing.TB
	conn net.Conn
	mu   sync.Mutex // guards what follows
	got  bytes.Buffer
	gone bool
	// diverted is where bytes go that are those of TLS on the plain connection.
	diverted chan []byte
	plain    net.Conn
	out      chan result
	tls      *tls.Config
	acc      *accounts
}

// options are those of a server for montague.example and capulet.example.
func (a *accounts) options(config *tls.Config, tlsRequired bool) ServerOptions {
	return ServerOptions{
		Steps: func(host jid.JID) []Step {
			if host.Domain() != "montague.example" && host.Domain() != "capulet.example" {
				return nil
			}
			return []Step{
				StartTLS{Config: config},
				Limits{Before: MaxLimits{Bytes: 10000}, After: MaxLimits{Bytes: 262144, Idle: 30 * time.Minute}},
				Register{Answer: a.register, Names: []xmltree.Name{nameQuery}, Features: []xmltree.Appender{empty{Space: ns.IQReg, Local: "register"}}},
				SASL2{SASL: SASL{Backend: a}, Establisher: establisher{a}, Tokens: noTokens{}, Tasks: riddles, Features: []string{ns.Acks}},
				SASL{Backend: a},
				Bind{Binder: a},
				Session{},
				SM{},
				Version{},
			}
		},
		Default:     jid.MustParse("montague.example"),
		TLSRequired: tlsRequired,
		Limits:      xmltree.DefaultLimits(),
	}
}

// serve starts a server, inside a bubble.
func serve(t testing.TB, tlsRequired bool) *raw {
	t.Helper()
	server, client := tlsConfigs(t)
	a := &accounts{passwords: map[string]string{"juliet": "r0m30myr0m30", "romeo": "secret"}}
	r := serveOptions(t, a.options(server, tlsRequired))
	r.tls, r.acc = client, a
	return r
}

// serveSteps starts a server that has these steps only.
func serveSteps(t testing.TB, steps ...Step) *raw {
	return serveOptions(t, ServerOptions{Steps: func(jid.JID) []Step { return steps }})
}

func serveOptions(t testing.TB, o ServerOptions) *raw {
	end, other := net.Pipe()
	r := &raw{t: t, conn: other, plain: other, out: make(chan result, 1)}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		tcp := stream.NewTCP(end, stream.Options{Server: true, Limits: xmltree.Limits{Bytes: 10000, Depth: 8}})
		st, err := Serve(ctx, tcp, o)
		r.out <- result{st, err}
	}()
	go r.read(other)
	t.Cleanup(func() { other.Close() })
	return r
}

func (r *raw) read(conn net.Conn) {
	b := make([]byte, 4096)
	for {
		n, err := conn.Read(b)
		r.mu.Lock()
		away := r.diverted
		raw := conn == r.plain && away != nil
		if !raw {
			r.got.Write(b[:n])
		}
		if err != nil {
			r.gone = true
		}
		r.mu.Unlock()
		if raw && n > 0 {
			away <- bytes.Clone(b[:n])
		}
		if err != nil {
			if raw {
				close(away)
			}
			return
		}
	}
}

// say writes and returns what comes back.
func (r *raw) say(text string) string {
	r.t.Helper()
	// In one goroutine with the answers to come: the server may close before
	// it has read everything.
	go r.conn.Write([]byte(text))
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.got.String()
	r.got.Reset()
	return got
}

// expect fails unless the answer has all these in it, in this order.
func (r *raw) expect(text string, want ...string) string {
	r.t.Helper()
	got := r.say(text)
	rest := got
	for _, w := range want {
		_, after, ok := strings.Cut(rest, w)
		if !ok {
			r.t.Fatalf("sent %.300s\ngot  %s\nwant %s in it", text, got, w)
		}
		rest = after
	}
	return got
}

// expectError fails unless the stream ends with the condition.
func (r *raw) expectError(text, condition string) {
	r.t.Helper()
	r.expect(text, "<stream:error", "<"+condition+" xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>", "</stream:error></stream:stream>")
	r.ended()
}

// ended fails unless the server has closed the connection.
func (r *raw) ended() {
	r.t.Helper()
	time.Sleep(2 * time.Second) // of the synctest bubble: as long as Close may take
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.gone {
		r.t.Error("the connection is still open")
	}
	if len(r.out) != 1 {
		r.t.Error("Serve has not returned")
	}
}

// tlsStream is a server whose client has started TLS.
func tlsStream(t testing.TB) *raw {
	t.Helper()
	r := serve(t, true)
	r.expect(hello, "<starttls")
	r.mu.Lock()
	r.diverted = make(chan []byte, 100)
	r.mu.Unlock()
	go r.conn.Write([]byte("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"))
	if got := string(<-r.diverted); got != "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>" {
		t.Fatalf("answer to starttls: %s", got)
	}
	conn := tls.Client(&diverted{Conn: r.conn, in: r.diverted}, r.tls)
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	r.conn = conn
	go r.read(conn)
	return r
}

// diverted is a connection that somebody else reads.
type diverted struct {
	net.Conn
	in   chan []byte
	rest []byte
}

func (d *diverted) Read(p []byte) (int, error) {
	for len(d.rest) == 0 {
		b, ok := <-d.in
		if !ok {
			return 0, io.EOF
		}
		d.rest = b
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

// authenticated is a server whose client, juliet, has logged in.
func authenticated(t testing.TB) *raw {
	t.Helper()
	r := tlsStream(t)
	r.expect(hello, "<mechanism>PLAIN</mechanism>")
	r.expect(plain("juliet", "r0m30myr0m30"), "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
	return r
}

func header(attrs string) string {
	return "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' " + attrs + ">"
}

// hello is the usual header.
var hello = header("to='montague.example' version='1.0'")

func plain(user, password string) string {
	return "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" +
		base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password)) + "</auth>"
}
