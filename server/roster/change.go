package roster

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"kith/server/account"
	"kith/server/cluster"
	"kith/xmpp/jid"
)

// Limits bound a roster; 0 is no limit.
type Limits struct {
	Items    int // contacts
	Bytes    int // of the whole roster, which a client gets in one piece
	Requests int // that wait for an answer
}

// ErrFull is returned for what has no room in a roster.
var ErrFull = errors.New("the roster is full")

// remembered is how many contacts that were removed a roster knows at most.
const remembered = 1000

// Put puts a contact into the roster of an account, in the place of the item with
// the same address, and writes the rows. It returns the item as it is now and
// whether clients see a difference, and so must be told; for a contact that is
// set by a client they always do. What has no room fails with ErrFull and
// changes nothing.
func (r *Roster) Put(t *cluster.Turn, a *account.Actor, i Item, l Limits, set bool) (*Item, bool, error) {
	old := r.items[i.JID]
	if old == nil {
		old = &Item{JID: i.JID}
	}
	i.version = old.version
	if !i.State.Has(PendingIn) {
		i.Request = nil
	}
	if r.full(old, &i, l) {
		return nil, false, ErrFull
	}
	i.JID, i.Name = i.JID.Clone(), strings.Clone(i.Name)
	i.Groups = slices.Clone(i.Groups)
	for n, g := range i.Groups {
		i.Groups[n] = strings.Clone(g)
	}
	changed := set || old.seen(&i)
	if changed {
		r.version++
		i.version = r.version
	}
	r.replace(old, &i)
	if slot.Durable(a) != r {
		slot.SetDurable(a, r)
	}
	r.write(t, &i)
	if changed {
		r.forget(t)
		t.Write(`INSERT INTO roster (owner, version, horizon) VALUES ($1, $2, $3)
			ON CONFLICT (owner) DO UPDATE SET version = excluded.version, horizon = excluded.horizon`, r.owner, r.version, r.horizon)
	}
	return &i, changed, nil
}

// Remove takes a contact out of the roster and returns what is left of it, for
// the clients to be told.
func (r *Roster) Remove(t *cluster.Turn, a *account.Actor, j jid.JID) (*Item, error) {
	i, _, err := r.Put(t, a, Item{JID: j}, Limits{}, true)
	return i, err
}

// full reports whether there is no room for an item in the place of another.
// Making one smaller is always allowed.
func (r *Roster) full(old, i *Item, l Limits) bool {
	grows := i.size()
	if old.Listed {
		grows -= old.size()
	}
	switch {
	case l.Items > 0 && i.Listed && !old.Listed && r.listed >= l.Items:
		return true
	case l.Requests > 0 && i.State.Has(PendingIn) && !old.State.Has(PendingIn) && r.requests >= l.Requests:
		return true
	case l.Bytes > 0 && i.Listed && grows > 0 && r.bytes+grows > l.Bytes:
		return true
	}
	return false
}

// gone reports whether nothing of an item is worth a row.
func (i *Item) gone() bool { return !i.Listed && i.version == 0 && i.State == None && !i.Approved }

func (r *Roster) replace(old, i *Item) {
	if r.items[i.JID] != nil {
		r.count(old, -1)
		delete(r.items, i.JID)
	}
	if !i.gone() {
		r.items[i.JID] = i
		r.count(i, 1)
	}
	r.subscribers, r.subscriptions = nil, nil
}

func (r *Roster) write(t *cluster.Turn, i *Item) {
	if i.gone() {
		t.Write(`DELETE FROM roster_item WHERE owner = $1 AND jid = $2`, r.owner, i.JID.String())
		return
	}
	groups := ""
	if len(i.Groups) > 0 {
		text, err := json.Marshal(i.Groups)
		if err != nil {
			panic(err) // strings can always be written
		}
		groups = string(text)
	}
	var request any
	if i.Request != nil {
		request = i.Request
	}
	t.Write(`INSERT INTO roster_item (owner, jid, listed, name, groups, subscription, ask, approved, version, request)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT (owner, jid) DO UPDATE SET listed = excluded.listed, name = excluded.name, groups = excluded.groups,
		subscription = excluded.subscription, ask = excluded.ask, approved = excluded.approved,
		version = excluded.version, request = excluded.request`,
		r.owner, i.JID.String(), i.Listed, i.Name, groups, i.State.Subscription(), i.State.Has(PendingOut), i.Approved, i.version, request)
}

// forget drops the older half of what was removed, once that is too much. A
// request of somebody who was removed stays.
func (r *Roster) forget(t *cluster.Turn) {
	if r.removed <= remembered {
		return
	}
	var gone []*Item
	for _, i := range r.items {
		if !i.Listed && i.version > 0 {
			gone = append(gone, i)
		}
	}
	slices.SortFunc(gone, func(a, b *Item) int { return int(a.version - b.version) })
	gone = gone[:len(gone)/2]
	r.horizon = gone[len(gone)-1].version
	for _, i := range gone {
		left := *i
		left.version = 0
		r.replace(i, &left)
	}
	t.Write(`DELETE FROM roster_item WHERE owner = $1 AND NOT listed AND request IS NULL AND version <= $2`, r.owner, r.horizon)
	t.Write(`UPDATE roster_item SET version = 0 WHERE owner = $1 AND NOT listed AND version <= $2`, r.owner, r.horizon)
}

func compare(a, b jid.JID) int { return strings.Compare(a.String(), b.String()) }
