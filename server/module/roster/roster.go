// Package roster implements RFC 6121 §2: Managing the Roster, with versions
// (§2.6), and §3: Managing Presence Subscriptions, with pre-approval (§3.4).
//
// Each account changes its own roster only, in its own lane, whoever the other
// side is: the two learn of each other by stanzas. A push leaves after the
// commit of what it tells.
package roster

import (
	"context"
	"errors"
	"slices"

	"kith/server/account"
	"kith/server/blocklist"
	"kith/server/cluster"
	"kith/server/module"
	"kith/server/roster"
	"kith/server/session"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	xroster "kith/xmpp/xep/roster"
	"kith/xmpp/xmltree"
)

// Module is the module. It comes behind presence, whose answers to a probe are
// not its business, and whose broadcast makes a resource available.
var Module = module.Define("roster", attach,
	module.RFC(6121, "roster (§2), subscriptions (§3, §A)"),
	module.XEP(237, "1.3"))

// Config is the table [modules.roster].
type Config struct {
	// How many contacts an account may have.
	Contacts int `toml:"contacts"`
	// How many bytes the name of a contact may have.
	Name int `toml:"name"`
	// How many bytes the name of a group may have.
	Group int `toml:"group"`
	// How many groups a contact may be in.
	Groups int `toml:"groups"`
	// How many requests for a subscription may wait for an account's answer; further ones are ignored.
	Requests int `toml:"requests"`
}

// Default sets what holds where the configuration says nothing.
func (c *Config) Default() {
	*c = Config{Contacts: 10_000, Name: 1023, Group: 1023, Groups: 50, Requests: 500}
}

// Validate refuses what would leave no room for anything.
func (c *Config) Validate() error {
	if min(c.Contacts, c.Name, c.Group, c.Requests) < 1 || c.Groups < 0 {
		return errors.New("each limit of a roster must be at least 1, that of groups 0")
	}
	return nil
}

// contacts is the module at a host.
type contacts struct {
	host   *module.Host
	lanes  module.Lanes
	config Config
	limits roster.Limits
}

func attach(h *module.Host, c Config) error {
	lanes, ok := h.Router.(module.Lanes)
	if !ok {
		return errors.New("the host's router is no way into the lanes")
	}
	m := &contacts{host: h, lanes: lanes, config: c, limits: roster.Limits{
		Items: c.Contacts, Requests: c.Requests,
		// A client gets it in one piece, for which its queue must have room.
		Bytes: int(h.Config.Limits.SessionQueue) / 4 * 3,
	}}
	h.StreamFeature(xroster.FeatureVersions)
	h.StreamFeature(xroster.FeaturePreApproval)
	h.DiscoFeature(ns.Roster)
	h.Keep(interests, greeted)
	h.IQ(stanza.Get, xroster.Name, module.ToAccount, m.get)
	h.IQ(stanza.Set, xroster.Name, module.ToAccount, m.set)
	leaving, arriving := &h.Stages.Leaving, &h.Stages.Arriving
	leaving.Broadcast = append(leaving.Broadcast, m.turned)
	leaving.Directed = append(leaving.Directed, m.outbound)
	leaving.Follow = append(leaving.Follow, follow)
	arriving.Manage = append(arriving.Manage, m.inbound)
	return nil
}

// interest is what a resource that has asked for the roster is to learn (RFC 6121
// §2.2).
type interest struct {
	asker cluster.Asker // for big rosters
	// reading says how many answers are being made; meanwhile pushes wait, for the
	// answer is older than they are. Both belong to the effects of the lane.
	reading int
	held    []session.Entry
}

var interests = account.NewSlot[*interest]("interested in the roster")

// interested are the resources that have asked for the roster.
func interested(a *account.Actor) []*account.Resource {
	return slices.DeleteFunc(slices.Clone(a.Resources()), func(r *account.Resource) bool { return interests.Get(r) == nil })
}

// push tells all interested resources of a change (RFC 6121 §2.1.6).
func push(t *module.Transit, i *roster.Item) {
	pushManagers(t, i)
	owner, tail := t.Account, pushed(roster.Of(t.Account), i)
	t.Turn.After(cluster.EffectFunc(func(turn *cluster.Turn) {
		for _, r := range interested(owner) {
			send(turn, r, tail)
		}
	}))
}

// pushed is the tail of a push, which all resources share.
func pushed(r *roster.Roster, i *roster.Item) []byte {
	st := stanza.New(stanza.IQ, stanza.Set, jid.JID{}, jid.JID{},
		&xroster.Query{Versioned: true, Ver: r.VersionOf(i), Items: []xroster.Item{i.Words()}})
	st.ID = stream.NewID()
	return st.Tail()
}

// send sends a push to a resource, behind the roster if that is on its way. It is
// used in effects.
func send(turn *cluster.Turn, r *account.Resource, tail []byte) {
	e := session.Entry{Kind: stanza.IQ, To: r.JID.String(), Tail: tail}
	if in := interests.Get(r); in.reading > 0 {
		in.held = append(in.held, e)
	} else if r.Out.Send(e) {
		turn.Dirty(r.Out)
	}
}

