package client

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
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
	"kith/xmpp/negotiate"
	"kith/xmpp/ns"
	"kith/xmpp/sasl"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	xregister "kith/xmpp/xep/register"
	"kith/xmpp/xmltree"
)

// server is the other end: it logs in juliet and whoever registers, and then
// does what the test says.
type server struct {
	mu        sync.Mutex // guards passwords
	passwords map[string]string
	tls       *tls.Config
}

func (s *server) SCRAM(_ context.Context, user, hash string) (sasl.Keys, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sasl.MakeKeys(hash, s.passwords[user]+"", []byte("0123456789abcdef"), sasl.MinIterations)
}

func (s *server) Plain(context.Context, string, string) error {
	return &sasl.Failure{Condition: sasl.NotAuthorized}
}

func (s *server) Bind(_ context.Context, user jid.JID, resource string) (jid.JID, error) {
	return user.WithResource(resource)
}

func (s *server) register(_ context.Context, _ *negotiate.State, iq *stanza.Stanza) (xmltree.Appender, error) {
	field := func(n string) string {
		return strings.Clone(iq.Payload().Child(xmltree.Name{Space: ns.Register, Local: n}).Text())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.passwords[field("username")] != "" {
		return nil, stanza.ErrConflict
	}
	s.passwords[field("username")] = field("password")
	return nil, nil
}

func newServer(t testing.TB) (*server, *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"capulet.example"}, IsCA: true, BasicConstraintsValid: true,
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
	s := &server{
		passwords: map[string]string{"juliet": "r0m30"},
		tls: stream.ServerTLS(&tls.Config{
			Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
			NextProtos:   []string{ALPN},
		}),
	}
	return s, &tls.Config{RootCAs: pool}
}

// serve logs in whoever is at the other end.
func (s *server) serve(ctx context.Context, conn net.Conn, direct bool) (*negotiate.State, error) {
	tcp := stream.NewTCP(conn, stream.Options{Server: true})
	if direct {
		if err := tcp.StartTLS(ctx, s.tls); err != nil {
			return nil, err
		}
		if got := tcp.TLS().NegotiatedProtocol; got != ALPN {
			return nil, errors.New("protocol is " + got)
		}
	}
	return negotiate.Serve(ctx, tcp, negotiate.ServerOptions{TLSRequired: true, Steps: func(jid.JID) []negotiate.Step {
		return []negotiate.Step{negotiate.StartTLS{Config: s.tls}, negotiate.Register{
			Answer: s.register, Names: []xmltree.Name{xregister.Name}, Features: []xmltree.Appender{xregister.Feature{}}},
			negotiate.SASL{Backend: s}, negotiate.Bind{Binder: s}, negotiate.SM{}}
	}})
}

var romeo = jid.MustParse("romeo@montague.example/home")

// online logs in juliet, in a bubble, and returns both ends. The server's end
// enables stream management where the client asks for it.
func online(t *testing.T, c Config) (*Client, stream.Conn) {
	t.Helper()
	s, config := newServer(t)
	end, other := net.Pipe()
	up := make(chan stream.Conn, 1)
	go func() {
		st, err := s.serve(t.Context(), end, c.DirectTLS)
		if err != nil {
			t.Errorf("server: %v", err)
			return
		}
		if c.Management {
			if el, err := st.Conn.ReadElement(); err != nil || !el.Is(negotiate.NameEnable) {
				t.Errorf("server got %q, %v; want enable", el.Raw(), err)
			}
			stream.Write(st.Conn, negotiate.Enabled{})
		}
		up <- st.Conn
	}()
	c.JID, c.TLS = jid.MustParse("juliet@capulet.example/balcony"), config
	c.Password = "r0m30"
	cl, err := NewOnConn(t.Context(), other, c)
	if err != nil {
		t.Fatal(err)
	}
	conn := <-up
	t.Cleanup(func() {
		go conn.Close(nil)
		cl.Close()
	})
	return cl, conn
}

