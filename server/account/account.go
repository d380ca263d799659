// Package account keeps the accounts of a server: who exists and may log in, by
// which keys, and the actor that an account is while anybody deals with it.
//
// Rows of accounts are written here and nowhere else. An actor belongs to its
// lane; a change of its account's rows is made known to it by Reload.
package account

import (
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"

	"kith/server/account/lookalike"
	"kith/server/cluster"
	"kith/server/limit"
	"kith/server/session"
	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpp/sasl"
)

//go:embed migrations
var migrations embed.FS

// Errors of the store.
var (
	ErrExists  = errors.New("the account exists")
	ErrUnknown = errors.New("there is no such account")
)

// Iterations is how often a password is hashed for its SCRAM keys.
const Iterations = sasl.MinIterations

// hashes of the keys kept for each account: those a client may ask for.
var hashes = [...]string{sasl.SHA1, sasl.SHA256, sasl.SHA512}

// checks is how many passwords are checked or turned into keys at once. That is
// most of what a stranger can make the server compute.
const checks = 2

// Store is the accounts' part of the database.
type Store struct {
	db      *storage.DB
	secret  []byte        // of the keys of users who do not exist
	vault   vault         // of tokens
	slots   chan struct{} // for hashing passwords
	mu      sync.RWMutex  // guards changed, rekeyed, withdrawn and parting
	changed func(jid.JID)
	rekeyed func(jid.JID, session.ID)

	withdrawn func(jid.JID, []Access, session.ID)

	parting Parting
	purges  []Purge
	people  atomic.Pointer[map[string]People] // by domain

	temporary   temporaries
	revocations revocations
}

// Purge is how a package deletes what it keeps of an account: a statement with
// the account's id as $1 that deletes a bounded number of rows each time.
type Purge string

