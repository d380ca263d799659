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
	"math/big"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"kith/server/config"
	"kith/xmpp/jid"
	"kith/xmpp/stream"
)

// Names of the certificate that the server makes for itself.
const (
	localCert = "localhost.crt"
	localKey  = "localhost.key"
)

// identity is what the server shows of itself by TLS: for each host its
// certificate. It does not change; a reload makes another one.
type identity struct {
	certs   map[string]*tls.Certificate // by the host's name in A-labels
	configs map[string]*tls.Config      // by host; "" while no host is known
	servers map[string]*tls.Config      // the same for other servers
	roots   *x509.CertPool              // of other servers' certificates; nil: the system's

	components *tls.Config // for external components
}

// loadIdentity loads the certificates. Hosts without one get a self-signed
// certificate: the configuration allows that on loopback only. warnings are what
// clients will not like.
func loadIdentity(c *config.Config, now time.Time) (_ *identity, warnings []string, err error) {
	id := &identity{certs: make(map[string]*tls.Certificate), configs: make(map[string]*tls.Config), servers: make(map[string]*tls.Config)}
	own := selfSigned(c)
	for _, h := range c.Hosts {
		file, key := c.Certificate(h)
		if file == "" {
			continue
		}
		cert, err := certificate(h, file, key)
		if err != nil {
			return nil, nil, err
		}
		warnings = append(warnings, judge(cert.Leaf, h, file, now)...)
		id.certs[asciiName(h)] = cert
	}
	authority, err := clientCA(c)
	if err != nil {
		return nil, nil, err
	}
	if id.roots, err = serverCA(c); err != nil {
		return nil, nil, err
	}
	if len(own) > 0 { // last, for it writes files
		file, key := data(c, localCert), data(c, localKey)
		if err := makeLocal(own, file, key, now); err != nil {
			return nil, nil, err
		}
		cert, err := certificate(c.Hosts[0], file, key)
		if err != nil {
			return nil, nil, err
		}
		for _, name := range own {
			id.certs[name] = cert
		}
	}
	for _, h := range c.Hosts {
		id.configs[h.Domain()] = id.config(id.certs[asciiName(h)], authority)
		id.servers[h.Domain()] = id.serverConfig(id.certs[asciiName(h)])
	}
	id.configs[""] = id.config(id.certs[asciiName(c.Hosts[0])], authority)
	id.servers[""] = id.serverConfig(id.certs[asciiName(c.Hosts[0])])
	id.components = id.componentConfig(id.certs[asciiName(c.Hosts[0])])
	return id, warnings, nil
}

// config returns what streams are spoken to with: the certificate is that of the
// name they ask for (SNI), or other if that is none of ours. Clients may show
// certificates of the authority, if there is one.
func (id *identity) config(other *tls.Certificate, authority *x509.CertPool) *tls.Config {
	return stream.ServerTLS(withClients(authority, &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"xmpp-client"}, // XEP-0368 §3
		GetCertificate: id.byName(other),
	}))
}

// serverConfig is config for other servers. They are asked for a certificate of any
// authority; nothing is verified in the handshake, which it would break: who has none
// that holds may still prove its domain by dialback.
func (id *identity) serverConfig(other *tls.Certificate) *tls.Config {
	return stream.ServerTLS(&tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"xmpp-server"}, // XEP-0368 §3
		ClientAuth:     tls.RequestClientCert,
		GetCertificate: id.byName(other),

		SessionTicketsDisabled: true, // streams with servers are few and last
	})
}

// componentConfig is config for external components: XEP-0114 knows no protocol of
// TLS's to be named. They ask for the server by its name, or by their own: then the
// certificate is that of the host that they are below.
func (id *identity) componentConfig(other *tls.Certificate) *tls.Config {
	return stream.ServerTLS(&tls.Config{
		MinVersion:             tls.VersionTLS12,
		SessionTicketsDisabled: true,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if cert := id.shown(strings.TrimSuffix(hello.ServerName, ".")); cert != nil {
				return cert, nil
			}
			return other, nil
		},
	})
}

