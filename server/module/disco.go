package module

import (
	"slices"

	"kith/server/account"
	"kith/server/blocklist"
	"kith/server/caps"
	"kith/xmpp/jid"
	xdisco "kith/xmpp/xep/disco"
	"kith/xmpp/xmltree"
)

// Disco is what the host and its accounts say of themselves (XEP-0030).
type Disco struct {
	Features        []string // of the host
	AccountFeatures []string // of each account's bare JID
	Items           []DiscoItem
	Forms           []xmltree.Appender // XEP-0128, of the host
}

// DiscoItem is something that belongs to the host.
type DiscoItem struct {
	JID  jid.JID
	Name string
}

// DiscoFeature announces a feature of the host.
func (h *Host) DiscoFeature(names ...string) {
	h.disco.Features = append(h.disco.Features, names...)
}

// AccountFeature announces a feature of each account.
func (h *Host) AccountFeature(names ...string) {
	h.disco.AccountFeatures = append(h.disco.AccountFeatures, names...)
}

// DiscoItem announces something that belongs to the host.
func (h *Host) DiscoItem(i DiscoItem) { h.disco.Items = append(h.disco.Items, i) }

// DiscoForm adds a form to what the host says of itself (XEP-0128).
func (h *Host) DiscoForm(f xmltree.Appender) { h.disco.Forms = append(h.disco.Forms, f) }

// NodeFunc answers for the nodes of the host or of its accounts (XEP-0030 §3.2):
// with nil for one that it does not know.
type NodeFunc func(t *Transit, to Target, node string) (*xdisco.Info, *xdisco.Items, error)

// DiscoNodes has f answer for nodes that it knows.
func (h *Host) DiscoNodes(f NodeFunc) { h.nodes = append(h.nodes, f) }

// DiscoNode returns what a node is and has, both nil if nobody knows it.
func (h *Host) DiscoNode(t *Transit, to Target, node string) (*xdisco.Info, *xdisco.Items, error) {
	for _, f := range h.nodes {
		if info, items, err := f(t, to, node); info != nil || err != nil {
			return info, items, err
		}
	}
	return nil, nil, nil
}

// Info is what the host says of itself, once all modules are attached.
func (h *Host) Info() *xdisco.Info {
	d := h.Disco()
	return &xdisco.Info{
		Identities: []xdisco.Identity{{Category: "server", Type: "im", Name: "Kith"}},
		Features:   d.Features,
		Forms:      d.Forms,
	}
}

// Disco returns what was announced, features sorted and once each.
func (h *Host) Disco() Disco {
	d := h.disco
	d.Features = sorted(d.Features)
	d.AccountFeatures = sorted(d.AccountFeatures)
	return d
}

func sorted(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return slices.Compact(s)
}

// Specs returns what the host's modules implement.
func (h *Host) Specs() []Spec { return h.specs }

// Facts tell what happened. Who listens cannot object.
type Facts struct {
	// Bound: a session has logged in; it is not available yet.
	Bound []func(t *Transit, r *account.Resource)
	// Unbound: a session has ended. Its unavailable presence was broadcast.
	Unbound []func(t *Transit, r *account.Resource)
	// Rekeyed: the account has got another password. by is the session that has asked
	// for it, nil if none has; all others end.
	Rekeyed []func(t *Transit, by *account.Resource)
	// Withdrawn: accesses to the account were taken away. Their sessions end.
	Withdrawn []func(t *Transit, what []account.Access)
	// Restored: a session that was stored waits for its client again.
	Restored []func(t *Transit, r *account.Resource)
	// Blocking: the account has changed whom it blocks. Who was blocked is to see no
	// more of it, who was unblocked what there is to see now (XEP-0191 §3.3, §3.4).
	Blocking []func(t *Transit, c *blocklist.Change)
	// Capable: what a session can do has become known, or is something else now;
	// caps.Of tells what. was is what was known before.
	Capable []func(t *Transit, r *account.Resource, was *caps.Known)
}
