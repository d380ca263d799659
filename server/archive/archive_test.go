package archive_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"kith/server/account"
	"kith/server/archive"
	"kith/server/cluster"
	"kith/server/storage"
	"kith/xmpp/jid"
)

var (
	romeo  = jid.MustParse("romeo@montague.example")
	juliet = jid.MustParse("juliet@capulet.example")
)

// owner has the lanes of a database in which romeo has an account.
type owner struct {
	testing.TB
	db       *storage.DB
	accounts *account.Store
	cluster  *cluster.Local
}

func open(t testing.TB, db *storage.DB) *owner {
	t.Helper()
	o := &owner{TB: t, db: db}
	if err := db.Migrate(t.Context(), archive.Migrations()); err != nil {
		t.Fatal(err)
	}
	var err error
	if o.accounts, err = account.Open(t.Context(), db, archive.Purges...); err != nil {
		t.Fatal(err)
	}
	if err := o.accounts.Create(t.Context(), romeo, "secret", false); err != nil {
		t.Fatal(err)
	}
	o.restart()
	return o
}

// restart forgets all actors.
func (o *owner) restart() {
	o.Helper()
	o.close()
	o.cluster = cluster.NewLocal(o.db, o, cluster.Options{Lanes: 1})
	o.Cleanup(o.close)
}

func (o *owner) close() {
	if o.cluster == nil {
		return
	}
	if err := o.cluster.Close(context.Background()); err != nil {
		o.Error(err)
	}
	o.cluster = nil
}

// Load implements cluster.Loader.
func (o *owner) Load(ctx context.Context, k cluster.Key) (any, error) {
	return o.accounts.Load(ctx, jid.MustParse(string(k)), []account.Part{archive.Load})
}

// New implements cluster.Loader.
func (o *owner) New(k cluster.Key, state any, _ cluster.Actor) cluster.Actor {
	return account.NewActor(jid.MustParse(string(k)), state.(*account.State), nil)
}

// step is something to be done in the lane.
type step struct {
	do   func(t *cluster.Turn, a *account.Actor)
	done chan error
}

func (s *step) Handle(t *cluster.Turn, ac cluster.Actor) {
	s.do(t, ac.(*account.Actor))
	t.After(cluster.EffectFunc(func(*cluster.Turn) { s.done <- nil }))
}

func (s *step) Fail(_ *cluster.Turn, err error) { s.done <- err }

// do does something and returns when it is committed.
func (o *owner) do(do func(t *cluster.Turn, a *account.Actor)) {
	o.Helper()
	s := &step{do, make(chan error, 1)}
	o.cluster.Send(account.Key(romeo), s)
	if err := <-s.done; err != nil {
		o.Fatal(err)
	}
}

// id is the number of romeo's account.
func (o *owner) id() (id int64) {
	o.do(func(_ *cluster.Turn, a *account.Actor) { id = a.ID() })
	return id
}

// put writes a message at a time, as the lane would have then.
func (o *owner) put(owner, id int64, peer jid.JID, transit, marked bool, size int) storage.Op {
	stanza := fmt.Appendf(nil, "<message id='%d'><body>%0*d</body></message>", id, size, 0)
	return storage.Op{SQL: `INSERT INTO message (owner, id, peer, resource, outgoing, transit, size, stanza) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		Args: []any{owner, id, peer.Bare().String(), peer.Resource(), false, transit, len(stanza), stanza}}
}

func (o *owner) commit(ops ...storage.Op) {
	o.Helper()
	if err := o.db.Commit(ops); err != nil {
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
	err := o.db.Read(o.Context(), func(r *storage.Reader) error {
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
