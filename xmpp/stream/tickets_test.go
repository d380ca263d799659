package stream

import (
	"context"
	"crypto/tls"
	"reflect"
	"testing"
)

// TestTickets: a client that comes again spares the certificate, and both sides know
// the same bindings as before; unless one of them has changed its mind.
func TestTickets(t *testing.T) {
	cert, pool := certificate(t)
	other, _ := certificate(t)
	now := cert // what the server presents
	base := func() *tls.Config {
		return &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &now, nil }}
	}
	client := func() *tls.Config {
		return &tls.Config{RootCAs: pool, ServerName: "montague.example", ClientSessionCache: tls.NewLRUClientSessionCache(8)}
	}
	with := func(config *tls.Config, change func(*tls.Config)) *tls.Config {
		change(config)
		return config
	}
	for name, tt := range map[string]struct {
		server, client *tls.Config
		between        func(server *tls.Config) *tls.Config // it is the server's afterwards
		want           bool
	}{
		"as a client does": {server: base(), client: client(), want: true},
		"no cache":         {server: base(), client: with(client(), func(c *tls.Config) { c.ClientSessionCache = nil })},
		// RFC 5246's sessions keep their secret, and their name in tls-unique.
		"TLS 1.2, client": {server: base(), client: with(client(), func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })},
		"TLS 1.2, server": {server: with(base(), func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }), client: client()},
		"not wanted":      {server: with(base(), func(c *tls.Config) { c.SessionTicketsDisabled = true }), client: client()},
		"asks clients for certificates": {
			server: with(base(), func(c *tls.Config) { c.ClientAuth = tls.RequestClientCert }), client: client(),
		},
		"another certificate": {
			server: base(), client: with(client(), func(c *tls.Config) { c.InsecureSkipVerify = true }),
			between: func(server *tls.Config) *tls.Config { now = other; return server },
		},
		"another configuration": {
			server: base(), client: client(),
			between: func(*tls.Config) *tls.Config { return ServerTLS(base()) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			now = cert
			server := ServerTLS(tt.server)
			first := handshake(t, server, tt.client)
			if first {
				t.Error("resumed at the first time")
			}
			if tt.between != nil {
				server = tt.between(server)
			}
			for range 2 { // also with the ticket of a session that was resumed
				if got := handshake(t, server, tt.client); got != tt.want {
					t.Fatalf("resumed: %t, want %t", got, tt.want)
				}
				if tt.between != nil {
					return
				}
			}
		})
	}
}

// handshake reports whether the session was resumed, once both sides have found the
// same bindings.
func handshake(t *testing.T, server, client *tls.Config) bool {
	t.Helper()
	s, c := pair(loopback(t))
	done := make(chan error, 1)
	go func() { done <- s.StartTLS(context.Background(), server) }()
	if err := c.StartTLS(context.Background(), client); err != nil {
		t.Fatalf("client: %v", err)
	}
	if err := <-done; err != nil {
		t.Fatalf("server: %v", err)
	}
	open(t, s, c) // behind it the client has the ticket
	if s.TLS().DidResume != c.TLS().DidResume {
		t.Errorf("resumed at the server: %t, at the client: %t", s.TLS().DidResume, c.TLS().DidResume)
	}
	if sb, cb := s.Bindings(), c.Bindings(); len(sb) != 2 || !reflect.DeepEqual(sb, cb) {
		t.Errorf("server has %v, client %v", sb, cb)
	}
	return s.TLS().DidResume
}
