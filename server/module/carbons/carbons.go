// Package carbons implements XEP-0280: Message Carbons.
//
// A copy is made once for all sessions that want one. It never passes the stages
// again, is in no archive, and is not delivered anew when its session ends
// without it: what was said is in the archive. What a copy means for the mark of
// its message, the engine archive says (archive.Settle).
package carbons

import (
	"context"
	"slices"

	"kith/server/account"
	"kith/server/archive"
	"kith/server/module"
	"kith/server/session"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	xcarbons "kith/xmpp/xep/carbons"
	"kith/xmpp/xep/stanzaid"
	"kith/xmpp/xmltree"
)

// Module is the module. Its steps that copy come behind those that record.
var Module = module.Define("carbons", attach, module.XEP(280, "1.0.1"))

func attach(h *module.Host, _ struct{}) error {
	ids, err := archive.OpenIDs(context.Background(), h.Accounts)
	if err != nil {
		return err
	}
	h.DiscoFeature(ns.Carbons)
	h.DiscoFeature(xcarbons.FeatureRules)
	h.Keep(enabled)
	h.Keep(archive.Had)
	h.Inline(module.Inline{Feature: ns.Carbons, Name: xcarbons.NameEnable, Enable: begin})
	h.IQ(stanza.Set, xcarbons.NameEnable, module.ToAccount, turn(true))
	h.IQ(stanza.Set, xcarbons.NameDisable, module.ToAccount, turn(false))
	leaving, arriving := &h.Stages.Leaving, &h.Stages.Arriving
	leaving.Stamp = append(leaving.Stamp, dropForged)
	leaving.Copy = append(leaving.Copy, func(_ context.Context, t *module.Transit) error { return copySent(t, ids) })
	arriving.Stamp = append(arriving.Stamp, dropForged)
	arriving.Copy = append(arriving.Copy, copyReceived)
	return nil
}

// enabled says of a resource that it wants copies.
var enabled = account.NewSlot[bool]("carbons")

// begin switches copies on for a session that has them from its beginning
// (XEP-0386 §3.2): there is nothing to be said about it.
func begin(t *module.Transit, _ xmltree.Element) func(context.Context) (xmltree.Appender, error) {
	enabled.Set(t.Sender, true)
	return nil
}

// turn switches copies on or off for the session that asks. Once more is no error
// (XEP-0280 §10.1).
func turn(on bool) module.IQFunc {
	return func(_ context.Context, t *module.Transit) (xmltree.Appender, error) {
		switch {
		case t.Own() && t.Sender != nil:
			enabled.Set(t.Sender, on)
			return nil, nil
		case t.Sees(t.From): // XEP-0280 §5.1
			return nil, stanza.ErrNotAllowed
		}
		return nil, stanza.ErrServiceUnavailable // as if there were no such account
	}
}

// dropForged takes away wrappers: only we make them, and ours do not come this
// way (XEP-0280 §11). It looks at all of them, since a client may look at any.
func dropForged(_ context.Context, t *module.Transit) error {
	if t.Kind == stanza.Message {
		t.Remove(xcarbons.IsCopy)
	}
	return nil
}

// copySent gives the account's other sessions what one of them has sent
// (XEP-0280 §8). What it sent to itself they get when it arrives.
func copySent(t *module.Transit, ids *archive.IDs) error {
	if t.To.Bare() == t.Account.JID {
		return nil
	}
	to := wanting(t.Account, func(r *account.Resource) bool { return r == t.Sender })
	if !copied(t, true, len(to) > 0) || len(to) == 0 {
		return nil
	}
	sent := t.Stanza
	if t.Store != 0 { // the recipient has another id, in another archive
		sent = sent.Copy()
		sent.Add(stanzaid.ID{ID: ids.Format(t.Account.ID(), t.Store), By: t.Account.JID})
	}
	deliver(t, to, t.To, xcarbons.Copy{Sent: true, Message: sent})
	return nil
}

// copyReceived gives the account's other sessions what some have received
// (XEP-0280 §7). One that sent it has it; one that is not available yet will get
// what is kept when it is.
func copyReceived(_ context.Context, t *module.Transit) error {
	kept := len(t.Targets) == 0
	to := wanting(t.Account, func(r *account.Resource) bool {
		return slices.Contains(t.Targets, r) || r.JID == t.From || kept && !r.Available()
	})
	if copied(t, false, len(to) > 0) && len(to) > 0 {
		deliver(t, to, t.From, xcarbons.Copy{Message: t.Stanza})
	}
	return nil
}

// wanting are the sessions that want copies, but for some.
func wanting(a *account.Actor, but func(*account.Resource) bool) (list []*account.Resource) {
	for _, r := range a.Resources() {
		if enabled.Get(r) && !but(r) {
			list = append(list, r)
		}
	}
	return list
}

// deliver puts a copy into the queues of sessions, which share all but their
// address. It is in order with what comes from peer.
func deliver(t *module.Transit, to []*account.Resource, peer jid.JID, c xcarbons.Copy) {
	e := t.Host.Entry(t.Stanza, "", to...)
	e.Tail = stanza.New(stanza.Message, t.Type, t.Account.JID, jid.JID{}, c).Tail()
	e.Copy = true
	if e.From != "" { // somebody is inactive
		e.From = peer.String()
		if c.Sent { // nobody waits for what one has sent oneself
			e.From, e.Topic = peer.Bare().String(), "sent"
			if e.Wait != session.State {
				e.Wait = session.Whole
			}
		}
	}
	for _, r := range to {
		e.To = r.JID.String()
		if !c.Sent {
			archive.CopyOf(r, t.Store, t.Owed, t.Brief, &e)
		}
		if r.Out.Send(e) {
			archive.Copied(t.Account, r, &e)
			t.Turn.Dirty(r.Out)
		}
	}
}
