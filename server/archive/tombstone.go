package archive

import (
	"errors"
	"time"

	"kith/server/account"
	"kith/server/cluster"
	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/delay"
	"kith/xmpp/xep/retract"
	"kith/xmpp/xep/stanzaid"
	"kith/xmpp/xmltree"
)

// Retraction says which message of an archive its sender has retracted
// (XEP-0424).
type Retraction struct {
	Owner, Floor int64
	Before       int64     // the message is older than this
	Peer         jid.JID   // the other side
	Outgoing     bool      // the owner has sent it
	ID           string    // of the message
	By           string    // id of the message that retracts it
	At           time.Time // when that came
	// Archived says that the retraction is in the archive. Otherwise only what waits
	// for its delivery is replaced: who looks at the archive would find a tombstone
	// and not why it is there (XEP-0424 §5).
	Archived bool
}

// How far a message is looked for: no id in a stanza is in an index. Of all
// messages the index tells with whom they are; those of one conversation are read.
const (
	searchStep   = 1_000 // of the archive, at once
	searchMost   = 100_000
	searchParsed = 10_000 // of the conversation
)

// Find returns the newest message that is meant and what is to be left of it; 0
// if there is none that may be retracted, or it is too far back. It may take long.
func (q *Retraction) Find(r *storage.Reader) (id int64, tombstone []byte, err error) {
	before, left := q.Before, searchParsed
	for seen := 0; seen < searchMost && left > 0; {
		ids, last, n, err := q.step(r, before)
		if err != nil {
			return 0, nil, err
		}
		for _, id := range ids[:min(left, len(ids))] {
			switch st, err := q.read(r, id); {
			case err != nil:
				return 0, nil, err
			case st != nil:
				return id, q.tombstone(st), nil
			}
		}
		if n < searchStep {
			break
		}
		before, left, seen = last, left-len(ids), seen+n
	}
	return 0, nil, nil
}

// step looks at some messages, the newest first: ids are those of the
// conversation, n is how many there were, and last the oldest.
func (q *Retraction) step(r *storage.Reader, before int64) (ids []int64, last int64, n int, err error) {
	peer := q.Peer.Bare().String()
	for row, err := range r.Query(`SELECT id, peer FROM message WHERE owner = $1 AND id > $2 AND id < $3 ORDER BY id DESC LIMIT $4`,
		q.Owner, q.Floor, before, searchStep) {
		if err != nil {
			return nil, 0, 0, err
		}
		var with string
		if err := row.Scan(&last, &with); err != nil {
			return nil, 0, 0, err
		}
		if n++; with == peer {
			ids = append(ids, last)
		}
	}
	return ids, last, n, nil
}

// read returns a message if it is the one, else nil.
func (q *Retraction) read(r *storage.Reader, id int64) (*stanza.Stanza, error) {
	var outgoing, transit bool
	var b []byte
	err := r.QueryRow(`SELECT outgoing, transit, stanza FROM message WHERE owner = $1 AND id = $2`, q.Owner, id).Scan(&outgoing, &transit, &b)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case outgoing != q.Outgoing || !transit && !q.Archived:
		return nil, nil
	}
	el, err := xmltree.ParseIn(ns.Client, b, xmltree.StoredLimits())
	if err != nil {
		return nil, nil //nolint:nilerr // what cannot be read, nobody reads: it is not the one
	}
	st, err := stanza.Parse(el)
	if err != nil || !q.means(st) {
		return nil, nil //nolint:nilerr // as above
	}
	return st, nil
}

// nameRoom marks what comes from an occupant of a room.
var nameRoom = xmltree.Name{Space: ns.MUCUser, Local: "x"}

// means reports whether a message is the one. XEP-0424 §5.1: by its id; clients
// of older versions of the text name it by its origin-id. A retraction stays, and
// so does what has come from a room: occupants share its bare address, and only
// the room knows who they are (XEP-0424 §5).
func (q *Retraction) means(st *stanza.Stanza) bool {
	if st.ID != q.ID && st.Child(stanzaid.NameOrigin).Attr("id") != q.ID {
		return false
	}
	return !st.Has(retract.Name) && !st.Has(retract.NameTombstone) && (q.Outgoing || !st.Has(nameRoom))
}

// tombstone writes what is left of a message: who sent it to whom, when, under
// which id, and why it is not there (XEP-0424 §4). Nothing is copied that its
// sender could have written freely.
func (q *Retraction) tombstone(st *stanza.Stanza) []byte {
	s := stanza.New(stanza.Message, st.Type, st.From, st.To)
	s.ID = st.ID
	for c := range st.Children() {
		if d, err := delay.Parse(c); err == nil && c.Is(delay.Name) {
			d.Reason = ""
			s.Add(d)
		}
	}
	if id := st.Child(stanzaid.NameOrigin); id.Exists() {
		s.Add(stanzaid.Origin{ID: id.Attr("id")})
	}
	s.Add(retract.Tombstone{ID: q.By, Stamp: q.At})
	return s.Whole()
}

// Bury puts a tombstone in the place of a message, which keeps its id, its time,
// and its mark if nobody has it yet. It may have gone meanwhile.
func Bury(t *cluster.Turn, a *account.Actor, id int64, tombstone []byte) {
	t.Write(`UPDATE message SET stanza = $3, size = $4 WHERE owner = $1 AND id = $2`, a.ID(), id, tombstone, len(tombstone))
}
