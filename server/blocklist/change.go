package blocklist

import (
	"errors"
	"maps"
	"slices"

	"kith/server/account"
	"kith/server/cluster"
	"kith/xmpp/jid"
)

// Limits bound a list; 0 is no limit.
type Limits struct {
	Entries int
	Bytes   int // of the whole list, which a client gets in one piece
}

// Errors of changes.
var (
	ErrFull    = errors.New("the block list is full")
	ErrUnknown = errors.New("none of these is on the block list")
)

// Change is a block list before and after it was changed.
type Change struct {
	// Entries are those that the change was about, sorted and once each; some of
	// them may have been as they are.
	Entries []jid.JID

	owner         jid.JID
	before, after *List
}

// Blocked reports whether somebody has been blocked by the change.
func (c *Change) Blocked(j jid.JID) bool {
	return !c.before.matches(j) && c.after.matches(j) && !own(c.owner, j)
}

// Unblocked reports whether somebody is not blocked any more.
func (c *Change) Unblocked(j jid.JID) bool {
	return c.before.matches(j) && !c.after.matches(j) && !own(c.owner, j)
}

// Concerned returns the addresses that have been blocked or unblocked, of those
// of some contacts: the contacts that the entries match, and single resources of
// theirs that are entries. is says of a bare address whether it is a contact's.
func (c *Change) Concerned(contacts []jid.JID, is func(jid.JID) bool) []jid.JID {
	var out []jid.JID
	domains := make(map[string]struct{})
	for _, j := range c.Entries {
		switch {
		case j.Local() == "" && j.IsBare():
			domains[j.Domain()] = struct{}{}
		case is(j.Bare()):
			out = append(out, j)
		}
	}
	if len(domains) > 0 {
		for _, j := range contacts {
			if _, concerned := domains[j.Domain()]; concerned {
				out = append(out, j)
			}
		}
	}
	slices.SortFunc(out, compare)
	return slices.DeleteFunc(slices.Compact(out), func(j jid.JID) bool { return !c.Blocked(j) && !c.Unblocked(j) })
}

// Block puts addresses on the list of an account and writes the rows. If there is
// no room for all of them it fails with ErrFull and changes nothing.
func Block(t *cluster.Turn, a *account.Actor, entries []jid.JID, limits Limits) (*Change, error) {
	c := change(a, entries)
	c.after = c.before.copy(len(c.Entries))
	for _, j := range c.Entries {
		if !c.before.has(j) {
			c.after.add(j)
		}
	}
	grown := c.after.Len() > c.before.Len()
	if grown && (limits.Entries > 0 && c.after.Len() > limits.Entries || limits.Bytes > 0 && c.after.bytes > limits.Bytes) {
		return nil, ErrFull
	}
	for _, j := range c.Entries {
		if !c.before.has(j) {
			t.Write(`INSERT INTO blocklist (owner, jid) VALUES ($1, $2) ON CONFLICT DO NOTHING`, a.ID(), j.String())
		}
	}
	slot.SetDurable(a, c.after)
	return c, nil
}

// Unblock takes addresses from the list of an account and deletes the rows. If
// none of them is on it, it fails with ErrUnknown.
func Unblock(t *cluster.Turn, a *account.Actor, entries []jid.JID) (*Change, error) {
	c := change(a, entries)
	if !slices.ContainsFunc(c.Entries, c.before.has) {
		return nil, ErrUnknown
	}
	c.after = c.before.copy(0)
	for _, j := range c.Entries {
		if c.before.has(j) {
			c.after.remove(j)
			t.Write(`DELETE FROM blocklist WHERE owner = $1 AND jid = $2`, a.ID(), j.String())
		}
	}
	if c.after.Len() == 0 {
		c.after = nil
	}
	slot.SetDurable(a, c.after)
	return c, nil
}

// Clear takes everything from the list of an account. There may have been
// nothing.
func Clear(t *cluster.Turn, a *account.Actor) *Change {
	c := change(a, Of(a).Entries())
	if c.before != nil {
		t.Write(`DELETE FROM blocklist WHERE owner = $1`, a.ID())
		slot.SetDurable(a, nil)
	}
	return c
}

func change(a *account.Actor, entries []jid.JID) *Change {
	entries = slices.Compact(slices.SortedFunc(slices.Values(entries), compare))
	for n := range entries {
		entries[n] = entries[n].Clone()
	}
	return &Change{Entries: entries, owner: a.JID, before: Of(a)}
}

// copy returns a list that may be changed, with room for more.
func (l *List) copy(more int) *List {
	c := &List{entries: make(map[jid.JID]struct{}, l.Len()+more)}
	if l != nil {
		maps.Copy(c.entries, l.entries)
		c.bytes = l.bytes
	}
	return c
}
