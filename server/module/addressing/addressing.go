// Package addressing implements XEP-0033: Extended Stanza Addressing, for the
// clients of the host: what one of them sends to the host with a list of addresses
// goes to each of these.
//
// It is as if the client had sent each of them: what is checked, archived, copied
// to other devices and remembered of presence is so for each recipient. All whom
// it is openly for get the same bytes. Who has no account at the host is not
// served, and an address that is the host itself is refused: nothing is relayed,
// and nothing goes round.
package addressing

import (
	"context"
	"errors"
	"fmt"

	"kith/server/cluster"
	"kith/server/config"
	"kith/server/module"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	xaddress "kith/xmpp/xep/address"
	"kith/xmpp/xmltree"
)

// Module is the module. Its steps come before all others that see who a stanza is
// for.
var Module = module.Define("addressing", attach,
	module.XEP(33, "1.2.1").Partly("for clients of the host, to each address by itself"))

// Config is the table [modules.addressing].
type Config struct {
	// How many addresses a stanza may have.
	Most int `toml:"most"`
	// How much all copies of a stanza may have together.
	Size config.Size `toml:"size"`
}

// Default sets what holds where the configuration says nothing. XEP-0033 §8: more
// than 20 addresses and less than 100.
func (c *Config) Default() { *c = Config{Most: 50, Size: 4 * config.MiB} }

// Validate refuses what cannot be meant.
func (c *Config) Validate() error {
	switch {
	case c.Most < 1 || c.Most > 1000:
		return errors.New("most must be between 1 and 1000")
	case c.Size < config.KiB:
		return errors.New("size must be at least 1 KiB")
	}
	return nil
}

// multicast is the module at a host.
type multicast struct{ config Config }

func attach(h *module.Host, c Config) error {
	m := &multicast{c}
	h.DiscoFeature(ns.Addresses)
	leaving := &h.Stages.Leaving
	leaving.Record = append(leaving.Record, m.message)
	leaving.Directed = append(leaving.Directed, m.presence)
	return nil
}

// ours reports whether a stanza is one that the service is to send on (XEP-0033
// §3).
func ours(t *module.Transit) bool {
	return t.To == t.Host.Domain && t.Type != stanza.TypeError && t.Has(xaddress.Name)
}

// message sends a message to each address.
func (m *multicast) message(ctx context.Context, t *module.Transit) error {
	if !ours(t) {
		return nil
	}
	list, err := m.expand(ctx, t)
	if err != nil {
		return err
	}
	stages := &t.Host.Stages.Leaving
	for _, one := range list {
		if err := stages.Record.Run(ctx, one); err != nil && !errors.Is(err, module.Stop) {
			t.Spread = nil
			return err
		}
		t.Spread = append(t.Spread, one.Stanza)
		t.Turn.After(cluster.EffectFunc(func(turn *cluster.Turn) {
			one.Turn = turn
			_ = stages.Copy.Run(ctx, one) // what cannot be copied is lost to the other devices alone
		}))
	}
	return module.Stop
}

// presence sends presence to each address. That it was sent is remembered for each
// of them, so that they are told when the session is gone (XEP-0033 §5.1).
func (m *multicast) presence(ctx context.Context, t *module.Transit) error {
	if !ours(t) {
		return nil
	}
	if t.Type != "" && t.Type != stanza.Unavailable {
		return stanza.ErrBadRequest.With("Only presence itself can be sent to several addresses.")
	}
	list, err := m.expand(ctx, t)
	if err != nil {
		return err
	}
	stages := &t.Host.Stages.Leaving
	for _, one := range list {
		if err := stages.Directed.Run(ctx, one); err != nil {
			if errors.Is(err, module.Stop) {
				continue
			}
			t.Spread = nil
			return err
		}
		t.Spread = append(t.Spread, one.Stanza)
	}
	return module.Stop
}

// expand makes of a stanza one for each recipient, or refuses it (XEP-0033 §6,
// §8).
func (m *multicast) expand(ctx context.Context, t *module.Transit) ([]*module.Transit, error) {
	addresses, err := m.read(t)
	if err != nil {
		return nil, err
	}
	var open xaddress.Addresses // as all see them
	var to []xaddress.Address
	seen := make(map[jid.JID]bool)
	for _, a := range addresses {
		fresh := a.Type.Receives() && !a.Delivered // §4.5: never again
		if fresh && !seen[a.JID] {
			seen[a.JID] = true
			to = append(to, a)
		}
		if a.Type == xaddress.BCC {
			continue
		}
		a.Delivered = a.Delivered || fresh
		open = append(open, a)
	}
	if len(to)*t.Size() > int(m.config.Size) {
		return nil, stanza.ErrNotAcceptable.With("It is too large for so many addresses.")
	}
	shared := with(t.Stanza, open)
	list := make([]*module.Transit, len(to))
	for i, a := range to {
		one := *t
		one.Stanza = shared
		if a.Type == xaddress.BCC { // §4.6.3: that address, and no other of the kind
			one.Stanza = with(t.Stanza, append(open[:len(open):len(open)], a))
		}
		one.Stanza = one.Stanza.Copy()
		one.Readdress(a.JID)
		if err := t.Host.Stages.Leaving.Check.Run(ctx, &one); err != nil {
			return nil, err
		}
		list[i] = &one
	}
	return list, nil
}

// with returns the stanza with other addresses. Its tail is made, for all copies
// of it.
func with(st *stanza.Stanza, list xaddress.Addresses) *stanza.Stanza {
	st = st.Copy()
	st.Remove(func(el xmltree.Element) bool { return el.Is(xaddress.Name) })
	if len(list) > 0 {
		st.Add(list)
	}
	st.Tail()
	return st
}

// read reads the addresses of a stanza. There is one list: what another one says
// would be seen by all.
func (m *multicast) read(t *module.Transit) (xaddress.Addresses, error) {
	lists := 0
	for c := range t.Children() {
		if c.Is(xaddress.Name) {
			lists++
		}
	}
	addresses, err := xaddress.Parse(t.Child(xaddress.Name))
	switch {
	case errors.Is(err, xaddress.ErrAddress):
		return nil, stanza.ErrJIDMalformed
	case err != nil || lists != 1:
		return nil, stanza.ErrBadRequest.With("The addresses cannot be understood.")
	case len(addresses) > m.config.Most:
		return nil, stanza.ErrNotAcceptable.With(fmt.Sprintf("There can be %d addresses.", m.config.Most))
	}
	for _, a := range addresses {
		switch {
		case a.URI != "": // XEP-0033 §4.2: we know none
			return nil, stanza.ErrJIDMalformed
		case a.Type == xaddress.OriginalFrom: // §4.6.7
			return nil, stanza.ErrBadRequest.With("Only a room says who the original sender was.")
		case a.JID.IsZero() && a.Type != xaddress.NoReply: // §4
			return nil, stanza.ErrBadRequest.With("An address is missing.")
		case a.Type.Receives() && !a.Delivered && a.JID.Host() == t.Host.Domain && a.JID.Local() == "":
			return nil, stanza.ErrForbidden.With("The service is no recipient of its own.")
		}
	}
	return addresses, nil
}
