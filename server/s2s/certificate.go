package s2s

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"kith/xmpp/jid"
)

// Bounds of what is read of a stranger's certificates.
const (
	maxChain = 8
	maxNames = 64
)

var (
	oidSubjectAltName  = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidNameConstraints = asn1.ObjectIdentifier{2, 5, 29, 30}
	oidXMPPAddr        = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 5} // RFC 6120 §13.7.1.4
	oidSRVName         = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 7} // RFC 4985
)

// What is wrong with a certificate.
var (
	errNoCertificate = errors.New("no certificate was shown")
	errNames         = errors.New("names of the certificate cannot be read, or are too many")
	errWrongName     = errors.New("certificate is for another domain")
)

// srvService is what an SRVName for servers begins with.
const srvService = "_xmpp-server."

// proof is what the certificates that a peer has shown say of it.
type proof struct {
	err    error // nil: the chain holds
	names  []name
	until  time.Time
	chains [][]*x509.Certificate // up to an authority
}

// name is a name in a certificate, in A-labels.
type name struct {
	domain   string
	wildcard bool // for one label in front of it
	other    bool // it is no dNSName
}

// examine verifies what the peer of a TLS connection has shown. Both ends are taken
// for servers (RFC 6120 §13.7.2): the usage for clients is one that public
// authorities no longer certify. Nothing in a certificate but its alternative names
// is a name (RFC 9525 §2).
func examine(state *tls.ConnectionState, roots *x509.CertPool, now time.Time) proof {
	chain, err := shown(state)
	if err != nil {
		return proof{err: err}
	}
	return inspect(chain, roots, now)
}

// shown returns the certificates that a peer has shown, its own first.
func shown(state *tls.ConnectionState) ([]*x509.Certificate, error) {
	switch {
	case state == nil || len(state.PeerCertificates) == 0:
		return nil, errNoCertificate
	case len(state.PeerCertificates) > maxChain:
		return nil, errors.New("too many certificates")
	}
	return state.PeerCertificates, nil
}

// inspect is examine for a chain.
func inspect(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) proof {
	names, err := alternatives(chain[0])
	if err != nil {
		return proof{err: err}
	}
	between := x509.NewCertPool()
	for _, cert := range chain[1:] {
		between.AddCert(cert)
	}
	chains, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return proof{err: err}
	}
	if !slices.ContainsFunc(chains, unconstrained) {
		names = slices.DeleteFunc(names, func(n name) bool { return n.other })
	}
	return proof{names: names, until: chain[0].NotAfter, chains: chains}
}

// unconstrained reports whether who has signed may do so for all names. Where not, that
// was verified of dNSNames and is not known of other names (RFC 5280 §4.2.1.10).
func unconstrained(chain []*x509.Certificate) bool {
	return !slices.ContainsFunc(chain, func(c *x509.Certificate) bool {
		return slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidNameConstraints) })
	})
}

// of returns nil if the certificate proves that its owner is a domain's server.
func (p proof) of(domain jid.JID) error {
	if p.err != nil {
		return p.err
	}
	if p.has(ascii(domain.Domain())) {
		return nil
	}
	return fmt.Errorf("%w than %s", errWrongName, domain)
}

// has reports whether a name, in A-labels, is among those of the certificate.
func (p proof) has(want string) bool {
	_, parent, _ := strings.Cut(want, ".")
	return slices.ContainsFunc(p.names, func(n name) bool {
		return !n.wildcard && n.domain == want || n.wildcard && parent != "" && n.domain == parent
	})
}

// ascii is a domain in A-labels, as TLS and certificates write it.
func ascii(domain string) string {
	a, err := idna.Punycode.ToASCII(strings.TrimSuffix(domain, "."))
	if err != nil {
		return domain
	}
	return strings.ToLower(a)
}

// alternatives reads the names for servers of a subjectAltName (RFC 5280 §4.2.1.6):
// dNSName, SRVName and XmppAddr.
func alternatives(cert *x509.Certificate) (out []name, err error) {
	count := 0
	for _, e := range cert.Extensions {
		if !e.Id.Equal(oidSubjectAltName) {
			continue
		}
		var seq asn1.RawValue
		if rest, err := asn1.Unmarshal(e.Value, &seq); err != nil || len(rest) > 0 ||
			seq.Class != asn1.ClassUniversal || seq.Tag != asn1.TagSequence || !seq.IsCompound {
			return nil, errNames
		}
		for rest := seq.Bytes; len(rest) > 0; {
			var v asn1.RawValue
			if rest, err = asn1.Unmarshal(rest, &v); err != nil {
				return nil, errNames
			}
			if count++; count > maxNames {
				return nil, errNames
			}
			n, ok, err := alternative(v)
			if err != nil {
				return nil, err
			}
			if ok {
				out = append(out, n)
			}
		}
	}
	return out, nil
}

// alternative reads one name; ok is false if it is none that a server may have.
func alternative(v asn1.RawValue) (n name, ok bool, err error) {
	const otherName, dNSName = 0, 2
	switch {
	case v.Class != asn1.ClassContextSpecific:
		return n, false, errNames
	case v.Tag == dNSName && !v.IsCompound:
		n, ok = dnsName(string(v.Bytes))
		return n, ok, nil
	case v.Tag != otherName || !v.IsCompound:
		return n, false, nil
	}
	var id asn1.ObjectIdentifier
	var outer, inner asn1.RawValue
	rest, err := asn1.Unmarshal(v.Bytes, &id)
	if err != nil {
		return n, false, errNames
	}
	if !id.Equal(oidSRVName) && !id.Equal(oidXMPPAddr) {
		return n, false, nil
	}
	if rest, err = asn1.Unmarshal(rest, &outer); err != nil || len(rest) > 0 ||
		outer.Class != asn1.ClassContextSpecific || outer.Tag != 0 || !outer.IsCompound {
		return n, false, errNames
	}
	if rest, err = asn1.Unmarshal(outer.Bytes, &inner); err != nil || len(rest) > 0 ||
		inner.Class != asn1.ClassUniversal || inner.IsCompound {
		return n, false, errNames
	}
	text := string(inner.Bytes)
	if id.Equal(oidSRVName) {
		domain, ours := strings.CutPrefix(strings.ToLower(text), srvService)
		if n, ok = dnsName(domain); !ours || inner.Tag != asn1.TagIA5String || n.wildcard {
			return name{}, false, nil
		}
		n.other = true
		return n, ok, nil
	}
	j, err := jid.Parse(text)
	if err != nil || j.IsZero() || j != j.Host() || inner.Tag != asn1.TagUTF8String {
		return n, false, nil //nolint:nilerr // somebody's address: he is no server
	}
	return name{domain: ascii(j.Domain()), other: true}, true, nil
}

// dnsName reads a name. A wildcard is a whole label, the first, and no other
// (RFC 9525 §6.3); not right below the root.
func dnsName(s string) (n name, ok bool) {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return n, false
		}
	}
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	if rest, wild := strings.CutPrefix(s, "*."); wild {
		return name{domain: rest, wildcard: true}, strings.Contains(rest, ".") && !strings.Contains(rest, "*")
	}
	return name{domain: s}, s != "" && !strings.Contains(s, "*")
}
