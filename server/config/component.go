package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"kith/xmpp/jid"
)

// Component is a table [[component]].
type Component struct {
	// The component's domain. It may lie below a host's, or anywhere else, but is no host itself.
	Host jid.JID `toml:"host" example:"\"irc.example.org\""`
	// File with the secret shared with the component. White space around it does not count.
	SecretFile string `toml:"secret_file" example:"\"/etc/kith/irc.secret\""`
	// What it is called where the services of a host are listed (XEP-0030).
	Name string `toml:"name"`
	// Hosts that list it among their services. Not set: the one that its domain lies below.
	ListedBy []jid.JID `toml:"listed_by"`
	// Whether the domains below its own are the component's, too.
	Subdomains bool `toml:"subdomains"`
	// How many connections it may have at once, so that one can fail. What one sender says goes to one of them.
	Connections int `toml:"connections"`
	// What may wait for the component while it is not connected, and for each of its connections while it is.
	Queue Size `toml:"queue"`
	// How long a stanza may wait for the component to connect before it is sent back; "0s" sends it back at once.
	QueueAge time.Duration `toml:"queue_age"`
	// What it may do in the place of accounts (XEP-0356); see the page on components.
	Privileges Privileges `toml:"privileges" example:"{ roster = \"both\", message = \"outgoing\" }"`
	// Namespaces of requests that it answers in the place of the server (XEP-0355), each with the attributes that the
	// request has to have; for the hosts of its privileges.
	Delegate map[string][]string `toml:"delegate" example:"{ \"http://jabber.org/protocol/pubsub\" = [] }"`

	// Secret is what SecretFile holds.
	Secret string `toml:"-"`
}

// Default sets what holds where a table says nothing.
func (c *Component) Default() {
	c.Connections, c.Queue, c.QueueAge = 1, 1*MiB, 30*time.Second
	c.Privileges.RosterPush = true
}

// IsListedBy reports whether a host has the component among its services.
func (c *Component) IsListedBy(host jid.JID) bool {
	if c.ListedBy != nil {
		return slices.Contains(c.ListedBy, host)
	}
	return strings.HasSuffix(c.Host.Domain(), "."+host.Domain())
}

// Speaks reports whether the component may speak for a domain.
func (c *Component) Speaks(domain string) bool {
	own := c.Host.Domain()
	return domain == own || c.Subdomains && strings.HasSuffix(domain, "."+own)
}

// secrets fetches the secrets of components.
func (d *decoder) secrets(c *Config, relative func(*string)) {
	for i := range c.Component {
		at, comp := path{"component"}.index(i).with("secret_file"), &c.Component[i]
		if comp.SecretFile == "" {
			continue
		}
		relative(&comp.SecretFile)
		text, err := readSome(comp.SecretFile)
		if err != nil {
			d.fail(d.doc.valueAt(at), at, "cannot read "+comp.SecretFile+": "+why(err).Error(), err)
			continue
		}
		if comp.Secret = strings.TrimSpace(string(text)); comp.Secret == "" {
			d.invalid(at, comp.SecretFile+" is empty; write a secret into it")
		}
	}
}

func (d *decoder) components(c *Config) {
	for i := range c.Component {
		at, comp := path{"component"}.index(i), &c.Component[i]
		switch {
		case comp.Host.IsZero():
			d.fail(d.doc.keyAt(at), at.with("host"), `wanted the component's domain, such as host = "irc.example.org"`, nil)
		case comp.Host.Host() != comp.Host:
			d.invalid(at.with("host"), `wanted a domain such as "irc.example.org", got the address `+show(comp.Host.String()))
		case slices.Contains(c.Hosts, comp.Host):
			d.invalid(at.with("host"), show(comp.Host.String())+" is one of the hosts; a component has a domain of its own")
		case slices.ContainsFunc(c.Component[:i], func(o Component) bool { return o.Host == comp.Host }):
			d.invalid(at.with("host"), show(comp.Host.String())+" is there twice")
		}
		if comp.SecretFile == "" {
			d.fail(d.doc.keyAt(at), at.with("secret_file"), "wanted a file with the secret that the component knows", nil)
		}
		for j, h := range comp.ListedBy {
			if !slices.Contains(c.Hosts, h) {
				d.invalid(at.with("listed_by").index(j), show(h.String())+" is not one of the hosts")
			}
		}
		d.privileges(at.with("privileges"), c, &comp.Privileges)
		d.delegations(at.with("delegate"), c, i)
		d.least(at.with("connections"), comp.Connections, 1)
		if comp.Queue < c.Limits.Stanza {
			d.invalid(at.with("queue"), "wanted at least the size of one stanza, "+c.Limits.Stanza.String()+", got "+comp.Queue.String())
		}
		if comp.QueueAge < 0 {
			d.invalid(at.with("queue_age"), "wanted at least 0s, got "+comp.QueueAge.String())
		}
	}
	for i, a := range c.Listen.Component {
		if !a.Addr().IsLoopback() {
			d.invalid(path{"listen", "component"}.index(i),
				"the streams of components are not encrypted here: wanted an address of loopback, such as \"127.0.0.1:5347\", got "+show(a.String())+
					"; for a component on another machine use component_tls")
		}
	}
}

// ComponentChanges tells, of two configurations, which components came, went and changed, by their domains.
func ComponentChanges(old, now *Config) (added, removed, changed []string) {
	by := func(c *Config) map[string]*Component {
		all := make(map[string]*Component, len(c.Component))
		for i := range c.Component {
			all[c.Component[i].Host.Domain()] = &c.Component[i]
		}
		return all
	}
	before, after := by(old), by(now)
	for _, name := range slices.Sorted(maps.Keys(after)) {
		switch was := before[name]; {
		case was == nil:
			added = append(added, name)
		case !was.equal(after[name]):
			changed = append(changed, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if after[name] == nil {
			removed = append(removed, name)
		}
	}
	return added, removed, changed
}

func (c *Component) equal(o *Component) bool { return reflect.DeepEqual(c, o) }
