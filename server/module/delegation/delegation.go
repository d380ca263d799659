// Package delegation implements XEP-0355: Namespace Delegation, as the
// configuration grants it: requests of a namespace, to the host or to its accounts,
// are answered by an external component, and what that can do is told as if it
// were the server's own.
//
// Accounts grant nothing themselves: of the two modes a server may have the first
// only (§9, note 1). In the other anybody could have the server send people forms
// that ask them to hand over what it does for them.
package delegation

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"kith/server/cluster"
	"kith/server/config"
	"kith/server/module"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xep/delegation"
	"kith/xmpp/xep/disco"
	"kith/xmpp/xmltree"
)

// Module is the module.
var Module = module.Define("delegation", attach, module.XEP(355, "0.5").Partly("admin mode"))

// answerWithin bounds how long the managing entity's answer is waited for.
const answerWithin = time.Minute

// delegator is the module at a host.
type delegator struct {
	host   *module.Host
	deputy module.Deputy
	lanes  module.Lanes
}

func attach(h *module.Host, _ struct{}) error {
	deputy, ok := h.Router.(module.Deputy)
	lanes, also := h.Router.(module.Lanes)
	if !ok || !also {
		return errors.New("the host's router cannot ask")
	}
	m := &delegator{h, deputy, lanes}
	h.DiscoFeature(ns.Delegation)
	h.Greet(m.greet)
	h.Divert(m.divert)
	h.Nest(m.nested)
	return nil
}

// greet tells a component what it manages (§4.2), and asks it what it can do there
// (§9, note 2).
func (m *delegator) greet(component jid.JID) (tell []*stanza.Stanza, then func()) {
	c := m.host.Config.Delegate(component, m.host.Domain)
	if c == nil {
		return nil, nil
	}
	var granted delegation.Granted
	for _, space := range slices.Sorted(maps.Keys(c.Delegate)) {
		granted = append(granted, delegation.Delegated{NS: space, Attributes: c.Delegate[space]})
	}
	st := stanza.New(stanza.Message, "", m.host.Domain, component, granted)
	st.ID = stream.NewID()
	return []*stanza.Stanza{st}, func() { m.learn(c) }
}

// managers are the components that answer in the place of the host, each with what
// it manages.
func (m *delegator) managers(yield func(*config.Component) bool) {
	for i := range m.host.Config.Component {
		c := &m.host.Config.Component[i]
		if len(c.Delegate) > 0 && c.PrivilegedAt(m.host.Domain) && !yield(c) {
			return
		}
	}
}

// manager returns who manages a request, nil if the server does.
func (m *delegator) manager(t *module.Transit) *config.Component {
	for c := range m.managers {
		attributes, ok := c.Delegate[t.Payload().Name().Space]
		if !ok {
			ok = m.remains(t, c)
		}
		if !ok {
			continue
		}
		if t.From == c.Host { // §4.3.1: what it asks itself is the server's
			return nil
		}
		missing := func(a string) bool {
			_, there := t.Payload().LookupAttr(xmltree.Name{Local: a})
			return !there
		}
		if !slices.ContainsFunc(attributes, missing) { // §4.3, N.B. 3
			return c
		}
	}
	return nil
}

// remains reports whether a request is one of service discovery to an account that
// the server itself has no answer to, and that the component gets therefore: for a
// node that nobody here knows (§7.2.4), or for what belongs to an account (§7.2.5).
func (m *delegator) remains(t *module.Transit, c *config.Component) bool {
	if t.Type != stanza.Get || !t.To.IsZero() && t.To.Local() == "" {
		return false
	}
	space, node := ns.DelegationInfo, t.Payload().Attr("node")
	switch t.Payload().Name() {
	case disco.NameInfo:
		if node == "" {
			return false
		}
	case disco.NameItems:
		space = ns.DelegationItems
	default:
		return false
	}
	if _, ok := c.Delegate[space]; !ok {
		return false
	}
	if node == "" {
		return true
	}
	info, items, err := m.host.DiscoNode(t, module.ToAccount, node)
	return info == nil && items == nil && err == nil
}

// divert has the managing entity answer (§4.3).
func (m *delegator) divert(t *module.Transit) module.IQFunc {
	c := m.manager(t)
	if c == nil {
		return nil
	}
	return func(_ context.Context, t *module.Transit) (xmltree.Appender, error) {
		if !m.deputy.Connected(c.Host) { // §4.3, N.B. 1
			return nil, stanza.ErrServiceUnavailable
		}
		request := t.Stanza.Copy()
		ask := stanza.New(stanza.IQ, stanza.Set, m.host.Domain, c.Host, delegation.Forwarded{Stanza: request})
		m.host.Router.Ask(t, ask, answerWithin, func(turn *cluster.Turn, _ cluster.Actor, answer *stanza.Stanza) {
			m.answer(&module.Transit{Host: m.host, Turn: turn}, request, answer)
		})
		return nil, module.Stop
	}
}

// answer passes on what the managing entity has answered, if it is an answer to
// that.
func (m *delegator) answer(t *module.Transit, request, answer *stanza.Stanza) {
	var inner stanza.Stanza
	el := delegation.IQ(answer.Payload())
	if answer.Type != stanza.Result || !el.Exists() || inner.Read(el) != nil ||
		inner.Type != stanza.Result || inner.ID != request.ID || inner.To != request.From || !same(inner.From, request) {
		t.Send(request.ErrorReply(stanza.ErrServiceUnavailable))
		return
	}
	inner.From = request.To
	inner.Changed()
	t.Send(&inner)
}

// same reports whether an answer is from the one who was asked: the account itself
// need not be named (RFC 6120 §8.1.2.1).
func same(from jid.JID, request *stanza.Stanza) bool {
	return from == request.To || from.IsZero() && (request.To.IsZero() || request.To == request.From.Bare()) ||
		request.To.IsZero() && from == request.From.Bare()
}
