package archive

import (
	"slices"

	"kith/server/account"
	"kith/server/cluster"
	"kith/server/session"
)

// CaughtUp tells of a resource up to which id it has read the archive before it
// became available: it has from there what was sent while nobody was there
// (XEP-0313 §6.1.1).
var CaughtUp = account.NewSlot[int64]("has read the archive up to")

// Had are the messages of which a resource was given copies, and which may yet
// be chosen for it: the newest, in the order in which they came.
var Had = account.NewSlot[[]int64]("messages had as copies")

// mostHad bounds them. Beyond that a message may come a second time.
const mostHad = 1000

// Fit reports whether a resource gets what is sent to its account, and what was
// while nobody was there (RFC 6121 §8.5.2.1.1, XEP-0160 §2).
func Fit(r *account.Resource) bool { return r.Available() && r.Priority >= 0 }

// Settlement is what becomes of a message that sessions were chosen for.
type Settlement struct {
	Targets []*account.Resource // those of them that it is delivered to
	// Owed: nobody is sure to have it. Its mark stays until one of the targets
	// acknowledges it or, without targets, until it is handed to another.
	Owed bool
}

// Settle says what becomes of a message, and of its mark in the store:
//
//   - No session is given what it has, as a copy (XEP-0280 §7) or from the archive
//     (XEP-0313 §6.1.1).
//   - A message is owed until a session that it was meant for has it: one that
//     acknowledges what it gets (XEP-0198) has it when it does so, any other at
//     once. What is not stored cannot be owed once it is delivered.
//   - A session that has a copy and is chosen now is one that it was meant for. One
//     that has it from the archive settles nothing: others do not read archives.
//
// id is 0 if the message is not stored; transit says that it is for its delivery
// only. It changes nothing and knows nothing but its arguments.
func Settle(id int64, transit bool, chosen []*account.Resource) Settlement {
	if id == 0 {
		return Settlement{Targets: chosen, Owed: len(chosen) == 0}
	}
	copied := false
	has := func(r *account.Resource) bool {
		if slices.Contains(Had.Get(r), id) {
			copied = true
			return true
		}
		return !transit && id <= CaughtUp.Get(r)
	}
	to := chosen
	if slices.ContainsFunc(chosen, has) {
		to = slices.DeleteFunc(slices.Clone(chosen), has)
	}
	return Settlement{Targets: to, Owed: !copied && (len(to) == 0 || Confirmed(to))}
}

// SettledByCopy reports whether a session that is given a copy of an owed message
// settles it by acknowledging the copy. It would have got the message, had it not
// been for another session. A session that is not fit would not: to it the copy
// is all (RFC 6121 §8.5.2.2.1 lets the message wait for others).
func SettledByCopy(owed bool, r *account.Resource) bool { return owed && r.Confirms && Fit(r) }

// CopyOf makes the entry of a copy ready: id is that of the message, 0 if it is
// not stored.
func CopyOf(r *account.Resource, id int64, owed, transit bool, e *session.Entry) {
	e.Store, e.Owed, e.Transit = id, false, false
	if id != 0 && SettledByCopy(owed, r) {
		e.Owed, e.Transit = true, transit
	}
}

// Copied notes that a session was given a copy. It is used in effects.
func Copied(a *account.Actor, r *account.Resource, e *session.Entry) {
	switch {
	case e.Owed:
		Carry(a, r.ID, e.Store, e.Transit)
	case e.Store != 0:
		list := Had.Get(r)
		if len(list) >= mostHad {
			list = slices.Clone(list[mostHad/2:])
		}
		Had.Set(r, append(list, e.Store))
	}
}

// Mark writes what a settlement means for the mark of a message; marked says
// whether it has one.
func (s Settlement) Mark(t *cluster.Turn, a *account.Actor, id int64, marked, transit bool) {
	switch {
	case s.Owed && !marked:
		Missed(t, a, id)
	case marked && !s.Owed:
		Taken(t, a, id, transit)
	}
}
