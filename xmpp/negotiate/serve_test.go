package negotiate

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kith/xmpp/stream"
)

// bubble runs a test with virtual time.
func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

const (
	tlsNS  = "urn:ietf:params:xml:ns:xmpp-tls"
	saslNS = "urn:ietf:params:xml:ns:xmpp-sasl"
)

// RFC 6120 §4.7, §4.8, §4.9.1.2, §4.9.1.3
func TestHeaders(t *testing.T) {
	streams := " xmlns:stream='http://etherx.jabber.org/streams'"
	tests := []struct{ name, send, from, condition string }{
		{"unknown host", header("to='verona.example' version='1.0'"), "montague.example", "host-unknown"},
		{"no host", header("version='1.0'"), "montague.example", "host-unknown"},
		{"user as host", header("to='romeo@montague.example' version='1.0'"), "montague.example", "host-unknown"},
		{"malformed host", header("to='a@b@c' version='1.0'"), "montague.example", "improper-addressing"},
		{"no version", header("to='capulet.example'"), "capulet.example", "unsupported-version"},
		{"version 0.9", header("to='montague.example' version='0.9'"), "montague.example", "unsupported-version"},
		{"stream namespace", "<stream:stream to='montague.example' version='1.0' xmlns='jabber:client' xmlns:stream='urn:x'>", "montague.example", "invalid-namespace"},
		{"content namespace", "<stream:stream to='montague.example' version='1.0' xmlns='jabber:server'" + streams + ">", "montague.example", "invalid-namespace"},
		{"other element", "<stream:features to='montague.example' version='1.0' xmlns='jabber:client'" + streams + ">", "montague.example", "bad-format"},
		{"not well-formed", "<stream:stream to='montague.example' to='x'" + streams + ">", "montague.example", "not-well-formed"},
		{"no XML", "GET / HTTP/1.1\r\n\r\n", "montague.example", "not-well-formed"},
		{"comment", "<!-- x --><stream:stream>", "montague.example", "restricted-xml"},
		{"document type", "<!DOCTYPE x><stream:stream>", "montague.example", "restricted-xml"},
		{"encoding", "<?xml version='1.0' encoding='UTF-16'?>" + header("to='montague.example' version='1.0'")[21:], "montague.example", "unsupported-encoding"},
		{"too long", header("to='montague.example' version='1.0' x='" + strings.Repeat("x", 20000) + "'"), "montague.example", "policy-violation"},
	}
	for _, tt := range tests {
		bubble(t, tt.name, func(t *testing.T) {
			r := serve(t, true)
			r.expect(tt.send, "<?xml version='1.0'?><stream:stream from='"+tt.from+"'", " id='", " version='1.0' xml:lang='en' ",
				"<stream:error", "<"+tt.condition+" xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>", "</stream:error></stream:stream>")
			r.ended()
		})
	}
}

func TestAnswerToHeader(t *testing.T) {
	bubble(t, "to", func(t *testing.T) {
		r := serve(t, true)
		// RFC 6120 §4.7.2: the bare JID it came from; §4.7.5: the lower version.
		r.expect(header("to='montague.example' from='juliet@montague.example/x' version='2.1' xml:lang='de'"),
			"from='montague.example' to='juliet@montague.example' id='", "version='1.0' xml:lang='en' xmlns='jabber:client'")
	})
	bubble(t, "malformed from", func(t *testing.T) {
		r := serve(t, true)
		if got := r.expect(header("to='montague.example' from='a@b@c' version='1.0'"), "<stream:features"); strings.Contains(got, " to=") {
			t.Errorf("answer is %s", got)
		}
	})
	bubble(t, "prefix-free", func(t *testing.T) {
		r := serve(t, true)
		r.expect("<stream to='montague.example' version='1.0' xmlns='http://etherx.jabber.org/streams'>", "<stream:features")
		r.expectError("<message xmlns='jabber:client'/>", "not-authorized")
	})
}

