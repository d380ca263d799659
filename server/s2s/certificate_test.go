package s2s

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"kith/xmpp/jid"
)

// san is a subjectAltName, by another way than the one that reads it: "dns:", "srv:",
// "xmpp:" and "uri:".
func san(t *testing.T, names ...string) []byte {
	t.Helper()
	var all []asn1.RawValue
	for _, n := range names {
		kind, text, _ := strings.Cut(n, ":")
		var v asn1.RawValue
		switch kind {
		case "dns":
			v = asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 2, Bytes: []byte(text)}
		case "uri":
			v = asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(text)}
		case "srv", "xmpp":
			type srvName struct {
				ID    asn1.ObjectIdentifier
				Value string `asn1:"ia5,explicit,tag:0"`
			}
			type xmppAddr struct {
				ID    asn1.ObjectIdentifier
				Value string `asn1:"utf8,explicit,tag:0"`
			}
			var der []byte
			var err error
			if kind == "srv" {
				der, err = asn1.MarshalWithParams(srvName{oidSRVName, text}, "tag:0")
			} else {
				der, err = asn1.MarshalWithParams(xmppAddr{oidXMPPAddr, text}, "tag:0")
			}
			if err != nil {
				t.Fatal(err)
			}
			v = asn1.RawValue{FullBytes: der}
		}
		all = append(all, v)
	}
	der, err := asn1.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// zoo makes a certificate that is its own authority.
func zoo(t *testing.T, alternatives []byte, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "example.org"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if alternatives != nil {
		c.ExtraExtensions = []pkix.Extension{{Id: oidSubjectAltName, Value: alternatives}}
	}
	if change != nil {
		change(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// TestCertificateIdentity: whose a certificate is (RFC 6120 §13.7.1.2, RFC 9525 §6).
func TestCertificateIdentity(t *testing.T) {
	var many []string
	for i := range 10_000 {
		many = append(many, fmt.Sprintf("dns:n%d.example", i))
	}
	for _, tt := range []struct {
		name   string
		sans   []string
		change func(*x509.Certificate)
		yes    string // domains that it is for, and some that it is not for
		no     string
	}{
		{"dNSName", []string{"dns:example.org"}, nil, "example.org", "www.example.org org xexample.org"},
		{"in capitals, with a dot", []string{"dns:EXAMPLE.org."}, nil, "example.org", ""},
		{"SRVName", []string{"srv:_xmpp-server.example.org"}, nil, "example.org", "_xmpp-server.example.org"},
		{"SRVName of clients", []string{"srv:_xmpp-client.example.org"}, nil, "", "example.org"},
		{"SRVName with a wildcard", []string{"srv:_xmpp-server.*.example.org"}, nil, "", "a.example.org"},
		{"XmppAddr", []string{"xmpp:example.org"}, nil, "example.org", ""},
		{"XmppAddr in U-labels", []string{"xmpp:bücher.example"}, nil, "bücher.example xn--bcher-kva.example", ""},
		{"dNSName in A-labels", []string{"dns:xn--bcher-kva.example"}, nil, "bücher.example", ""},
		{"XmppAddr of a user", []string{"xmpp:me@example.org"}, nil, "", "example.org"},
		{"wildcard", []string{"dns:*.example.org"}, nil, "a.example.org", "example.org a.b.example.org"},
		{"wildcard in a label", []string{"dns:a*.example.org"}, nil, "", "ab.example.org a.example.org"},
		{"wildcard further on", []string{"dns:a.*.org"}, nil, "", "a.example.org"},
		{"wildcard below the root", []string{"dns:*.org"}, nil, "", "example.org"},
		{"only a wildcard", []string{"dns:*"}, nil, "", "org example.org"},
		{"URI", []string{"uri:xmpp:example.org"}, nil, "", "example.org"},
		{"common name", nil, nil, "", "example.org"},
		{"zero byte", []string{"dns:example.org\x00.evil.example"}, nil, "", "example.org"},
		{"several", []string{"dns:a.example", "srv:_xmpp-server.b.example", "xmpp:c.example"}, nil, "a.example b.example c.example", "d.example"},
		{"expired", []string{"dns:example.org"}, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, "", "example.org"},
		{"not yet", []string{"dns:example.org"}, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }, "", "example.org"},
		{"usage for clients only", []string{"dns:example.org"}, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, "", "example.org"},
		{"both usages", []string{"dns:example.org"}, func(c *x509.Certificate) { c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) }, "example.org", ""},
		{"no usage", []string{"dns:example.org"}, func(c *x509.Certificate) { c.ExtKeyUsage = nil }, "example.org", ""},
		{"64 names", many[:64], nil, "n63.example", ""},
		{"65 names", many[:65], nil, "", "n0.example n64.example"},
		{"ten thousand names", many, nil, "", "n0.example"},
	} {
		var sans []byte
		if tt.sans != nil {
			sans = san(t, tt.sans...)
		}
		cert := zoo(t, sans, tt.change)
		roots := x509.NewCertPool()
		roots.AddCert(cert)
		p := examine(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}, roots, time.Now())
		for _, d := range strings.Fields(tt.yes) {
			if err := p.of(jid.MustParse(d)); err != nil {
				t.Errorf("%s: not for %s: %v", tt.name, d, err)
			}
		}
		for _, d := range strings.Fields(tt.no) {
			if j, err := jid.Parse(d); err == nil && p.of(j) == nil {
				t.Errorf("%s: it is for %s", tt.name, d)
			}
		}
		if err := examine(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}, x509.NewCertPool(), time.Now()).err; err == nil {
			t.Errorf("%s: believed without an authority", tt.name)
		}
	}
	if p := examine(nil, nil, time.Now()); p.of(jid.MustParse("example.org")) == nil {
		t.Error("believed without a certificate")
	}
}