// hear reads an element at the server.
func hear(t *testing.T, c stream.Conn) *stanza.Stanza {
	t.Helper()
	el, err := c.ReadElement()
	if err != nil {
		t.Fatalf("server: %v", err)
	}
	st, err := stanza.Parse(el)
	if err != nil {
		t.Fatalf("server got %q: %v", el.Raw(), err)
	}
	return st
}

func say(t *testing.T, c stream.Conn, xml string) {
	t.Helper()
	if err := c.WriteBatch([][]byte{[]byte(xml)}); err != nil {
		t.Fatalf("server: %v", err)
	}
}

func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

func TestSendAndReceive(t *testing.T) {
	for name, c := range map[string]Config{"STARTTLS": {}, "direct TLS": {DirectTLS: true}, "raw": {Raw: true}} {
		bubble(t, name, func(t *testing.T) {
			cl, server := online(t, c)
			if got := cl.JID().String(); got != "juliet@capulet.example/balcony" {
				t.Errorf("address is %s", got)
			}
			if got := cl.State().Mechanism; got != sasl.ScramSHA512Plus {
				t.Errorf("mechanism is %s", got)
			}
			go cl.Send(stanza.New(stanza.Message, stanza.Chat, jid.JID{}, romeo), stanza.New(stanza.Presence, "", jid.JID{}, jid.JID{}))
			if st := hear(t, server); st.Kind != stanza.Message || st.To != romeo {
				t.Errorf("server got %v to %v", st.Kind, st.To)
			}
			if st := hear(t, server); st.Kind != stanza.Presence {
				t.Errorf("server got %v", st.Kind)
			}
			go cl.SendRaw([]byte("<x xmlns='urn:x'/>"))
			if el, err := server.ReadElement(); err != nil || el.Name().Local != "x" {
				t.Errorf("server got %q, %v", el.Raw(), err)
			}
			say(t, server, "<message id='1'/><presence id='2'/> <y xmlns='urn:y' id='3'/><iq type='result' id='4'/>")
			for _, want := range []string{"1", "2", "3", "4"} {
				if el, err := cl.Next(t.Context()); err != nil || el.Attr("id") != want {
					t.Errorf("next is %q, %v; want id %s", el.Raw(), err, want)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if el, err := cl.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("next is %q, %v; want nothing", el.Raw(), err)
			}
			go server.Close(stream.ErrSystemShutdown)
			if el, err := cl.Next(t.Context()); err != nil || !stream.IsError(el) {
				t.Errorf("next is %q, %v; want a stream error", el.Raw(), err)
			}
			if _, err := cl.Next(t.Context()); !errors.Is(err, stream.ErrSystemShutdown) {
				t.Errorf("the end is %v", err)
			}
			<-cl.Done()
		})
	}
}

// IQ replies are matched by id and sender.
func TestSendIQ(t *testing.T) {
	server := jid.MustParse("capulet.example")
	account := jid.MustParse("juliet@capulet.example")
	tests := []struct {
		to   jid.JID
		from string // "" leaves it out
		ok   bool
	}{
		{romeo, romeo.String(), true},
		{romeo, "", false},
		{romeo, "romeo@montague.example", false},
		{romeo, "romeo@montague.example/garden", false},
		{romeo, "capulet.example", false},
		{jid.JID{}, "", true},
		{jid.JID{}, "juliet@capulet.example", true},
		{jid.JID{}, "juliet@capulet.example/balcony", true},
		{jid.JID{}, "juliet@capulet.example/garden", false},
		{jid.JID{}, "romeo@montague.example", false},
		{account, "", true},
		{account, "juliet@capulet.example", true},
		{server, "capulet.example", true},
		{server, "", true},
		{server, "juliet@capulet.example", false},
	}
	for _, tt := range tests {
		bubble(t, tt.to.String()+" "+tt.from, func(t *testing.T) {
			cl, server := online(t, Config{})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			got := make(chan error, 1)
			go func() {
				_, err := cl.SendIQ(ctx, stanza.New(stanza.IQ, stanza.Get, jid.JID{}, tt.to, ping{}))
				got <- err
			}()
			iq := hear(t, server)
			from := ""
			if tt.from != "" {
				from = " from='" + tt.from + "'"
			}
			say(t, server, "<iq type='result' id='other'"+from+"/><iq type='result' id='"+iq.ID+"'"+from+"/>")
			err := <-got
			if (err == nil) != tt.ok {
				t.Errorf("answer from %q to an iq to %q: %v", tt.from, tt.to, err)
			}
			// What is no answer is something else.
			if el, err := cl.Next(ctx); tt.ok && (err != nil || el.Attr("id") != "other") {
				t.Errorf("next is %q, %v", el.Raw(), err)
			}
		})
	}
	bubble(t, "error", func(t *testing.T) {
		cl, server := online(t, Config{})
		got := make(chan error, 1)
		go func() { got <- cl.Ping(t.Context(), jid.JID{}) }()
		iq := hear(t, server)
		if iq.To.String() != "capulet.example" || !iq.Payload().Is(namePing) {
			t.Errorf("server got %v to %v", iq.Payload().Name(), iq.To)
		}
		stream.Write(server, iq.ErrorReply(stanza.ErrServiceUnavailable))
		if err := <-got; !errors.Is(err, stanza.ErrServiceUnavailable) {
			t.Errorf("Ping: %v", err)
		}
	})
	bubble(t, "end of the stream", func(t *testing.T) {
		cl, server := online(t, Config{})
		got := make(chan error, 1)
		go func() { got <- cl.Ping(t.Context(), jid.JID{}) }()
		hear(t, server)
		server.Close(nil)
		if err := <-got; !errors.Is(err, stream.ErrClosed) {
			t.Errorf("Ping: %v", err)
		}
		if err := cl.Err(); err != io.EOF {
			t.Errorf("the end is %v", err)
		}
		if err := cl.Ping(t.Context(), jid.JID{}); !errors.Is(err, stream.ErrClosed) {
			t.Errorf("Ping behind the end: %v", err)
		}
	})
}

// RFC 6120 §8.2.3: a request is always answered.
func TestAnswers(t *testing.T) {
	answer := func(iq *stanza.Stanza) (xmltree.Appender, error) {
		switch iq.Payload().Name().Space {
		case "urn:known":
			return ping{}, nil
		case "urn:refused":
			return nil, stanza.ErrForbidden
		case "urn:broken":
			return nil, errors.New("disk is full")
		}
		return nil, ErrNotMine
	}
	for payload, want := range map[string]string{
		"<ping xmlns='urn:xmpp:ping'/>": "result",
		"<x xmlns='urn:x'/>":            "service-unavailable",
		"<x xmlns='urn:known'/>":        "result",
		"<x xmlns='urn:refused'/>":      "forbidden",
		"<x xmlns='urn:broken'/>":       "internal-server-error",
	} {
		bubble(t, payload, func(t *testing.T) {
			_, server := online(t, Config{Answer: answer})
			say(t, server, "<iq type='get' id='1' from='"+romeo.String()+"'>"+payload+"</iq>")
			reply := hear(t, server)
			got := reply.Type
			if got == stanza.TypeError {
				got = stanza.ErrorOf(reply).Condition
			}
			if got != want || reply.ID != "1" || reply.To != romeo {
				t.Errorf("answer to %s is %s to %v, want %s", payload, got, reply.To, want)
			}
		})
	}
}

func TestManagement(t *testing.T) {
	bubble(t, "acks", func(t *testing.T) {
		cl, server := online(t, Config{Management: true})
		go cl.Send(stanza.New(stanza.Message, stanza.Chat, jid.JID{}, romeo), stanza.New(stanza.Presence, "", jid.JID{}, jid.JID{}))
		hear(t, server)
		hear(t, server)
		if got := cl.Unacked(); got != 2 {
			t.Errorf("%d stanzas are unacked, want 2", got)
		}
		say(t, server, "<a xmlns='urn:xmpp:sm:3' h='1'/><message/><presence/><r xmlns='urn:xmpp:sm:3'/>")
		el, err := server.ReadElement()
		if err != nil || !el.Is(negotiate.NameAck) || el.Attr("h") != "2" {
			t.Errorf("server got %q, %v; want h='2'", el.Raw(), err)
		}
		if got := cl.Unacked(); got != 1 {
			t.Errorf("%d stanzas are unacked, want 1", got)
		}
		say(t, server, "<a xmlns='urn:xmpp:sm:3' h='3'/>")
		if _, err := server.ReadElement(); !errors.Is(err, stream.ErrUndefinedCondition) {
			t.Errorf("an impossible h: %v", err)
		}
	})
	bubble(t, "last ack", func(t *testing.T) {
		cl, server := online(t, Config{Management: true})
		say(t, server, "<message/>")
		synctest.Wait()
		go cl.Close()
		if el, err := server.ReadElement(); err != nil || !el.Is(negotiate.NameAck) || el.Attr("h") != "1" {
			t.Errorf("server got %q, %v; want h='1'", el.Raw(), err)
		}
		if _, err := server.ReadElement(); err != io.EOF {
			t.Errorf("the end is %v", err)
		}
	})
}

func TestRegister(t *testing.T) {
	bubble(t, "register", func(t *testing.T) {
		s, config := newServer(t)
		for i, want := range []bool{true, false} {
			end, other := net.Pipe()
			go func() {
				st, err := s.serve(t.Context(), end, false)
				if err == nil {
					st.Conn.Close(nil)
				}
			}()
			c, err := NewOnConn(t.Context(), other, Config{JID: jid.MustParse("nurse@capulet.example"), Password: "x", TLS: config, Register: true})
			if (err == nil) != want || err != nil && !errors.Is(err, stanza.ErrConflict) {
				t.Errorf("registration %d: %v", i, err)
			}
			if err == nil {
				c.Close()
			}
		}
	})
}

func TestWrongCertificate(t *testing.T) {
	bubble(t, "domain", func(t *testing.T) {
		s, config := newServer(t)
		end, other := net.Pipe()
		go s.serve(t.Context(), end, false)
		_, err := NewOnConn(t.Context(), other, Config{JID: jid.MustParse("juliet@verona.example"), Password: "r0m30", TLS: config})
		if verify := new(tls.CertificateVerificationError); !errors.As(err, &verify) {
			t.Errorf("a certificate for another domain: %v", err)
		}
	})
}

func TestHandler(t *testing.T) {
	bubble(t, "handler", func(t *testing.T) {
		got := make(chan string, 10)
		_, server := online(t, Config{Handler: func(el xmltree.Element) { got <- el.Name().Local }})
		say(t, server, "<message/><presence/>")
		for _, want := range []string{"message", "presence"} {
			if g := <-got; g != want {
				t.Errorf("handler got %s, want %s", g, want)
			}
		}
	})
}

// A client whose user does not read still ends.
func TestCloseWithFullQueue(t *testing.T) {
	bubble(t, "full", func(t *testing.T) {
		cl, server := online(t, Config{})
		go server.WriteBatch([][]byte{[]byte(strings.Repeat("<message/>", 3*queueLength))})
		synctest.Wait()
		cl.Close()
	})
}

func TestDial(t *testing.T) {
	s, config := newServer(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		st, err := s.serve(context.Background(), conn, true)
		if err != nil {
			t.Errorf("server: %v", err)
			return
		}
		_, err = st.Conn.ReadElement()
		st.Conn.Close(err)
	}()
	c, err := Dial(t.Context(), Config{JID: jid.MustParse("juliet@capulet.example"), Password: "r0m30", TLS: config,
		Address: l.Addr().String(), DirectTLS: true})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := c.Close(); err != nil || time.Since(start) > 500*time.Millisecond {
		t.Errorf("Close took %v: %v", time.Since(start), err)
	}
	for _, tt := range []struct {
		c    Config
		want string
	}{
		{Config{JID: romeo}, "montague.example:5222"},
		{Config{JID: romeo, DirectTLS: true}, "montague.example:5223"},
		{Config{JID: romeo, Address: "[::1]:1"}, "[::1]:1"},
	} {
		if got := tt.c.address(); got != tt.want {
			t.Errorf("address is %s, want %s", got, tt.want)
		}
	}
}
