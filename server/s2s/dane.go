package s2s

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"kith/server/config"
	"kith/xmpp/jid"
	"kith/xmpp/resolve"
)

// errDANE says that the domain has told the world of another certificate.
var errDANE = errors.New("it is none of those that the domain has published (DANE)")

// judgement is what a peer's certificate is worth that we have come to.
type judgement struct {
	dane bool // the domain's TLSA records are what it was judged by
	err  error
}

// String is what is to be said of it.
func (j judgement) String() string {
	if j.dane && j.err == nil {
		return ByDANE
	}
	return judged(j.err)
}

// ByDANE is what is said of a certificate that the domain has published.
const ByDANE = "DANE"

// judgePeer judges the certificate of whom we have found at a target: by the domain's
// TLSA records if there are any that can be used, else as usual (RFC 7673 §4).
func judgePeer(state *tls.ConnectionState, domain jid.JID, t resolve.Target, roots *x509.CertPool, now time.Time) judgement {
	records := resolve.Usable(t.TLSA)
	if len(records) == 0 {
		return judgement{err: examine(state, roots, now).at(domain, t)}
	}
	chain, err := shown(state)
	if err == nil {
		err = vouched(chain, records, domain, t, roots, now)
	}
	return judgement{dane: true, err: err}
}

// vouched returns nil if one of the records holds for a chain (RFC 6698 §2.1.1).
func vouched(chain []*x509.Certificate, records []resolve.TLSA, domain jid.JID, t resolve.Target, roots *x509.CertPool, now time.Time) error {
	leaf, usual, anchors, anchored := chain[0], false, x509.NewCertPool(), false
	for _, r := range records {
		switch {
		case r.Usage == resolve.DANEEE && r.Matches(leaf):
			return nil // RFC 7671 §5.1: neither names nor times count
		case r.Usage == resolve.DANETA:
			for _, cert := range anchorsOf(r, chain[1:]) {
				anchors.AddCert(cert)
				anchored = true
			}
		case r.Usage == resolve.PKIXTA || r.Usage == resolve.PKIXEE:
			usual = true
		}
	}
	why := errDANE
	if anchored {
		p := inspect(chain, anchors, now)
		if why = p.at(domain, t); why == nil {
			return nil
		}
	}
	if !usual {
		return why
	}
	p := inspect(chain, roots, now)
	if err := p.at(domain, t); err != nil {
		return err
	}
	if slices.ContainsFunc(records, func(r resolve.TLSA) bool { return p.constrained(r, leaf) }) {
		return nil
	}
	return why
}

// anchorsOf returns the authorities of a record: those that the peer has shown, or
// the one that the record holds itself (RFC 7671 §5.2).
func anchorsOf(r resolve.TLSA, above []*x509.Certificate) (out []*x509.Certificate) {
	for _, cert := range above {
		if r.Matches(cert) {
			out = append(out, cert)
		}
	}
	if cert := r.Certificate(); cert != nil && cert.IsCA {
		out = append(out, cert)
	}
	return out
}

// constrained reports whether a record that stands beside the usual checks holds for
// what they have found.
func (p proof) constrained(r resolve.TLSA, leaf *x509.Certificate) bool {
	switch r.Usage {
	case resolve.PKIXEE:
		return r.Matches(leaf)
	case resolve.PKIXTA:
		return slices.ContainsFunc(p.chains, func(chain []*x509.Certificate) bool { return slices.ContainsFunc(chain[1:], r.Matches) })
	}
	return false
}

// at is of for a domain that was found at a target. If that is known for sure, the
// host's name will do as well (RFC 7673 §4.1, §6).
func (p proof) at(domain jid.JID, t resolve.Target) error {
	err := p.of(domain)
	if err == nil || p.err != nil || !t.Secure {
		return err
	}
	if host := (proof{names: slices.DeleteFunc(slices.Clone(p.names), func(n name) bool { return n.other })}); host.has(ascii(t.Host)) {
		return nil
	}
	return fmt.Errorf("%w than %s or %s", errWrongName, domain, t.Host)
}

// lookWithin bounds looking for what a peer's domain has published.
const lookWithin = 10 * time.Second

// external reports whether the peer has shown a certificate for a domain, as SASL
// EXTERNAL wants it: one that an authority has signed, or that the domain has
// published for one of the places where it listens (RFC 7712 §5.1). (Reader.)
func (c *incoming) external(domain jid.JID) bool {
	if !c.s.acceptable(domain.Domain()) {
		return false
	}
	if c.certified(domain) == nil {
		return true
	}
	if _, err := shown(c.conn.TLS()); err != nil || c.looked {
		return false
	}
	c.looked = true // once is enough: a stranger has us ask
	if !c.published(domain) {
		return false
	}
	c.mu.Lock()
	c.vouched = domain.Domain()
	c.mu.Unlock()
	return true
}

// published reports whether a domain has published the peer's certificate.
func (c *incoming) published(domain jid.JID) bool {
	dialer := c.s.dialer(c.conf)
	if !dialer.DANE {
		return false
	}
	ctx, cancel := context.WithTimeout(c.ctx, lookWithin)
	defer cancel()
	free, err := c.s.turns.take(ctx, c.source)
	if err != nil {
		return false
	}
	defer free()
	targets, err := dialer.Vouched(ctx, domain.Domain(), resolve.Server())
	if err != nil {
		c.s.log.Info("what another server has published not found", "from", domain.String(), "error", err)
		return false
	}
	return slices.ContainsFunc(targets, func(t resolve.Target) bool {
		j := judgePeer(c.conn.TLS(), domain, t, c.s.parts.Roots(), time.Now())
		return j.dane && j.err == nil
	})
}

// isVouched reports whether a domain has published the certificate that the peer has
// shown.
func (c *incoming) isVouched(domain string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.vouched != "" && c.vouched == domain
}

// Published is what others can be told of the certificate of a domain of ours, so that
// they know it without any authority (RFC 7673 §6).
type Published struct {
	Domain string    `json:"domain"`
	Ports  []int     `json:"ports"` // where other servers come to
	Record string    `json:"record"`
	Until  time.Time `json:"until"` // the end of the certificate
}

// Publish returns the TLSA records of the domains of ours.
func (s *Server) Publish() []Published {
	conf := s.config.Load()
	out := []Published{}
	for _, h := range conf.Hosts {
		if cert := s.parts.Certificate(h.Domain()); cert != nil && cert.Leaf != nil {
			out = append(out, Published{Domain: ascii(h.Domain()), Ports: ports(conf), Record: resolve.Key(cert.Leaf).String(), Until: cert.Leaf.NotAfter})
		}
	}
	return out
}

// ports are those that we listen on for other servers.
func ports(c *config.Config) (out []int) {
	for _, a := range slices.Concat(c.Listen.Server, c.Listen.ServerTLS) {
		out = append(out, int(a.Port()))
	}
	slices.Sort(out)
	return slices.Compact(out)
}
