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
	return authorities(c.TLS.ClientCA, "clients'")
}

// serverCA returns the authorities of other servers' certificates; nil if they are the
// system's.
func serverCA(c *config.Config) (*x509.CertPool, error) {
	return authorities(c.S2S.CA, "servers'")
}

func authorities(file, whose string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("load the authority of %s certificates: %w", whose, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("load the authority of %s certificates: %s holds no certificate as PEM", whose, file)
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
