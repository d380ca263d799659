package factor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"kith/server/account"
	"kith/server/session"
	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpp/sasl"
)

// maxApps is how many app passwords an account may have; a log-in tries them all.
const maxApps = 20

// maxLabel is how long a label may be, in bytes.
const maxLabel = 100

// Errors of app passwords.
var (
	ErrTooManyApps = errors.New("the account has as many app passwords as it may have")
	ErrNoApp       = errors.New("there is no such app password")
	ErrLabel       = fmt.Errorf("the name of an app must have 1 to %d bytes", maxLabel)
)

// AppPassword is what a list shows of one.
type AppPassword = account.App

// NewAppPassword makes a password for one client of an account that has a second
// factor, and returns it; it cannot be told again. It takes the time of hashing a
// password. It fails with ErrNotEnrolled, ErrTooManyApps or ErrLabel.
func (s *Store) NewAppPassword(ctx context.Context, j jid.JID, label string) (password string, err error) {
	if label = strings.TrimSpace(label); label == "" || len(label) > maxLabel {
		return "", ErrLabel
	}
	password = strings.ToLower(rand.Text()) // 26 letters, 128 bits at least
	keys, err := s.accounts.KeysBeside(ctx, j, password)
	if err != nil {
		return "", fmt.Errorf("make an app password of %s: %w", j, err)
	}
	err = s.db.Write(ctx, func(tx *storage.Tx) error {
		id, err := account.ID(&tx.Reader, j)
		if err != nil {
			return err
		}
		var enabled bool
		if err := tx.QueryRow(`SELECT enabled FROM factor WHERE account = $1`, id).Scan(&enabled); err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
		if !enabled {
			return ErrNotEnrolled
		}
		if err := forgetVoid(tx, id); err != nil {
			return err
		}
		var n int
		if err := tx.QueryRow(`SELECT count(*) FROM app_password WHERE account = $1`, id).Scan(&n); err != nil {
			return err
		}
		if n >= maxApps {
			return ErrTooManyApps
		}
		var app int64
		err = tx.QueryRow(`INSERT INTO app_password (account, label, created, used) VALUES ($1, $2, $3, 0) RETURNING id`,
			id, label, time.Now().UnixMilli()).Scan(&app)
		if err != nil {
			return err
		}
		for hash, k := range keys.ByHash() {
			_, err := tx.Exec(`INSERT INTO app_key (app, account, hash, salt, stored_key, server_key) VALUES ($1, $2, $3, $4, $5, $6)`,
				app, id, hash, k.Salt, k.StoredKey, k.ServerKey)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("make an app password of %s: %w", j, err)
	}
	return password, nil
}

// forgetVoid deletes the app passwords that are void, because the account has not the
// password any more with which they were made.
func forgetVoid(tx *storage.Tx, id int64) error {
	if _, err := tx.Exec(`DELETE FROM app_password WHERE account = $1 AND NOT EXISTS (SELECT 1 FROM app_key k JOIN credential c
		ON c.account = k.account AND c.hash = k.hash AND c.salt = k.salt WHERE k.app = app_password.id)`, id); err != nil {
		return err
	}
	_, err := tx.Exec(`DELETE FROM app_key WHERE account = $1 AND app NOT IN (SELECT id FROM app_password WHERE account = $1)`, id)
	return err
}

// AppPasswords lists those of an account that let in, in the order in which they
// were made.
func (s *Store) AppPasswords(ctx context.Context, j jid.JID) ([]AppPassword, error) {
	list := []AppPassword{}
	err := s.db.Read(ctx, func(r *storage.Reader) error {
		list = list[:0]
		id, err := account.ID(r, j)
		if err != nil {
			return err
		}
		for row, err := range r.Query(`SELECT id, label, created, used FROM app_password WHERE account = $1 AND EXISTS (SELECT 1 FROM app_key k JOIN credential c
		ON c.account = k.account AND c.hash = k.hash AND c.salt = k.salt WHERE k.app = app_password.id)
			ORDER BY id`, id) {
			if err != nil {
				return err
			}
			var a AppPassword
			var created, used int64
			if err := row.Scan(&a.ID, &a.Label, &created, &used); err != nil {
				return err
			}
			a.Created = time.UnixMilli(created).UTC()
			if used != 0 {
				a.Used = time.UnixMilli(used).UTC()
			}
			list = append(list, a)
		}
		return nil
	})
	if errors.Is(err, account.ErrUnknown) {
		return list, nil // who is not there has none
	}
	if err != nil {
		return nil, fmt.Errorf("list the app passwords of %s: %w", j, err)
	}
	return list, nil
}

// Revoke makes an app password void; ErrNoApp if the account has none of that
// number. The sessions that it has opened end, but for one, which may be "".
func (s *Store) Revoke(ctx context.Context, j jid.JID, app int64, but session.ID) error {
	err := s.accounts.Withdraw(ctx, j, but, func(tx *storage.Tx) error {
		id, err := account.ID(&tx.Reader, j)
		if err != nil {
			return err
		}
		n, err := tx.Exec(`DELETE FROM app_password WHERE account = $1 AND id = $2`, id, app)
		if err == nil && n == 0 {
			err = ErrNoApp
		}
		if err != nil {
			return err
		}
		_, err = tx.Exec(`DELETE FROM app_key WHERE app = $1`, app)
		return err
	}, account.OfApp(app))
	if err != nil {
		return fmt.Errorf("revoke app password %d of %s: %w", app, j, err)
	}
	return nil
}

// Login is a SASL backend for one log-in that knows of second factors. In front
// of a client that cannot be asked for a code, an account that has a second factor
// has its app passwords only.
type Login struct {
	account.Backend
	Store *Store
	Host  jid.JID
	// Asks says that the client can be asked for a code afterwards: see Wanted.
	Asks bool

	account jid.JID
	enabled bool  // the account has a second factor
	app     int64 // the app password that was used
}

// Wanted returns the account whose code is wanted before the log-in is done, if
// one is: the account has a second factor, and it was its password that was
// proved.
func (l *Login) Wanted() (jid.JID, bool) { return l.account, l.enabled && l.app == 0 }

// ByApp reports whether it was an app password that was proved.
func (l *Login) ByApp() bool { return l.app != 0 }

// App returns the number of the app password that was proved; 0: none was.
func (l *Login) App() int64 { return l.app }

// SCRAM implements sasl.Backend.
func (l *Login) SCRAM(ctx context.Context, username, hash string) (sasl.Keys, error) {
	k, err := l.Backend.SCRAM(ctx, username, hash)
	if err != nil {
		return k, err
	}
	if err := l.add(ctx, username, hash, &k); err != nil {
		return sasl.Keys{}, err
	}
	return k, nil
}

// add puts the app passwords beside the password, or in its place.
func (l *Login) add(ctx context.Context, username, hash string, k *sasl.Keys) error {
	l.account, l.enabled, l.app = jid.JID{}, false, 0
	j, err := jid.New(username, l.Host.Domain(), "")
	if err != nil || !l.Local() {
		return nil //nolint:nilerr // nobody has such a name, and who asks must not learn it
	}
	var id int64
	err = l.Store.db.QueryRow(ctx, `SELECT a.id, f.enabled FROM account a JOIN factor f ON f.account = a.id WHERE a.jid = $1`, j.String()).
		Scan(&id, &l.enabled)
	var apps []int64
	if err == nil && l.enabled {
		apps, err = l.apps(ctx, id, hash, k)
	}
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("read the second factor of %s: %w", j, err)
	case !l.enabled:
		return nil
	}
	l.account = j
	k.OthersOnly = !l.Asks
	k.Proved = func(other int) {
		if other >= 0 {
			l.app = apps[other]
		}
	}
	return nil
}

// apps puts the keys of an account's app passwords into k, and returns their numbers
// in the same order.
func (l *Login) apps(ctx context.Context, id int64, hash string, k *sasl.Keys) (apps []int64, err error) {
	err = l.Store.db.ReadOne(ctx, func(r *storage.Reader) error {
		apps, k.Others = nil, nil
		for row, err := range r.Query(`SELECT app, stored_key, server_key FROM app_key WHERE account = $1 AND hash = $2 AND salt = $3 ORDER BY app`, id, hash, k.Salt) {
			if err != nil {
				return err
			}
			var app int64
			var p sasl.Pair
			if err := row.Scan(&app, &p.StoredKey, &p.ServerKey); err != nil {
				return err
			}
			apps, k.Others = append(apps, app), append(k.Others, p)
		}
		return nil
	})
	return apps, err
}

// Plain implements sasl.Backend.
func (l *Login) Plain(ctx context.Context, username, password string) error {
	hash, err := l.PlainHash(ctx, username)
	if err != nil {
		return err
	}
	k, err := l.SCRAM(ctx, username, hash)
	if err != nil {
		return err
	}
	if !l.enabled {
		return l.Backend.Plain(ctx, username, password)
	}
	return l.Store.accounts.CheckPassword(ctx, k, hash, password)
}

// Used notes that the app password by which somebody has logged in was used.
func (l *Login) Used(ctx context.Context) error {
	if l.app == 0 {
		return nil
	}
	return l.Store.db.Write(ctx, func(tx *storage.Tx) error {
		_, err := tx.Exec(`UPDATE app_password SET used = $2 WHERE id = $1`, l.app, time.Now().Truncate(time.Hour).UnixMilli())
		return err
	})
}
