package s2s_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/negotiate"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
	"kith/xmpptest"
)

// world is a server, montague.example, in a network with strangers.
type world struct {
	t   *testing.T
	net *xmpptest.Network
	s   *xmpptest.Server
}

// inWorld runs a test in a bubble of synctest.
func inWorld(t *testing.T, config string, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := xmpptest.NewNetwork()
		if !strings.Contains(config, "hosts =") {
			config = "hosts = [\"montague.example\"]\n" + config
		}
		s := xmpptest.New(t, xmpptest.Join(n), xmpptest.Config(config))
		test(&world{t, n, s})
	})
}

// certificate issues one.
func (w *world) certificate(change func(*x509.Certificate), names ...string) *tls.Certificate {
	w.t.Helper()
	cert, err := w.net.Certificate(change, names...)
	if err != nil {
		w.t.Fatal(err)
	}
	return &cert
}

// peer is our end of a stream that we play the other server on.
type peer struct {
	w        *world
	conn     *stream.TCP
	id       string // of the stream
	features xmltree.Element
}

// connect opens a connection as another server does.
func (w *world) connect(direct bool) *peer {
	return &peer{w: w, conn: stream.NewTCP(w.s.DialServer(direct), stream.Options{})}
}

func (p *peer) tls(cert *tls.Certificate) error {
	conf := &tls.Config{InsecureSkipVerify: true, ServerName: "montague.example", NextProtos: []string{"xmpp-server"}}
	if cert != nil {
		conf.Certificates = []tls.Certificate{*cert}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return p.conn.StartTLS(ctx, conf)
}

// header opens a stream and reads what comes up to the features.
func (p *peer) header(from, to string) {
	p.w.t.Helper()
	if err := p.conn.Open(stream.Header{From: from, To: to, Version: "1.0", Content: ns.Server}); err != nil {
		p.w.t.Fatalf("open a stream: %v", err)
	}
	h, err := p.conn.ReadHeader()
	if err != nil {
		p.w.t.Fatalf("read the header: %v", err)
	}
	p.id = h.ID
	p.features, err = p.next()
	if err != nil && !p.features.Exists() {
		p.w.t.Fatalf("read the features: %v", err)
	}
}

// call opens a stream with TLS.
func (w *world) call(from string, cert *tls.Certificate) *peer {
	w.t.Helper()
	p := w.connect(true)
	if err := p.tls(cert); err != nil {
		w.t.Fatalf("handshake: %v", err)
	}
	p.header(from, "montague.example")
	return p
}

// external authenticates by certificate.
func (p *peer) external(from string) {
	p.w.t.Helper()
	p.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>")
	if el := p.must(); el.Name().Local != "success" {
		p.w.t.Fatalf("authentication: %s", el.Raw())
	}
	if err := p.conn.Restart(); err != nil {
		p.w.t.Fatal(err)
	}
	p.header(from, "montague.example")
}

func (p *peer) send(text string) {
	p.w.t.Helper()
	if err := p.conn.WriteBatch([][]byte{[]byte(text)}); err != nil {
		p.w.t.Fatalf("send %.200s: %v", text, err)
	}
}

// errNothing: nothing has come in a minute.
var errNothing = errors.New("nothing came")

func (p *peer) next() (xmltree.Element, error) {
	p.conn.SetReadDeadline(time.Now().Add(time.Minute)) //nolint:errcheck // then reading fails
	el, err := p.conn.ReadElement()
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		err = errNothing
	}
	return el, err
}

// must is next; it fails the test if the stream has ended.
func (p *peer) must() xmltree.Element {
	p.w.t.Helper()
	el, err := p.next()
	if err != nil {
		p.w.t.Fatalf("the stream has ended with %v %s", err, el.Raw())
	}
	return el
}

// ends wants the stream to end with an error.
func (p *peer) ends(what string, want *stream.Error) {
	p.w.t.Helper()
	for {
		el, err := p.next()
		if err == nil {
			p.w.t.Logf("%s: passed over: %s", what, el.Raw())
			continue
		}
		if !errors.Is(err, want) {
			p.w.t.Errorf("%s: the stream ended with %v, want %v", what, err, want)
		}
		return
	}
}

