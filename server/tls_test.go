package server

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kith/server/config"
	"kith/xmpp/jid"
)

// local returns the configuration of serve --local for these hosts.
func local(t *testing.T, hosts ...string) *config.Config {
	t.Helper()
	c := config.Local(t.TempDir())
	c.Hosts = nil
	for _, h := range hosts {
		c.Hosts = append(c.Hosts, jid.MustParse(h))
	}
	return c
}

// life is how long the certificates of tests are valid.
const life = 90 * 24 * time.Hour

// certify makes a certificate for a name and has a host use it.
func certify(t *testing.T, c *config.Config, host, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now().Add(life)}
	if name != "" {
		tmpl.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	h := config.Host{Certificate: filepath.Join(c.Data, name+".pem"), Key: filepath.Join(c.Data, name+".key")}
	if err := writePEM(h.Certificate, "CERTIFICATE", der, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writePEM(h.Key, "PRIVATE KEY", pkcs8, 0o600); err != nil {
		t.Fatal(err)
	}
	if c.Host == nil {
		c.Host = map[string]config.Host{}
	}
	c.Host[jid.MustParse(host).Domain()] = h
}

// shown returns the certificate that a client which asks for a name is shown.
func shown(t *testing.T, conf *tls.Config, name string) *x509.Certificate {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	done := make(chan error, 1)
	go func() { done <- tls.Server(b, conf).HandshakeContext(t.Context()) }()
	client := tls.Client(a, &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: []string{"xmpp-client"}})
	if err := client.HandshakeContext(t.Context()); err != nil {
		t.Fatalf("handshake for %q: %v", name, err)
	}
	if err := <-done; err != nil {
		t.Fatalf("handshake for %q, the server's end: %v", name, err)
	}
	return client.ConnectionState().PeerCertificates[0]
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSelfSigned(t *testing.T) {
	c := local(t, "localhost", "bücher.example", "127.0.0.1", "[::1]")
	now := time.Now()
	id, _, err := loadIdentity(c, now)
	if err != nil {
		t.Fatal(err)
	}
	conf := id.of("")
	made := read(t, data(c, localCert))
	if info, err := os.Stat(data(c, localKey)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key is %v, %v, want mode 600", info.Mode(), err)
	}
	cert := shown(t, conf, "localhost")
	for _, name := range []string{"localhost", "xn--bcher-kva.example", "127.0.0.1", "::1"} {
		if err := cert.VerifyHostname(name); err != nil {
			t.Errorf("the certificate for %s: %v", name, err)
		}
	}
	// Whoever gets hold of the key must not be believed to be somebody else.
	if cert.IsCA || cert.KeyUsage&x509.KeyUsageCertSign != 0 {
		t.Error("the certificate may sign others")
	}
	// Who trusts it is content with it.
	trust := x509.NewCertPool()
	trust.AddCert(cert)
	if _, err := cert.Verify(x509.VerifyOptions{Roots: trust, DNSName: "localhost"}); err != nil {
		t.Errorf("verify: %v", err)
	}
	want := fingerprint(c)
	if len(want) != 32*3-1 {
		t.Errorf("fingerprint %q, want 32 bytes with colons between them", want)
	}

	same := func(c *config.Config, now time.Time) bool {
		t.Helper()
		if _, _, err := loadIdentity(c, now); err != nil {
			t.Fatal(err)
		}
		return bytes.Equal(made, read(t, data(c, localCert)))
	}
	if !same(c, now.AddDate(0, 0, 1)) {
		t.Error("another certificate is made a day later")
	}
	fewer := *c
	fewer.Hosts = c.Hosts[:1]
	if !same(&fewer, now) {
		t.Error("another certificate is made for fewer hosts")
	}
	if same(c, now.AddDate(2, 0, -20)) {
		t.Error("the certificate is not renewed 20 days before its end")
	}
	if fingerprint(c) == want {
		t.Error("the fingerprint is that of the old certificate")
	}
	made = read(t, data(c, localCert))
	if same(c, now) { // the clock was wrong for a while
		t.Error("a certificate of the future is kept")
	}
	made = read(t, data(c, localCert))
	more := *c
	more.Hosts = append(c.Hosts[:len(c.Hosts):len(c.Hosts)], jid.MustParse("verona.example"))
	if same(&more, now) {
		t.Error("the certificate is kept though it is not for a new host")
	}
	if err := os.Remove(data(c, localKey)); err != nil {
		t.Fatal(err)
	}
	made = read(t, data(c, localCert))
	if same(c, now) {
		t.Error("the certificate is kept though its key has gone")
	}
}

func TestCertificateErrors(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(t *testing.T, c *config.Config)
		want  []string // parts of the error
	}{
		{"self-signed, broken", func(t *testing.T, c *config.Config) {
			spoil(t, data(c, localCert), "no certificate")
			spoil(t, data(c, localKey), "no key")
		}, []string{"read the self-signed certificate: ", "; delete ", localCert, localKey, "to have new ones made"}},
		{"self-signed, another's key", func(t *testing.T, c *config.Config) {
			if _, _, err := loadIdentity(c, time.Now()); err != nil {
				t.Fatal(err)
			}
			certify(t, c, "localhost", "localhost")
			spoil(t, data(c, localKey), string(read(t, c.Host["localhost"].Key)))
			c.Host = nil
		}, []string{"private key does not match", "; delete "}},
		{"broken", func(t *testing.T, c *config.Config) {
			certify(t, c, "localhost", "localhost")
			spoil(t, c.Host["localhost"].Certificate, "no certificate")
		}, []string{"load certificate of localhost: ", "localhost.pem has to hold the certificate and its chain, ", "localhost.key its private key, both as PEM"}},
		{"key broken", func(t *testing.T, c *config.Config) {
			certify(t, c, "localhost", "localhost")
			spoil(t, c.Host["localhost"].Key, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
		}, []string{"load certificate of localhost: ", "its private key, both as PEM"}},
		{"gone", func(t *testing.T, c *config.Config) {
			certify(t, c, "localhost", "localhost")
			if err := os.Remove(c.Host["localhost"].Key); err != nil {
				t.Fatal(err)
			}
		}, []string{"load certificate of localhost: ", "localhost.key: no such file"}},
	}
	for _, tt := range tests {
		c := local(t, "localhost")
		tt.spoil(t, c)
		_, _, err := loadIdentity(c, time.Now())
		if err == nil {
			t.Errorf("%s: no error", tt.name)
			continue
		}
		for _, part := range tt.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q, want %q in it", tt.name, err, part)
			}
		}
	}
}

