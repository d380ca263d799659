package resolve

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"fmt"
	"slices"
)

// Usage says what a TLSA record makes of its certificate (RFC 7218 §2.1).
type Usage uint8

// The usages of RFC 6698 §2.1.1.
const (
	PKIXTA Usage = iota // one that has to be among those who have signed, beside the usual checks
	PKIXEE              // the server's own, beside the usual checks
	DANETA              // an authority, in the place of all others
	DANEEE              // the server's own, and nothing else counts
)

// What of a certificate is compared, and how (RFC 6698 §2.1.2, §2.1.3).
const (
	wholeCertificate, publicKey = 0, 1
	full, inSHA256, inSHA512    = 0, 1, 2
)

// TLSA is a record that says which certificate a server has (RFC 6698 §2.1).
type TLSA struct {
	Usage              Usage
	Selector, Matching uint8
	Data               []byte
}

// Bounds of what is kept of a name's TLSA records; what is beyond them does not count.
const (
	maxTLSA     = 32
	maxTLSAData = 16 << 10
)

// Key returns the record that is usually published for a certificate, 3 1 1: the
// SHA-256 of its key, which renewals may keep.
func Key(cert *x509.Certificate) TLSA {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return TLSA{DANEEE, publicKey, inSHA256, sum[:]}
}

// String returns the record as zone files have it (RFC 6698 §2.2).
func (t TLSA) String() string {
	return fmt.Sprintf("%d %d %d %X", t.Usage, t.Selector, t.Matching, t.Data)
}

// Usable reports whether the record is one that says something to us (RFC 6698 §4.1).
func (t TLSA) Usable() bool {
	switch t.Matching {
	case full:
		return t.Usage <= DANEEE && t.Selector <= publicKey && len(t.Data) > 0
	case inSHA256:
		return t.Usage <= DANEEE && t.Selector <= publicKey && len(t.Data) == sha256.Size
	case inSHA512:
		return t.Usage <= DANEEE && t.Selector <= publicKey && len(t.Data) == sha512.Size
	}
	return false
}

// Matches reports whether a certificate is the one of a usable record.
func (t TLSA) Matches(cert *x509.Certificate) bool {
	part := cert.Raw
	if t.Selector == publicKey {
		part = cert.RawSubjectPublicKeyInfo
	}
	switch t.Matching {
	case full:
		return bytes.Equal(part, t.Data)
	case inSHA256:
		sum := sha256.Sum256(part)
		return bytes.Equal(sum[:], t.Data)
	case inSHA512:
		sum := sha512.Sum512(part)
		return bytes.Equal(sum[:], t.Data)
	}
	return false
}

// Certificate returns the certificate that the record holds, nil if it holds none.
func (t TLSA) Certificate() *x509.Certificate {
	if t.Selector != wholeCertificate || t.Matching != full {
		return nil
	}
	cert, err := x509.ParseCertificate(t.Data)
	if err != nil {
		return nil // what cannot be read matches nothing
	}
	return cert
}

// Usable returns the records that count: those that can be used, and of several hashes
// of one kind the strongest (RFC 7671 §9).
func Usable(records []TLSA) (out []TLSA) {
	for _, r := range records {
		weaker := r.Matching == inSHA256 && slices.ContainsFunc(records, func(o TLSA) bool {
			return o.Usage == r.Usage && o.Selector == r.Selector && o.Matching == inSHA512 && o.Usable()
		})
		if r.Usable() && !weaker {
			out = append(out, r)
		}
	}
	return out
}

// parseTLSA reads what a name server says of a certificate.
func parseTLSA(rdata []byte) (t TLSA, ok bool) {
	const fixed = 3
	if len(rdata) <= fixed || len(rdata) > fixed+maxTLSAData {
		return TLSA{}, false
	}
	return TLSA{Usage(rdata[0]), rdata[1], rdata[2], slices.Clone(rdata[fixed:])}, true
}
