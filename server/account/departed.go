package account

import (
	"context"
	"errors"
	"fmt"

	"kith/server/storage"
	"kith/xmpp/jid"
)

// Gone is why a Directory refuses somebody whom it does not know, or not any more:
// he is not to be let in, whatever he shows. It is in the error of its methods.
type Gone string

// Error implements error.
func (g Gone) Error() string { return string(g) }

const errReplaced = Gone("the directory knows somebody else by that name now")

// Look asks the directory of a host, if it has one, whether somebody may still log
// in. If not, his tokens are void, his sessions end, and gone says why. What the
// directory says of his rights holds from now on. err says that it cannot be asked.
func (s *Store) Look(ctx context.Context, j jid.JID) (gone, err error) {
	d := s.peopleOf(j.Domain()).Directory
	if d == nil || s.Temporary(j) { // whom the directory has never known
		return nil, nil
	}
	p, err := d.Find(ctx, j.Local())
	if why, ok := errors.AsType[Gone](err); ok {
		return why, s.depart(ctx, j)
	}
	if err != nil {
		return nil, fmt.Errorf("look %s up: %w", j, err)
	}
	var a known
	other := false
	err = s.db.Read(ctx, func(r *storage.Reader) (err error) {
		if a, err = find(r, j.Domain(), p); err != nil {
			return err
		}
		var n int
		err = r.QueryRow(`SELECT count(*) FROM identity i JOIN account a ON a.id = i.account WHERE a.jid = $1 AND i.source = $2 AND i.subject <> $3`,
			j.String(), p.Source, p.Subject).Scan(&n)
		other = n > 0
		return err
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("look %s up: %w", j, err)
	case other:
		return errReplaced, s.depart(ctx, j)
	case a.id != 0 && a.jid == j && a.stale(p):
		_, err = s.settle(ctx, j.Domain(), p)
	}
	return nil, err
}

// depart ends what somebody has who is gone. The account stays: who comes back finds
// it.
func (s *Store) depart(ctx context.Context, j jid.JID) error {
	err := s.Withdraw(ctx, j, "", func(tx *storage.Tx) error {
		id, err := idOf(tx, j)
		if errors.Is(err, ErrUnknown) {
			return nil
		}
		if err != nil {
			return err
		}
		return revokeAll(tx, id)
	}, Everything)
	if err != nil {
		return fmt.Errorf("end the sessions of %s, who is gone: %w", j, err)
	}
	return nil
}
