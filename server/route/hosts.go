package route

import (
	"maps"
	"sync"
	"sync/atomic"

	"kith/server/account"
	"kith/server/cluster"
	"kith/server/module"
	"kith/xmpp/jid"
	"kith/xmpp/stream"
)

// hosts are the virtual hosts of a moment. A reload puts others in their place;
// what is under way finishes with those it began with.
type hosts struct {
	list []*module.Host
	by   map[string]*module.Host
	// gone are hosts that were taken away. What their sessions leave behind is still
	// dealt with by their modules.
	gone map[string]*module.Host
	// counts are by domain, and go from one table to the next.
	counts map[string]*counts
}

// counts are of messages since the start, each in one of them.
type counts struct{ delivered, kept, bounced atomic.Int64 }

// SetHosts puts these hosts in the place of those before. What is under way
// finishes with the host it began with. Sessions of a host that is no longer
// among them end with host-gone.
func (r *Router) SetHosts(list []*module.Host) {
	old := r.hosts.Load()
	now := &hosts{list: list, by: make(map[string]*module.Host, len(list)), gone: make(map[string]*module.Host),
		counts: maps.Clone(old.counts)}
	if now.counts == nil {
		now.counts = make(map[string]*counts)
	}
	for _, h := range list {
		domain := h.Domain.Domain()
		now.by[domain] = h
		if now.counts[domain] == nil {
			now.counts[domain] = new(counts)
		}
	}
	var removed []string
	for domain, h := range old.gone {
		if now.by[domain] == nil {
			now.gone[domain] = h
		}
	}
	for domain, h := range old.by {
		if now.by[domain] == nil {
			now.gone[domain] = h
			removed = append(removed, domain)
		}
	}
	r.hosts.Store(now)
	for _, domain := range removed {
		for _, j := range r.online.accounts(domain) {
			r.cluster.SendLive(account.Key(j), homeless{r})
		}
	}
}

// Host returns the host of a domain, nil if it is none of ours.
func (r *Router) Host(domain string) *module.Host { return r.hosts.Load().by[domain] }

// Hosts returns the hosts in the order of the configuration. The slice must not
// be changed.
func (r *Router) Hosts() []*module.Host { return r.hosts.Load().list }

// lastHost is Host for what has begun while the domain was ours.
func (r *Router) lastHost(domain string) *module.Host {
	hs := r.hosts.Load()
	if h := hs.by[domain]; h != nil {
		return h
	}
	return hs.gone[domain]
}

// count returns where messages of a domain are counted that is ours, or was.
func (r *Router) count(domain string) *counts { return r.hosts.Load().counts[domain] }

// HostStats are the figures of one host: sessions now, and messages since the
// start, each counted once, but for errors.
type HostStats struct {
	Host      string
	Sessions  int
	Delivered int64 // to a session at once
	Kept      int64 // for nobody was there
	Bounced   int64 // sent back to their sender
}

// HostStats returns the figures of all hosts, in the order of the configuration.
func (r *Router) HostStats() []HostStats {
	hs := r.hosts.Load()
	all := make([]HostStats, len(hs.list))
	for i, h := range hs.list {
		domain := h.Domain.Domain()
		c := hs.counts[domain]
		all[i] = HostStats{domain, r.online.sessions(domain), c.delivered.Load(), c.kept.Load(), c.bounced.Load()}
	}
	return all
}

// homeless ends the sessions of an account whose host was taken away (RFC 6120
// §4.9.3.5).
type homeless struct{ r *Router }

// Handle implements cluster.Item.
func (it homeless) Handle(_ *cluster.Turn, ac cluster.Actor) {
	a := ac.(*account.Actor)
	if it.r.Host(a.JID.Domain()) != nil {
		return // it is back
	}
	for _, res := range a.Resources() {
		res.Out.Close(stream.ErrHostGone)
	}
}

// Fail implements cluster.Item: without sessions there is nothing to end.
func (homeless) Fail(*cluster.Turn, error) {}

// online is which accounts have sessions: an index to find their owners by. It is
// no state of theirs; whoever wants that asks them.
type online struct {
	mu sync.Mutex // guards by
	by map[string]*presentAt
}

// presentAt is who is there at one host.
type presentAt struct {
	accounts map[jid.JID]int // by bare address, with the number of sessions
	sessions int
}

// add counts n sessions more, or fewer, of an account.
func (o *online) add(account jid.JID, n int) {
	account = account.Bare()
	o.mu.Lock()
	defer o.mu.Unlock()
	at := o.by[account.Domain()]
	if at == nil {
		if o.by == nil {
			o.by = make(map[string]*presentAt)
		}
		at = &presentAt{accounts: make(map[jid.JID]int)}
		o.by[account.Domain()] = at
	}
	at.sessions += n
	if at.accounts[account] += n; at.accounts[account] <= 0 {
		delete(at.accounts, account)
	}
}

// accounts returns who has a session at a domain, at any if it is "", in no
// order.
func (o *online) accounts(domain string) (all []jid.JID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for name, at := range o.by {
		if domain != "" && domain != name {
			continue
		}
		for j := range at.accounts {
			all = append(all, j)
		}
	}
	return all
}

// sessions returns how many there are at a domain, in all if it is "".
func (o *online) sessions(domain string) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for name, at := range o.by {
		if domain == "" || domain == name {
			n += at.sessions
		}
	}
	return n
}
