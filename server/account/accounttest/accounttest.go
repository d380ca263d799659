// Package accounttest gives the tests of engines an account, and the lane in which
// it lives.
package accounttest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"kith/server/account"
	"kith/server/cluster"
	"kith/server/storage"
	"kith/xmpp/jid"
)

// Password is that of all accounts, which takes its time to be hashed: once.
const Password = "secret"

// Keys are those of Password.
var Keys = sync.OnceValues(func() (account.Keys, error) { return account.MakeKeys(Password) })

// Create makes accounts, unless they are there.
func Create(t testing.TB, s *account.Store, list ...jid.JID) {
	t.Helper()
	keys, err := Keys()
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range list {
		if err := s.CreateWith(t.Context(), j, keys, false); err != nil && !errors.Is(err, account.ErrExists) {
			t.Fatal(err)
		}
	}
}

// Owner has the lanes of a database in which somebody has an account.
type Owner struct {
	testing.TB
	DB       *storage.DB
	Accounts *account.Store
	JID      jid.JID

	parts   []account.Part
	cluster *cluster.Local
}

// Open makes the tables of an engine, and the account unless it is there. The lanes
// end with the test.
func Open(t testing.TB, db *storage.DB, j jid.JID, tables storage.Migrations, purges []account.Purge, parts ...account.Part) *Owner {
	t.Helper()
	o := &Owner{TB: t, DB: db, JID: j, parts: parts}
	if err := db.Migrate(t.Context(), tables); err != nil {
		t.Fatal(err)
	}
	var err error
	if o.Accounts, err = account.Open(t.Context(), db, purges...); err != nil {
		t.Fatal(err)
	}
	Create(t, o.Accounts, j)
	o.Restart()
	return o
}

// Restart forgets all actors.
func (o *Owner) Restart() {
	o.Helper()
	o.Close()
	o.cluster = cluster.NewLocal(o.DB, o, cluster.Options{Lanes: 1})
	o.Cleanup(o.Close)
}

// Close ends the lanes.
func (o *Owner) Close() {
	if o.cluster == nil {
		return
	}
	if err := o.cluster.Close(context.Background()); err != nil {
		o.Error(err)
	}
	o.cluster = nil
}

// Load implements cluster.Loader.
func (o *Owner) Load(ctx context.Context, k cluster.Key) (any, error) {
	return o.Accounts.Load(ctx, jid.MustParse(string(k)), o.parts)
}

// New implements cluster.Loader.
func (o *Owner) New(k cluster.Key, state any, _ cluster.Actor) cluster.Actor {
	return account.NewActor(jid.MustParse(string(k)), state.(*account.State), nil)
}

// step is something to be done in the lane.
type step struct {
	do   func(t *cluster.Turn, a *account.Actor)
	done chan error
}

func (s *step) Handle(t *cluster.Turn, a cluster.Actor) {
	s.do(t, a.(*account.Actor))
	t.After(cluster.EffectFunc(func(*cluster.Turn) { s.done <- nil }))
}

func (s *step) Fail(_ *cluster.Turn, err error) { s.done <- err }

// Try does something in the account's lane and returns when it is committed, or
// why it is not.
func (o *Owner) Try(do func(t *cluster.Turn, a *account.Actor)) error {
	s := &step{do, make(chan error, 1)}
	o.cluster.Send(account.Key(o.JID), s)
	return <-s.done
}

// Do is Try for what has to succeed.
func (o *Owner) Do(do func(t *cluster.Turn, a *account.Actor)) {
	o.Helper()
	if err := o.Try(do); err != nil {
		o.Fatal(err)
	}
}

// ID is the number of the account.
func (o *Owner) ID() (id int64) {
	o.Helper()
	o.Do(func(_ *cluster.Turn, a *account.Actor) { id = a.ID() })
	return id
}

// Count returns the number that a query has for its only answer.
func (o *Owner) Count(query string, args ...any) (n int) {
	o.Helper()
	if err := o.DB.Read(o.Context(), func(r *storage.Reader) error { return r.QueryRow(query, args...).Scan(&n) }); err != nil {
		o.Fatal(err)
	}
	return n
}
