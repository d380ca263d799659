package archive_test

import (
	"fmt"
	"testing"
	"time"

	"kith/server/account/accounttest"
	"kith/server/archive"
	"kith/server/storage"
	"kith/xmpp/jid"
)

var (
	romeo  = jid.MustParse("romeo@montague.example")
	juliet = jid.MustParse("juliet@capulet.example")
)

// owner is romeo, in his lane.
type owner struct{ *accounttest.Owner }

func open(t testing.TB, db *storage.DB) *owner {
	t.Helper()
	return &owner{accounttest.Open(t, db, romeo, archive.Migrations(), archive.Purges, archive.Load)}
}

// put writes a message at a time, as the lane would have then.
func (o *owner) put(owner, id int64, peer jid.JID, transit, marked bool, size int) storage.Op {
	stanza := fmt.Appendf(nil, "<message id='%d'><body>%0*d</body></message>", id, size, 0)
	return storage.Op{SQL: `INSERT INTO message (owner, id, peer, resource, outgoing, transit, size, stanza) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		Args: []any{owner, id, peer.Bare().String(), peer.Resource(), false, transit, len(stanza), stanza}}
}

func (o *owner) commit(ops ...storage.Op) {
	o.Helper()
	if err := o.DB.Commit(ops); err != nil {
		o.Fatal(err)
	}
}

func mark(owner, id int64) storage.Op {
	return storage.Op{SQL: `INSERT INTO offline (owner, id) VALUES ($1, $2)`, Args: []any{owner, id}}
}

// at is the id of a message at a time.
func at(t time.Time, counter int64) int64 { return t.UnixMilli()<<20 | counter }

// count counts rows.
func (o *owner) count(table string) (n int) {
	o.Helper()
	err := o.DB.Read(o.Context(), func(r *storage.Reader) error {
		if table == "message" {
			return r.QueryRow(`SELECT count(*) FROM message`).Scan(&n)
		}
		return r.QueryRow(`SELECT count(*) FROM offline`).Scan(&n)
	})
	if err != nil {
		o.Fatal(err)
	}
	return n
}
