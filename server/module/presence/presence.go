// Package presence implements RFC 6121 §4: Exchanging Presence Information,
// among the resources of one account.
//
// The step runs in the lane of the account and may run twice, when a commit
// fails; it then does the same again. A resource's last presence is kept as a
// copy whose bytes are those that were delivered.
package presence

import (
	"context"
	"strconv"
	"strings"

	"kith/server/account"
	"kith/server/cluster"
	"kith/server/module"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xmltree"
)

// Module is the module.
var Module = module.Define("presence", attach, module.RFC(6121, "presence among one's own resources"))

var namePriority = xmltree.Name{Space: ns.Client, Local: "priority"}

// turning is the stanza by which a resource has become available or unavailable,
// until that is committed: what it was before cannot be seen by the resource when
// the stanza is handled for the second time.
var turning = account.NewSlot[*stanza.Stanza]("presence under way")

func attach(h *module.Host, _ struct{}) error {
	h.Stages.Leaving.Broadcast = append(h.Stages.Leaving.Broadcast, broadcast)
	return nil
}

func broadcast(_ context.Context, t *module.Transit) error {
	switch t.Type {
	case "":
		return available(t)
	case stanza.Unavailable:
		unavailable(t)
		return nil
	}
	// RFC 6121 §4.7.1. Subscriptions and probes mean nothing without an address.
	return stanza.ErrBadRequest
}

// available handles initial (RFC 6121 §4.2.2) and subsequent presence (§4.4.2):
// all of the account's available resources see it, the sender among them. Who
// was not available before sees the others too.
func available(t *module.Transit) error {
	priority, err := parsePriority(t.Stanza)
	if err != nil {
		return err
	}
	r := t.Sender
	initial := !r.Available() || turning.Get(r) == t.Stanza
	if initial {
		turn(t)
	}
	r.Presence, r.Priority = t.Stanza.Copy(), priority
	for to := range t.Account.Available() {
		t.Deliver(to, to.JID.String(), r.Presence)
	}
	if !initial {
		return nil
	}
	for other := range t.Account.Available() {
		if other != r {
			t.Deliver(r, r.JID.String(), other.Presence)
		}
	}
	return nil
}

// unavailable tells those who are available, and the sender if it is still there
// (RFC 6121 §4.5.2). Who was not available has nothing to tell.
func unavailable(t *module.Transit) {
	r := t.Sender
	if !r.Available() && turning.Get(r) != t.Stanza {
		return
	}
	turn(t)
	r.Presence, r.Priority = nil, 0
	if t.Account.Resource(r.ID) != nil {
		t.Deliver(r, r.JID.String(), t.Stanza)
	}
	for to := range t.Account.Available() {
		t.Deliver(to, to.JID.String(), t.Stanza)
	}
}

// turn notes by which stanza the sender changes its availability.
func turn(t *module.Transit) {
	r := t.Sender
	turning.Set(r, t.Stanza)
	t.Turn.After(cluster.EffectFunc(func(*cluster.Turn) { turning.Set(r, nil) }))
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
