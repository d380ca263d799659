// Package privilege implements XEP-0356: Privileged Entity. An external component
// to which the configuration grants it reads and changes the rosters of accounts,
// sends messages and requests in their names, and sees their presence. What it may
// do with rosters is in the module of the roster.
package privilege

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"kith/server/cluster"
	"kith/server/config"
	"kith/server/module"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xep/privilege"
	"kith/xmpp/xmltree"
)

// Module is the module. It comes before presence, which makes a session
// available.
var Module = module.Define("privilege", attach,
	module.XEP(356, "0.4.1").Partly("presence of contacts while the account has a session; requests in an account's name that need no session of it"))

// answerWithin bounds how long the answer to a request in somebody's name is
// waited for.
const answerWithin = time.Minute

// granter is the module at a host.
type granter struct {
	host   *module.Host
	deputy module.Deputy
	lanes  module.Lanes
}

func attach(h *module.Host, _ struct{}) error {
	deputy, ok := h.Router.(module.Deputy)
	lanes, also := h.Router.(module.Lanes)
	if !ok || !also {
		return errors.New("the host's router cannot ask in others' names")
	}
	m := &granter{h, deputy, lanes}
	h.Greet(m.greet)
	for _, n := range []xmltree.Name{privilege.Name, privilege.Name1} {
		h.Message(n, m.message)
	}
	for _, n := range []xmltree.Name{privilege.NameIQ, privilege.NameIQ1} {
		for _, typ := range []string{stanza.Get, stanza.Set} {
			h.IQ(typ, n, module.ToAccount, m.iq)
			h.IQ(typ, n, module.ToServer, func(context.Context, *module.Transit) (xmltree.Appender, error) {
				return nil, stanza.ErrForbidden // §6.4: to is no account
			})
		}
	}
	h.Stages.Leaving.Broadcast = append(h.Stages.Leaving.Broadcast, m.broadcast)
	h.Stages.Arriving.Stamp = append(h.Stages.Arriving.Stamp, m.seen)
	return nil
}

// of returns what somebody may do here, nil if nothing.
func (m *granter) of(j jid.JID) *config.Privileges { return m.host.Config.Privileged(j, m.host.Domain) }

// greet tells a component what it may do (§4.2), and has it shown who is there
// (§7.3).
func (m *granter) greet(component jid.JID) (tell []*stanza.Stanza, then func()) {
	p := m.of(component)
	if p == nil {
		return nil, nil
	}
	var perms privilege.Perms
	if p.MayRoster(stanza.Get) || p.MayRoster(stanza.Set) {
		perms = append(perms, privilege.Perm{Access: "roster", Type: p.Roster, Push: strconv.FormatBool(p.Pushes())})
	}
	if p.MaySend() {
		perms = append(perms, privilege.Perm{Access: "message", Type: p.Message})
	}
	if len(p.IQ) > 0 {
		perm := privilege.Perm{Access: "iq"}
		for _, space := range slices.Sorted(maps.Keys(p.IQ)) {
			perm.Spaces = append(perm.Spaces, privilege.Space{NS: space, Type: p.IQ[space]})
		}
		perms = append(perms, perm)
	}
	if p.Sees() {
		perms = append(perms, privilege.Perm{Access: "presence", Type: p.Presence})
		then = func() { m.showAll(component) }
	}
	st := stanza.New(stanza.Message, "", m.host.Domain, component, perms)
	st.ID = stream.NewID()
	return []*stanza.Stanza{st}, then
}

// message sends a message in somebody's name (§5.3).
func (m *granter) message(_ context.Context, t *module.Transit) error {
	p := m.of(t.From)
	if p == nil {
		return stanza.ErrForbidden
	}
	var inner stanza.Stanza
	for c := range t.Children() {
		if !c.Is(privilege.Name) && !c.Is(privilege.Name1) {
			continue
		}
		el := privilege.Message(c)
		if !el.Exists() {
			return stanza.ErrBadRequest
		}
		if err := inner.Read(el); err != nil {
			return err
		}
		break
	}
	// §5.2: from is a bare JID of the server's, or its own.
	from := inner.From
	if !p.MaySend() || !from.IsBare() || from.Domain() != m.host.Domain.Domain() {
		return stanza.ErrForbidden
	}
	if inner.To.IsZero() {
		return stanza.ErrBadRequest
	}
	if from.Local() == "" {
		t.Send(&inner)
		return nil
	}
	outer := t.Stanza.Copy()
	m.deputy.Behalf(t, &inner, func(err error) {
		var se *stanza.Error
		if !errors.As(err, &se) {
			se = stanza.ErrInternalServerError
		}
		if outer.MayBounce() {
			m.deputy.Take(outer.ErrorReply(se))
		}
	})
	return nil
}

// iq sends a request in the name of the account that it is addressed to (§6.3).
func (m *granter) iq(_ context.Context, t *module.Transit) (xmltree.Appender, error) {
	p := m.of(t.From)
	if p == nil {
		if t.Sees(t.From) {
			return nil, stanza.ErrForbidden
		}
		return nil, stanza.ErrServiceUnavailable // as if there were no such account
	}
	// §6.4: the namespace is that of clients, and the types agree.
	el := t.Payload().First()
	if !el.Is(xmltree.Name{Space: ns.Client, Local: "iq"}) || el.Attr("type") != t.Type {
		return nil, stanza.ErrForbidden
	}
	inner := new(stanza.Stanza)
	if err := inner.Read(el); err != nil {
		return nil, err
	}
	if !p.MayAsk(inner.Type, inner.Payload().Name().Space) || !inner.From.IsZero() && inner.From != t.Account.JID {
		return nil, stanza.ErrForbidden
	}
	if inner.To.IsZero() {
		inner.To = t.Account.JID
	}
	inner.From = t.Account.JID
	inner.Changed()
	id, request, wrapper := inner.ID, t.Stanza.Copy(), privilege.Name
	if t.Payload().Is(privilege.NameIQ1) {
		wrapper = privilege.Name1
	}
	t.Host.Router.Ask(t, inner, answerWithin, func(turn *cluster.Turn, _ cluster.Actor, answer *stanza.Stanza) {
		answer = answer.Copy()
		answer.ID = id
		answer.Changed()
		back := module.Transit{Host: m.host, Turn: turn}
		back.Send(request.Reply(privilege.Forwarded{Name: wrapper, Stanza: answer}))
	})
	return nil, module.Stop
}
