// Package factor keeps second factors: of which accounts a log-in wants a code
// besides the password, and the passwords of their clients that cannot give one.
//
// A code is one of six digits of RFC 6238, or one of the recovery codes, each of
// which works once. An app password is made here, not chosen; it stands for
// password and code together, for one client, until it is revoked or the account
// gets another password.
//
// Everything here waits for the database: it is for the streams and the pools,
// not for the lanes.
package factor

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"kith/server/account"
	"kith/server/storage"
	"kith/xmpp/jid"
)

//go:embed migrations
var files embed.FS

// Migrations returns the tables of this package.
func Migrations() storage.Migrations {
	sub, err := fs.Sub(files, "migrations")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	return storage.Migrations{Name: "factor", FS: sub}
}

// Purges delete what is kept of a deleted account.
var Purges = []account.Purge{
	`DELETE FROM factor WHERE account = $1`,
	`DELETE FROM recovery_code WHERE account = $1`,
	`DELETE FROM app_key WHERE account = $1`,
	`DELETE FROM app_password WHERE account = $1`,
}

// Errors of the store.
var (
	ErrEnrolled    = errors.New("the account has a second factor already")
	ErrNotEnrolled = errors.New("the account has no second factor")
	ErrCode        = errors.New("the code is wrong, or was used before")
	ErrTooMany     = errors.New("too many wrong codes; try again later")
)

const (
	period     = 30 * time.Second // and six digits of SHA-1, which is all that authenticators agree on
	skew       = 1                // periods that a clock may be off
	secretSize = 20               // bytes (RFC 4226 §4, R6)

	recoveryCodes = 10
	recoverySize  = 10 // letters of five bits; they are guessed at the same rate as codes

	// patience is how many wrong codes in a row cost nothing. After that each
	// doubles the time for which none is looked at, from firstPause to lastPause.
	patience   = 5
	firstPause = 30 * time.Second
	lastPause  = 15 * time.Minute
)

// Store is the second factors' part of the database.
type Store struct {
	db       *storage.DB
	accounts *account.Store
	seal     cipher.AEAD
	pepper   []byte // of the hashes of recovery codes
}

// Open prepares the store; the tables are there.
func Open(ctx context.Context, db *storage.DB, accounts *account.Store) (*Store, error) {
	secret, err := accounts.Secret(ctx, "second factor")
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(derive(secret, "seal"))
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &Store{db, accounts, aead, derive(secret, "recovery")}, nil
}

func derive(secret []byte, what string) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(what))
	return mac.Sum(nil)
}

// Enrolment is what an authenticator has to be told.
type Enrolment struct {
	Secret string // in base32, to be typed
	URI    string // otpauth://, for a QR code
}

// authenticators read base32 as in RFC 4648 §6, without padding.
var alphabet = base32.StdEncoding.WithPadding(base32.NoPadding)

// Begin makes a new secret for an account. It is not asked for before Confirm has
// seen a code of it. It fails with ErrEnrolled, or account.ErrUnknown.
func (s *Store) Begin(ctx context.Context, j jid.JID) (Enrolment, error) {
	secret := make([]byte, secretSize)
	rand.Read(secret)
	err := s.db.Write(ctx, func(tx *storage.Tx) error {
		id, err := account.ID(&tx.Reader, j)
		if err != nil {
			return err
		}
		n, err := tx.Exec(`INSERT INTO factor (account, secret, enabled, step, failures, until) VALUES ($1, $2, $3, 0, 0, 0)
			ON CONFLICT (account) DO UPDATE SET secret = excluded.secret, step = 0 WHERE NOT factor.enabled`,
			id, s.seal.Seal(nil, nil, secret, sealFor(id)), false)
		if err == nil && n == 0 {
			err = ErrEnrolled
		}
		return err
	})
	if err != nil {
		return Enrolment{}, fmt.Errorf("begin the second factor of %s: %w", j, err)
	}
	text := alphabet.EncodeToString(secret)
	issuer := j.Domain()
	uri := url.URL{Scheme: "otpauth", Host: "totp", Path: "/" + issuer + ":" + j.String(),
		RawQuery: url.Values{"secret": {text}, "issuer": {issuer}}.Encode()}
	return Enrolment{text, uri.String()}, nil
}

