package stream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"kith/xmpp/sasl"
)

// errHandshake is why nothing can be written.
var errHandshake = errors.New("tls handshake")

// ServerTLS prepares a configuration for streams; it is done once for a
// listener. It sees to it that the certificate presented is known afterwards,
// for tls-server-end-point. Records are never cut smaller than a batch.
// Clients may resume sessions (TLS 1.3), unless the base has SessionTicketsDisabled
// or asks for certificates of clients.
// The base must not have GetConfigForClient.
func ServerTLS(base *tls.Config) *tls.Config {
	config := base.Clone()
	config.SessionTicketsDisabled = true
	config.DynamicRecordSizingDisabled = true
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12) // RFC 7590 §3.1
	config.Certificates = nil
	config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := pickCertificate(base, hello)
		if s, ok := hello.Conn.(*sock); ok && err == nil {
			s.cert = cert
		}
		return cert, err
	}
	newest := base.MaxVersion == 0 || base.MaxVersion >= tls.VersionTLS13
	if newest && !base.SessionTicketsDisabled && base.ClientAuth == tls.NoClientCert {
		t := tickets{base: base, full: config.Clone()}
		config.GetConfigForClient = t.choose
	}
	return config
}

// pickCertificate chooses as crypto/tls does.
func pickCertificate(base *tls.Config, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if base.GetCertificate != nil {
		if cert, err := base.GetCertificate(hello); cert != nil || err != nil {
			return cert, err
		}
	}
	for i := range base.Certificates {
		if hello.SupportsCertificate(&base.Certificates[i]) == nil {
			return &base.Certificates[i], nil
		}
	}
	if len(base.Certificates) > 0 {
		return &base.Certificates[0], nil
	}
	return nil, fmt.Errorf("no certificate for %q", hello.ServerName)
}

// StartTLS implements Transport. It is also what begins a connection with
// direct TLS (XEP-0368). The context bounds the handshake; a server's
// configuration comes from ServerTLS.
func (c *TCP) StartTLS(ctx context.Context, config *tls.Config) error {
	if c.tls != nil {
		return ErrPolicyViolation.With("already encrypted")
	}
	if err := c.Restart(); err != nil {
		return err
	}
	// Nothing but the handshake may be written before it is done, nor, if it
	// fails, afterwards: RFC 6120 §5.4.3.2 wants no closing tag then.
	c.setFailed(errHandshake)
	c.sock.setKeep(false)
	var conn *tls.Conn
	if c.opts.Server {
		conn = tls.Server(c.sock, config)
	} else {
		conn = tls.Client(c.sock, config)
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("%w: %w", errHandshake, err)
	}
	c.sock.setKeep(true)
	c.wmu.Lock()
	c.rw, c.tls, c.failed = conn, conn, nil
	c.wmu.Unlock()
	return nil
}

func (c *TCP) setFailed(err error) {
	c.wmu.Lock()
	c.failed = err
	c.wmu.Unlock()
}

// Secure implements Transport.
func (c *TCP) Secure() bool { return c.tls != nil }

// TLS returns the state of the encryption, nil if there is none.
func (c *TCP) TLS() *tls.ConnectionState {
	if c.tls == nil {
		return nil
	}
	state := c.tls.ConnectionState()
	return &state
}

// Bindings implements Transport.
func (c *TCP) Bindings() []sasl.Binding {
	state := c.TLS()
	if state == nil {
		return nil
	}
	return sasl.TLSBindings(state, c.serverCertificate(state))
}

// serverCertificate returns the certificate that the server presented.
func (c *TCP) serverCertificate(state *tls.ConnectionState) *x509.Certificate {
	if !c.opts.Server {
		if peers := state.PeerCertificates; len(peers) > 0 {
			return peers[0]
		}
		return nil
	}
	cert := c.sock.cert
	switch {
	case cert == nil:
		return nil
	case cert.Leaf != nil:
		return cert.Leaf
	case len(cert.Certificate) == 0:
		return nil
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return nil // presented all the same; without a binding to it
	}
	return leaf
}
