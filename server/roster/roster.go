// Package roster keeps rosters: who is a contact of whom, and the states of
// their subscriptions (RFC 6121 §2, §3, §A).
//
// A roster belongs to the actor of its account and is read and changed in its
// lane only; each change writes the row that says the same. An Item never
// changes: a changed contact is another Item, so that a list of them may be
// read outside the lane.
//
// Versions only grow (§2.6). What was removed is remembered for a while, so that
// a client that was away learns of it; up to the horizon it is forgotten.
package roster

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"

	"kith/server/account"
	"kith/server/storage"
	"kith/xmpp/jid"
	xroster "kith/xmpp/xep/roster"
)

//go:embed migrations
var files embed.FS

// Migrations returns the tables of this package.
func Migrations() storage.Migrations {
	sub, err := fs.Sub(files, "migrations")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	return storage.Migrations{Name: "roster", FS: sub}
}

// Purges delete what is kept of a deleted account.
var Purges = []account.Purge{
	`DELETE FROM roster_item WHERE owner = $1 AND jid IN (SELECT jid FROM roster_item WHERE owner = $1 ORDER BY jid LIMIT 1000)`,
	`DELETE FROM roster WHERE owner = $1`,
}

// Item is a contact, or what is left of one.
type Item struct {
	JID      jid.JID
	Name     string
	Groups   []string
	State    State
	Approved bool   // a request of theirs will be granted (RFC 6121 §3.4)
	Listed   bool   // it is in the roster; else there is only a request, or it was removed
	Request  []byte // the stanza by which they have asked, while that waits for an answer

	version int64 // of the last change that clients see; 0: they have not seen it
}

// Words is the item as clients see it.
func (i *Item) Words() xroster.Item {
	if !i.Listed {
		return xroster.Item{JID: i.JID, Subscription: xroster.Remove}
	}
	return xroster.Item{
		JID: i.JID, Name: i.Name, Groups: i.Groups, Subscription: i.State.Subscription(),
		Ask: i.State.Has(PendingOut), Approved: i.Approved,
	}
}

// seen reports whether clients would see a difference between two items.
func (i *Item) seen(other *Item) bool {
	return i.Listed != other.Listed || i.Name != other.Name || i.Approved != other.Approved ||
		i.State&^PendingIn != other.State&^PendingIn || !slices.Equal(i.Groups, other.Groups)
}

// markup is about what the item's XML has beside its strings.
const markup = 60

func (i *Item) size() int {
	n := markup + len(i.JID.String()) + len(i.Name)
	for _, g := range i.Groups {
		n += len(g) + len("<group></group>")
	}
	return n
}

// Roster is the roster of one account.
type Roster struct {
	owner    int64
	items    map[jid.JID]*Item
	listed   int
	requests int
	removed  int
	bytes    int // of those listed
	waiting  int // bytes of the requests
	version  int64
	horizon  int64

	// Made when they are asked for, nil after a change.
	subscribers, subscriptions []jid.JID
}

var slot = account.NewSlot[*Roster]("roster")

// Of returns the roster of an account. It is empty if the account does not exist.
func Of(a *account.Actor) *Roster {
	if r := slot.Durable(a); r != nil {
		return r
	}
	return &Roster{owner: a.ID(), items: make(map[jid.JID]*Item)}
}

// Load reads the roster, as a part of an account.
func Load(r *storage.Reader, st *account.State) error {
	to := &Roster{owner: st.ID, items: make(map[jid.JID]*Item)}
	err := r.QueryRow(`SELECT version, horizon FROM roster WHERE owner = $1`, st.ID).Scan(&to.version, &to.horizon)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	for row, err := range r.Query(`SELECT jid, listed, name, groups, subscription, ask, approved, version, request
		FROM roster_item WHERE owner = $1`, st.ID) {
		if err != nil {
			return err
		}
		i, err := read(row)
		if err != nil {
			return fmt.Errorf("read roster: %w", err)
		}
		if i != nil {
			to.items[i.JID] = i
			to.count(i, 1)
		}
	}
	slot.Load(st, to)
	return nil
}

// read reads a row. One that makes no sense, which is not our doing, is skipped:
// the account has to go on.
func read(row storage.Row) (*Item, error) {
	i := new(Item)
	var address, groups, subscription string
	var ask bool
	if err := row.Scan(&address, &i.Listed, &i.Name, &groups, &subscription, &ask, &i.Approved, &i.version, &i.Request); err != nil {
		return nil, err
	}
	var err error
	if i.JID, err = jid.Parse(address); err != nil {
		return nil, nil //nolint:nilerr // skipped, see above
	}
	if groups != "" {
		if err := json.Unmarshal([]byte(groups), &i.Groups); err != nil {
			i.Groups = nil
		}
	}
	for _, s := range []State{To, From, Both} {
		if s.Subscription() == subscription {
			i.State = s
		}
	}
	if ask && !i.State.Has(To) {
		i.State |= PendingOut
	}
	if len(i.Request) > 0 && !i.State.Has(From) {
		i.State |= PendingIn
	}
	return i, nil
}