func spoil(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// What clients will refuse is served all the same, with a word to the operator.
func TestCertificateWarnings(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		name, cert string
		now        time.Time
		want       []string
	}{
		{"right", "verona.example", now, nil},
		{"for another host", "mantua.example", now,
			[]string{"mantua.example.pem is for mantua.example, and clients will refuse it; get one for verona.example, or name the right file in [tls] or in [host.\"verona.example\"]"}},
		{"for nobody", "", now, []string{"is for no domain at all, and clients"}},
		{"soon", "verona.example", now.Add(life - 13*24*time.Hour), []string{" expires on "}},
		{"not so soon", "verona.example", now.Add(life - 15*24*time.Hour), nil},
		{"expired", "verona.example", now.Add(life + time.Hour), []string{" expired on "}},
		{"not yet", "verona.example", now.Add(-time.Hour), []string{" is valid from "}},
		{"both", "mantua.example", now.Add(life + time.Hour), []string{" is for ", " expired on "}},
	} {
		c := local(t, "verona.example")
		certify(t, c, "verona.example", tt.cert)
		_, warnings, err := loadIdentity(c, tt.now)
		if err != nil || len(warnings) != len(tt.want) {
			t.Errorf("%s: warnings %q, %v; want %q", tt.name, warnings, err, tt.want)
			continue
		}
		for i, w := range warnings {
			if !strings.HasPrefix(w, "certificate of verona.example: ") || !strings.Contains(w, tt.want[i]) {
				t.Errorf("%s: warning %q, want %q in it", tt.name, w, tt.want[i])
			}
		}
	}
}

func TestSNI(t *testing.T) {
	c := local(t, "montague.example", "capulet.example", "bücher.example", "localhost")
	certify(t, c, "montague.example", "montague.example")
	certify(t, c, "capulet.example", "*.example")
	certify(t, c, "bücher.example", "xn--bcher-kva.example")
	id, _, err := loadIdentity(c, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	conf := id.of("")
	for name, want := range map[string]string{
		"montague.example":      "montague.example",
		"capulet.example":       "*.example",
		"CAPULET.example":       "*.example",
		"xn--bcher-kva.example": "xn--bcher-kva.example",
		"localhost":             "localhost",        // made here
		"verona.example":        "montague.example", // no host of ours: the first one's
		"":                      "montague.example",
		"capulet.example.":      "*.example",
	} {
		if got := shown(t, conf, name); len(got.DNSNames) != 1 || got.DNSNames[0] != want {
			t.Errorf("who asks for %q is shown the certificate of %s, want %s", name, got.DNSNames, want)
		}
	}
	// Behind the header of a stream its host is known (RFC 6120 §5.4): what a client
	// asks for goes before, if it is ours.
	for _, tt := range []struct{ to, sni, want string }{
		{"montague.example", "", "montague.example"},
		{"capulet.example", "", "*.example"},
		{"bücher.example", "", "xn--bcher-kva.example"},
		{"localhost", "", "localhost"},
		{"capulet.example", "xmpp.hoster.example", "*.example"},
		{"capulet.example", "montague.example", "montague.example"},
		{"verona.example", "", "montague.example"},
	} {
		if got := shown(t, id.of(tt.to), tt.sni); len(got.DNSNames) != 1 || got.DNSNames[0] != tt.want {
			t.Errorf("a stream to %q that asks for %q is shown the certificate of %s, want %s", tt.to, tt.sni, got.DNSNames, tt.want)
		}
	}
	if got := fingerprint(c); got != "" {
		t.Errorf("fingerprint %s, though the first host has a certificate of its own", got)
	}
	if conf.MinVersion != tls.VersionTLS12 {
		t.Errorf("the least version is %x, want TLS 1.2", conf.MinVersion)
	}
}

// TestComponentCertificate: a component asks for a host, or for its own domain, which
// has the certificate of the host that it lies below.
func TestComponentCertificate(t *testing.T) {
	c := local(t, "a.example", "b.example")
	for _, h := range []string{"a.example", "b.example"} {
		certify(t, c, h, h)
	}
	id, _, err := loadIdentity(c, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"a.example": "a.example", "b.example": "b.example", "irc.b.example": "b.example", "x.irc.b.example": "b.example",
		"": "a.example", "elsewhere.example": "a.example", "ab.example": "a.example",
	} {
		if got := shown(t, id.components, name).DNSNames; !slices.Equal(got, []string{want}) {
			t.Errorf("who asks for %q is shown the certificate of %v, want %s", name, got, want)
		}
	}
}
