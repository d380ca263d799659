package account

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpp/sasl"
)

// Keys are what is kept of a password, by which it can be proved.
type Keys [len(hashes)]sasl.Keys

// keys hashes a password, when it is its turn.
func (s *Store) keys(ctx context.Context, password string) (Keys, error) {
	if err := s.acquire(ctx); err != nil {
		return Keys{}, err
	}
	defer s.release()
	return MakeKeys(password)
}

// MakeKeys hashes a password. It takes its time.
func MakeKeys(password string) (out Keys, err error) {
	for i, h := range hashes {
		k, err := sasl.MakeKeys(h, password, sasl.NewSalt(), Iterations)
		if err != nil {
			return out, err
		}
		out[i] = k
	}
	return out, nil
}

// ByHash ranges over the keys with the names of their hashes.
func (k Keys) ByHash() iter.Seq2[string, sasl.Keys] {
	return func(yield func(string, sasl.Keys) bool) {
		for i, h := range hashes {
			if !yield(h, k[i]) {
				return
			}
		}
	}
}

// KeysBeside hashes another password of an account, with the salts of the one it
// has; ErrUnknown if there is no such account.
func (s *Store) KeysBeside(ctx context.Context, j jid.JID, password string) (out Keys, err error) {
	if err := s.acquire(ctx); err != nil {
		return out, err
	}
	defer s.release()
	for i, h := range hashes {
		have, err := s.read(ctx, j, h)
		if errors.Is(err, storage.ErrNotFound) {
			return out, ErrUnknown
		}
		if err != nil {
			return out, err
		}
		if out[i], err = sasl.MakeKeys(h, password, have.Salt, have.Iterations); err != nil {
			return out, err
		}
	}
	return out, nil
}

func (s *Store) acquire(ctx context.Context) error {
	select {
	case s.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Store) release() { <-s.slots }

// read returns the keys of an account that may log in; storage.ErrNotFound if
// there is none.
func (s *Store) read(ctx context.Context, j jid.JID, hash string) (k sasl.Keys, err error) {
	err = s.db.QueryRow(ctx, `SELECT c.salt, c.iterations, c.stored_key, c.server_key FROM credential c
		JOIN account a ON a.id = c.account WHERE a.jid = $1 AND c.hash = $2 AND NOT a.disabled`, j.String(), hash).
		Scan(&k.Salt, &k.Iterations, &k.StoredKey, &k.ServerKey)
	return k, err
}

// plain returns the keys by which a password is checked, and their hash: those of
// SHA-256, which most have, or what the account has; made up if there are none.
func (s *Store) plain(ctx context.Context, username, domain string) (k sasl.Keys, hash string, err error) {
	j, err := jid.New(username, domain, "")
	if err != nil { // no account has such a name
		return sasl.FakeKeys(s.secret, username+"@"+domain, sasl.SHA256, Iterations), sasl.SHA256, nil //nolint:nilerr // who asks must not learn it
	}
	err = s.db.QueryRow(ctx, `SELECT c.hash, c.salt, c.iterations, c.stored_key, c.server_key FROM credential c
		JOIN account a ON a.id = c.account WHERE a.jid = $1 AND NOT a.disabled
		ORDER BY CASE c.hash WHEN $2 THEN 0 WHEN $3 THEN 1 ELSE 2 END LIMIT 1`, j.String(), sasl.SHA256, sasl.SHA512).
		Scan(&hash, &k.Salt, &k.Iterations, &k.StoredKey, &k.ServerKey)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return sasl.FakeKeys(s.secret, j.String(), sasl.SHA256, Iterations), sasl.SHA256, nil
	case err != nil:
		return sasl.Keys{}, "", fmt.Errorf("read keys of %s: %w", j, err)
	}
	return k, hash, nil
}

// CheckPassword checks a password against keys, when it is its turn. A wrong one
// is a *sasl.Failure.
func (s *Store) CheckPassword(ctx context.Context, k sasl.Keys, hash, password string) error {
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer s.release()
	if !k.Check(hash, password) {
		return &sasl.Failure{Condition: sasl.NotAuthorized}
	}
	return nil
}
