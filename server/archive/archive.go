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
	"encoding/base32"
	"encoding/binary"
	"errors"
	"io/fs"
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
}

// counterBits of an id count the messages of one millisecond.
const counterBits = 20

var last = account.NewSlot[int64]("last archive id")

// Load reads the last id that was given, as a part of an account.
func Load(r *storage.Reader, st *account.State) error {
	var id int64
	err := r.QueryRow(`SELECT id FROM message WHERE owner = $1 ORDER BY id DESC LIMIT 1`, st.ID).Scan(&id)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	last.Load(st, id)
	return nil
}

// nextID returns an id that is larger than any before it, and tells the time.
func nextID(a *account.Actor, now time.Time) int64 {
	id := max(now.UnixMilli()<<counterBits, last.Durable(a)+1)
	last.SetDurable(a, id)
	return id
}

// Time returns when the message of an id was kept.
func Time(id int64) time.Time { return time.UnixMilli(id >> counterBits).UTC() }

var encoding = base32.HexEncoding.WithPadding(base32.NoPadding)

// Format returns an id as others see it: opaque, and sorting as the ids do.
func Format(id int64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(id))
	return encoding.EncodeToString(b[:])
}

// ParseID is the reverse of Format; false for what it never returned.
func ParseID(s string) (int64, bool) {
	b, err := encoding.DecodeString(s)
	if err != nil || len(b) != 8 || Format(int64(binary.BigEndian.Uint64(b))) != s {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(b)), true
}

// Record keeps a message in its owner's archive and returns its id. stanza is
// the whole element; it must not change any more.
func Record(t *cluster.Turn, a *account.Actor, peer jid.JID, outgoing bool, c Class, stanza []byte) int64 {
	id := nextID(a, t.Now())
	t.Write(`INSERT INTO message (owner, id, peer, outgoing, transit, stanza) VALUES ($1, $2, $3, $4, $5, $6)`,
		a.ID(), id, peer.Bare().String(), outgoing, c == Transit, stanza)
	return id
}

// Missed notes that nobody has taken a message.
func Missed(t *cluster.Turn, a *account.Actor, id int64) {
	t.Write(`INSERT INTO offline (owner, id) VALUES ($1, $2) ON CONFLICT DO NOTHING`, a.ID(), id)
}
