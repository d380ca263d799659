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

// Nested is what others do in the place of the host or of its accounts.
type Nested struct {
	// Replaces says of what is ours, features and the FORM_TYPE of forms, whether it is
	// not told; nil: all is.
	Replaces func(name string) bool
	// Infos are told in its place. They are not changed.
	Infos []*xdisco.Info
}

// NestedFunc returns what others do for the host or its accounts, which may change
// at any time.
type NestedFunc func(to Target) Nested

// Nest has f say what others do; there is one such f.
func (h *Host) Nest(f NestedFunc) {
	if h.nested != nil {
		panic("module: two who nest what others do")
	}
	h.nested = f
}

// Info is what the host says of itself, once all modules are attached. While others
// do something in its place it may change; then the version of Managed does, too.
func (h *Host) Info() *xdisco.Info {
	return h.nest(ToServer, &xdisco.Info{
		Identities: []xdisco.Identity{{Category: "server", Type: "im", Name: "Kith"}},
		Features:   h.disco.Features,
		Forms:      h.disco.Forms,
	})
}

// AccountInfo is what each account says of itself.
func (h *Host) AccountInfo() *xdisco.Info {
	return h.nest(ToAccount, &xdisco.Info{
		Identities: []xdisco.Identity{{Category: "account", Type: "registered"}},
		Features:   h.disco.AccountFeatures,
	})
}

// nest puts what others do in its place. No identity, feature or form is there
// twice, for that has no hash (XEP-0115 §5.4).
func (h *Host) nest(to Target, own *xdisco.Info) *xdisco.Info {
	var n Nested
	if h.nested != nil {
		n = h.nested(to)
	}
	if n.Replaces != nil {
		own.Features = slices.DeleteFunc(slices.Clone(own.Features), n.Replaces)
		own.Forms = slices.DeleteFunc(slices.Clone(own.Forms), func(f xmltree.Appender) bool { return n.Replaces(formName(f)) })
	}
	for _, info := range n.Infos {
		for _, id := range info.Identities {
			if !slices.Contains(own.Identities, id) {
				own.Identities = append(own.Identities, id)
			}
		}
		own.Features = append(slices.Clip(own.Features), info.Features...)
		for _, f := range info.Forms {
			same := func(o xmltree.Appender) bool { return formName(o) == formName(f) }
			if !slices.ContainsFunc(own.Forms, same) {
				own.Forms = append(slices.Clip(own.Forms), f)
			}
		}
	}
	own.Features = sorted(own.Features)
	return own
}

// formName is the FORM_TYPE of a form (XEP-0068).
func formName(f xmltree.Appender) string {
	if named, ok := f.(interface{ Name() string }); ok {
		return named.Name()
	}
	return ""
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
