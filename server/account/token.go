package account

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpp/negotiate"
	"kith/xmpp/sasl"
)

//go:embed devices
var devices embed.FS

const (
	// tokenLife is how long a token is valid (XEP-0484 §5.2): who is away for longer
	// needs the password.
	tokenLife = 30 * 24 * time.Hour
	// tokenRenewal is the age at which a client gets another one.
	tokenRenewal = 24 * time.Hour
	// mostDevices of an account have tokens; who has not been here for longest loses
	// them first.
	mostDevices = 20
)

// forgetDevices deletes the devices of an account: so few that one commit does it.
var forgetDevices = []string{
	`DELETE FROM token WHERE account = $1`,
	`DELETE FROM device WHERE account = $1`,
}

// vault keeps tokens and the names of devices. The key of HT is the token itself,
// so that a hash of it would not do: it is encrypted.
type vault struct {
	seal cipher.AEAD
	key  []byte // of names
}

func (s *Store) openVault(ctx context.Context) error {
	key, err := s.Secret(ctx, "token")
	if err != nil {
		return err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	if s.vault.seal, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return err
	}
	s.vault.key, err = s.Secret(ctx, "device")
	return err
}

// name derives a name of several things that does not tell them: 80 bits.
func (v *vault) name(of ...string) string {
	mac := hmac.New(sha256.New, v.key)
	for _, s := range of { // lengths go first, so that no two inputs are one
		mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
		mac.Write([]byte(s))
	}
	return strings.ToLower(base32.StdEncoding.EncodeToString(mac.Sum(nil)[:10]))
}

// Device returns what an installation of a client is called here, by the id that it
// gives itself; "" if it gives none.
func (s *Store) Device(user jid.JID, agent string) string {
	if agent == "" {
		return ""
	}
	return s.vault.name("device", user.Bare().String(), agent)
}

// maxTag bounds, in bytes, what a client may have in its resource.
const maxTag = 64

// Resource returns the address for a client that has bound a resource by XEP-0386:
// the same whenever it comes with the same tag and id. It does not show the id.
func (s *Store) Resource(user jid.JID, tag, agent string) (jid.JID, error) {
	id := strings.ToLower(rand.Text())[:16]
	if agent != "" {
		id = s.vault.name("resource", user.Bare().String(), agent, tag)
	}
	if tag != "" && len(tag) <= maxTag {
		// XEP-0386 §3.2.1: the tag as it is, where it can be part of a resource.
		if full, err := user.WithResource(tag + "/" + id); err == nil {
			return full.Clone(), nil
		}
	}
	return user.WithResource(id)
}

// sealed is what a token is encrypted with beside the key, so that no row can be
// made another's, or last longer.
func sealed(account int64, device, mechanism string, expires int64) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(account))
	b = binary.BigEndian.AppendUint64(b, uint64(expires))
	return append(b, device+"\x00"+mechanism...)
}

// token is a row.
type token struct {
	account  int64
	fresh    bool
	sealed   []byte
	created  int64
	expires  int64
	count    int64
	lastHere int64
}

// UseToken looks for a token of a user's device; see negotiate.Tokens. The fresh
// one, when it is used, takes the place of the one before.
func (s *Store) UseToken(ctx context.Context, user jid.JID, u negotiate.TokenUse, proves func([]byte) bool) (renew bool, err error) {
	device := s.Device(user, u.Agent.ID)
	list, err := s.tokens(ctx, user, device, u.Mechanism)
	if err != nil {
		return false, fmt.Errorf("read tokens of %s: %w", user, err)
	}
	var found *token
	for i := range list {
		t := &list[i]
		plain, err := s.vault.seal.Open(nil, nil, t.sealed, sealed(t.account, device, u.Mechanism, t.expires))
		if err != nil {
			return false, fmt.Errorf("decrypt a token of %s: %w", user, err)
		}
		if proves(plain) && found == nil {
			found = t
		}
	}
	for range 2 - len(list) { // who has none takes as long
		proves(s.vault.key)
	}
	now := time.Now()
	switch {
	case found == nil:
		return false, &sasl.Failure{Condition: sasl.NotAuthorized}
	case now.UnixMilli() >= found.expires:
		return false, &sasl.Failure{Condition: sasl.CredentialsExpired}
	}
	if err := s.used(ctx, found, device, u, now); err != nil {
		return false, err
	}
	return now.Sub(time.UnixMilli(found.created)) >= tokenRenewal, nil
}

// tokens reads the tokens of a device that are for a mechanism, the fresh one first.
func (s *Store) tokens(ctx context.Context, user jid.JID, device, mechanism string) (list []token, err error) {
	err = s.db.ReadOne(ctx, func(r *storage.Reader) error {
		list = nil
		for row, err := range r.Query(`SELECT t.account, t.fresh, t.sealed, t.created, t.expires, t.count, d.last FROM account a
			JOIN token t ON t.account = a.id JOIN device d ON d.account = a.id AND d.id = t.device
			WHERE a.jid = $1 AND NOT a.disabled AND t.device = $2 AND t.mechanism = $3 ORDER BY t.fresh DESC`,
			user.String(), device, mechanism) {
			if err != nil {
				return err
			}
			var t token
			if err := row.Scan(&t.account, &t.fresh, &t.sealed, &t.created, &t.expires, &t.count, &t.lastHere); err != nil {
				return err
			}
			list = append(list, t)
		}
		return nil
	})
	return list, err
}

var errSuperseded = errors.New("the token has been used, or replaced, meanwhile")

