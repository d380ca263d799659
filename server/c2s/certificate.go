package c2s

import (
	"crypto/x509"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/sasl"
)

// maxChain bounds how many certificates of a client's are looked at.
const maxChain = 8

// certified returns what finds out for which accounts the client has shown a
// certificate (XEP-0178 §2); nil if the server asks for none. One that does not
// hold is as good as none: there are passwords.
func (c *client) certified() func() []jid.JID {
	roots := c.server.tls.ClientCAs
	if roots == nil {
		return nil
	}
	var ids []jid.JID
	known := false
	return func() []jid.JID {
		if state := c.conn.TLS(); state != nil && !known {
			ids, known = c.verify(roots, state.PeerCertificates), true
		}
		return ids
	}
}

// verify returns whom a chain is for, nobody if it does not lead to the roots or
// is not for clients (RFC 6120 §13.7.2.2).
func (c *client) verify(roots *x509.CertPool, chain []*x509.Certificate) []jid.JID {
	if len(chain) == 0 || len(chain) > maxChain {
		return nil
	}
	between := x509.NewCertPool()
	for _, cert := range chain[1:] {
		between.AddCert(cert)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: time.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	var ids []jid.JID
	if err == nil {
		ids, err = sasl.Addresses(chain[0])
	}
	if err != nil {
		c.server.log.Info("certificate of a client not accepted", "remote", c.conn.RemoteAddr().String(), "error", err)
	}
	return ids
}
