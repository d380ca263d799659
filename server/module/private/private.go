// Package private implements XEP-0049: Private XML Storage.
//
// What is stored is found again by the name of its element. Elements of one name
// that come together are kept together, and replaced together.
package private

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"kith/server/config"
	"kith/server/module"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	xprivate "kith/xmpp/xep/private"
	"kith/xmpp/xmltree"
)

// Module is the module.
var Module = module.Define("private", attach, module.XEP(49, "1.2"))

// Config is the table [modules.private].
type Config struct {
	// How much an account may store ("512KiB" if nothing is said); each kind of element counts 100 bytes more. A client may ask for all of it at once, so it is never more than three quarters of limits.session_queue.
	Size config.Size `toml:"size"`
}

// Default sets what holds where the configuration says nothing.
func (c *Config) Default() { c.Size = 512 * config.KiB }

// Validate refuses what would leave no room for anything.
func (c *Config) Validate() error {
	if c.Size < config.KiB {
		return errors.New("size must be at least 1 KiB")
	}
	return nil
}

// longest is how many bytes the namespace or the name of an element may have: it
// becomes the key of a row.
const longest = 1023

// store is the module at a host.
type store struct {
	host *module.Host
	room int // for an account
}

func attach(h *module.Host, c Config) error {
	m := &store{host: h, room: min(int(c.Size), int(h.Config.Limits.SessionQueue)/4*3)}
	h.DiscoFeature(ns.Private)
	h.AccountFeature(ns.Private)
	h.Query(stanza.Get, xprivate.Name, module.ToAccount, m.get)
	h.IQ(stanza.Set, xprivate.Name, module.ToAccount, m.set)
	return nil
}

// usable refuses namespaces of the protocol's own (XEP-0049 §2.3).
func usable(items []xmltree.Element) error {
	for _, i := range items {
		switch n := i.Name(); {
		case xprivate.Reserved(n.Space):
			return stanza.ErrNotAcceptable.With("An element must have a namespace, and none that is reserved.")
		case len(n.Space) > longest || len(n.Local) > longest:
			return stanza.ErrNotAcceptable.With("The name of an element is too long.")
		}
	}
	return nil
}

// get answers with what is stored under the names that are asked for. A name that
// nothing is stored under comes back empty (XEP-0049 §2.3).
func (m *store) get(_ context.Context, t *module.Transit) (func(context.Context) (xmltree.Appender, error), error) {
	if err := t.Owned(); err != nil {
		return nil, err
	}
	items, err := xprivate.Parse(t.Payload())
	if err != nil || len(items) == 0 {
		return nil, stanza.ErrBadRequest.With("There must be an element that says what is asked for.")
	}
	if err := usable(items); err != nil {
		return nil, err
	}
	// Each once, however often it is asked for.
	var names []xmltree.Name
	for _, i := range items {
		n := i.Name()
		if n.Space != items[0].Name().Space {
			return nil, stanza.ErrBadRequest.With("One request is about one namespace.")
		}
		names = append(names, n)
	}
	slices.SortStableFunc(names, compare)
	names = slices.Compact(names)
	asked, owner := make([]bool, len(names)), t.Account.ID()
	for i, n := range names {
		asked[i] = of(t.Account).cost[n] > 0
	}
	return func(ctx context.Context) (xmltree.Appender, error) {
		found, err := m.read(ctx, owner, names, asked)
		if err != nil {
			return nil, err
		}
		q := new(xprivate.Query)
		for i, n := range names {
			for _, el := range found[i] {
				q.Items = append(q.Items, el)
			}
			if len(found[i]) == 0 {
				q.Items = append(q.Items, xprivate.Nothing(n))
			}
		}
		return q, nil
	}, nil
}

// set stores elements, each kind in the place of what was there.
func (m *store) set(_ context.Context, t *module.Transit) (xmltree.Appender, error) {
	if err := t.Owned(); err != nil {
		return nil, err
	}
	items, err := xprivate.Parse(t.Payload())
	switch {
	case err != nil:
		return nil, stanza.ErrBadRequest
	case len(items) == 0: // XEP-0049 §2.3
		return nil, stanza.ErrNotAcceptable.With("There must be an element to be stored.")
	}
	if err := usable(items); err != nil {
		return nil, err
	}
	slices.SortStableFunc(items, func(a, b xmltree.Element) int { return compare(a.Name(), b.Name()) })
	type change struct {
		name    xmltree.Name
		content []byte
	}
	var changes []change
	c := of(t.Account)
	was, total := c.total, c.total
	for len(items) > 0 {
		n, end := items[0].Name(), 1
		for end < len(items) && items[end].Is(n) {
			end++
		}
		content := written(items[:end])
		changes = append(changes, change{n, content})
		total += cost(n, len(content)) - c.cost[n]
		items = items[end:]
	}
	if total > m.room && total > was { // making it smaller is always allowed
		return nil, stanza.ErrResourceConstraint.With("There is no room for so much private data.")
	}
	for _, ch := range changes {
		c.write(t, ch.name, ch.content)
	}
	return nil, nil
}

// written is what is stored of elements of one name: nothing of an empty one,
// which is also what is answered when nothing is stored.
func written(items []xmltree.Element) []byte {
	if len(items) == 1 && empty(items[0]) {
		return nil
	}
	q := new(xprivate.Query)
	for _, i := range items {
		q.Items = append(q.Items, i)
	}
	return xmltree.Marshal(q, ns.Client)
}

func empty(el xmltree.Element) bool {
	for range el.Attrs() {
		return false
	}
	return !el.First().Exists() && el.Text() == ""
}

func compare(a, b xmltree.Name) int {
	return cmp.Or(strings.Compare(a.Space, b.Space), strings.Compare(a.Local, b.Local))
}