// used notes the use of a token, if there is anything to be noted.
func (s *Store) used(ctx context.Context, t *token, device string, u negotiate.TokenUse, now time.Time) error {
	stale := now.UnixMilli()-t.lastHere >= lastWithin.Milliseconds()
	if !t.fresh && u.Count == 0 && !stale {
		return nil
	}
	err := s.db.Write(ctx, func(tx *storage.Tx) error {
		// XEP-0484 §3.4: a count that is not higher than one before is a replay. The
		// row decides, and also whether there is still such a token.
		count := max(t.count, int64(u.Count))
		n, err := tx.Exec(`UPDATE token SET count = $3 WHERE account = $1 AND device = $2 AND sealed = $4 AND (count < $5 OR $5 = 0)`,
			t.account, device, count, t.sealed, int64(u.Count))
		if err != nil {
			return err
		}
		if n == 0 {
			return &sasl.Failure{Condition: sasl.NotAuthorized, Err: errSuperseded}
		}
		if t.fresh { // §3.5: it ends the life of those before it
			if _, err := tx.Exec(`DELETE FROM token WHERE account = $1 AND device = $2 AND NOT fresh AND sealed <> $3`, t.account, device, t.sealed); err != nil {
				return err
			}
			// Unless the client has used it meanwhile, on another stream.
			if _, err := tx.Exec(`UPDATE token SET fresh = $4 WHERE account = $1 AND device = $2 AND sealed = $3`, t.account, device, t.sealed, false); err != nil {
				return err
			}
		}
		if !stale {
			return nil
		}
		_, err = tx.Exec(`UPDATE device SET last = $3 WHERE account = $1 AND id = $2`, t.account, device, now.UnixMilli())
		return err
	})
	var refused *sasl.Failure
	if err != nil && !errors.As(err, &refused) {
		return fmt.Errorf("note the use of a token: %w", err)
	}
	return err
}

// IssueToken makes a token for a device of a user, for one mechanism. A token that
// was given to it before and not used is no longer valid.
func (s *Store) IssueToken(ctx context.Context, user jid.JID, agent negotiate.UserAgent, mechanism string) (string, time.Time, error) {
	var secret [32]byte
	rand.Read(secret[:])
	plain := base64.RawURLEncoding.EncodeToString(secret[:])
	now := time.Now()
	expiry := now.Add(tokenLife).Truncate(time.Second) // as the client is told
	device := s.Device(user, agent.ID)
	err := s.db.Write(ctx, func(tx *storage.Tx) error {
		var id int64
		err := tx.QueryRow(`SELECT id FROM account WHERE jid = $1 AND NOT disabled`, user.String()).Scan(&id)
		if errors.Is(err, storage.ErrNotFound) {
			return ErrUnknown
		}
		if err != nil {
			return err
		}
		// It is given to who has shown a password, or another token.
		if _, err := tx.Exec(`INSERT INTO device (account, id, software, name, first, last, methods) VALUES ($1, $2, $3, $4, $5, $5, 1)
			ON CONFLICT (account, id) DO UPDATE SET software = excluded.software, name = excluded.name, last = excluded.last`,
			id, device, agent.Software, agent.Device, now.UnixMilli()); err != nil {
			return err
		}
		box := s.vault.seal.Seal(nil, nil, []byte(plain), sealed(id, device, mechanism, expiry.UnixMilli()))
		if _, err := tx.Exec(`INSERT INTO token (account, device, fresh, mechanism, sealed, created, expires, count) VALUES ($1, $2, $3, $4, $5, $6, $7, 0)
			ON CONFLICT (account, device, fresh) DO UPDATE SET mechanism = excluded.mechanism, sealed = excluded.sealed,
			created = excluded.created, expires = excluded.expires, count = 0`,
			id, device, true, mechanism, box, now.UnixMilli(), expiry.UnixMilli()); err != nil {
			return err
		}
		return crowdOut(tx, id)
	})
	if err != nil {
		return "", time.Time{}, fmt.Errorf("give a token to a device of %s: %w", user, err)
	}
	return plain, expiry, nil
}

// crowdOut forgets the devices beyond what an account may have, and their tokens.
func crowdOut(tx *storage.Tx, account int64) error {
	if _, err := tx.Exec(crowdedOut, account, mostDevices); err != nil {
		return err
	}
	_, err := tx.Exec(`DELETE FROM token WHERE account = $1 AND device NOT IN (SELECT id FROM device WHERE account = $1)`, account)
	return err
}

// RevokeTokens forgets the tokens of a device of a user. It reports whether there
// were any.
func (s *Store) RevokeTokens(ctx context.Context, user jid.JID, device string) (had bool, err error) {
	err = s.db.Write(ctx, func(tx *storage.Tx) error {
		had, err = forgetTokens(tx, user, device)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("revoke tokens of %s: %w", user, err)
	}
	return had, nil
}

// forgetTokens forgets the tokens of a device, and the device unless it knows the
// password.
func forgetTokens(tx *storage.Tx, user jid.JID, device string) (had bool, err error) {
	n, err := tx.Exec(`DELETE FROM token WHERE device = $2 AND account IN (SELECT id FROM account WHERE jid = $1)`, user.String(), device)
	if err != nil {
		return false, err
	}
	_, err = tx.Exec(`DELETE FROM device WHERE id = $2 AND account IN (SELECT id FROM account WHERE jid = $1) AND methods & $3 = 0`,
		user.String(), device, int64(ByPassword))
	return n > 0, err
}

// revokeAll forgets all devices of an account.
func revokeAll(tx *storage.Tx, account int64) error {
	for _, p := range forgetDevices {
		if _, err := tx.Exec(p, account); err != nil {
			return err
		}
	}
	return nil
}
