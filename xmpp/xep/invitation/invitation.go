// Package invitation holds the words of XEP-0445: Pre-Authenticated In-Band
// Registration, and the links of XEP-0379 and XEP-0401 that lead to it.
package invitation

import (
	"errors"
	"net/url"
	"strings"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

// Name is the name of the payload that shows a token.
var Name = xmltree.Name{Space: ns.PARS, Local: "preauth"}

// ErrMalformed is returned for what shows no token.
var ErrMalformed = errors.New("malformed invitation")

// Preauth shows a token, in an iq of type set before registration (XEP-0445 §4).
type Preauth struct{ Token string }

// AppendXML implements xmltree.Appender.
func (p Preauth) AppendXML(w *xmltree.Writer) {
	w.Open(Name)
	w.Attr("token", p.Token)
	w.Close()
}

// Parse reads the payload.
func Parse(el xmltree.Element) (Preauth, error) {
	if !el.Is(Name) || el.Attr("token") == "" {
		return Preauth{}, ErrMalformed
	}
	return Preauth{Token: strings.Clone(el.Attr("token"))}, nil
}

// Feature is the stream feature of a server that takes tokens (XEP-0445 §3).
type Feature struct{}

// NameFeature is the name of the stream feature.
var NameFeature = xmltree.Name{Space: ns.IBRToken, Local: "register"}

// AppendXML implements xmltree.Appender.
func (Feature) AppendXML(w *xmltree.Writer) {
	w.Open(NameFeature)
	w.Close()
}

// Link is an invitation to make an account: on a host, or the account of an
// address (XEP-0445 §2.1, §2.2).
func Link(to jid.JID, token string) string {
	return "xmpp:" + address(to) + "?register;preauth=" + url.QueryEscape(token)
}

// address writes an address into an xmpp: URI (RFC 5122 §2.2): in the localpart
// more is escaped than must be.
func address(j jid.JID) string {
	domain := j.Domain()
	if !strings.HasPrefix(domain, "[") { // an IPv6 address is written as it is
		domain = url.PathEscape(domain)
	}
	if j.Local() == "" {
		return domain
	}
	return url.PathEscape(j.Local()) + "@" + domain
}