// Open prepares the accounts in a database. purges delete what other packages
// keep of an account.
func Open(ctx context.Context, db *storage.DB, purges ...Purge) (*Store, error) {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := db.Migrate(ctx, storage.Migrations{Name: "account", FS: sub}, storage.Migrations{Name: "device", FS: devices}); err != nil {
		return nil, err
	}
	if err := fillSkeletons(ctx, db); err != nil {
		return nil, err
	}
	s := &Store{db: db, slots: make(chan struct{}, checks), purges: purges, changed: func(jid.JID) {}, rekeyed: func(jid.JID, session.ID) {},
		withdrawn: func(jid.JID, []Access, session.ID) {}}
	s.temporary.slots, s.temporary.by = limit.NewSlots(0, 0), make(map[jid.JID]string)
	if s.secret, err = s.Secret(ctx, "scram"); err != nil {
		return nil, err
	}
	if err := s.openVault(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Secret returns 32 random bytes that the database keeps under a name: the same as
// long as there is that database. They are made when they are asked for first.
func (s *Store) Secret(ctx context.Context, name string) (secret []byte, err error) {
	fresh := make([]byte, 32)
	rand.Read(fresh)
	err = s.db.Write(ctx, func(tx *storage.Tx) error {
		if _, err := tx.Exec(`INSERT INTO secret (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING`, name, fresh); err != nil {
			return err
		}
		return tx.QueryRow(`SELECT value FROM secret WHERE name = $1`, name).Scan(&secret)
	})
	if err != nil {
		return nil, fmt.Errorf("read the server's secret %s: %w", name, err)
	}
	return secret, nil
}

// Parting is called before an account is deleted, while what it has is there.
type Parting func(ctx context.Context, id int64, j jid.JID) error

// OnDelete sets what is called before an account is deleted. Its error keeps the
// account.
func (s *Store) OnDelete(f Parting) {
	s.mu.Lock()
	s.parting = f
	s.mu.Unlock()
}

// part calls what is to be called before a deletion.
func (s *Store) part(ctx context.Context, j jid.JID) error {
	s.mu.RLock()
	f := s.parting
	s.mu.RUnlock()
	if f == nil {
		return nil
	}
	st, err := s.Load(ctx, j, nil)
	if err != nil || st.ID == 0 {
		return err
	}
	return f(ctx, st.ID, j)
}

// OnChange sets what is called after an account was made, changed or deleted.
func (s *Store) OnChange(f func(jid.JID)) {
	s.mu.Lock()
	s.changed = f
	s.mu.Unlock()
}

// OnPassword sets what is called after an account has got another password, with
// the session that has asked for it; "" for none.
func (s *Store) OnPassword(f func(j jid.JID, by session.ID)) {
	s.mu.Lock()
	s.rekeyed = f
	s.mu.Unlock()
}

func (s *Store) announce(j jid.JID) {
	s.mu.RLock()
	f := s.changed
	s.mu.RUnlock()
	f(j)
}

// Create makes an account. It fails with ErrExists, or with ErrMixed or a
// *Lookalike for a name that could be taken for another; a password that SASLprep
// refuses fails with sasl.ErrCredentials. At a host that has a directory it fails
// with ErrElsewhere.
func (s *Store) Create(ctx context.Context, j jid.JID, password string, admin bool) error {
	if err := s.check(j); err != nil { // before the password takes its time
		return err
	}
	keys, err := s.keys(ctx, password)
	if err != nil {
		return err
	}
	return s.CreateWith(ctx, j, keys, admin)
}

func (s *Store) check(j jid.JID) error {
	if j.Local() == "" || !j.IsBare() {
		return fmt.Errorf("create account %s: the address must be name@domain", j)
	}
	if lookalike.Mixed(j.Local()) {
		return fmt.Errorf("create account %s: %w", j, ErrMixed)
	}
	if err := s.own(j); err != nil {
		return fmt.Errorf("create account %s: %w", j, err)
	}
	if s.reserved(j) {
		return fmt.Errorf("create account %s: %w", j, ErrExists)
	}
	return nil
}

// CreateWith is Create for a password that was hashed before.
func (s *Store) CreateWith(ctx context.Context, j jid.JID, keys Keys, admin bool) error {
	if err := s.check(j); err != nil {
		return err
	}
	err := s.db.Write(ctx, func(tx *storage.Tx) error {
		_, err := insert(tx, j, admin, keys)
		return err
	})
	if err != nil {
		return fmt.Errorf("create account %s: %w", j, err)
	}
	s.announce(j)
	return nil
}

// insert writes the rows of a new account and returns its id.
func insert(tx *storage.Tx, j jid.JID, admin bool, keys Keys) (id int64, err error) {
	if id, err = insertBare(tx, j, admin, false); err != nil {
		return 0, err
	}
	return id, insertKeys(tx, id, keys)
}

func insertKeys(tx *storage.Tx, id int64, keys Keys) error {
	for i, k := range keys {
		_, err := tx.Exec(`INSERT INTO credential (account, hash, salt, iterations, stored_key, server_key)
			VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (account, hash) DO UPDATE SET salt = excluded.salt, iterations = excluded.iterations,
			stored_key = excluded.stored_key, server_key = excluded.server_key`,
			id, hashes[i], k.Salt, k.Iterations, k.StoredKey, k.ServerKey)
		if err != nil {
			return err
		}
	}
	return nil
}

func idOf(tx *storage.Tx, j jid.JID) (int64, error) { return ID(&tx.Reader, j) }

// ID returns the id of an account, by which other packages keep what is its;
// ErrUnknown if there is none.
func ID(r *storage.Reader, j jid.JID) (id int64, err error) {
	err = r.QueryRow(`SELECT id FROM account WHERE jid = $1`, j.String()).Scan(&id)
	if errors.Is(err, storage.ErrNotFound) {
		return 0, ErrUnknown
	}
	return id, err
}

// SetDisabled locks an account out or lets it in again; what it has is kept.
func (s *Store) SetDisabled(ctx context.Context, j jid.JID, disabled bool) error {
	done := s.revoke(j)
	err := s.db.Write(ctx, func(tx *storage.Tx) error {
		id, err := idOf(tx, j)
		if err != nil {
			return err
		}
		if err := revokeAll(tx, id); err != nil {
			return err
		}
		_, err = tx.Exec(`UPDATE account SET disabled = $2 WHERE id = $1`, id, disabled)
		return err
	})
	done()
	if err != nil {
		return fmt.Errorf("disable account %s: %w", j, err)
	}
	s.announce(j)
	return nil
}

// Delete deletes an account. One commit takes its address and its keys; what
// else is kept of it is deleted in pieces, so that nobody waits for it.
func (s *Store) Delete(ctx context.Context, j jid.JID) error {
	finish, err := s.Mark(ctx, j)
	if err != nil {
		return err
	}
	return finish(ctx)
}

// Mark is the first part of Delete, the commit after which the account is gone
// for good. The second part, finish, ends its sessions and deletes the rest; if
// it does not come to that, the next start does (see Resume).
func (s *Store) Mark(ctx context.Context, j jid.JID) (finish func(context.Context) error, err error) {
	if err := s.part(ctx, j); err != nil {
		return nil, fmt.Errorf("delete account %s: %w", j, err)
	}
	var id int64
	done := s.revoke(j)
	err = s.db.Write(ctx, func(tx *storage.Tx) (err error) {
		if id, err = idOf(tx, j); err != nil {
			return err
		}
		if _, err = tx.Exec(`UPDATE account SET jid = NULL, skeleton = NULL, disabled = $2 WHERE id = $1`, id, true); err != nil {
			return err
		}
		if err = revokeAll(tx, id); err != nil {
			return err
		}
		if _, err = tx.Exec(`DELETE FROM invitation WHERE owner = $1`, id); err != nil {
			return err
		}
		if _, err = tx.Exec(`DELETE FROM identity WHERE account = $1`, id); err != nil {
			return err
		}
		_, err = tx.Exec(`DELETE FROM credential WHERE account = $1`, id)
		return err
	})
	done()
	if err != nil {
		return nil, fmt.Errorf("delete account %s: %w", j, err)
	}
	return func(ctx context.Context) error {
		s.announce(j)
		return s.purge(ctx, id)
	}, nil
}

// purge deletes what is left of a deleted account, then the account.
func (s *Store) purge(ctx context.Context, id int64) error {
	for _, p := range s.purges {
		for n := int64(1); n > 0; {
			err := s.db.Write(ctx, func(tx *storage.Tx) (err error) {
				n, err = tx.Exec(string(p), id)
				return err
			})
			if err != nil {
				return fmt.Errorf("delete what account %d left: %w", id, err)
			}
		}
	}
	return s.db.Write(ctx, func(tx *storage.Tx) error {
		_, err := tx.Exec(`DELETE FROM account WHERE id = $1 AND jid IS NULL`, id)
		return err
	})
}

// Resume goes on with deletions that a stop of the server interrupted.
func (s *Store) Resume(ctx context.Context) error {
	var ids []int64
	err := s.db.Read(ctx, func(r *storage.Reader) error {
		for row, err := range r.Query(`SELECT id FROM account WHERE jid IS NULL`) {
			if err != nil {
				return err
			}
			var id int64
			if err := row.Scan(&id); err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return nil
	})
	for _, id := range ids {
		if err == nil {
			err = s.purge(ctx, id)
		}
	}
	return err
}

// Key returns the key of the account's actor.
func Key(j jid.JID) cluster.Key { return cluster.Key(j.Bare().String()) }
