package sasl_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"reflect"
	"testing"
	"time"

	"kith/xmpp/sasl"
)

// TestServerEndPoint: RFC 5929 §4.1.
func TestServerEndPoint(t *testing.T) {
	t.Parallel()
	raw := []byte("a certificate, octet for octet")
	h256, h384, h512 := sha256.Sum256(raw), sha512.Sum384(raw), sha512.Sum512(raw)
	for alg, want := range map[x509.SignatureAlgorithm][]byte{
		x509.MD5WithRSA:                h256[:],
		x509.SHA1WithRSA:               h256[:],
		x509.ECDSAWithSHA1:             h256[:],
		x509.SHA256WithRSA:             h256[:],
		x509.SHA256WithRSAPSS:          h256[:],
		x509.ECDSAWithSHA256:           h256[:],
		x509.SHA384WithRSA:             h384[:],
		x509.SHA384WithRSAPSS:          h384[:],
		x509.ECDSAWithSHA384:           h384[:],
		x509.SHA512WithRSA:             h512[:],
		x509.SHA512WithRSAPSS:          h512[:],
		x509.ECDSAWithSHA512:           h512[:],
		x509.PureEd25519:               nil,
		x509.UnknownSignatureAlgorithm: nil,
	} {
		if got := sasl.ServerEndPoint(&x509.Certificate{Raw: raw, SignatureAlgorithm: alg}); !reflect.DeepEqual(got, want) {
			t.Errorf("%v: %x, want %x", alg, got, want)
		}
	}
	if got := sasl.ServerEndPoint(nil); got != nil {
		t.Errorf("no certificate: %x", got)
	}
}

// TestTLSBindings: both ends of a connection see the same.
func TestTLSBindings(t *testing.T) {
	t.Parallel()
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string
		version uint16
		key     crypto.Signer
		want    []string
	}{
		{"TLS 1.3", tls.VersionTLS13, p256, []string{sasl.TLSExporter, sasl.TLSServerEndPoint}},
		{"TLS 1.2", tls.VersionTLS12, p256, []string{sasl.TLSExporter, sasl.TLSServerEndPoint}},
		{"Ed25519", tls.VersionTLS13, ed, []string{sasl.TLSExporter}},
	} {
		client, server, cert := handshake(t, test.version, test.key)
		c := sasl.TLSBindings(&client, client.PeerCertificates[0])
		s := sasl.TLSBindings(&server, cert)
		if !reflect.DeepEqual(c, s) {
			t.Errorf("%s: the client sees %x, the server %x", test.name, c, s)
		}
		var types []string
		for _, b := range c {
			types = append(types, b.Type)
		}
		if !reflect.DeepEqual(types, test.want) {
			t.Errorf("%s: %q, want %q", test.name, types, test.want)
		}
		if other, _, _ := handshake(t, test.version, test.key); reflect.DeepEqual(sasl.TLSBindings(&other, nil)[0], c[0]) {
			t.Errorf("%s: two connections export the same", test.name)
		}
	}
	if got := sasl.TLSBindings(nil, nil); got != nil {
		t.Errorf("no TLS: %v", got)
	}
	if got := sasl.TLSBindings(&tls.ConnectionState{}, nil); got != nil {
		t.Errorf("before the handshake: %v", got)
	}
}

func handshake(t *testing.T, version uint16, key crypto.Signer) (client, server tls.ConnectionState, cert *x509.Certificate) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: domain}, DNSNames: []string{domain},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	left, right := net.Pipe()
	s := tls.Server(left, &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MaxVersion: version,
	})
	c := tls.Client(right, &tls.Config{RootCAs: roots, ServerName: domain, MaxVersion: version})
	failed := make(chan error, 1)
	go func() {
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte("x")) // takes the session tickets along
		}
		failed <- err
	}()
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	return c.ConnectionState(), s.ConnectionState(), cert
}
