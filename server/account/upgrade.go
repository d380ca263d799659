package account

import (
	"context"
	"errors"

	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpp/negotiate"
	"kith/xmpp/sasl"
)

// Upgrader makes keys of further hashes for the accounts of a host (XEP-0480).
func (s *Store) Upgrader(host jid.JID) negotiate.Upgrader { return upgrader{s, host.Domain()} }

type upgrader struct {
	s      *Store
	domain string
}

// Lacks implements negotiate.Upgrader.
func (u upgrader) Lacks(ctx context.Context, username, hash string) (lacks bool, err error) {
	j, err := jid.New(username, u.domain, "")
	if err != nil {
		return false, err
	}
	var have, all int
	err = u.s.db.QueryRow(ctx, `SELECT count(*), coalesce(sum(CASE WHEN c.hash = $2 THEN 1 ELSE 0 END), 0) FROM credential c
		JOIN account a ON a.id = c.account WHERE a.jid = $1`, j.String(), hash).Scan(&all, &have)
	return all > 0 && have == 0, err
}

// Add implements negotiate.Upgrader. Keys that are there already stay. An account whose
// password was forgotten meanwhile gets none by it.
func (u upgrader) Add(ctx context.Context, username, hash string, k sasl.Keys) error {
	j, err := jid.New(username, u.domain, "")
	if err != nil {
		return err
	}
	return u.s.db.Write(ctx, func(tx *storage.Tx) error {
		id, err := idOf(tx, j)
		if errors.Is(err, ErrUnknown) {
			return &sasl.Failure{Condition: sasl.NotAuthorized, Err: err}
		}
		if err != nil {
			return err
		}
		var n int
		if err := tx.QueryRow(`SELECT count(*) FROM credential WHERE account = $1`, id).Scan(&n); err != nil {
			return err
		}
		if n == 0 {
			return &sasl.Failure{Condition: sasl.NotAuthorized}
		}
		_, err = tx.Exec(`INSERT INTO credential (account, hash, salt, iterations, stored_key, server_key)
			VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`, id, hash, k.Salt, k.Iterations, k.StoredKey, k.ServerKey)
		return err
	})
}
