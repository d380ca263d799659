package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"kith/server/config"
	"kith/xmpp/jid"
)

// Names of the certificate that the server makes for itself.
const (
	localCert = "localhost.crt"
	localKey  = "localhost.key"
)

// loadTLS returns what clients are spoken to with: for each host its
// certificate, chosen by the name they ask for (SNI). Hosts without one get a
// self-signed certificate: the configuration allows that on loopback only.
func loadTLS(c *config.Config, now time.Time, log *slog.Logger) (*tls.Config, error) {
	if names := selfSigned(c); len(names) > 0 {
		if err := makeLocal(names, data(c, localCert), data(c, localKey), now); err != nil {
			return nil, err
		}
	}
	certs := make(map[string]*tls.Certificate)
	for _, h := range c.Hosts {
		cert, err := certificate(c, h)
		if err != nil {
			return nil, err
		}
		if now.After(cert.Leaf.NotAfter) {
			log.Warn("certificate has expired; clients will refuse it", "host", h.Domain(), "since", cert.Leaf.NotAfter)
		}
		certs[asciiName(h)] = cert
	}
	authority, err := clientCA(c)
	if err != nil {
		return nil, err
	}
	first := certs[asciiName(c.Hosts[0])]
	return withClients(authority, &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"xmpp-client"}, // XEP-0368 §3
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if cert := certs[strings.ToLower(hello.ServerName)]; cert != nil {
				return cert, nil
			}
			return first, nil
		},
	}), nil
}

// certificate loads the certificate of a host and makes sure that it is one.
func certificate(c *config.Config, h jid.JID) (*tls.Certificate, error) {
	certFile, keyFile := c.Certificate(h)
	if certFile == "" {
		certFile, keyFile = data(c, localCert), data(c, localKey)
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("load certificate of %s: %w; %s has to hold the certificate and its chain, %s its private key, both as PEM",
			h, err, certFile, keyFile)
	}
	if err := cert.Leaf.VerifyHostname(asciiName(h)); err != nil {
		return nil, fmt.Errorf("load certificate of %s: %s is for %s; get one for %s, or name the right file in [tls] or in [host.%q]",
			h, certFile, namesOf(cert.Leaf), h, h)
	}
	return &cert, nil
}

// namesOf lists who a certificate is for, for a person to read.
func namesOf(cert *x509.Certificate) string {
	names := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "no domain at all"
	}
	return strings.Join(names, ", ")
}

// asciiName is how TLS and certificates write a host: in A-labels
// (RFC 6066 §3, RFC 9525 §2).
func asciiName(h jid.JID) string {
	if ascii, err := idna.Punycode.ToASCII(h.Domain()); err == nil {
		return ascii
	}
	return h.Domain()
}

// selfSigned returns the names of the hosts that have no certificate.
func selfSigned(c *config.Config) (names []string) {
	for _, h := range c.Hosts {
		if file, _ := c.Certificate(h); file == "" {
			names = append(names, asciiName(h))
		}
	}
	return names
}

// makeLocal makes a self-signed certificate for these names, unless there is one
// that still holds for a month.
func makeLocal(names []string, certFile, keyFile string, now time.Time) error {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	switch {
	case err == nil && holds(cert.Leaf, names, now):
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("read the self-signed certificate: %w; delete %s and %s to have new ones made", err, certFile, keyFile)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return fmt.Errorf("make a serial number: %w", err)
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: names[0], Organization: []string{"Kith, self-signed"}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(2, 0, 0),
		// No authority: who trusts it trusts it for these names only.
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, name := range names {
		if ip := net.ParseIP(strings.Trim(name, "[]")); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return fmt.Errorf("make a self-signed certificate: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode the key: %w", err)
	}
	if err := writePEM(keyFile, "PRIVATE KEY", pkcs8, 0o600); err != nil {
		return err
	}
	return writePEM(certFile, "CERTIFICATE", der, 0o644)
}

// holds reports whether a certificate is for all these names, and for a month
// still.
func holds(cert *x509.Certificate, names []string, now time.Time) bool {
	for _, name := range names {
		if cert.VerifyHostname(name) != nil {
			return false
		}
	}
	return now.After(cert.NotBefore) && now.AddDate(0, 1, 0).Before(cert.NotAfter)
}

func writePEM(name, kind string, der []byte, mode fs.FileMode) error {
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// fingerprint of the certificate that the server made for its first host; "" if
// that has one of its own.
func fingerprint(c *config.Config) string {
	if file, _ := c.Certificate(c.Hosts[0]); file != "" {
		return ""
	}
	b, err := os.ReadFile(data(c, localCert))
	if err != nil {
		return ""
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return ""
	}
	sum := sha256.Sum256(block.Bytes)
	return strings.ToUpper(strings.ReplaceAll(fmt.Sprintf("% x", sum), " ", ":"))
}
