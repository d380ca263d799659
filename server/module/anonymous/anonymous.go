// Package anonymous implements XEP-0175: Best Practices for Use of SASL ANONYMOUS,
// as far as it is about what people without an account may do.
//
// Their accounts last as long as their sessions and are in no table: for the
// modules that keep something of accounts they do not exist. What such a module
// would keep at somebody's own request is refused here, by a list of the few
// requests that change nothing but the session; so a request that is new is
// refused, too. By the host's configuration they reach this server or others.
package anonymous

import (
	"context"
	"errors"
	"slices"

	"kith/server/config"
	"kith/server/module"
	"kith/server/roster"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/carbons"
	"kith/xmpp/xmltree"
)

// Module is the module. Its steps come before all others'.
var Module = module.Define("anonymous", attach, module.RFC(4505, "ANONYMOUS; what a client says of itself is not looked at"),
	module.XEP(175, "1.2"))

// anonymous is the module at a host.
type anonymous struct {
	host    *module.Host
	domains module.Domains
	local   bool // they reach this server only
}

func attach(h *module.Host, _ struct{}) error {
	domains, ok := h.Router.(module.Domains)
	if !ok {
		return errors.New("the host's router does not know whose a domain is")
	}
	m := &anonymous{h, domains, h.Config.AnonymousReach(h.Domain) != config.Everywhere}
	h.Stages.Leaving.Check = append(h.Stages.Leaving.Check, m.sent)
	h.Stages.Arriving.Check = append(h.Stages.Arriving.Check, m.received)
	return nil
}

// harmless are the requests of type set, to the own account or the server, that
// change nothing but the session.
var harmless = map[xmltree.Name]bool{
	{Space: ns.Session, Local: "session"}: true,
	carbons.NameEnable:                    true,
	carbons.NameDisable:                   true,
}

// sent holds people without an account to what they may do (XEP-0175 §3).
func (m *anonymous) sent(_ context.Context, t *module.Transit) error {
	if !t.Account.Temporary() {
		return nil
	}
	// Whoever is here answers for them: the own account, or a host, whose resource
	// nobody looks at.
	own := t.To.IsZero() || t.To == t.Account.JID || t.To.Local() == "" && slices.Contains(m.host.Config.Hosts, t.To.Host())
	switch {
	case m.local && !t.To.IsZero() && !m.near(t.To): // the second rule
		return stanza.ErrNotAllowed.With("Without an account one reaches this server's people only.")
	// The third rule: it would have to be cancelled when the session ends, and its
	// owner's name never comes back.
	case t.Kind == stanza.Presence && roster.IsSubscription(t.Type):
		return stanza.ErrNotAllowed.With("Without an account there are no subscriptions.")
	// The fourth.
	case t.Kind == stanza.IQ && t.Type == stanza.Set && own && !harmless[t.Payload().Name()]:
		return stanza.ErrNotAllowed.With("Without an account nothing is stored.")
	}
	return nil
}

// near reports whether an address is at this server: at a host, a service, a
// component.
func (m *anonymous) near(j jid.JID) bool {
	return m.domains.Local(j.Domain()) || m.host.ServiceOf(j.Host()) != nil
}

// received keeps others from those whom these cannot answer: for them they are not
// there (RFC 6121 §8.5.1).
func (m *anonymous) received(_ context.Context, t *module.Transit) error {
	if !t.Account.Temporary() || !m.local || t.From.IsZero() || m.near(t.From) {
		return nil
	}
	if t.Kind == stanza.Presence {
		return module.Stop
	}
	return stanza.ErrServiceUnavailable
}
