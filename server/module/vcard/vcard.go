// Package vcard implements XEP-0054: vcard-temp, for the accounts.
//
// Who may ask is everybody (XEP-0054 §5). An account without a vCard and one that
// does not exist are the same to all but the owner.
package vcard

import (
	"context"
	"errors"

	"kith/server/config"
	"kith/server/module"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	xvcard "kith/xmpp/xep/vcard"
	"kith/xmpp/xmltree"
)

// Module is the module.
var Module = module.Define("vcard", attach, module.XEP(54, "1.3.0"))

// Config is the table [modules.vcard].
type Config struct {
	// How large a vCard may be, with the picture in it ("256KiB" if nothing is said). limits.stanza bounds it too.
	Size config.Size `toml:"size"`
}

// Default sets what holds where the configuration says nothing.
func (c *Config) Default() { c.Size = 256 * config.KiB }

// Validate refuses what would leave no room for anything.
func (c *Config) Validate() error {
	if c.Size < config.KiB {
		return errors.New("size must be at least 1 KiB")
	}
	return nil
}

// cards is the module at a host.
type cards struct {
	host *module.Host
	size int
}

func attach(h *module.Host, c Config) error {
	// A client gets it in one piece, for which its queue must have room.
	m := &cards{host: h, size: min(int(c.Size), int(h.Config.Limits.SessionQueue)/4*3)}
	h.DiscoFeature(ns.VCardTemp)
	h.AccountFeature(ns.VCardTemp)
	h.Query(stanza.Get, xvcard.Name, module.ToAccount, m.get)
	h.IQ(stanza.Set, xvcard.Name, module.ToAccount, m.set)
	return nil
}

// get answers with the account's vCard, whoever asks.
func (m *cards) get(_ context.Context, t *module.Transit) (func(context.Context) (xmltree.Appender, error), error) {
	none := stanza.ErrServiceUnavailable // XEP-0054 §3.3: as for an account that does not exist
	if t.Own() {
		none = stanza.ErrItemNotFound // §3.1
	}
	if !exists.Durable(t.Account) {
		return nil, none
	}
	owner := t.Account.ID()
	return func(ctx context.Context) (xmltree.Appender, error) {
		c, err := m.read(ctx, owner)
		switch {
		case err != nil:
			return nil, err
		case c == nil:
			return nil, none
		}
		return c, nil
	}, nil
}

// set puts a vCard in the place of what was there (XEP-0054 §3.2). An empty one
// takes it away. The text wants forbidden for others; strangers would see by it
// that there is an account.
func (m *cards) set(_ context.Context, t *module.Transit) (xmltree.Appender, error) {
	if err := t.Owned(); err != nil {
		return nil, err
	}
	c, err := xvcard.Parse(t.Payload())
	if err != nil {
		return nil, stanza.ErrBadRequest.With("A vCard consists of elements.")
	}
	if len(c.Properties) == 0 {
		exists.SetDurable(t.Account, false)
		t.Write(`DELETE FROM vcard WHERE owner = $1`, t.Account.ID())
		return nil, nil
	}
	content := xmltree.Marshal(c, ns.Client)
	if len(content) > m.size {
		return nil, stanza.ErrNotAcceptable.With("The vCard is too large.")
	}
	exists.SetDurable(t.Account, true)
	t.Write(`INSERT INTO vcard (owner, content) VALUES ($1, $2)
		ON CONFLICT (owner) DO UPDATE SET content = excluded.content`, t.Account.ID(), content)
	return nil, nil
}