func TestFeatures(t *testing.T) {
	bubble(t, "TLS required", func(t *testing.T) {
		r := serve(t, true)
		r.expect(hello, "<stream:features xmlns:stream='http://etherx.jabber.org/streams'>"+
			"<starttls xmlns='"+tlsNS+"'><required/></starttls></stream:features>")
	})
	bubble(t, "TLS optional", func(t *testing.T) {
		r := serve(t, false)
		got := r.expect(hello, "<starttls xmlns='"+tlsNS+"'/>", "<max-bytes>10000</max-bytes>",
			"<register xmlns='http://jabber.org/features/iq-register'/>",
			"<mechanisms xmlns='"+saslNS+"'><mechanism>SCRAM-SHA-512</mechanism>")
		for _, no := range []string{"PLAIN", "-PLUS", "channel-binding", "bind"} {
			if strings.Contains(got, no) {
				t.Errorf("%s is offered without TLS: %s", no, got)
			}
		}
	})
	bubble(t, "after TLS", func(t *testing.T) {
		r := tlsStream(t)
		got := r.expect(hello, "<register", "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/>"+
			"<channel-binding type='tls-server-end-point'/></sasl-channel-binding>",
			"<mechanism>SCRAM-SHA-512-PLUS</mechanism>", "<mechanism>PLAIN</mechanism>")
		if strings.Contains(got, "starttls") || strings.Contains(got, "xmpp-bind") {
			t.Errorf("offered after TLS: %s", got)
		}
	})
	bubble(t, "after authentication", func(t *testing.T) {
		r := authenticated(t)
		got := r.expect(hello, "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>262144</max-bytes><idle-seconds>1800</idle-seconds></limits>",
			"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>",
			"<session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session>", "<sm xmlns='urn:xmpp:sm:3'/>")
		for _, no := range []string{"starttls", "mechanism", "iq-register"} {
			if strings.Contains(got, no) {
				t.Errorf("%s is offered after authentication: %s", no, got)
			}
		}
	})
}

// What comes at the wrong time ends the stream.
func TestWrongOrder(t *testing.T) {
	bind := "<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"
	register := "<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>"
	tests := []struct {
		name  string
		start func(testing.TB) *raw
		send  string
		want  string
	}{
		{"message before TLS", plainStream, "<message to='x@y'/>", "not-authorized"},
		{"presence before TLS", plainStream, "<presence/>", "not-authorized"},
		{"registration before required TLS", plainStream, register, "not-authorized"},
		{"bind before authentication", tlsStream, bind, "not-authorized"},
		{"message before authentication", tlsStream, "<message to='x@y'/>", "not-authorized"},
		{"registration at another host", tlsStream, strings.Replace(register, "id", "to='verona.example' id", 1), "not-authorized"},
		{"unknown element", tlsStream, "<pubsub xmlns='jabber:client'/>", "unsupported-stanza-type"},
		{"unknown namespace", tlsStream, "<x xmlns='urn:x'/>", "unsupported-stanza-type"},
		{"content namespace of servers", tlsStream, "<message xmlns='jabber:server'/>", "invalid-namespace"},
		{"challenge from a client", tlsStream, "<challenge xmlns='" + saslNS + "'/>", "unsupported-stanza-type"},
		{"comment", tlsStream, "<!-- -->", "restricted-xml"},
		{"broken XML", tlsStream, "<a></b>", "not-well-formed"},
		{"huge", tlsStream, "<auth xmlns='" + saslNS + "' mechanism='PLAIN'>" + strings.Repeat("A", 20000), "policy-violation"},
		{"deep", tlsStream, strings.Repeat("<x xmlns='urn:x'>", 9), "policy-violation"},
		{"message before bind", authenticated, "<message to='x@y'/>", "not-authorized"},
		{"registration before bind", authenticated, register, "not-authorized"},
		{"authentication again", authenticated, plain("romeo", "secret"), "not-authorized"},
		{"ack before bind", authenticated, "<r xmlns='urn:xmpp:sm:3'/>", "unsupported-stanza-type"},
	}
	for _, tt := range tests {
		bubble(t, tt.name, func(t *testing.T) {
			r := tt.start(t)
			r.expect(hello, "<stream:features")
			r.expectError(tt.send, tt.want)
		})
	}
}

// plainStream is a server whose client has not started TLS, which is required.
func plainStream(t testing.TB) *raw { return serve(t, true) }

func TestHostIsFrozen(t *testing.T) {
	tests := []struct{ name, send, condition string }{
		{"another of ours", header("to='capulet.example' version='1.0'"), "host-unknown"},
		{"unknown", header("to='verona.example' version='1.0'"), "host-unknown"},
		{"from another", header("to='montague.example' from='romeo@montague.example' version='1.0'"), "invalid-from"},
		{"from nonsense", header("to='montague.example' from='a@b@c' version='1.0'"), "invalid-from"},
	}
	for _, tt := range tests {
		bubble(t, tt.name, func(t *testing.T) {
			r := authenticated(t)
			r.expectError(tt.send, tt.condition)
		})
	}
	bubble(t, "before authentication", func(t *testing.T) {
		r := tlsStream(t)
		r.expectError(header("to='capulet.example' version='1.0'"), "host-unknown")
	})
	bubble(t, "not repeated", func(t *testing.T) {
		r := authenticated(t)
		r.expect(header("from='juliet@montague.example/x' version='1.0'"), "from='montague.example'", "<stream:features")
	})
	// RFC 6120 §6.4.6
	bubble(t, "from another than who authenticates", func(t *testing.T) {
		r := tlsStream(t)
		r.expect(header("to='montague.example' from='romeo@montague.example' version='1.0'"), "<stream:features")
		r.expectError(plain("juliet", "r0m30myr0m30"), "invalid-from")
	})
}