// authoritative plays the servers of a domain: it answers what is asked of keys.
type authoritative struct {
	cert     *tls.Certificate
	verdict  func(q negotiate.Dialback) []negotiate.Dialback
	bidi     bool
	then     string // what it says when it has believed somebody
	mute     bool   // it says nothing
	features string // others than it has
	ours     string // our certificate: "wanted" to be listened to, or "refused"

	mu    sync.Mutex // guards what follows
	calls int
	asked []negotiate.Dialback
	got   []string // stanzas: the call, the sender's domain and the recipient's, and the id
}

// stanzas are those that it got since it was asked for them.
func (a *authoritative) stanzas() (all []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	all, a.got = a.got, nil
	return all
}

func (a *authoritative) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls
}

func (a *authoritative) serve(c net.Conn, direct bool) {
	a.mu.Lock()
	a.calls++
	call := a.calls
	a.mu.Unlock()
	if a.mute {
		return
	}
	go func() {
		conn := stream.NewTCP(c, stream.Options{Server: true})
		defer conn.Close(nil)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		conf := stream.ServerTLS(&tls.Config{Certificates: []tls.Certificate{*a.cert}, NextProtos: []string{"xmpp-server"}, ClientAuth: tls.RequestClientCert,
			VerifyConnection: func(state tls.ConnectionState) error {
				if a.ours == "refused" && len(state.PeerCertificates) > 0 {
					return errors.New("a certificate that is no good for a client")
				}
				return nil
			}})
		if !direct || conn.StartTLS(ctx, conf) != nil {
			return
		}
		h, err := conn.ReadHeader()
		if err != nil {
			return
		}
		if a.ours == "wanted" && len(conn.TLS().PeerCertificates) == 0 {
			conn.Close(stream.ErrNotAuthorized)
			return
		}
		st := &negotiate.State{Conn: conn}
		features := stream.Features{negotiate.ByDialback{Offered: true}.Offer(st)}
		if a.features != "" {
			features = stream.Features{xmlText(a.features)}
		}
		if a.bidi {
			features = append(features, negotiate.Bidi{Use: true}.Offer(st))
		}
		if conn.Open(stream.Header{From: h.To, To: h.From, ID: "theirs", Version: "1.0", Content: ns.Server}, features) != nil {
			return
		}
		for {
			el, err := conn.ReadElement()
			if err != nil {
				return
			}
			if stanza.KindOf(el) != 0 {
				from, to := jid.MustParse(el.Attr("from")).Domain(), jid.MustParse(el.Attr("to")).Domain()
				a.mu.Lock()
				a.got = append(a.got, fmt.Sprintf("%d: %s to %s: %s", call, from, to, el.Attr("id")))
				a.mu.Unlock()
			}
			q, ok, err := negotiate.ParseDialback(el)
			if !ok || err != nil {
				continue
			}
			a.mu.Lock()
			a.asked = append(a.asked, q)
			a.mu.Unlock()
			for _, answer := range a.verdict(q) {
				if stream.Write(conn, answer) != nil {
					return
				}
			}
			if !q.Verify && a.then != "" && conn.WriteBatch([][]byte{[]byte(a.then)}) != nil {
				return
			}
		}
	}()
}

// says answers each question with a verdict.
func says(verdict string) func(q negotiate.Dialback) []negotiate.Dialback {
	return func(q negotiate.Dialback) []negotiate.Dialback { return []negotiate.Dialback{q.Answer(verdict)} }
}

// online logs romeo in.
func (w *world) online() *xmpptest.Client {
	w.t.Helper()
	return w.s.MustBeOnline("romeo@montague.example/home")[0]
}

const result = "<db:result xmlns:db='jabber:server:dialback' from='FROM' to='montague.example'>key</db:result>"

func resultFrom(from string) string { return strings.Replace(result, "FROM", from, 1) }

// at is a domain as an address.
func at(domain string) jid.JID { return jid.MustParse(domain) }

// xmlText is XML that is written as it is.
type xmlText string

// AppendXML implements xmltree.Appender.
func (x xmlText) AppendXML(w *xmltree.Writer) { w.Raw([]byte(x)) }