// change puts what has become of a contact into the roster and tells the
// resources.
func (m *contacts) change(t *module.Transit, i roster.Item, set bool) error {
	now, seen, err := roster.Of(t.Account).Put(t.Turn, t.Account, i, m.limits, set)
	switch {
	case errors.Is(err, roster.ErrFull):
		return stanza.ErrResourceConstraint.With("The roster is full.")
	case err != nil:
		return err
	}
	if seen && (now.Listed || set) {
		push(t, now)
	}
	return nil
}

// manage sends somebody a stanza about a subscription, in the name of the
// account.
func manage(t *module.Transit, typ, id string, to jid.JID) {
	st := stanza.New(stanza.Presence, typ, t.Account.JID, to)
	if st.ID = id; id == "" {
		st.ID = stream.NewID()
	}
	t.Send(st)
}

// show sends somebody the presence of all available resources (RFC 6121 §3.1.5).
func show(t *module.Transit, to jid.JID) {
	for r := range t.Account.Available() {
		st := r.Presence.Copy()
		st.Readdress(to)
		t.Send(st)
	}
}

// hide tells somebody that all available resources are gone (RFC 6121 §3.2.2,
// §3.3.3). Who is blocked was told when that began, and does not know of those
// that have come since.
func hide(t *module.Transit, to jid.JID) {
	if blocklist.Blocks(t.Account, to) {
		return
	}
	for r := range t.Account.Available() {
		t.Send(stanza.New(stanza.Presence, stanza.Unavailable, r.JID, to))
	}
}

// set adds, changes or removes a contact (RFC 6121 §2.3, §2.4, §2.5).
func (m *contacts) set(_ context.Context, t *module.Transit) (xmltree.Appender, error) {
	// RFC 6121 §2.3.3
	byManager, err := managed(t)
	if err != nil {
		return nil, err
	}
	want, err := m.wanted(t)
	if err != nil {
		return nil, err
	}
	if want.Subscription == xroster.Remove {
		return nil, m.remove(t, want.JID)
	}
	// §2.1.2.1, §2.1.2.2, §2.1.2.5: the rest is not a client's to say.
	i := roster.Of(t.Account).Item(want.JID)
	was := i.State
	i.Name, i.Groups, i.Listed = want.Name, want.Groups, true
	if byManager {
		i.State = settled(t, want, was)
	}
	if err := m.change(t, i, true); err != nil {
		return nil, err
	}
	if i.State.Has(roster.From) && !was.Has(roster.From) { // §3.1.5
		show(t, want.JID)
	}
	return nil, nil
}

// wanted reads a set, which is about one contact (RFC 6121 §2.1.5, §2.3.3).
func (m *contacts) wanted(t *module.Transit) (xroster.Item, error) {
	var none xroster.Item
	el, more := t.Payload().First(), 0
	for range t.Payload().Children() {
		more++
	}
	if more != 1 {
		return none, stanza.ErrBadRequest.With("A roster set is about one item.")
	}
	i, err := xroster.ParseItem(el)
	switch {
	case errors.Is(err, xroster.ErrAddress):
		return none, stanza.ErrJIDMalformed
	case err != nil:
		return none, stanza.ErrBadRequest
	case i.JID == t.Account.JID: // §2.3.3, the note at the end
		return none, stanza.ErrNotAllowed
	case len(i.Name) > m.config.Name:
		return none, stanza.ErrNotAcceptable.With("The name is too long.")
	case len(i.Groups) > m.config.Groups:
		return none, stanza.ErrNotAcceptable.With("There are too many groups.")
	}
	slices.Sort(i.Groups)
	for n, g := range i.Groups {
		switch {
		case n > 0 && g == i.Groups[n-1]:
			return none, stanza.ErrBadRequest.With("A group is named twice.")
		case g == "" || len(g) > m.config.Group:
			return none, stanza.ErrNotAcceptable.With("The name of a group is empty or too long.")
		}
	}
	return i, nil
}

// remove takes a contact out of the roster and ends the subscriptions, and the
// requests for them (RFC 6121 §2.5.2). That a contact is blocked does not keep the
// end of a subscription from it: the two rosters would differ for good.
func (m *contacts) remove(t *module.Transit, j jid.JID) error {
	contacts := roster.Of(t.Account)
	was := contacts.Item(j)
	if !was.Listed {
		return stanza.ErrItemNotFound
	}
	left, err := contacts.Remove(t.Turn, t.Account, j)
	if err != nil {
		return err
	}
	push(t, left)
	if was.State&(roster.To|roster.PendingOut) != 0 {
		manage(t, stanza.Unsubscribe, "", left.JID)
	}
	if was.State.Has(roster.From) {
		hide(t, left.JID)
	}
	if was.State&(roster.From|roster.PendingIn) != 0 {
		manage(t, stanza.Unsubscribed, "", left.JID)
	}
	return nil
}
