package register

import (
	"context"

	"kith/server/account"
	"kith/server/cluster"
	"kith/server/module"
	"kith/server/roster"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
)

// introduce makes a new account and the one that has invited it contacts of each
// other, with subscriptions both ways (XEP-0401 §5.3.2). Each side's roster is
// changed in its own lane: there the other is subscribed, and is asked. That it
// has a subscription already is the answer (RFC 6121 §3.1.3), and everything else,
// pushes too, follows as always.
//
// It returns when the new account has its contact, or when ctx ends. If that
// fails the account is there all the same, and its owner can ask.
func (r *register) introduce(ctx context.Context, inviter, invited jid.JID) {
	done := make(chan struct{})
	r.lanes.Send(account.Key(inviter), &introduction{r: r, own: inviter, other: invited, done: done})
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// introduction is one side of it: first that of the inviter, who may be gone by
// now, then that of the new account.
type introduction struct {
	r          *register
	own, other jid.JID
	second     bool
	done       chan struct{} // closed at the end
}

// Handle implements cluster.Item.
func (i *introduction) Handle(t *cluster.Turn, ac cluster.Actor) {
	a, ok := ac.(*account.Actor)
	if !ok || !a.Exists() {
		t.After(cluster.EffectFunc(func(*cluster.Turn) { close(i.done) }))
		return
	}
	contacts := roster.Of(a)
	item := contacts.Item(i.other)
	if !item.State.Has(roster.Both) {
		item.Listed = true
		item.State = (item.State | roster.From) &^ roster.PendingIn
		if !item.State.Has(roster.To) {
			item.State |= roster.PendingOut
		}
		// Without limits: the owner of the roster, or who speaks for him, has asked for it.
		if _, _, err := contacts.Put(t, a, item, roster.Limits{}, false); err != nil {
			i.r.host.Log.Error("contact of an invitation not added", "account", i.own, "contact", i.other, "error", err)
		}
	}
	if i.second {
		t.After(cluster.EffectFunc(func(*cluster.Turn) { close(i.done) }))
	} else {
		t.Send(account.Key(i.other), &introduction{r: i.r, own: i.other, other: i.own, second: true, done: i.done})
	}
	ask := stanza.New(stanza.Presence, stanza.Subscribe, i.own, i.other)
	ask.ID = stream.NewID()
	(&module.Transit{Host: i.r.host, Turn: t, Account: a}).Send(ask)
}

// Fail implements cluster.Item.
func (i *introduction) Fail(_ *cluster.Turn, err error) {
	i.r.host.Log.Error("contact of an invitation not added", "account", i.own, "contact", i.other, "error", err)
	close(i.done)
}