// sealFor binds a sealed secret to its account.
func sealFor(id int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(id)) }

// Confirm ends what Begin began: from now on a log-in wants a code. It returns
// the recovery codes, which are kept as hashes only and cannot be told again. It
// fails with ErrCode, ErrTooMany, ErrEnrolled or ErrNotEnrolled.
func (s *Store) Confirm(ctx context.Context, j jid.JID, code string) (recovery []string, err error) {
	err = s.use(ctx, j, func(tx *storage.Tx, f *row, now time.Time) error {
		if f.enabled {
			return ErrEnrolled
		}
		if err := s.checkTime(tx, f, code, now); err != nil {
			return err
		}
		if _, err := tx.Exec(`UPDATE factor SET enabled = $2 WHERE account = $1`, f.account, true); err != nil {
			return err
		}
		recovery, err = s.renew(tx, f.account)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("confirm the second factor of %s: %w", j, err)
	}
	return recovery, nil
}

// renew puts new recovery codes in the place of those there were.
func (s *Store) renew(tx *storage.Tx, id int64) (codes []string, err error) {
	if _, err := tx.Exec(`DELETE FROM recovery_code WHERE account = $1`, id); err != nil {
		return nil, err
	}
	for range recoveryCodes {
		code := strings.ToLower(rand.Text()[:recoverySize])
		if _, err := tx.Exec(`INSERT INTO recovery_code (account, hash) VALUES ($1, $2)`, id, s.hash(id, code)); err != nil {
			return nil, err
		}
		codes = append(codes, code[:recoverySize/2]+"-"+code[recoverySize/2:])
	}
	return codes, nil
}

// hash is how a recovery code is kept. With the key that is elsewhere in the
// database, who has only these rows cannot try the few codes that there are.
func (s *Store) hash(id int64, code string) []byte {
	mac := hmac.New(sha256.New, s.pepper)
	mac.Write(sealFor(id))
	mac.Write([]byte(code))
	return mac.Sum(nil)
}

// Renew replaces the recovery codes of an account, for a code that is right.
func (s *Store) Renew(ctx context.Context, j jid.JID, code string) (recovery []string, err error) {
	err = s.use(ctx, j, func(tx *storage.Tx, f *row, now time.Time) (err error) {
		if err = s.check(tx, f, code, now); err == nil {
			recovery, err = s.renew(tx, f.account)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("renew the recovery codes of %s: %w", j, err)
	}
	return recovery, nil
}

// Status is what an account has.
type Status struct {
	Enabled  bool
	Recovery int // codes that are left
}

// Status returns what an account has.
func (s *Store) Status(ctx context.Context, j jid.JID) (st Status, err error) {
	err = s.db.Read(ctx, func(r *storage.Reader) error {
		st = Status{}
		id, err := account.ID(r, j)
		if err != nil {
			return err
		}
		err = r.QueryRow(`SELECT enabled FROM factor WHERE account = $1`, id).Scan(&st.Enabled)
		if errors.Is(err, storage.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return r.QueryRow(`SELECT count(*) FROM recovery_code WHERE account = $1`, id).Scan(&st.Recovery)
	})
	if errors.Is(err, account.ErrUnknown) {
		return Status{}, nil // who is not there has none
	}
	if err != nil {
		return Status{}, fmt.Errorf("read the second factor of %s: %w", j, err)
	}
	return st, nil
}

// Check takes a code of an account, and it cannot be used again. It fails with
// ErrCode, ErrTooMany or ErrNotEnrolled.
func (s *Store) Check(ctx context.Context, j jid.JID, code string) error {
	err := s.use(ctx, j, func(tx *storage.Tx, f *row, now time.Time) error {
		if !f.enabled {
			return ErrNotEnrolled
		}
		return s.check(tx, f, code, now)
	})
	if err != nil {
		return fmt.Errorf("second factor of %s: %w", j, err)
	}
	return nil
}

// Remove takes the second factor from an account, and with it the app passwords:
// they stood for it; the sessions that these have opened end. It reports whether
// there was one.
func (s *Store) Remove(ctx context.Context, j jid.JID) (was bool, err error) {
	err = s.accounts.Withdraw(ctx, j, "", func(tx *storage.Tx) error {
		id, err := account.ID(&tx.Reader, j)
		if err != nil {
			return err
		}
		if err := tx.QueryRow(`SELECT enabled FROM factor WHERE account = $1`, id).Scan(&was); err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
		for _, p := range Purges {
			if _, err := tx.Exec(string(p), id); err != nil {
				return err
			}
		}
		return nil
	}, account.Apps)
	if err != nil {
		return false, fmt.Errorf("remove the second factor of %s: %w", j, err)
	}
	return was, nil
}

// row is one of the table factor.
type row struct {
	account  int64
	secret   []byte
	enabled  bool
	step     int64
	failures int
	until    int64
}

// use has f act on an account's second factor, in one transaction, so that of two
// who use the same code one fails. A wrong code is counted.
func (s *Store) use(ctx context.Context, j jid.JID, f func(tx *storage.Tx, f *row, now time.Time) error) error {
	var refused error
	err := s.db.Write(ctx, func(tx *storage.Tx) error {
		refused = nil
		now := time.Now()
		id, err := account.ID(&tx.Reader, j)
		if err != nil {
			return err
		}
		w := row{account: id}
		// The row is locked, since PostgreSQL has several writers.
		n, err := tx.Exec(`UPDATE factor SET failures = failures WHERE account = $1`, id)
		if err == nil && n == 0 {
			return ErrNotEnrolled
		}
		if err != nil {
			return err
		}
		err = tx.QueryRow(`SELECT secret, enabled, step, failures, until FROM factor WHERE account = $1`, id).
			Scan(&w.secret, &w.enabled, &w.step, &w.failures, &w.until)
		if err != nil {
			return err
		}
		if now.UnixMilli() < w.until {
			return ErrTooMany
		}
		err = f(tx, &w, now)
		if !errors.Is(err, ErrCode) {
			return err
		}
		refused = err // and the transaction counts it
		w.failures++
		var until int64
		if over := w.failures - patience; over >= 0 {
			until = now.Add(min(firstPause<<min(over, 10), lastPause)).UnixMilli()
		}
		_, err = tx.Exec(`UPDATE factor SET failures = $2, until = $3 WHERE account = $1`, id, w.failures, until)
		return err
	})
	return errors.Join(err, refused)
}

// check takes a code of either kind.
func (s *Store) check(tx *storage.Tx, f *row, code string, now time.Time) error {
	code = strings.ToLower(strings.NewReplacer(" ", "", "-", "").Replace(strings.TrimSpace(code)))
	if len(code) != recoverySize {
		return s.checkTime(tx, f, code, now)
	}
	n, err := tx.Exec(`DELETE FROM recovery_code WHERE account = $1 AND hash = $2`, f.account, s.hash(f.account, code))
	if err != nil {
		return err
	}
	if n == 0 {
		return ErrCode
	}
	return right(tx, f, f.step)
}

// checkTime takes a code of the time, give or take a period (RFC 6238 §5.2), once.
func (s *Store) checkTime(tx *storage.Tx, f *row, code string, now time.Time) error {
	secret, err := s.seal.Open(nil, nil, f.secret, sealFor(f.account))
	if err != nil {
		return fmt.Errorf("open the secret: %w", err)
	}
	step := now.Unix() / int64(period/time.Second)
	for at := step - skew; at <= step+skew; at++ {
		want, err := totp.GenerateCodeCustom(alphabet.EncodeToString(secret), time.Unix(at*int64(period/time.Second), 0),
			totp.ValidateOpts{Period: uint(period / time.Second), Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
		if err != nil {
			return fmt.Errorf("compute a code: %w", err)
		}
		if subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 && at > f.step {
			return right(tx, f, at)
		}
	}
	return ErrCode
}

// right notes a code that was right.
func right(tx *storage.Tx, f *row, step int64) error {
	_, err := tx.Exec(`UPDATE factor SET step = $2, failures = 0, until = 0 WHERE account = $1`, f.account, step)
	return err
}
