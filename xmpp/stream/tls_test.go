package stream

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"reflect"
	"testing"
)

func TestBindings(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		s, c := pair(loopback(t))
		if s.Bindings() != nil || s.Secure() || s.TLS() != nil {
			t.Error("bindings without TLS")
		}
		secure(t, s, c, version)
		if got := s.TLS().Version; got != version {
			t.Errorf("version %x, want %x", got, version)
		}
		sb, cb := s.Bindings(), c.Bindings()
		if len(sb) != 2 || !reflect.DeepEqual(sb, cb) {
			t.Errorf("TLS %x: server has %v, client %v", version, sb, cb)
		}
	}
}

// Whoever is between the ends can put bytes behind a command that is sent in
// the clear; they must not be taken for what comes after the handshake.
func TestInjectionBeforeTLS(t *testing.T) {
	for _, server := range []bool{true, false} {
		end, other := net.Pipe()
		s := NewTCP(end, Options{Server: server})
		go other.Write([]byte("<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><message/>"))
		if _, err := s.ReadHeader(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.ReadElement(); err != nil {
			t.Fatal(err)
		}
		if err := s.StartTLS(context.Background(), &tls.Config{}); !errors.Is(err, ErrBuffered) {
			t.Errorf("StartTLS = %v, want ErrBuffered", err)
		}
		if err := s.Restart(); !errors.Is(err, ErrBuffered) {
			t.Errorf("Restart = %v, want ErrBuffered", err)
		}
	}
}

func TestHandshakeFails(t *testing.T) {
	end, other := net.Pipe()
	s := NewTCP(end, Options{Server: true})
	cert, _ := certificate(t)
	var seen []byte
	done := make(chan struct{})
	go func() {
		other.Write([]byte("<stream:stream>"))
		seen, _ = io.ReadAll(other)
		close(done)
	}()
	err := s.StartTLS(context.Background(), ServerTLS(&tls.Config{Certificates: []tls.Certificate{cert}}))
	if err == nil {
		t.Fatal("plain text is no handshake")
	}
	s.Close(err)
	<-done
	// RFC 6120 §5.4.3.2
	if bytes.Contains(seen, []byte("stream")) {
		t.Errorf("sent %q behind a failed handshake", seen)
	}
}
