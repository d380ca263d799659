package server

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"kith/server/config"
)

// clientCA returns the authority whose certificates clients may log in with; nil
// if there is none.
func clientCA(c *config.Config) (*x509.CertPool, error) {
	if c.TLS.ClientCA == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(c.TLS.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("load the authority of clients' certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("load the authority of clients' certificates: %s holds no certificate as PEM", c.TLS.ClientCA)
	}
	return pool, nil
}

// withClients has clients asked for a certificate of an authority, if there is
// one. Nothing is verified in the handshake, which it would break: who has none
// that holds may still have a password.
func withClients(authority *x509.CertPool, conf *tls.Config) *tls.Config {
	if authority != nil {
		conf.ClientAuth, conf.ClientCAs = tls.RequestClientCert, authority
	}
	return conf
}
