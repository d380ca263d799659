package c2s

import (
	"crypto/x509"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/sasl"
	"kith/xmpp/stream"
)

// maxChain bounds how many certificates of a client's are looked at.
const maxChain = 8

// certified returns what finds out for which accounts the client has shown a
// certificate (XEP-0178 §2); nil if the server asks for none. One that does not
// hold is as good as none: there are passwords.
func (c *client) certified() func() []jid.JID {
	roots := c.server.tls("").ClientCAs // the same for all hosts
	if roots == nil {
		return nil
	}
	var ids []jid.JID
	known := false
	return func() []jid.JID {
		if state := c.conn.TLS(); state != nil && !known {
			ids, c.until = c.verify(roots, state.PeerCertificates)
			known = true
		}
		return ids
	}
}

// verify returns whom a chain is for, nobody if it does not lead to the roots or
// is not for clients (RFC 6120 §13.7.2.2), and how long it holds.
func (c *client) verify(roots *x509.CertPool, chain []*x509.Certificate) (ids []jid.JID, until time.Time) {
	if len(chain) == 0 || len(chain) > maxChain {
		return nil, until
	}
	between := x509.NewCertPool()
	for _, cert := range chain[1:] {
		between.AddCert(cert)
	}
	paths, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: time.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err == nil {
		ids, err = sasl.Addresses(chain[0])
	}
	if err != nil {
		c.server.log.Info("certificate of a client not accepted", "remote", c.conn.RemoteAddr().String(), "error", err)
		return nil, until
	}
	for _, path := range paths {
		first := path[0].NotAfter
		for _, cert := range path {
			if cert.NotAfter.Before(first) {
				first = cert.NotAfter
			}
		}
		if first.After(until) { // the path that holds for longest is enough
			until = first
		}
	}
	return ids, until
}

// expire has a stream end when the certificate by which its client has logged in
// holds no longer (RFC 6120 §13.7.2.3).
func (c *client) expire() {
	left := max(time.Until(c.until), time.Millisecond)
	c.expiry = time.AfterFunc(left, func() { c.end(stream.ErrReset.With("your certificate has expired")) })
}
