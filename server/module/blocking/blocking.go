// Package blocking implements XEP-0191: Blocking Command.
//
// Who is blocked gets the answers that an account gets that does not exist. What
// others say for the account leaves out whom it blocks; they ask the engine. The
// subscriptions stay (XEP-0191 §4): once somebody is not blocked any more,
// presence goes on.
package blocking

import (
	"context"
	"errors"

	"kith/server/account"
	"kith/server/archive"
	"kith/server/blocklist"
	"kith/server/cluster"
	"kith/server/module"
	"kith/server/session"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	xblocking "kith/xmpp/xep/blocking"
	"kith/xmpp/xmltree"
)

// Module is the module. Its step that records comes before those of others.
var Module = module.Define("blocking", attach, module.XEP(191, "1.3"))

// Config is the table [modules.blocking].
type Config struct {
	// How many addresses an account may block.
	Entries int `toml:"entries"`
}

// Default sets what holds where the configuration says nothing.
func (c *Config) Default() { c.Entries = 1000 }

// Validate refuses what would leave no room for anything.
func (c *Config) Validate() error {
	if c.Entries < 1 {
		return errors.New("entries must be at least 1")
	}
	return nil
}

// blocking is the module at a host.
type blocking struct{ limits blocklist.Limits }

func attach(h *module.Host, c Config) error {
	b := &blocking{limits: blocklist.Limits{
		Entries: c.Entries,
		// A client gets the list in one piece, for which its queue must have room.
		Bytes: int(h.Config.Limits.SessionQueue) / 4 * 3,
	}}
	h.DiscoFeature(ns.Blocking)
	h.IQ(stanza.Get, xblocking.List, module.ToAccount, get)
	h.IQ(stanza.Set, xblocking.Block, module.ToAccount, b.block)
	h.IQ(stanza.Set, xblocking.Unblock, module.ToAccount, unblock)
	h.Keep(interested)
	leaving, arriving := &h.Stages.Leaving, &h.Stages.Arriving
	leaving.Check = append(leaving.Check, outbound)
	arriving.Check = append(arriving.Check, inbound)
	arriving.Record = append(arriving.Record, again)
	return nil
}

// outbound sends nothing to who is blocked (XEP-0191 §3.3).
func outbound(_ context.Context, t *module.Transit) error {
	if blocklist.Blocks(t.Account, t.To) {
		return xblocking.ErrBlocked
	}
	return nil
}

// inbound takes nothing from who is blocked (XEP-0191 §3.3). Presence of all
// types is dropped, probes too: RFC 6121 §4.3.2 lets an account that is offline
// answer a subscriber with silence, and any other answer would end the
// subscription. A request or a message is answered as if there was no such
// account, which says nothing to a headline (RFC 6121 §8.5.1); nobody answers the
// answer to a request, nor an error.
func inbound(_ context.Context, t *module.Transit) error {
	switch {
	case !blocklist.Blocks(t.Account, t.From):
		return nil
	case t.Kind == stanza.Presence, t.Kind == stanza.Message && t.MessageType() == stanza.Headline:
		return module.Stop
	}
	return stanza.ErrServiceUnavailable
}

// again drops a message that was taken before its sender was blocked, and comes
// back because the session that was to get it has ended. If it was archived, it
// is in the archive; it is owed to nobody any more.
func again(_ context.Context, t *module.Transit) error {
	if !t.Settled || !blocklist.Blocks(t.Account, t.From) {
		return nil
	}
	if t.Owed {
		archive.Taken(t.Turn, t.Account, t.Store, t.Brief)
	}
	return module.Stop
}

// request reads a request of the owner's. Others learn no more than that of an
// account that does not exist, unless they know that it does.
func request(t *module.Transit) (*xblocking.Payload, error) {
	switch {
	case t.Own() && t.Sender != nil:
	case t.Sees(t.From):
		return nil, stanza.ErrForbidden
	default:
		return nil, stanza.ErrServiceUnavailable
	}
	p, err := xblocking.Parse(t.Payload())
	switch {
	case errors.Is(err, xblocking.ErrAddress):
		return nil, stanza.ErrJIDMalformed
	case err != nil:
		return nil, stanza.ErrBadRequest
	}
	return p, nil
}

// interested says of a resource that it has asked for the list, and so is told of
// changes.
var interested = account.NewSlot[bool]("interested in the block list")

// get answers with the list (XEP-0191 §3.2).
func get(_ context.Context, t *module.Transit) (xmltree.Appender, error) {
	p, err := request(t)
	switch {
	case err != nil:
		return nil, err
	case len(p.Items) > 0:
		return nil, stanza.ErrBadRequest.With("A request for the block list has no items.")
	}
	interested.Set(t.Sender, true)
	return &xblocking.Payload{Name: xblocking.List, Items: blocklist.Of(t.Account).Entries()}, nil
}

// block blocks addresses, all of them or none (XEP-0191 §3.3).
func (b *blocking) block(_ context.Context, t *module.Transit) (xmltree.Appender, error) {
	p, err := request(t)
	switch {
	case err != nil:
		return nil, err
	case len(p.Items) == 0:
		return nil, stanza.ErrBadRequest.With("Nobody is named who is to be blocked.")
	}
	for _, j := range p.Items {
		if j.Bare() == t.Account.JID {
			return nil, stanza.ErrNotAllowed.With("Nobody can block oneself.")
		}
	}
	c, err := blocklist.Block(t.Turn, t.Account, p.Items, b.limits)
	if errors.Is(err, blocklist.ErrFull) {
		return nil, stanza.ErrResourceConstraint.With("The block list is full.")
	}
	if err != nil {
		return nil, err
	}
	return nil, changed(t, xblocking.Block, c.Entries, c)
}

// unblock ends the blocking of some addresses (XEP-0191 §3.4), or of all (§3.5).
func unblock(_ context.Context, t *module.Transit) (xmltree.Appender, error) {
	p, err := request(t)
	if err != nil {
		return nil, err
	}
	if len(p.Items) == 0 {
		return nil, changed(t, xblocking.Unblock, nil, blocklist.Clear(t.Turn, t.Account))
	}
	c, err := blocklist.Unblock(t.Turn, t.Account, p.Items)
	if errors.Is(err, blocklist.ErrUnknown) {
		return nil, stanza.ErrItemNotFound
	}
	if err != nil {
		return nil, err
	}
	return nil, changed(t, xblocking.Unblock, c.Entries, c)
}

// changed answers the request for a change, pushes it to all resources that have
// asked for the list (XEP-0191 §3.3, §3.4, §3.5), and makes it known.
func changed(t *module.Transit, name xmltree.Name, items []jid.JID, c *blocklist.Change) error {
	t.Send(t.Reply(nil))
	push := stanza.New(stanza.IQ, stanza.Set, jid.JID{}, jid.JID{}, &xblocking.Payload{Name: name, Items: items})
	push.ID = stream.NewID()
	owner, tail := t.Account, push.Tail()
	t.Turn.After(cluster.EffectFunc(func(turn *cluster.Turn) {
		for _, r := range owner.Resources() {
			if interested.Get(r) && r.Out.Send(session.Entry{Kind: stanza.IQ, To: r.JID.String(), Tail: tail}) {
				turn.Dirty(r.Out)
			}
		}
	}))
	for _, f := range t.Host.Facts.Blocking {
		f(t, c)
	}
	return module.Stop
}
