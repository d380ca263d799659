// Package delegation implements XEP-0355: Namespace Delegation, as the
// configuration grants it: requests of a namespace, to the host or to its accounts,
// are answered by an external component.
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
	"kith/xmpp/xmltree"
)

// Module is the module.
var Module = module.Define("delegation", attach,
	module.XEP(355, "0.5").Partly("admin mode, without the entity's features in those of the server"))

// answerWithin bounds how long the managing entity's answer is waited for.
const answerWithin = time.Minute

// delegator is the module at a host.
type delegator struct {
	host   *module.Host
	deputy module.Deputy
}

func attach(h *module.Host, _ struct{}) error {
	deputy, ok := h.Router.(module.Deputy)
	if !ok {
		return errors.New("the host's router cannot ask")
	}
	m := &delegator{h, deputy}
	h.DiscoFeature(ns.Delegation)
	h.Greet(m.greet)
	h.Divert(m.divert)
	return nil
}

// greet tells a component what it manages (§4.2).
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
	return []*stanza.Stanza{st}, nil
}

// manager returns who manages a request, nil if the server does.
func (m *delegator) manager(t *module.Transit) *config.Component {
	for i := range m.host.Config.Component {
		c := &m.host.Config.Component[i]
		attributes, ok := c.Delegate[t.Payload().Name().Space]
		if !ok || !c.PrivilegedAt(m.host.Domain) {
			continue
		}
		if t.From == c.Host { // §4.4: what it asks itself is the server's
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
