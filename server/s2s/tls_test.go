package s2s_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"kith/xmpp/negotiate"
	"kith/xmpp/stream"
)

// TestStartTLSInjection: what follows <starttls/> in the clear ends the stream, at both
// ends.
func TestStartTLSInjection(t *testing.T) {
	inWorld(t, "", func(w *world) {
		p := w.connect(false)
		p.header("evil.example", "montague.example")
		p.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>" + resultFrom("evil.example"))
		p.ends("pipelined", stream.ErrPolicyViolation)
	})
	t.Run("behind proceed", func(t *testing.T) {
		inWorld(t, "", func(w *world) {
			w.net.Direct = false
			answered := 0
			w.net.Stranger("evil.example", func(c net.Conn, _ bool) {
				answered++
				go func() {
					conn := stream.NewTCP(c, stream.Options{Server: true})
					if _, err := conn.ReadHeader(); err != nil {
						return
					}
					conn.Open(stream.Header{From: "evil.example", ID: "1", Version: "1.0", Content: "jabber:server"}, //nolint:errcheck // a test of what follows
						stream.Features{xmlText("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")})
					conn.ReadElement() //nolint:errcheck // <starttls/>
					conn.WriteBatch([][]byte{[]byte("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><stream:features/>")})
				}()
			})
			romeo := w.online()
			romeo.MustSend("<message to='x@evil.example' id='m'><body>hark</body></message>")
			w.s.Pass(3 * time.Minute)
			romeo.Expect("<message from='x@evil.example' type='error' id='m' ...>...</message>")
			if answered == 0 {
				t.Error("the server was not called")
			}
		})
	})
}

// TestStartTLSStripping: without TLS nothing is offered and nothing taken.
func TestStartTLSStripping(t *testing.T) {
	inWorld(t, "", func(w *world) {
		a := &authoritative{cert: w.certificate(nil, "evil.example"), verdict: says("valid")}
		w.net.Stranger("evil.example", a.serve)
		p := w.connect(false)
		p.header("evil.example", "montague.example")
		for el := range p.features.Children() {
			if n := el.Name().Local; n != "starttls" && n != "bidi" {
				w.t.Errorf("offered before TLS: %s", el.Raw())
			}
		}
		p.send(resultFrom("evil.example"))
		if d, _, err := negotiate.ParseDialback(p.must()); err != nil || d.Err == nil || d.Err.Condition != "policy-violation" {
			w.t.Errorf("dialback before TLS: %+v, %v", d, err)
		}
		p.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>")
		if el := p.must(); !strings.Contains(string(el.Raw()), "encryption-required") {
			w.t.Errorf("EXTERNAL before TLS: %s", el.Raw())
		}
		p.send(hark)
		p.ends("stanza before TLS", stream.ErrNotAuthorized)
		if a.count() != 0 {
			w.t.Error("a key was verified that came without TLS")
		}
	})
	t.Run("other server without TLS", func(t *testing.T) {
		inWorld(t, "", func(w *world) {
			w.net.Direct = false
			got := make(chan string, 10)
			w.net.Stranger("evil.example", func(c net.Conn, _ bool) {
				go func() {
					conn := stream.NewTCP(c, stream.Options{Server: true})
					if _, err := conn.ReadHeader(); err != nil {
						return
					}
					conn.Open(stream.Header{From: "evil.example", ID: "1", Version: "1.0", Content: "jabber:server"}, //nolint:errcheck // a test of what follows
						stream.Features{xmlText("<dialback xmlns='urn:xmpp:features:dialback'/>")})
					el, err := conn.ReadElement()
					got <- fmt.Sprintf("%s %v", el.Raw(), err)
				}()
			})
			romeo := w.online()
			romeo.MustSend("<message to='x@evil.example' id='m'><body>hark</body></message>")
			w.s.Pass(3 * time.Second) // the first connection is closed in peace
			romeo.Expect("<message from='x@evil.example' type='error' id='m' ...><error type='wait'><remote-server-timeout xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>...</error></message>")
			if text := <-got; strings.Contains(text, "result") || strings.Contains(text, "message") {
				t.Errorf("sent without TLS: %s", text)
			}
		})
	})
}

// TestTLSVersions: RFC 7590 §3.1.
func TestTLSVersions(t *testing.T) {
	for version, want := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		inWorld(t, "", func(w *world) {
			c := tls.Client(w.s.DialServer(true), &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version})
			if err := c.Handshake(); (err == nil) != want {
				w.t.Errorf("%s: %v", tls.VersionName(version), err)
			}
		})
	}
}
