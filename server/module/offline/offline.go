// Package offline implements XEP-0160: Best Practices for Handling Offline
// Messages, with the stamps of XEP-0203: Delayed Delivery.
//
// A message that no session takes is marked in the store, in the same
// transaction in which it is recorded. So is one that goes to clients which
// acknowledge what they get (XEP-0198): its mark stays until one of them does, so
// that a crash of the server loses nothing on its way.
//
// When a session becomes available with a priority that is not negative, what is
// marked, and not on its way to another session, is read outside the lane and
// handed over page by page in the lane. The marks are deleted in the commit after
// which a page is sent, unless the client acknowledges. One session of an account
// gets them at a time; if it ends, the next one goes on. A page waits until the
// client has taken the one before, so that nobody's queue overflows. What is sent
// to the session meanwhile waits in it and follows, so that no message overtakes
// an older one (RFC 6120 §10.1); it counts as queued, so that a client which takes
// nothing is lost as it would be otherwise.
//
// A session that has read the archive before it became available has from there
// what was archived until it asked (XEP-0313 §6.1.1). It gets the rest only, and
// the marks of what it has read stay for clients that do not read archives. So do
// those of messages of which it was given copies while it was not fit (XEP-0280).
package offline

import (
	"context"
	"errors"

	"kith/server/account"
	"kith/server/archive"
	"kith/server/cluster"
	"kith/server/config"
	"kith/server/module"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/delay"
	"kith/xmpp/xmltree"
)

// Module is the module. Its step for presence comes behind that of the module
// presence, its step that records behind that of mam.
var Module = module.Define("offline", attach, module.XEP(160, "1.0.1"), module.XEP(203, "2.0"))

// offline is the module at a host.
type offline struct {
	host  *module.Host
	lanes module.Lanes
	ids   *archive.IDs
	page  size
}

// size bounds a page.
type size struct{ rows, bytes int }

// Bounds of a page where the limits of a session are generous.
const (
	pageRows  = 250
	pageBytes = 128 << 10
)

// pageSize leaves most of a session's queue to what else is sent to it.
func pageSize(l *config.Limits) size {
	return size{
		rows:  max(1, min(pageRows, l.UnackedStanzas/4)),
		bytes: min(pageBytes, int(min(l.SessionQueue, l.Unacked)/4)),
	}
}

func attach(h *module.Host, _ struct{}) error {
	lanes, ok := h.Router.(module.Lanes)
	if !ok {
		return errors.New("the host's router is no way into the lanes")
	}
	ids, err := archive.OpenIDs(context.Background(), h.Accounts)
	if err != nil {
		return err
	}
	o := &offline{host: h, lanes: lanes, ids: ids, page: pageSize(&h.Config.Limits)}
	h.DiscoFeature(ns.Offline)
	h.Keep(served)
	arriving := &h.Stages.Arriving
	arriving.Stamp = append(arriving.Stamp, dropForged)
	arriving.Record = append(arriving.Record, keep)
	h.Stages.Leaving.Broadcast = append(h.Stages.Leaving.Broadcast, o.turned)
	h.Facts.Restored = append(h.Facts.Restored, o.serve)
	return nil
}

// dropForged takes away notes of a delay that claim to be ours, or the recipient's own
// (XEP-0203 §5).
func dropForged(_ context.Context, t *module.Transit) error {
	if t.Kind == stanza.IQ {
		return nil
	}
	own := t.To.Bare()
	t.Remove(func(el xmltree.Element) bool {
		return el.Is(delay.Name) && (isFrom(el, t.Host.Domain) || isFrom(el, own) && t.From.Bare() != own)
	})
	return nil
}

// isFrom reports whether a host or an account says that it has delayed something.
func isFrom(el xmltree.Element, who jid.JID) bool {
	from, err := jid.Parse(el.Attr("from"))
	return err == nil && from.Bare() == who
}

// keep settles who gets a message, and marks it if nobody is sure to have it; one
// that has no lasting value ends here (XEP-0160 §3).
func keep(_ context.Context, t *module.Transit) error {
	if !t.Account.Exists() || t.Kind != stanza.Message {
		return nil
	}
	if archive.Classify(t.Stanza) == archive.Nothing {
		return nil
	}
	marked := t.Owed
	s := archive.Settle(t.Store, t.Brief, t.Targets)
	if s.Owed && t.Store == 0 { // nobody archives it
		t.Store = archive.Record(t.Turn, t.Account, t.From, false, archive.Transit, t.Whole())
		t.Brief = true
	}
	s.Mark(t.Turn, t.Account, t.Store, marked, t.Brief)
	t.Targets, t.Owed = s.Targets, s.Owed
	if t.Settled && t.Store != 0 && len(t.Targets) > 0 { // XEP-0198 §5
		stamp(t.Stanza, t.Host.Domain, t.Store, "")
	}
	return nil
}

// served says of a resource that it has had its turn since it became fit, and that
// it is over.
var served = account.NewSlot[bool]("offline messages asked for")

// turned looks whether the sender has become fit or unfit. What begins, begins
// after the commit: the step may run twice.
func (o *offline) turned(_ context.Context, t *module.Transit) error {
	owner, r, last := t.Account, t.Sender, archive.Last(t.Account)
	if archive.Fit(r) {
		o.serve(t, r)
		return nil
	}
	served.Set(r, false)
	if flushing.Get(r) != nil || r.Behind {
		flushing.Set(r, nil)
		t.Turn.After(cluster.EffectFunc(func(turn *cluster.Turn) {
			if flushing.Get(r) == nil {
				letGo(turn, r)
			}
			o.next(turn, owner, last)
		}))
	}
	return nil
}

// serve gives a session that is fit its turn, unless it has had it.
func (o *offline) serve(t *module.Transit, r *account.Resource) {
	if served.Get(r) || !archive.Fit(r) {
		return
	}
	owner, last := t.Account, archive.Last(t.Account)
	t.Turn.After(cluster.EffectFunc(func(turn *cluster.Turn) {
		if flushing.Get(r) == nil {
			served.Set(r, true)
			o.begin(turn, owner, r, last)
		}
	}))
}
