package account

import (
	"context"
	"errors"
	"fmt"

	"kith/server/account/lookalike"
	"kith/server/storage"
	"kith/xmpp/jid"
)

// ErrMixed is returned for a name that mixes scripts as no language does.
var ErrMixed = errors.New("the name mixes scripts, so that it could be taken for another one")

// Lookalike is returned for a name that looks like that of another account of
// the host (UTS #39).
type Lookalike struct {
	Other jid.JID // who has that name
}

// Error implements error.
func (e *Lookalike) Error() string { return "the name looks like that of " + e.Other.String() }

// Available returns nil if an account of this address could be made now, else
// what Create would fail with.
func (s *Store) Available(ctx context.Context, j jid.JID) error {
	if lookalike.Mixed(j.Local()) {
		return ErrMixed
	}
	if s.reserved(j) {
		return ErrExists
	}
	return s.db.Read(ctx, func(r *storage.Reader) error {
		var id int64
		err := r.QueryRow(`SELECT id FROM account WHERE jid = $1`, j.String()).Scan(&id)
		switch {
		case err == nil:
			return ErrExists
		case !errors.Is(err, storage.ErrNotFound):
			return err
		}
		return checkSkeleton(r, skeletonOf(j), j)
	})
}

// skeletonOf is what is kept of an address to find names that look like it.
func skeletonOf(j jid.JID) string { return lookalike.Skeleton(j.Local()) + "@" + j.Domain() }

// checkSkeleton fails if another account than j has a skeleton.
func checkSkeleton(r *storage.Reader, skeleton string, j jid.JID) error {
	var other jid.JID
	err := r.QueryRow(`SELECT jid FROM account WHERE skeleton = $1 AND jid <> $2 LIMIT 1`, skeleton, j.String()).Scan(&other)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	return &Lookalike{other}
}

// fillAtOnce is how many accounts get their skeletons in one commit.
const fillAtOnce = 1000

// fillSkeletons makes the skeletons of accounts that have none, or one by other
// rules.
func fillSkeletons(ctx context.Context, db *storage.DB) error {
	for {
		var names []jid.JID
		err := db.Read(ctx, func(r *storage.Reader) error {
			names = names[:0]
			for row, err := range r.Query(`SELECT jid FROM account WHERE skeleton_version <> $1 AND jid IS NOT NULL LIMIT $2`,
				lookalike.Version, fillAtOnce) {
				var j jid.JID
				if err == nil {
					err = row.Scan(&j)
				}
				if err != nil {
					return err
				}
				names = append(names, j)
			}
			return nil
		})
		if err == nil && len(names) > 0 {
			err = db.Write(ctx, func(tx *storage.Tx) error {
				for _, j := range names {
					if _, err := tx.Exec(`UPDATE account SET skeleton = $2, skeleton_version = $3 WHERE jid = $1`,
						j.String(), skeletonOf(j), lookalike.Version); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err != nil {
			return fmt.Errorf("compare the names of accounts: %w", err)
		}
		if len(names) == 0 {
			return nil
		}
	}
}