func TestStreamIDs(t *testing.T) {
	bubble(t, "ids", func(t *testing.T) {
		r := tlsStream(t)
		id := func(got string) string {
			_, after, _ := strings.Cut(got, " id='")
			id, _, _ := strings.Cut(after, "'")
			return id
		}
		first := id(r.expect(hello, "<stream:features"))
		r.expect(plain("juliet", "r0m30myr0m30"), "<success")
		second := id(r.expect(hello, "<stream:features"))
		// RFC 6120 §4.3.3
		if first == second || len(first) < 22 || len(second) < 22 {
			t.Errorf("stream ids are %q and %q", first, second)
		}
	})
}

// RFC 6120 §5.4.2.2
func TestStartTLSFails(t *testing.T) {
	starttls := "<starttls xmlns='" + tlsNS + "'/>"
	tests := []struct {
		name  string
		start func(testing.TB) *raw
		send  string
	}{
		{"malformed", plainStream, "<start xmlns='" + tlsNS + "'/>"},
		{"twice", tlsStream, starttls},
		{"after authentication", authenticated, starttls},
	}
	for _, tt := range tests {
		bubble(t, tt.name, func(t *testing.T) {
			r := tt.start(t)
			r.expect(hello, "<stream:features")
			r.expect(tt.send, "<failure xmlns='"+tlsNS+"'/></stream:stream>")
			r.ended()
		})
	}
	bubble(t, "injection", func(t *testing.T) {
		r := plainStream(t)
		r.expect(hello, "<stream:features")
		r.expectError(starttls+"<iq type='set' id='1'/>", "policy-violation")
	})
	bubble(t, "injected space", func(t *testing.T) {
		r := plainStream(t)
		r.expect(hello, "<stream:features")
		r.expectError(starttls+" ", "policy-violation")
	})
	// Where there is no room for a handshake, the stream ends as streams do.
	bubble(t, "not admitted", func(t *testing.T) {
		config, _ := tlsConfigs(t)
		full := func(ctx context.Context) (func(), error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		r := serveSteps(t, StartTLS{Config: config, Admit: full, Timeout: 5 * time.Second})
		r.expect(hello, "<starttls")
		if got := r.say(starttls); got != "" {
			t.Errorf("got %s", got)
		}
		time.Sleep(5 * time.Second) // of the synctest bubble
		r.expectError("", "connection-timeout")
	})
	bubble(t, "handshake takes too long", func(t *testing.T) {
		r := plainStream(t)
		r.expect(hello, "<stream:features")
		r.expect(starttls, "<proceed")
		start := time.Now()
		if err := (<-r.out).err; err == nil || time.Since(start) != 10*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

// A peer that never gets anywhere is sent away.
func TestLoginTakesTooLong(t *testing.T) {
	bubble(t, "silent", func(t *testing.T) {
		r := serve(t, true)
		start := time.Now()
		if err := (<-r.out).err; err == nil || time.Since(start) != 30*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		synctest.Wait()
		r.expect("", "<connection-timeout", "</stream:stream>")
	})
	bubble(t, "busy", func(t *testing.T) {
		r := tlsStream(t)
		r.expect(hello, "<stream:features")
		for range maxRequests {
			r.expect("<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>", "type='result'")
		}
		r.expectError("<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>", "policy-violation")
	})
	bubble(t, "resuming for ever", func(t *testing.T) {
		r := authenticated(t)
		r.expect(hello, "<stream:features")
		for range maxElements - 2 {
			r.expect("<resume xmlns='urn:xmpp:sm:3' h='0' previd='x'/>", "<failed")
		}
		r.expectError("<resume xmlns='urn:xmpp:sm:3' h='0' previd='x'/>", "policy-violation")
	})
}

func TestPeerGoes(t *testing.T) {
	bubble(t, "closing tag", func(t *testing.T) {
		r := serve(t, true)
		r.expect(hello, "<stream:features")
		r.expect("</stream:stream>", "</stream:stream>")
		r.ended()
	})
	bubble(t, "stream error", func(t *testing.T) {
		r := serve(t, true)
		r.expect(hello, "<stream:features")
		r.expect("<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>", "</stream:stream>")
		r.ended()
		if err := (<-r.out).err; !errors.Is(err, stream.ErrConflict) {
			t.Errorf("Serve returned %v", err)
		}
	})
	bubble(t, "gone", func(t *testing.T) {
		r := serve(t, true)
		r.conn.Close()
		if err := (<-r.out).err; err == nil {
			t.Error("Serve returned without an error")
		}
	})
}
