// Package blocklist keeps block lists: whom an account does not want to hear of
// (XEP-0191).
//
// A list belongs to the actor of its account and is changed in its lane only;
// each change writes the rows that say the same. A List never changes: a changed
// one is another List, so that who holds one may compare. Most accounts have
// none, and for those a question costs a look at the actor.
package blocklist

import (
	"embed"
	"io/fs"
	"slices"
	"strings"

	"kith/server/account"
	"kith/server/storage"
	"kith/xmpp/jid"
)

//go:embed migrations
var files embed.FS

// Migrations returns the tables of this package.
func Migrations() storage.Migrations {
	sub, err := fs.Sub(files, "migrations")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	return storage.Migrations{Name: "blocklist", FS: sub}
}

// Purges delete what is kept of a deleted account.
var Purges = []account.Purge{
	`DELETE FROM blocklist WHERE owner = $1 AND jid IN (SELECT jid FROM blocklist WHERE owner = $1 ORDER BY jid LIMIT 1000)`,
}

// List is a block list. nil is the empty one.
type List struct {
	entries map[jid.JID]struct{}
	bytes   int
}

var slot = account.NewSlot[*List]("block list")

// Load reads the list, as a part of an account.
func Load(r *storage.Reader, st *account.State) error {
	var l *List
	for row, err := range r.Query(`SELECT jid FROM blocklist WHERE owner = $1`, st.ID) {
		if err != nil {
			return err
		}
		var address string
		if err := row.Scan(&address); err != nil {
			return err
		}
		j, err := jid.Parse(address)
		if err != nil {
			continue // not our doing; the account has to go on
		}
		if l == nil {
			l = &List{entries: make(map[jid.JID]struct{})}
		}
		l.add(j)
	}
	if l != nil {
		slot.Load(st, l)
	}
	return nil
}

// Of returns the list of an account.
func Of(a *account.Actor) *List { return slot.Durable(a) }

// Blocks reports whether an account blocks somebody. Neither its own resources
// (XEP-0191 §5, the note) nor its own server are ever blocked, whatever its list
// says: it would lock itself out.
func Blocks(a *account.Actor, j jid.JID) bool {
	l := slot.Durable(a)
	return l != nil && l.matches(j) && !own(a.JID, j)
}

// own reports whether an address is the account's own or its server's. Others at
// that server are strangers.
func own(account, j jid.JID) bool {
	return j.Bare() == account || j.Local() == "" && j.Domain() == account.Domain()
}

// Without returns those of a list of addresses that the account does not block:
// what is to go to many goes to these. If that is all of them, it is the list
// itself, and costs nothing where there is no block list.
func Without(a *account.Actor, list []jid.JID) []jid.JID {
	if slot.Durable(a) == nil || !slices.ContainsFunc(list, func(j jid.JID) bool { return Blocks(a, j) }) {
		return list
	}
	out := make([]jid.JID, 0, len(list)-1)
	for _, j := range list {
		if !Blocks(a, j) {
			out = append(out, j)
		}
	}
	return out
}

// matches follows XEP-0191 §6: an entry matches itself; a bare address each of
// its resources; a domain all that is at it, but not what is below it.
func (l *List) matches(j jid.JID) bool {
	if l == nil {
		return false
	}
	if _, is := l.entries[j]; is {
		return true
	}
	if j.IsFull() {
		if _, is := l.entries[j.Bare()]; is {
			return true
		}
	}
	if j.Local() == "" {
		return false
	}
	_, is := l.entries[j.Host()]
	return is
}

// markup is about what an entry's XML has beside its address.
const markup = 16

func (l *List) add(j jid.JID) {
	l.entries[j] = struct{}{}
	l.bytes += markup + len(j.String())
}

func (l *List) remove(j jid.JID) {
	delete(l.entries, j)
	l.bytes -= markup + len(j.String())
}

// has reports whether an address is on the list, by itself.
func (l *List) has(j jid.JID) bool {
	if l == nil {
		return false
	}
	_, is := l.entries[j]
	return is
}

// Len is the number of entries.
func (l *List) Len() int {
	if l == nil {
		return 0
	}
	return len(l.entries)
}

// Entries returns what is on the list, sorted.
func (l *List) Entries() []jid.JID {
	if l == nil {
		return nil
	}
	out := make([]jid.JID, 0, len(l.entries))
	for j := range l.entries {
		out = append(out, j)
	}
	slices.SortFunc(out, compare)
	return out
}

// Size implements the account's measure: about how many bytes it holds.
func (l *List) Size() int {
	if l == nil {
		return 0
	}
	return l.bytes + 64*len(l.entries)
}

func compare(a, b jid.JID) int { return strings.Compare(a.String(), b.String()) }
