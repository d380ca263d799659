package roster

import (
	"context"
	"errors"

	"kith/server/account"
	"kith/server/blocklist"
	"kith/server/cluster"
	"kith/server/module"
	"kith/server/roster"
	"kith/server/session"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xmltree"
)

// outbound acts on a subscription stanza of the account's (RFC 6121 §A.2). It
// goes from bare address to bare address (§3, §3.1.2).
func (m *contacts) outbound(_ context.Context, t *module.Transit) error {
	if !roster.IsSubscription(t.Type) {
		return nil
	}
	own, contact := t.Account.JID, t.To.Bare()
	if contact == own {
		return stanza.ErrNotAllowed.With("Nobody needs a subscription to oneself.")
	}
	t.From, t.To = own, contact
	t.Changed()
	i := roster.Of(t.Account).Item(contact)
	was := i
	o := roster.Next(was.State, was.Approved, roster.Outbound, t.Type)
	i.State, i.Approved = o.State, o.Approved
	switch t.Type {
	case stanza.Subscribe:
		i.Listed = true
	case stanza.Subscribed: // §3.1.3: not before; §3.4.2, rule 4
		i.Listed = i.Listed || i.Approved || i.State.Has(roster.From)
	}
	if i.State != was.State || i.Approved != was.Approved || i.Listed != was.Listed {
		if err := m.change(t, i, false); err != nil {
			return err
		}
	}
	if was.State.Has(roster.From) && !i.State.Has(roster.From) {
		hide(t, i.JID) // §3.2.2: while they still are subscribed
	}
	if !o.Pass {
		return module.Stop
	}
	return nil
}

// follow sends the presence that a subscription is for behind its approval (RFC
// 6121 §3.1.5).
func follow(_ context.Context, t *module.Transit) error {
	if t.Type == stanza.Subscribed {
		show(t, t.To)
	}
	return nil
}

// mostRequest is how long a request may be that is kept as it came. Of a longer
// one only the address is kept: §3.1.3 warns of the room that requests take.
const mostRequest = 4 << 10

// inbound acts on a subscription stanza of a contact's (RFC 6121 §A.3). What
// concerns an account that does not exist is ignored (§8.5.1), and what changes
// nothing is, in the same way.
func (m *contacts) inbound(_ context.Context, t *module.Transit) error {
	if !roster.IsSubscription(t.Type) {
		return nil
	}
	own, contact := t.Account.JID, t.From.Bare()
	if !t.Account.Exists() || contact == own || contact.IsZero() {
		return module.Stop
	}
	t.From, t.To = contact, own
	t.Changed()
	i := roster.Of(t.Account).Item(contact)
	was := i
	o := roster.Next(was.State, was.Approved, roster.Inbound, t.Type)
	i.State = o.State
	if i.State.Has(roster.PendingIn) && !was.State.Has(roster.PendingIn) {
		i.Request = request(t.Stanza)
	}
	if i.State != was.State {
		switch err := m.change(t, i, false); {
		case err == nil:
		case errors.Is(err, stanza.ErrResourceConstraint):
			return module.Stop // nobody is to learn how many ask whom
		default:
			return err
		}
	}
	if was.State.Has(roster.From) && !i.State.Has(roster.From) {
		hide(t, contact) // §3.3.3, step 3
	}
	if o.Reply != "" {
		manage(t, o.Reply, t.ID, contact)
	}
	if o.Reply == stanza.Subscribed {
		show(t, contact)
	}
	switch {
	case !o.Pass:
		return module.Stop
	case t.Type == stanza.Subscribe: // §3.1.3, rule 3
		for r := range t.Account.Available() {
			t.Targets = append(t.Targets, r)
		}
	default: // §3.1.6, §3.2.3, §3.3.3: it comes before the push
		t.Targets = interested(t.Account)
	}
	return nil
}

// request is what is kept of a request.
func request(st *stanza.Stanza) []byte {
	if b := st.Whole(); len(b) <= mostRequest {
		return b
	}
	short := stanza.New(stanza.Presence, stanza.Subscribe, st.From, st.To)
	return short.Whole()
}

// greeted says of a resource that it has been told what waited for it since it
// became available.
var greeted = account.NewSlot[bool]("requests delivered")

// turned looks whether the sender has become available or unavailable. What
// happens, happens after the commit: the step may run twice.
func (m *contacts) turned(_ context.Context, t *module.Transit) error {
	owner, r := t.Account, t.Sender
	if !r.Available() {
		greeted.Set(r, false)
		return nil
	}
	t.Turn.After(cluster.EffectFunc(func(turn *cluster.Turn) {
		if !greeted.Get(r) && r.Available() {
			greeted.Set(r, true)
			m.greet(&module.Transit{Host: m.host, Turn: turn, Account: owner}, r)
		}
	}))
	return nil
}

// greet delivers the requests that wait for an answer (RFC 6121 §3.1.3, rule 4).
// Those whom the account has asked are asked again when it comes online, in case
// that they were not reached (§3.1.2, at the end). It is used in effects.
func (m *contacts) greet(t *module.Transit, r *account.Resource) {
	contacts := roster.Of(t.Account)
	for _, i := range contacts.Requests() {
		if !blocklist.Blocks(t.Account, i.JID) { // XEP-0191 §3.3: it waits for the end of that
			m.present(t, r, i)
		}
	}
	for other := range t.Account.Available() {
		if other != r {
			return
		}
	}
	for _, i := range contacts.Asked() {
		if !blocklist.Blocks(t.Account, i.JID) {
			manage(t, stanza.Subscribe, "", i.JID)
		}
	}
}

// stored are the limits for what was a stanza before.
var stored = xmltree.Limits{Bytes: 1 << 20, Depth: 256, Elements: 1 << 16, Attrs: 1 << 10, Namespaces: 1 << 12}

// present delivers a request. One that cannot be read any more is made anew:
// that somebody asks is known all the same.
func (m *contacts) present(t *module.Transit, r *account.Resource, i *roster.Item) {
	st := stanza.New(stanza.Presence, stanza.Subscribe, i.JID, jid.JID{})
	el, err := xmltree.ParseIn(ns.Client, i.Request, stored)
	if err == nil {
		var kept *stanza.Stanza
		if kept, err = stanza.Parse(el); err == nil {
			st = kept
		}
	}
	if err != nil {
		m.host.Log.Error("stored request for a subscription cannot be read", "account", t.Account.JID, "from", i.JID, "error", err)
	}
	if r.Out.Send(session.Entry{Kind: stanza.Presence, To: t.Account.JID.String(), Tail: st.Tail()}) {
		t.Turn.Dirty(r.Out)
	}
}
