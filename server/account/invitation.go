package account

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"kith/server/account/lookalike"
	"kith/server/storage"
	"kith/xmpp/jid"
)

// ErrNoInvitation is returned for a token or a number that belongs to no
// invitation: none ever did, it was used or revoked, or it has expired.
var ErrNoInvitation = errors.New("there is no such invitation")

// Invitation lets whoever has its token make one account on a host.
type Invitation struct {
	ID      int64     `json:"id"` // never another's
	Host    jid.JID   `json:"host"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	Admin   bool      `json:"admin"`            // the account will be an administrator's
	Contact jid.JID   `json:"contact,omitzero"` // an account whose contact the new one becomes; may be zero
}

// Invite makes an invitation for a host, with an expiry, and if wanted an
// administrator and a contact, who must have an account here. It returns the
// token, which is kept as a hash only and cannot be told again.
func (s *Store) Invite(ctx context.Context, i Invitation) (token string, made Invitation, err error) {
	if err := s.own(i.Host); err != nil {
		return "", i, fmt.Errorf("make an invitation for %s: %w", i.Host, err)
	}
	token = rand.Text() // 128 bits at least (XEP-0379 §6.1 suggests 80)
	hash := sha256.Sum256([]byte(token))
	i.Created = time.Now()
	err = s.db.Write(ctx, func(tx *storage.Tx) error {
		var owner any
		if !i.Contact.IsZero() {
			id, err := idOf(tx, i.Contact)
			if err != nil {
				return err
			}
			owner = id
		}
		if _, err := tx.Exec(`DELETE FROM invitation WHERE expires < $1`, i.Created.Add(-grace).UnixMilli()); err != nil {
			return err
		}
		return tx.QueryRow(`INSERT INTO invitation (hash, host, created, expires, admin, owner)
			VALUES ($1, $2, $3, $4, $5, $6) RETURNING id`,
			hash[:], i.Host.Domain(), i.Created.UnixMilli(), i.Expires.UnixMilli(), i.Admin, owner).Scan(&i.ID)
	})
	if err != nil {
		return "", i, fmt.Errorf("make an invitation for %s: %w", i.Host, err)
	}
	return token, i, nil
}

// grace is how long an invitation that has expired is kept: whoever has shown its
// token in time may still register (XEP-0445 §4), and that stream will not last
// so long.
const grace = 24 * time.Hour

// Invitations returns the invitations that can be used, in the order in which
// they were made.
func (s *Store) Invitations(ctx context.Context) ([]Invitation, error) {
	var out []Invitation
	err := s.db.Read(ctx, func(r *storage.Reader) error {
		out = nil
		for row, err := range r.Query(`SELECT i.id, i.host, i.created, i.expires, i.admin, coalesce(a.jid, '')
			FROM invitation i LEFT JOIN account a ON a.id = i.owner WHERE i.expires > $1 ORDER BY i.id`, time.Now().UnixMilli()) {
			if err != nil {
				return err
			}
			var i Invitation
			var host, contact string
			var created, expires int64
			if err := row.Scan(&i.ID, &host, &created, &expires, &i.Admin, &contact); err != nil {
				return err
			}
			if i.Host, err = jid.Parse(host); err != nil {
				return err
			}
			if contact != "" {
				if i.Contact, err = jid.Parse(contact); err != nil {
					return err
				}
			}
			i.Created, i.Expires = time.UnixMilli(created).UTC(), time.UnixMilli(expires).UTC()
			out = append(out, i)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list invitations: %w", err)
	}
	return out, nil
}

// Revoke makes an invitation void.
func (s *Store) Revoke(ctx context.Context, id int64) error {
	err := s.db.Write(ctx, func(tx *storage.Tx) error {
		n, err := tx.Exec(`DELETE FROM invitation WHERE id = $1`, id)
		if err == nil && n == 0 {
			err = ErrNoInvitation
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("revoke invitation %d: %w", id, err)
	}
	return nil
}

// Ticket is what a stranger holds who has shown a token in time. The zero value
// is none.
type Ticket struct {
	hash [sha256.Size]byte
	held bool
}

// Held reports whether it is one.
func (k Ticket) Held() bool { return k.held }

// Admit returns the ticket for a token, if that may be used on a host now.
func (s *Store) Admit(ctx context.Context, host jid.JID, token string) (Ticket, error) {
	k := Ticket{sha256.Sum256([]byte(token)), true}
	var id int64
	err := s.db.QueryRow(ctx, `SELECT id FROM invitation WHERE hash = $1 AND host = $2 AND expires > $3`,
		k.hash[:], host.Domain(), time.Now().UnixMilli()).Scan(&id)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return Ticket{}, ErrNoInvitation
	case err != nil:
		return Ticket{}, fmt.Errorf("look an invitation up: %w", err)
	}
	return k, nil
}

// Redeem makes an account by an invitation, which is used up by the same commit:
// of several who have the token one gets an account, and who fails has not used
// it. It fails as Create does, and with ErrNoInvitation. It returns the
// invitation as it was.
func (s *Store) Redeem(ctx context.Context, j jid.JID, password string, k Ticket) (i Invitation, err error) {
	if lookalike.Mixed(j.Local()) {
		return i, fmt.Errorf("create account %s: %w", j, ErrMixed)
	}
	if err := s.own(j); err != nil {
		return i, fmt.Errorf("create account %s: %w", j, err)
	}
	if s.reserved(j) {
		return i, fmt.Errorf("create account %s: %w", j, ErrExists)
	}
	keys, err := s.keys(ctx, password)
	if err != nil {
		return i, err
	}
	err = s.db.Write(ctx, func(tx *storage.Tx) error {
		i = Invitation{Host: j.Host()}
		var owner int64
		err := tx.QueryRow(`DELETE FROM invitation WHERE hash = $1 AND host = $2 RETURNING id, admin, coalesce(owner, 0)`,
			k.hash[:], j.Domain()).Scan(&i.ID, &i.Admin, &owner)
		switch {
		case errors.Is(err, storage.ErrNotFound):
			return ErrNoInvitation
		case err != nil:
			return err
		}
		if owner != 0 {
			err := tx.QueryRow(`SELECT jid FROM account WHERE id = $1 AND jid IS NOT NULL`, owner).Scan(&i.Contact)
			if err != nil && !errors.Is(err, storage.ErrNotFound) {
				return err
			}
		}
		_, err = insert(tx, j, i.Admin, keys)
		return err
	})
	if err != nil {
		return i, fmt.Errorf("create account %s: %w", j, err)
	}
	s.announce(j)
	return i, nil
}
