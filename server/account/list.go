package account

import (
	"context"
	"time"

	"kith/server/storage"
	"kith/xmpp/jid"
)

// Info is what a list shows of an account.
type Info struct {
	JID      jid.JID   `json:"jid"`
	Created  time.Time `json:"created"`
	Last     time.Time `json:"last,omitzero"` // log-in, to the hour; zero: never
	Disabled bool      `json:"disabled"`
	Admin    bool      `json:"admin"`
}

// List returns all accounts in the order of their addresses.
func (s *Store) List(ctx context.Context) ([]Info, error) {
	var out []Info
	err := s.db.Read(ctx, func(r *storage.Reader) error {
		for row, err := range r.Query(`SELECT jid, created, last_login, disabled, admin FROM account WHERE jid IS NOT NULL ORDER BY jid`) {
			if err != nil {
				return err
			}
			var i Info
			var created, last int64
			if err := row.Scan(&i.JID, &created, &last, &i.Disabled, &i.Admin); err != nil {
				return err
			}
			i.Created = time.UnixMilli(created).UTC()
			if last != 0 {
				i.Last = time.UnixMilli(last).UTC()
			}
			out = append(out, i)
		}
		return nil
	})
	return out, err
}

// Count returns the number of accounts.
func (s *Store) Count(ctx context.Context) (n int, err error) {
	err = s.db.QueryRow(ctx, `SELECT count(*) FROM account WHERE jid IS NOT NULL`).Scan(&n)
	return n, err
}

// CountByHost returns the number of accounts of each domain that has any. An
// address without its end, all but the @, is what stands before its domain.
func (s *Store) CountByHost(ctx context.Context) (map[string]int, error) {
	counts := make(map[string]int)
	err := s.db.Read(ctx, func(r *storage.Reader) error {
		clear(counts)
		for row, err := range r.Query(`SELECT substr(jid, length(rtrim(jid, replace(jid, '@', ''))) + 1), count(*)
			FROM account WHERE jid IS NOT NULL GROUP BY 1`) {
			if err != nil {
				return err
			}
			var domain string
			var n int
			if err := row.Scan(&domain, &n); err != nil {
				return err
			}
			counts[domain] = n
		}
		return nil
	})
	return counts, err
}
