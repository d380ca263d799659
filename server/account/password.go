package account

import (
	"context"
	"errors"
	"fmt"

	"kith/server/session"
	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpp/sasl"
)

// SetPassword changes the password of an account; ErrUnknown if there is none,
// ErrElsewhere if it is not this server that knows by what it is logged in to.
// Its sessions end, but for the one that asks for it, which may be "".
func (s *Store) SetPassword(ctx context.Context, j jid.JID, password string, by session.ID) error {
	if err := s.own(j); err != nil {
		return fmt.Errorf("set password of %s: %w", j, err)
	}
	keys, err := s.keys(ctx, password)
	if err != nil {
		return err
	}
	done := s.revoke(j)
	err = s.db.Write(ctx, func(tx *storage.Tx) error {
		id, err := idOf(tx, j)
		if err != nil {
			return err
		}
		switch elsewhere, err := linked(tx, id); {
		case err != nil:
			return err
		case elsewhere:
			return ErrElsewhere
		}
		if err := revokeAll(tx, id); err != nil {
			return err
		}
		return insertKeys(tx, id, keys)
	})
	done()
	if err != nil {
		return fmt.Errorf("set password of %s: %w", j, err)
	}
	s.announcePassword(j, by)
	return nil
}

// ChangePassword is SetPassword for somebody who changes his own: where there is a
// directory that allows it, in there. It fails with ErrPassword if that wants
// another one.
func (s *Store) ChangePassword(ctx context.Context, j jid.JID, password string, by session.ID) error {
	d := s.peopleOf(j.Domain()).Directory
	if d == nil {
		return s.SetPassword(ctx, j, password, by)
	}
	if err := s.changeThere(ctx, d, j, password); err != nil {
		return fmt.Errorf("change password of %s: %w", j, err)
	}
	s.announcePassword(j, by)
	return nil
}

// changeThere changes a password in a directory.
func (s *Store) changeThere(ctx context.Context, d Directory, j jid.JID, password string) error {
	p, err := d.Find(ctx, j.Local())
	if err == nil {
		var a known
		err = s.db.Read(ctx, func(r *storage.Reader) (err error) {
			a, err = find(r, j.Domain(), p)
			return err
		})
		if err == nil && a.jid != j { // the name is somebody else's there by now
			err = ErrElsewhere
		}
	}
	if err == nil {
		done := s.revoke(j)
		defer done()
		err = d.SetPassword(ctx, p, password)
	}
	if f, ok := errors.AsType[*sasl.Failure](err); ok {
		err = fmt.Errorf("%w: %w", ErrElsewhere, f)
	}
	return err
}

func (s *Store) announcePassword(j jid.JID, by session.ID) {
	s.mu.RLock()
	f := s.rekeyed
	s.mu.RUnlock()
	f(j, by)
}
