package last

import (
	"embed"
	"errors"
	"io/fs"
	"time"

	"kith/server/account"
	"kith/server/cluster"
	"kith/server/storage"
)

//go:embed migrations
var files embed.FS

// Migrations returns the table of this package.
func Migrations() storage.Migrations {
	sub, err := fs.Sub(files, "migrations")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	return storage.Migrations{Name: "last", FS: sub}
}

// Purges delete what is kept of a deleted account.
var Purges = []account.Purge{`DELETE FROM last_activity WHERE owner = $1`}

// departed returns when somebody has left, and with which words; nil if that is not
// known. The actor of an address may outlive an account of that name.
func departed(a *account.Actor) *departure {
	if n := leaving.Live(a); n != nil && n.id == a.ID() {
		return &n.departure
	}
	return left.Durable(a)
}

// departure is when the last session of an account has ended, and the words with
// which it left.
type departure struct {
	at     time.Time
	status string
}

// Size implements the account's measure.
func (d *departure) Size() int { return len(d.status) }

var (
	left = account.NewSlot[*departure]("last log-out")
	// leaving is one that is not stored yet.
	leaving = account.NewSlot[*note]("log-out to be stored")
)

// Load reads when somebody has left, as a part of the account.
func Load(r *storage.Reader, st *account.State) error {
	var ms int64
	d := new(departure)
	err := r.QueryRow(`SELECT at, status FROM last_activity WHERE owner = $1`, st.ID).Scan(&ms, &d.status)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	d.at = time.UnixMilli(ms)
	left.Load(st, d)
	return err
}

// note writes down that somebody has left. It is an item of its own, so that a
// session ends also while the store fails; and it may wait, since the actor knows.
type note struct {
	id int64 // of the account
	departure
}

// Handle implements cluster.Item.
func (n *note) Handle(t *cluster.Turn, ac cluster.Actor) {
	a := ac.(*account.Actor)
	newest := leaving.Live(a)
	if a.ID() != n.id || a.Busy() || newest != nil && newest != n { // deleted, back already, or gone again
		return
	}
	left.SetDurable(a, &n.departure)
	t.Write(`INSERT INTO last_activity (owner, at, status) VALUES ($1, $2, $3)
		ON CONFLICT (owner) DO UPDATE SET at = excluded.at, status = excluded.status`, n.id, n.at.UnixMilli(), n.status)
	t.After(cluster.EffectFunc(func(*cluster.Turn) { leaving.SetLive(a, nil) }))
}

// Fail implements cluster.Item. What is known is then forgotten with the actor.
func (n *note) Fail(*cluster.Turn, error) {}
