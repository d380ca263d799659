package account

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kith/server/storage"
	"kith/xmpp/jid"
)

// Info returns what a list shows of one account; ErrUnknown if there is none.
func (s *Store) Info(ctx context.Context, j jid.JID) (Info, error) {
	i := Info{JID: j}
	err := s.db.Read(ctx, func(r *storage.Reader) error {
		var created, last int64
		err := r.QueryRow(`SELECT created, last_login, disabled, admin FROM account WHERE jid = $1`, j.String()).
			Scan(&created, &last, &i.Disabled, &i.Admin)
		i.Created = time.UnixMilli(created).UTC()
		if last != 0 {
			i.Last = time.UnixMilli(last).UTC()
		}
		return err
	})
	if errors.Is(err, storage.ErrNotFound) {
		err = ErrUnknown
	}
	if err != nil {
		return Info{}, fmt.Errorf("look up account %s: %w", j, err)
	}
	return i, nil
}

// SetAdmin makes an account an administrator's, or an ordinary one.
func (s *Store) SetAdmin(ctx context.Context, j jid.JID, admin bool) error {
	err := s.db.Write(ctx, func(tx *storage.Tx) error {
		n, err := tx.Exec(`UPDATE account SET admin = $2 WHERE jid = $1`, j.String(), admin)
		if err == nil && n == 0 {
			err = ErrUnknown
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("change rights of account %s: %w", j, err)
	}
	s.announce(j)
	return nil
}
