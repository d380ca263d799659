package s2s

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/resolve"
)

// mint makes certificates.
type mint struct{ t *testing.T }

func (m mint) key() *ecdsa.PrivateKey {
	m.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		m.t.Fatal(err)
	}
	return key
}

// cert makes one for a key; by nobody it is self-signed.
func (m mint) cert(c *x509.Certificate, key *ecdsa.PrivateKey, by *x509.Certificate, byKey *ecdsa.PrivateKey) *x509.Certificate {
	m.t.Helper()
	if by == nil {
		by, byKey = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, &key.PublicKey, byKey)
	if err != nil {
		m.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		m.t.Fatal(err)
	}
	return cert
}

func (m mint) authority(name string, key *ecdsa.PrivateKey) *x509.Certificate {
	return m.cert(&x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}, key, nil, nil)
}

func (m mint) leaf(name string, until time.Time, key *ecdsa.PrivateKey, by *x509.Certificate, byKey *ecdsa.PrivateKey) *x509.Certificate {
	return m.cert(&x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{name}, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, key, by, byKey)
}

// published is the record of a certificate, by another way than the one that compares
// it.
func published(cert *x509.Certificate, usage resolve.Usage, selector, matching uint8) resolve.TLSA {
	data := [][]byte{cert.Raw, cert.RawSubjectPublicKeyInfo}[selector]
	switch matching {
	case 1:
		sum := sha256.Sum256(data)
		data = sum[:]
	case 2:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return resolve.TLSA{Usage: usage, Selector: selector, Matching: matching, Data: data}
}

// TestDANE is every kind of record with every kind of certificate (RFC 6698 §2.1,
// RFC 7673 §4).
func TestDANE(t *testing.T) {
	const domain, host = "evil.example", "xmpp.hosting.example"
	m := mint{t}
	key := m.key()
	stranger := m.authority("stranger", m.key())
	target := resolve.Target{Host: host, Port: 5270, Direct: true, Secure: true}
	for _, known := range []bool{true, false} {
		issuerKey := m.key()
		issuer := m.authority("issuer", issuerKey)
		roots := x509.NewCertPool()
		if known {
			roots.AddCert(issuer)
		}
		for _, name := range []string{domain, host, "else.example"} {
			for _, fresh := range []bool{true, false} {
				until := time.Now().Add(time.Hour)
				if !fresh {
					until = time.Now().Add(-time.Minute)
				}
				leaf := m.leaf(name, until, key, issuer, issuerKey)
				state := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf, issuer}}
				good := fresh && name != "else.example"
				for i := range 4 * 3 * 2 * 3 {
					usage, of, selector, matching := resolve.Usage(i%4), i/4%3, uint8(i/12%2), uint8(i/24)
					own, authority := of == 0, of == 1
					record := published([]*x509.Certificate{leaf, issuer, stranger}[of], usage, selector, matching)
					want := map[resolve.Usage]bool{
						resolve.PKIXTA: authority && good && known, resolve.PKIXEE: own && good && known,
						resolve.DANETA: authority && good, resolve.DANEEE: own,
					}[usage]
					target.TLSA = []resolve.TLSA{record}
					j := judgePeer(state, jid.MustParse(domain), target, roots, time.Now())
					if !j.dane || (j.err == nil) != want || (j.String() == "DANE") != want {
						t.Errorf("certificate for %s, known authority %v, fresh %v, record %.40s of %s: %v; want it to hold: %v",
							name, known, fresh, record, []string{"itself", "its authority", "another"}[of], j.err, want)
					}
				}
			}
		}
	}
}

