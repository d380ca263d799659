package delegation

import (
	"maps"
	"slices"
	"strings"

	"kith/server/account"
	"kith/server/cluster"
	"kith/server/config"
	engine "kith/server/delegation"
	"kith/server/module"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/disco"
)

// nests reports whether a namespace has features that are told. Those that stand for
// requests of service discovery have none.
func nests(space string) bool { return space != ns.DelegationInfo && space != ns.DelegationItems }

// learn asks a component what it can do with the namespaces that it manages.
func (m *delegator) learn(c *config.Component) {
	var items []cluster.Item
	for _, space := range slices.Sorted(maps.Keys(c.Delegate)) {
		if !nests(space) {
			continue
		}
		for _, ofAccounts := range []bool{false, true} {
			items = append(items, &question{m, engine.Key{Host: m.host.Domain, Entity: c.Host, Space: space, Account: ofAccounts}})
		}
	}
	if len(items) > 0 {
		m.lanes.Send(account.Key(m.host.Domain), items...)
	}
}

// question asks a component what it can do, in the host's lane.
type question struct {
	m   *delegator
	key engine.Key
}

// Handle implements cluster.Item.
func (q *question) Handle(t *cluster.Turn, _ cluster.Actor) {
	separator := "::" // §7.2.1
	if q.key.Account {
		separator = ":bare:" // §7.2.2
	}
	ask := stanza.New(stanza.IQ, stanza.Get, q.key.Host, q.key.Entity, &disco.Info{Node: ns.Delegation + separator + q.key.Space})
	q.m.host.Router.Ask(&module.Transit{Host: q.m.host, Turn: t}, ask, answerWithin, q.heard)
}

// Fail implements cluster.Item.
func (q *question) Fail(_ *cluster.Turn, err error) {
	q.m.host.Log.Error("a component was not asked what it can do", "component", q.key.Entity, "namespace", q.key.Space, "error", err)
}

// heard keeps what the component says. If it has gone meanwhile, it has said nothing.
func (q *question) heard(_ *cluster.Turn, _ cluster.Actor, answer *stanza.Stanza) {
	var info *disco.Info
	if answer.Type == stanza.Result {
		info, _ = disco.ParseInfo(answer.Payload()) //nolint:errcheck // nil: it says nothing that can be understood
	} else if !q.m.deputy.Connected(q.key.Entity) {
		return
	}
	if err := q.m.host.Managed.Set(q.key, info); err != nil {
		q.m.host.Log.Warn("what a component can do is not told", "component", q.key.Entity, "namespace", q.key.Space, "error", err)
	}
}

// nested is what managing entities can do in the place of the host or of its
// accounts. It is told in the place of what is ours in the namespace, though for
// lack of an attribute some requests are answered here (§7.2.1, N.B.); but then not
// before they have said what they can do.
func (m *delegator) nested(to module.Target) (n module.Nested) {
	var spaces []string
	for c := range m.managers {
		for _, space := range slices.Sorted(maps.Keys(c.Delegate)) {
			if !nests(space) {
				continue
			}
			info := m.host.Managed.Info(engine.Key{Host: m.host.Domain, Entity: c.Host, Space: space, Account: to == module.ToAccount})
			if info == nil && len(c.Delegate[space]) > 0 {
				continue
			}
			spaces = append(spaces, space)
			if info != nil {
				n.Infos = append(n.Infos, info)
			}
		}
	}
	if len(spaces) > 0 {
		n.Replaces = func(name string) bool {
			return slices.ContainsFunc(spaces, func(space string) bool { return name == space || strings.HasPrefix(name, space+"#") })
		}
	}
	return n
}
