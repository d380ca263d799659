package config

import (
	"maps"
	"slices"
	"strings"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
)

// Privileges is the table [component.privileges], XEP-0356: what a component may do in the place of accounts. Give it only
// to programs that you trust like the server itself.
type Privileges struct {
	// Hosts whose accounts it is about. Not set: the one that the component's domain lies below.
	Hosts []jid.JID `toml:"hosts"`
	// What it may do with rosters: "none", "get", "set" or "both".
	Roster string `toml:"roster"`
	// Whether it is told of each change of a roster that it may get.
	RosterPush bool `toml:"roster_push"`
	// "outgoing": it may send messages in the name of the host and of accounts.
	Message string `toml:"message"`
	// "managed_entity": it sees when accounts come and go; "roster": the presence of their contacts, too.
	Presence string `toml:"presence"`
	// Requests that it may send in the name of accounts: by the namespace of what is asked "none", "get", "set" or "both".
	IQ map[string]string `toml:"iq"`
}

// PrivilegedAt reports whether the component's privileges are for the accounts of a host.
func (c *Component) PrivilegedAt(host jid.JID) bool {
	if c.Privileges.Hosts != nil {
		return slices.Contains(c.Privileges.Hosts, host)
	}
	return strings.HasSuffix(c.Host.Domain(), "."+host.Domain())
}

// Any reports whether there is any privilege.
func (p *Privileges) Any() bool {
	return allows(p.Roster, "get") || allows(p.Roster, "set") || p.MaySend() || p.Sees() || len(p.IQ) > 0
}

// allows reports whether a permission is for a type of request.
func allows(permission, typ string) bool { return permission == typ || permission == "both" }

// MayRoster reports whether rosters may be asked for ("get") or changed ("set").
func (p *Privileges) MayRoster(typ string) bool { return allows(p.Roster, typ) }

// Pushes reports whether changes of rosters are told (XEP-0356 §4.1).
func (p *Privileges) Pushes() bool { return p.RosterPush && p.MayRoster("get") }

// MaySend reports whether messages may be sent in others' names.
func (p *Privileges) MaySend() bool { return p.Message == "outgoing" }

// Sees reports whether the presence of accounts is told.
func (p *Privileges) Sees() bool { return p.Presence == "managed_entity" || p.SeesContacts() }

// SeesContacts reports whether that of their contacts is told, too.
func (p *Privileges) SeesContacts() bool { return p.Presence == "roster" }

// MayAsk reports whether requests of a type and a namespace may be sent in the names of accounts.
func (p *Privileges) MayAsk(typ, space string) bool { return allows(p.IQ[space], typ) }

// Privileged returns what a component may do at a host, nil if nothing. Its address is that of its domain.
func (c *Config) Privileged(component, host jid.JID) *Privileges {
	for i := range c.Component {
		if comp := &c.Component[i]; comp.Host == component && comp.PrivilegedAt(host) && comp.Privileges.Any() {
			return &comp.Privileges
		}
	}
	return nil
}

// SpeaksFor reports whether a component, by its address, is the one that speaks for a domain.
func (c *Config) SpeaksFor(component jid.JID, domain string) bool {
	return slices.ContainsFunc(c.Component, func(o Component) bool { return o.Host == component && o.Speaks(domain) })
}

// PrivilegedWhere returns the components that have privileges at a host of which is true what has says.
func (c *Config) PrivilegedWhere(host jid.JID, has func(*Privileges) bool) (list []jid.JID) {
	for i := range c.Component {
		if comp := &c.Component[i]; comp.PrivilegedAt(host) && has(&comp.Privileges) {
			list = append(list, comp.Host)
		}
	}
	return list
}

// Delegate returns the component of an address if it answers requests in the place of a host, else nil.
func (c *Config) Delegate(component, host jid.JID) *Component {
	for i := range c.Component {
		if comp := &c.Component[i]; comp.Host == component && comp.PrivilegedAt(host) && len(comp.Delegate) > 0 {
			return comp
		}
	}
	return nil
}

// delegations checks which requests the i-th component answers in the place of the server.
func (d *decoder) delegations(at path, c *Config, i int) {
	comp := &c.Component[i]
	for _, space := range slices.Sorted(maps.Keys(comp.Delegate)) {
		switch {
		case space == ns.DelegationInfo, space == ns.DelegationItems:
		case space == ns.Delegation, strings.HasPrefix(space, ns.Delegation+":"): // XEP-0355 §8, rule 5
			d.invalid(at.with(space), show(ns.Delegation)+" cannot be delegated; of what begins with it there are "+
				show(ns.DelegationInfo)+" and "+show(ns.DelegationItems))
		}
		for j := range c.Component[:i] {
			other := &c.Component[j]
			if attributes, ok := other.Delegate[space]; ok && sameNames(attributes, comp.Delegate[space]) &&
				slices.ContainsFunc(c.Hosts, func(h jid.JID) bool { return comp.PrivilegedAt(h) && other.PrivilegedAt(h) }) {
				d.invalid(at.with(space), show(other.Host.String())+" answers these requests already")
			}
		}
	}
}

// sameNames reports whether two lists hold the same, in whatever order.
func sameNames(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

func (d *decoder) privileges(at path, c *Config, p *Privileges) {
	oneOf := func(key path, value string, allowed ...string) {
		if value != "" && !slices.Contains(allowed, value) {
			for i, a := range allowed {
				allowed[i] = show(a)
			}
			last := len(allowed) - 1
			d.invalid(key, "wanted "+strings.Join(allowed[:last], ", ")+" or "+allowed[last]+", got "+show(value))
		}
	}
	oneOf(at.with("roster"), p.Roster, "none", "get", "set", "both")
	oneOf(at.with("message"), p.Message, "none", "outgoing")
	oneOf(at.with("presence"), p.Presence, "none", "managed_entity", "roster")
	for _, space := range slices.Sorted(maps.Keys(p.IQ)) {
		oneOf(at.with("iq", space), p.IQ[space], "none", "get", "set", "both")
	}
	if p.SeesContacts() && !p.MayRoster("get") { // XEP-0356 §7.2
		d.invalid(at.with("presence"), `"roster" needs a right to read rosters: wanted roster = "get" or "both" with it`)
	}
	for i, h := range p.Hosts {
		if !slices.Contains(c.Hosts, h) {
			d.invalid(at.with("hosts").index(i), show(h.String())+" is not one of the hosts")
		}
	}
}