// byName chooses the certificate of the name that is asked for.
func (id *identity) byName(other *tls.Certificate) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if cert := id.certs[strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))]; cert != nil {
			return cert, nil
		}
		return other, nil
	}
}

// ofServers is of for streams with other servers. A component shows the certificate of
// the host that it is below.
func (id *identity) ofServers(domain string) *tls.Config {
	for at := domain; at != ""; _, at, _ = strings.Cut(at, ".") {
		if conf := id.servers[at]; conf != nil {
			return conf
		}
	}
	return id.servers[""]
}

// shown is the certificate that is shown to other servers for a domain of ours; nil
// if there is none.
func (id *identity) shown(domain string) *tls.Certificate {
	j, err := jid.Parse(domain)
	if err != nil {
		return nil
	}
	for at := asciiName(j); at != ""; _, at, _ = strings.Cut(at, ".") {
		if cert := id.certs[at]; cert != nil {
			return cert
		}
	}
	return nil
}

// of returns the configuration of a stream to a host. STARTTLS comes behind a
// header that names the host, so that a client without SNI gets the right
// certificate, too.
func (id *identity) of(host string) *tls.Config {
	if conf := id.configs[host]; conf != nil {
		return conf
	}
	return id.configs[""]
}

// differs tells of each host whose certificate is another than in old.
func (id *identity) differs(old *identity, hosts []jid.JID) (lines []string) {
	for _, h := range hosts {
		was, is := old.certs[asciiName(h)], id.certs[asciiName(h)]
		if was == nil || !was.Leaf.Equal(is.Leaf) {
			lines = append(lines, fmt.Sprintf("certificate of %s: valid until %s, SHA-256 %s",
				h, is.Leaf.NotAfter.UTC().Format(time.DateOnly), colons(is.Leaf.Raw)))
		}
	}
	return lines
}

// certificate loads the certificate of a host.
func certificate(h jid.JID, certFile, keyFile string) (*tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("load certificate of %s: %w; %s has to hold the certificate and its chain, %s its private key, both as PEM",
			h, err, certFile, keyFile)
	}
	return &cert, nil
}

// soon is how long before the end of a certificate its operator is reminded; of one
// that is meant for a few days, in the last third.
func soon(cert *x509.Certificate) time.Duration {
	return min(14*24*time.Hour, cert.NotAfter.Sub(cert.NotBefore)/3)
}

// judge says what clients will not like about a certificate.
func judge(cert *x509.Certificate, h jid.JID, file string, now time.Time) (warnings []string) {
	warn := func(format string, args ...any) {
		warnings = append(warnings, fmt.Sprintf("certificate of %s: %s ", h, file)+fmt.Sprintf(format, args...))
	}
	if cert.VerifyHostname(asciiName(h)) != nil {
		warn("is for %s, and clients will refuse it; get one for %s, or name the right file in [tls] or in [host.%q]", namesOf(cert), h, h)
	}
	switch end := cert.NotAfter.UTC().Format(time.DateOnly); {
	case now.After(cert.NotAfter):
		warn("expired on %s, and clients will refuse it; renew it, then kith reload", end)
	case now.Add(soon(cert)).After(cert.NotAfter):
		warn("expires on %s; renew it, then kith reload", end)
	case now.Before(cert.NotBefore):
		warn("is valid from %s only, and clients will refuse it until then; is the clock right?", cert.NotBefore.UTC().Format(time.DateOnly))
	}
	return warnings
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
	return colons(block.Bytes)
}

// colons writes the SHA-256 of a certificate as everybody does.
func colons(der []byte) string {
	return strings.ToUpper(strings.ReplaceAll(fmt.Sprintf("% x", sha256.Sum256(der)), " ", ":"))
}
