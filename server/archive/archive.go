// Package archive keeps messages: what a person can look up later, and what
// waits for a device to come online.
//
// Rows are written in the lane of their owner, who gives the ids: they only
// grow, and are the time index too. A row in offline says that no session has
// taken the message; it is written in the same transaction as the message or
// later, never before.
package archive

import (
	"embed"
	"io/fs"
	"math"
	"time"

	"kith/server/account"
	"kith/server/cluster"
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
	return storage.Migrations{Name: "archive", FS: sub}
}

// Purges delete what is kept of a deleted account.
var Purges = []account.Purge{
	`DELETE FROM offline WHERE owner = $1 AND id IN (SELECT id FROM offline WHERE owner = $1 ORDER BY id LIMIT 1000)`,
	`DELETE FROM message WHERE owner = $1 AND id IN (SELECT id FROM message WHERE owner = $1 ORDER BY id LIMIT 1000)`,
	`DELETE FROM archive WHERE owner = $1`,
}

// counterBits of an id count the messages of one millisecond.
const counterBits = 20

// What an actor knows of its messages: the last id given, up to which id they are
// deleted, and how many have a row in offline. The last may be too many when
// retention has taken some; that costs a read and no more.
var (
	last  = account.NewSlot[int64]("last archive id")
	floor = account.NewSlot[int64]("messages deleted up to")
	marks = account.NewSlot[int]("messages not taken")
)

// Load reads what an actor knows, as a part of an account.
func Load(r *storage.Reader, st *account.State) error {
	var l, f int64
	var n int
	var p string
	err := r.QueryRow(`SELECT coalesce((SELECT max(id) FROM message WHERE owner = $1), 0),
		(SELECT count(*) FROM offline WHERE owner = $1),
		coalesce((SELECT floor FROM archive WHERE owner = $1), 0),
		coalesce((SELECT prefs FROM archive WHERE owner = $1), '')`, st.ID).Scan(&l, &n, &f, &p)
	if err != nil {
		return err
	}
	last.Load(st, max(l, f))
	floor.Load(st, f)
	marks.Load(st, n)
	if said := readPrefs(p); said != nil {
		prefs.Load(st, said)
	}
	return nil
}

// nextID returns an id that is larger than any before it, and tells the time.
func nextID(a *account.Actor, now time.Time) int64 {
	id := max(now.UnixMilli()<<counterBits, last.Durable(a)+1)
	last.SetDurable(a, id)
	return id
}

// Given notes that an id was given before, in case its message is deleted and the
// clock stands still or was set back: none is given twice, since sessions know what
// they had by it.
func Given(a *account.Actor, id int64) {
	if id > last.Durable(a) {
		last.SetDurable(a, id)
	}
}

// Time returns when the message of an id was kept.
func Time(id int64) time.Time { return time.UnixMilli(id >> counterBits).UTC() }