// count adds an item to the figures n times.
func (r *Roster) count(i *Item, n int) {
	switch {
	case i.Listed:
		r.listed += n
		r.bytes += n * i.size()
	case i.version > 0:
		r.removed += n
	}
	if i.State.Has(PendingIn) {
		r.requests += n
		r.waiting += n * len(i.Request)
	}
}

// Size implements the account's measure: about how many bytes it holds.
func (r *Roster) Size() int { return r.bytes + r.waiting + 200*len(r.items) }

// Len is the number of contacts.
func (r *Roster) Len() int { return r.listed }

// Item returns what there is of a contact, listed or not. One that there is
// nothing of is in the state None.
func (r *Roster) Item(j jid.JID) Item {
	if i := r.items[j]; i != nil {
		return *i
	}
	return Item{JID: j}
}

// Subscribed reports whether somebody may see the owner's presence: it, or its
// bare address, has a subscription.
func (r *Roster) Subscribed(j jid.JID) bool { return r.Item(j.Bare()).State.Has(From) }

// List returns the contacts, in no order: that can wait until one is outside the
// lane.
func (r *Roster) List() []*Item {
	out := make([]*Item, 0, r.listed)
	for _, i := range r.items {
		if i.Listed {
			out = append(out, i)
		}
	}
	return out
}

// Sort sorts items by address.
func Sort(items []*Item) {
	slices.SortFunc(items, func(a, b *Item) int { return compare(a.JID, b.JID) })
}

// Requests returns the contacts who have asked for a subscription and wait for
// an answer.
func (r *Roster) Requests() []*Item {
	if r.requests == 0 {
		return nil
	}
	return r.sorted(func(i *Item) bool { return i.State.Has(PendingIn) })
}

// Asked returns the contacts who have been asked for a subscription and have not
// answered.
func (r *Roster) Asked() []*Item {
	return r.sorted(func(i *Item) bool { return i.State.Has(PendingOut) })
}

func (r *Roster) sorted(keep func(*Item) bool) []*Item {
	var out []*Item
	for _, i := range r.items {
		if keep(i) {
			out = append(out, i)
		}
	}
	Sort(out)
	return out
}

// Subscribers returns who sees the owner's presence. The slice must not be
// changed.
func (r *Roster) Subscribers() []jid.JID {
	if r.subscribers == nil {
		r.subscribers = r.addresses(From)
	}
	return r.subscribers
}

// Subscriptions returns whose presence the owner sees. The slice must not be
// changed.
func (r *Roster) Subscriptions() []jid.JID {
	if r.subscriptions == nil {
		r.subscriptions = r.addresses(To)
	}
	return r.subscriptions
}

func (r *Roster) addresses(part State) []jid.JID {
	out := make([]jid.JID, 0, r.listed)
	for _, i := range r.items {
		if i.State.Has(part) {
			out = append(out, i.JID)
		}
	}
	slices.SortFunc(out, compare)
	return out
}

// Version names the roster as it is now (RFC 6121 §2.1.1). The account's number
// is a part of it: who has the address of a deleted account has another roster.
func (r *Roster) Version() string { return r.format(r.version) }

// VersionOf names the roster as it was when an item was changed last.
func (r *Roster) VersionOf(i *Item) string { return r.format(i.version) }

func (r *Roster) format(v int64) string {
	return strconv.FormatInt(r.owner, 10) + "." + strconv.FormatInt(v, 10)
}

// Since returns what has changed since a version, in the order of the changes
// (RFC 6121 §2.6.3); false if that is not known any more, or never was.
func (r *Roster) Since(version string) ([]*Item, bool) {
	var owner, v int64
	if n, err := fmt.Sscanf(version, "%d.%d", &owner, &v); n != 2 || err != nil || owner != r.owner || r.format(v) != version {
		return nil, false
	}
	if v < r.horizon || v > r.version {
		return nil, false
	}
	var out []*Item
	for _, i := range r.items {
		if i.version > v {
			out = append(out, i)
		}
	}
	slices.SortFunc(out, func(a, b *Item) int { return int(a.version - b.version) })
	return out, true
}
