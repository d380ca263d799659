// Package presence implements RFC 6121 §4: Exchanging Presence Information.
//
// A step runs in the lane of its account and may run twice, when a commit fails;
// it then does the same again. A resource's last presence is kept as a copy whose
// bytes are those that were delivered; it never changes, since those who were
// sent it share it. Presence writes no rows: it goes on while the store fails.
package presence

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"kith/server/account"
	"kith/server/blocklist"
	"kith/server/cluster"
	"kith/server/module"
	"kith/server/roster"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xmltree"
)

// Module is the module.
var Module = module.Define("presence", attach,
	module.RFC(6121, "presence (§4), without the time of the last one in answers to probes"))

var namePriority = xmltree.Name{Space: ns.Client, Local: "priority"}

// presence is the module at a host.
type presence struct {
	host  *module.Host
	lanes module.Lanes
}

func attach(h *module.Host, _ struct{}) error {
	lanes, ok := h.Router.(module.Lanes)
	if !ok {
		return errors.New("the host's router is no way into the lanes")
	}
	p := &presence{host: h, lanes: lanes}
	h.Keep(directed)
	leaving, arriving := &h.Stages.Leaving, &h.Stages.Arriving
	leaving.Broadcast = append(leaving.Broadcast, p.broadcast)
	leaving.Directed = append(leaving.Directed, direct)
	arriving.Stamp = append(arriving.Stamp, left)
	arriving.Manage = append(arriving.Manage, answerProbe)
	h.Facts.Blocking = append(h.Facts.Blocking, p.blocking)
	return nil
}

func (p *presence) broadcast(_ context.Context, t *module.Transit) error {
	switch t.Type {
	case "":
		return p.available(t)
	case stanza.Unavailable:
		unavailable(t)
		return nil
	}
	// RFC 6121 §4.7.1. Subscriptions and probes mean nothing without an address.
	return stanza.ErrBadRequest
}

// change is what a resource was before a stanza by which it became available or
// unavailable, until that is committed: it cannot be seen any more when the
// stanza is handled for the second time.
type change struct {
	available bool
	directed  map[jid.JID]struct{}
}

var changes = account.NewSlot[map[*stanza.Stanza]*change]("presence under way")

// before returns what the sender was before the stanza.
func before(t *module.Transit) *change {
	r, st := t.Sender, t.Stanza
	c := changes.Get(r)[st]
	if c != nil {
		return c
	}
	c = &change{available: r.Available(), directed: directed.Get(r)}
	if changes.Get(r) == nil {
		changes.Set(r, make(map[*stanza.Stanza]*change))
	}
	changes.Get(r)[st] = c
	t.Turn.After(cluster.EffectFunc(func(*cluster.Turn) { delete(changes.Get(r), st) }))
	return c
}

// available handles initial (RFC 6121 §4.2.2) and subsequent presence (§4.4.2):
// all subscribers see it, and all of the account's available resources, the
// sender among them. Who was not available before sees the others too, and the
// contacts are asked for theirs (§4.3.1).
func (p *presence) available(t *module.Transit) error {
	priority, err := parsePriority(t.Stanza)
	if err != nil {
		return err
	}
	r, contacts := t.Sender, roster.Of(t.Account)
	initial := !before(t).available
	r.Presence, r.Priority = t.Stanza.Copy(), priority
	for to := range t.Account.Available() {
		t.Deliver(to, to.JID.String(), r.Presence)
	}
	t.SendMany(blocklist.Without(t.Account, contacts.Subscribers()), r.Presence, true)
	if !initial {
		return nil
	}
	for other := range t.Account.Available() {
		if other != r {
			t.Deliver(r, r.JID.String(), other.Presence)
		}
	}
	p.probe(t, r, contacts.Subscriptions())
	return nil
}

// unavailable tells subscribers, the other resources, the sender if it is still
// there (RFC 6121 §4.5.2), and those whom the sender has sent presence by itself
// (§4.6.3). Who was not available has nothing to tell the others.
func unavailable(t *module.Transit) {
	r, was, contacts := t.Sender, before(t), roster.Of(t.Account)
	r.Presence, r.Priority = nil, 0
	directed.Set(r, nil)
	if was.available {
		if t.Account.Resource(r.ID) != nil {
			t.Deliver(r, r.JID.String(), t.Stanza)
		}
		for to := range t.Account.Available() {
			t.Deliver(to, to.JID.String(), t.Stanza)
		}
		t.SendMany(blocklist.Without(t.Account, contacts.Subscribers()), t.Stanza.Copy(), true)
	}
	for to := range was.directed {
		if (!was.available || !contacts.Subscribed(to)) && !blocklist.Blocks(t.Account, to) {
			gone := t.Stanza.Copy()
			gone.Readdress(to)
			t.Send(gone)
		}
	}
}

// parsePriority returns the priority, which is 0 if there is none (RFC 6121
// §4.7.2.3).
func parsePriority(st *stanza.Stanza) (int8, error) {
	var priority int64
	seen := false
	for c := range st.Children() {
		if !c.Is(namePriority) {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(c.Text()), 10, 8)
		if err != nil || seen || c.First().Exists() {
			return 0, stanza.ErrBadRequest.With("The priority is not one number from -128 to 127.")
		}
		priority, seen = n, true
	}
	return int8(priority), nil
}