// Record keeps a message in its owner's archive and returns its id. stanza is
// the whole element; it must not change any more.
func Record(t *cluster.Turn, a *account.Actor, peer jid.JID, outgoing bool, c Class, stanza []byte) int64 {
	id := nextID(a, t.Now())
	t.Write(`INSERT INTO message (owner, id, peer, resource, outgoing, transit, size, stanza) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		a.ID(), id, peer.Bare().String(), peer.Resource(), outgoing, c == Transit, len(stanza), stanza)
	return id
}

// Last returns the id that was given last.
func Last(a *account.Actor) int64 { return last.Durable(a) }

// Floor returns the id up to which messages are deleted, even if their rows are
// there yet.
func Floor(a *account.Actor) int64 { return floor.Durable(a) }

// Missed marks a message: nobody is known to have it. It has no mark yet.
func Missed(t *cluster.Turn, a *account.Actor, id int64) {
	t.Write(`INSERT INTO offline (owner, id) VALUES ($1, $2) ON CONFLICT DO NOTHING`, a.ID(), id)
	marks.SetDurable(a, marks.Durable(a)+1)
	if lowest := marked.Live(a); lowest > id {
		marked.SetLive(a, id)
	}
}

// marked is the lowest id of those that were marked since somebody began to watch;
// 0 if nobody does.
var marked = account.NewSlot[int64]("marked since")

// WatchMarks begins to watch for marks, in place of whoever has done so before. It
// is used in effects, before the marks are read.
func WatchMarks(a *account.Actor) { marked.SetLive(a, math.MaxInt64) }

// MarkedSince reports whether a message up to this id may have been marked since
// WatchMarks was called.
func MarkedSince(a *account.Actor, upTo int64) bool { return marked.Live(a) <= upTo }

// Waiting reports whether messages wait for a session to take them, besides those
// that are on their way to one.
func Waiting(a *account.Actor) bool { return marks.Durable(a) > len(onTheWay.Live(a)) }

// Message is a stored message.
type Message struct {
	ID      int64
	Transit bool // it is in the archive for its delivery only
	Stanza  []byte
}

// ReadWaiting reads the oldest marked messages behind one id and up to another, of
// those up to read only what is not in the archive: at most rows, and no more bytes
// than that unless the first alone has them. more says that there are others behind.
func ReadWaiting(r *storage.Reader, owner, behind, upTo, read int64, rows, bytes int) (list []Message, more bool, err error) {
	for row, err := range r.Query(`SELECT m.id, m.transit, m.stanza FROM offline o
		JOIN message m ON m.owner = o.owner AND m.id = o.id
		WHERE o.owner = $1 AND o.id > $2 AND o.id <= $3 AND (m.transit OR o.id > $5)
		ORDER BY o.id LIMIT $4 + 0`, owner, behind, upTo, rows+1, read) {
		if err != nil {
			return nil, false, err
		}
		var m Message
		if err := row.Scan(&m.ID, &m.Transit, &m.Stanza); err != nil {
			return nil, false, err
		}
		bytes -= len(m.Stanza)
		if len(list) == rows || len(list) > 0 && bytes < 0 {
			return list, true, nil
		}
		list = append(list, m)
	}
	return list, false, nil
}

// Taken takes the mark from a message that was handed over. drop deletes it as
// well: it was kept for nothing else.
func Taken(t *cluster.Turn, a *account.Actor, id int64, drop bool) {
	one := []int64{id}
	if drop {
		TakenAll(t, a, one, one)
		return
	}
	TakenAll(t, a, one, nil)
}

// TakenAll takes the marks from messages, and deletes those of them that are to be
// dropped: both lists are ids.
func TakenAll(t *cluster.Turn, a *account.Actor, ids, drop []int64) {
	writeEach(t, a, ids, unmark, unmarkSome)
	taken(t, a, len(ids), drop)
}

// taken notes that so many marks are taken away, and deletes messages.
func taken(t *cluster.Turn, a *account.Actor, n int, drop []int64) {
	writeEach(t, a, drop, remove, removeSome)
	marks.SetDurable(a, max(0, marks.Durable(a)-n))
}

// TakenFromTo is TakenAll for ids, in their order, that are all that are marked from
// the first of them to the last.
func TakenFromTo(t *cluster.Turn, a *account.Actor, ids, drop []int64) {
	if len(ids) < together {
		TakenAll(t, a, ids, drop)
		return
	}
	t.Write(`DELETE FROM offline WHERE owner = $1 AND id >= $2 AND id <= $3`, a.ID(), ids[0], ids[len(ids)-1])
	taken(t, a, len(ids), drop)
}

// together is how many messages one statement deletes.
const together = 16

// The same for one and for so many.
const (
	unmark     = `DELETE FROM offline WHERE owner = $1 AND id = $2`
	unmarkSome = `DELETE FROM offline WHERE owner = $1 AND id IN ($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)`
	remove     = `DELETE FROM message WHERE owner = $1 AND id = $2`
	removeSome = `DELETE FROM message WHERE owner = $1 AND id IN ($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)`
)

// writeEach writes a statement that is meant for one message, or the same for some,
// until it was written for each.
func writeEach(t *cluster.Turn, a *account.Actor, ids []int64, one, some string) {
	for ; len(ids) >= together; ids = ids[together:] {
		args := make([]any, together+1)
		args[0] = a.ID()
		for i, id := range ids[:together] {
			args[i+1] = id
		}
		t.Write(some, args...)
	}
	for _, id := range ids {
		t.Write(one, a.ID(), id)
	}
}