// FuzzAlternatives: names that are nonsense are refused or read, and what is read is a
// name.
func FuzzAlternatives(f *testing.F) {
	f.Add([]byte{0x30, 0x00})
	f.Add([]byte{0x30, 0x0d, 0x82, 0x0b, 'e', 'x', 'a', 'm', 'p', 'l', 'e', '.', 'o', 'r', 'g'})
	f.Fuzz(func(t *testing.T, der []byte) {
		names, err := alternatives(&x509.Certificate{Extensions: []pkix.Extension{{Id: oidSubjectAltName, Value: der}}})
		if err != nil {
			return
		}
		if len(names) > maxNames {
			t.Errorf("%d names", len(names))
		}
		for _, n := range names {
			if n.domain == "" || strings.ContainsAny(n.domain, "* \x00") {
				t.Errorf("name %+v", n)
			}
		}
	})
}

// TestConstrainedAuthority: who may sign only for some domains (RFC 5280 §4.2.1.10) has
// nothing to say of others in names that such a constraint does not look at.
func TestConstrainedAuthority(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		sans      []string
		permitted string
		want      bool
	}{
		{[]string{"srv:_xmpp-server.example.org"}, "", true},
		{[]string{"xmpp:example.org"}, "", true},
		{[]string{"dns:example.org"}, "example.org", true},
		{[]string{"srv:_xmpp-server.example.org"}, "example.net", false},
		{[]string{"xmpp:example.org"}, "example.net", false},
		{[]string{"dns:example.org"}, "example.net", false},
	} {
		top := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
		if tt.permitted != "" {
			top.PermittedDNSDomains, top.PermittedDNSDomainsCritical = []string{tt.permitted}, true
		}
		leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: top.NotBefore, NotAfter: top.NotAfter,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, ExtraExtensions: []pkix.Extension{{Id: oidSubjectAltName, Value: san(t, tt.sans...)}}}
		var certs []*x509.Certificate
		for _, c := range []*x509.Certificate{top, leaf} {
			der, err := x509.CreateCertificate(rand.Reader, c, top, &key.PublicKey, key)
			if err != nil {
				t.Fatal(err)
			}
			cert, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			certs = append(certs, cert)
		}
		roots := x509.NewCertPool()
		roots.AddCert(certs[0])
		got := examine(&tls.ConnectionState{PeerCertificates: certs[1:]}, roots, time.Now()).of(jid.MustParse("example.org"))
		if (got == nil) != tt.want {
			t.Errorf("%s by an authority for %q: %v", tt.sans, tt.permitted, got)
		}
	}
}
