package admin

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"kith/server/account"
	"kith/server/cluster"
	"kith/server/storage"
)

//go:embed migrations
var files embed.FS

// Migrations returns the tables of this package.
func Migrations() storage.Migrations {
	sub, err := fs.Sub(files, "migrations")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	return storage.Migrations{Name: "admin", FS: sub}
}

// Purges delete what is kept of a deleted account.
var Purges = []account.Purge{`DELETE FROM notice_seen WHERE owner = $1`}

// kind is what a notice is.
type kind string

const (
	motd    kind = "motd"    // everybody sees it once
	welcome kind = "welcome" // new accounts see it at their first log-in
)

// notice is something that an account is to be told when somebody is there.
type notice struct {
	kind kind
	id   int64
	body string
}

// pending are the notices that an account has not seen.
type pending []notice

// Size implements the account's measure.
func (p pending) Size() (n int) {
	for _, o := range p {
		n += 64 + len(o.body)
	}
	return n
}

var unseen = account.NewSlot[pending]("notices that nobody has seen")

// Load reads what an account has not been told, as a part of it. A host has two
// notices at most.
func Load(r *storage.Reader, st *account.State) error {
	var p pending
	for row, err := range r.Query(`SELECT n.kind, n.id, n.body FROM account a
		JOIN notice n ON substr(a.jid, length(a.jid) - length(n.host)) = '@' || n.host
		LEFT JOIN notice_seen s ON s.owner = a.id
		WHERE a.id = $1 AND n.body <> '' AND (n.kind = 'motd' AND n.id > coalesce(s.motd, 0)
			OR n.kind = 'welcome' AND a.created >= n.id AND coalesce(s.welcome, 0) = 0)
		ORDER BY n.kind DESC`, st.ID) {
		var n notice
		if err == nil {
			err = row.Scan((*string)(&n.kind), &n.id, &n.body)
		}
		if err != nil {
			return err
		}
		p = append(p, n)
	}
	if p != nil {
		unseen.Load(st, p)
	}
	return nil
}

// seen notes that an account has been told all that there was.
func seen(t *cluster.Turn, a *account.Actor) {
	var ids [2]int64
	for _, n := range unseen.Durable(a) {
		if n.kind == motd {
			ids[0] = n.id
		} else {
			ids[1] = n.id
		}
	}
	unseen.SetDurable(a, nil)
	t.Write(`INSERT INTO notice_seen (owner, motd, welcome) VALUES ($1, $2, $3) ON CONFLICT (owner) DO UPDATE SET
		motd = CASE WHEN excluded.motd > notice_seen.motd THEN excluded.motd ELSE notice_seen.motd END,
		welcome = CASE WHEN excluded.welcome > notice_seen.welcome THEN excluded.welcome ELSE notice_seen.welcome END`,
		a.ID(), ids[0], ids[1])
}

// current returns a host's notice, with an empty body if there is none.
func (a *admin) current(ctx context.Context, k kind) (n notice, err error) {
	n.kind = k
	err = a.host.DB.Read(ctx, func(r *storage.Reader) error {
		err := r.QueryRow(`SELECT id, body FROM notice WHERE host = $1 AND kind = $2`, a.host.Domain.Domain(), string(k)).Scan(&n.id, &n.body)
		if errors.Is(err, storage.ErrNotFound) {
			return nil
		}
		return err
	})
	return n, err
}

// set changes a host's notice; an empty body deletes it. A fresh one is shown to
// those who have seen the one before, too.
func (a *admin) set(ctx context.Context, k kind, body string, fresh bool) (n notice, err error) {
	n = notice{kind: k, body: body}
	err = a.host.DB.Write(ctx, func(tx *storage.Tx) error {
		return tx.QueryRow(`INSERT INTO notice (host, kind, id, body) VALUES ($1, $2, $3, $4) ON CONFLICT (host, kind) DO UPDATE SET
			body = excluded.body, id = CASE WHEN NOT $5 AND notice.body <> '' THEN notice.id
				WHEN excluded.id > notice.id THEN excluded.id ELSE notice.id + 1 END
			RETURNING id`, a.host.Domain.Domain(), string(k), time.Now().UnixMilli(), body, fresh).Scan(&n.id)
	})
	if err != nil {
		return n, fmt.Errorf("set the %s message of %s: %w", k, a.host.Domain, err)
	}
	return n, nil
}