// TestDANESets: what several records mean together, those that say nothing, and none.
func TestDANESets(t *testing.T) {
	m := mint{t}
	issuerKey, key := m.key(), m.key()
	issuer, other := m.authority("issuer", issuerKey), m.authority("other", m.key())
	soon := time.Now().Add(time.Hour)
	leaf := m.leaf("evil.example", soon, key, issuer, issuerKey)
	hosts := m.leaf("xmpp.hosting.example", soon, key, issuer, issuerKey)
	wild := m.leaf("*.hosting.example", soon, key, issuer, issuerKey)
	alone := m.leaf("evil.example", soon, key, nil, nil)
	roots := x509.NewCertPool()
	roots.AddCert(issuer)
	right, wrong := published(leaf, resolve.DANEEE, 1, 1), published(other, resolve.DANEEE, 1, 1)
	odd := []resolve.TLSA{{Usage: 4, Selector: 1, Matching: 1, Data: right.Data}, {Usage: 3, Selector: 2, Matching: 1, Data: right.Data},
		{Usage: 3, Selector: 1, Matching: 3, Data: right.Data}, {Usage: 3, Selector: 1, Matching: 1, Data: right.Data[1:]}}
	type certs = []*x509.Certificate
	for _, tt := range []struct {
		name     string
		shown    certs
		records  []resolve.TLSA
		insecure bool // how the target was found
		dane     bool
		want     bool
	}{
		{name: "one of two", shown: certs{leaf}, records: []resolve.TLSA{wrong, right}, dane: true, want: true},
		{name: "none of two", shown: certs{leaf}, records: []resolve.TLSA{wrong, published(other, resolve.DANETA, 0, 1)}, dane: true},
		{name: "an authority or a key", shown: certs{leaf, issuer}, records: []resolve.TLSA{wrong, published(issuer, resolve.DANETA, 0, 2)}, dane: true, want: true},
		{name: "beside the usual checks or not", shown: certs{alone}, records: []resolve.TLSA{published(alone, resolve.PKIXEE, 0, 1), right}, dane: true, want: true},
		{name: "the weaker hash only", shown: certs{leaf}, records: []resolve.TLSA{right, published(other, resolve.DANEEE, 1, 2)}, dane: true},
		{name: "self-signed", shown: certs{alone}, records: []resolve.TLSA{right}, dane: true, want: true},
		{name: "self-signed as authority", shown: certs{alone}, records: []resolve.TLSA{published(alone, resolve.DANETA, 0, 0)}, dane: true},
		{name: "an authority that is not shown", shown: certs{leaf}, records: []resolve.TLSA{published(issuer, resolve.DANETA, 0, 1)}, dane: true},
		{name: "an authority in the record", shown: certs{leaf}, records: []resolve.TLSA{published(issuer, resolve.DANETA, 0, 0)}, dane: true, want: true},
		{name: "an authority that has not signed it", shown: certs{leaf, other}, records: []resolve.TLSA{published(other, resolve.DANETA, 0, 1)}, dane: true},
		{name: "no certificate", records: []resolve.TLSA{right}, dane: true},
		{name: "too many certificates", shown: certs{leaf, issuer, issuer, issuer, issuer, issuer, issuer, issuer, issuer}, records: []resolve.TLSA{right}, dane: true},
		{name: "records that say nothing", shown: certs{leaf}, records: odd, want: true},
		{name: "records that say nothing, unknown authority", shown: certs{alone}, records: odd},
		{name: "records that say nothing, and one that does", shown: certs{leaf}, records: append(odd, wrong), dane: true},
		{name: "none, for the domain", shown: certs{leaf}, want: true},
		{name: "none, for the host", shown: certs{hosts}, want: true},
		{name: "none, for the host by wildcard", shown: certs{wild}, want: true},
		{name: "none, for the host, which nobody proves", shown: certs{hosts}, insecure: true},
		{name: "none, unknown authority", shown: certs{alone}},
	} {
		target := resolve.Target{Host: "xmpp.hosting.example", Port: 5270, Secure: !tt.insecure, TLSA: tt.records}
		j := judgePeer(&tls.ConnectionState{PeerCertificates: tt.shown}, jid.MustParse("evil.example"), target, roots, time.Now())
		if (j.err == nil) != tt.want || j.dane != tt.dane {
			t.Errorf("%s: judged by DANE %v, %v; want %v, that it holds: %v", tt.name, j.dane, j.err, tt.dane, tt.want)
		}
	}
}

// TestDANEOtherNames: an SRVName or an XmppAddr of the host is none of the domain.
func TestDANEOtherNames(t *testing.T) {
	target := resolve.Target{Host: "xmpp.hosting.example", Port: 5270, Secure: true}
	for i, want := range map[string]bool{"dns:xmpp.hosting.example": true, "srv:_xmpp-server.xmpp.hosting.example": false, "xmpp:xmpp.hosting.example": false,
		"srv:_xmpp-server.evil.example": true} {
		cert := zoo(t, san(t, i), nil)
		roots := x509.NewCertPool()
		roots.AddCert(cert)
		j := judgePeer(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}, jid.MustParse("evil.example"), target, roots, time.Now())
		if (j.err == nil) != want {
			t.Errorf("%s: %v, want %v", i, j.err, want)
		}
	}
}
