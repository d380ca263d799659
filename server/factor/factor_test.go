package factor_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pquerna/otp/totp"

	"kith/server/account"
	"kith/server/account/accounttest"
	"kith/server/factor"
	"kith/server/storage"
	"kith/server/storage/storagetest"
	"kith/xmpp/jid"
	"kith/xmpp/sasl"
)

var romeo = jid.MustParse("romeo@montague.example")

const password = accounttest.Password

// fixture is a database in which romeo has an account.
type fixture struct {
	*testing.T
	db       *storage.DB
	accounts *account.Store
	*factor.Store
}

func open(t *testing.T, db *storage.DB) *fixture {
	t.Helper()
	f := &fixture{T: t, db: db}
	if err := db.Migrate(t.Context(), factor.Migrations()); err != nil {
		t.Fatal(err)
	}
	var err error
	if f.accounts, err = account.Open(t.Context(), db, factor.Purges...); err != nil {
		t.Fatal(err)
	}
	accounttest.Create(t, f.accounts, romeo)
	if f.Store, err = factor.Open(t.Context(), db, f.accounts); err != nil {
		t.Fatal(err)
	}
	return f
}

// enrol gives romeo a second factor.
func (f *fixture) enrol() (secret string, recovery []string) {
	f.Helper()
	e, err := f.Begin(f.Context(), romeo)
	if err != nil {
		f.Fatal(err)
	}
	if recovery, err = f.Confirm(f.Context(), romeo, code(f, e.Secret, 0)); err != nil {
		f.Fatal(err)
	}
	return e.Secret, recovery
}

// code is what an authenticator shows, so many periods from now.
func code(t testing.TB, secret string, periods int) string {
	t.Helper()
	c, err := totp.GenerateCode(secret, time.Now().Add(time.Duration(periods)*30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (f *fixture) want(what string, got, want error) {
	f.Helper()
	if !errors.Is(got, want) {
		f.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestEnrol(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, storagetest.SQLite(t))
		f.want("a code of nothing", f.Check(f.Context(), romeo, "123456"), factor.ErrNotEnrolled)
		first, err := f.Begin(f.Context(), romeo)
		if err != nil {
			f.Fatal(err)
		}
		u, err := url.Parse(first.URI)
		if err != nil || u.Scheme != "otpauth" || u.Host != "totp" || u.Query().Get("secret") != first.Secret ||
			u.Query().Get("issuer") != "montague.example" || u.Path != "/montague.example:romeo@montague.example" {
			f.Errorf("the URI is %s, %v", first.URI, err)
		}
		if st, err := f.Status(f.Context(), romeo); err != nil || st.Enabled {
			f.Errorf("begun, and the status is %+v, %v", st, err)
		}
		second, err := f.Begin(f.Context(), romeo) // the first was not read
		if err != nil || second.Secret == first.Secret {
			f.Fatalf("begun again: %+v, %v", second, err)
		}
		_, err = f.Confirm(f.Context(), romeo, code(f, first.Secret, 0))
		f.want("a code of a secret that was replaced", err, factor.ErrCode)
		recovery, err := f.Confirm(f.Context(), romeo, code(f, second.Secret, 0))
		if err != nil || len(recovery) != 10 {
			f.Fatalf("Confirm: %q, %v", recovery, err)
		}
		_, err = f.Begin(f.Context(), romeo)
		f.want("begun while enrolled", err, factor.ErrEnrolled)
		if st, err := f.Status(f.Context(), romeo); err != nil || !st.Enabled || st.Recovery != 10 {
			f.Errorf("the status is %+v, %v", st, err)
		}
		_, err = f.Begin(f.Context(), jid.MustParse("nobody@montague.example"))
		f.want("begun by nobody", err, account.ErrUnknown)
	})
}

// A code works once, in its period and the two beside it (RFC 6238 §5.2).
func TestCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, storagetest.SQLite(t))
		secret, _ := f.enrol()
		f.want("the code of the enrolment again", f.Check(f.Context(), romeo, code(f, secret, 0)), factor.ErrCode)
		time.Sleep(10 * time.Minute)
		for _, c := range []struct {
			what    string
			periods int
			want    error
		}{
			{"two periods late", -2, factor.ErrCode},
			{"one period late", -1, nil},
			{"one period late, again", -1, factor.ErrCode},
			{"in time", 0, nil},
			{"late, behind one in time", -1, factor.ErrCode},
			{"one period early", 1, nil},
			{"in time, behind one that was early", 0, factor.ErrCode},
		} {
			f.want(c.what, f.Check(f.Context(), romeo, code(f, secret, c.periods)), c.want)
		}
	})
}

func TestCodeTwoAtOnce(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, db *storage.DB) {
		f := open(t, db)
		_, recovery := f.enrol()
		var right int
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if err := f.Check(f.Context(), romeo, recovery[0]); err == nil {
					mu.Lock()
					right++
					mu.Unlock()
				} else {
					f.want("a code that somebody else uses", err, factor.ErrCode)
				}
			})
		}
		wg.Wait()
		if right != 1 {
			t.Errorf("one code let %d in", right)
		}
	})
}

func TestRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, storagetest.SQLite(t))
		secret, recovery := f.enrol()
		f.want("a recovery code", f.Check(f.Context(), romeo, recovery[0]), nil)
		f.want("a recovery code again", f.Check(f.Context(), romeo, recovery[0]), factor.ErrCode)
		f.want("as somebody types it", f.Check(f.Context(), romeo, " "+strings.ToUpper(strings.ReplaceAll(recovery[1], "-", " "))), nil)
		time.Sleep(time.Minute)
		fresh, err := f.Renew(f.Context(), romeo, code(f, secret, 0))
		if err != nil || len(fresh) != 10 {
			f.Fatalf("Renew: %q, %v", fresh, err)
		}
		f.want("a code that was replaced", f.Check(f.Context(), romeo, recovery[2]), factor.ErrCode)
		f.want("one of the new", f.Check(f.Context(), romeo, fresh[2]), nil)
		err = f.db.Read(f.Context(), func(r *storage.Reader) error {
			for row, err := range r.Query(`SELECT hash FROM recovery_code`) {
				if err != nil {
					return err
				}
				var hash []byte
				if err := row.Scan(&hash); err != nil {
					return err
				}
				if len(hash) != 32 {
					f.Errorf("a recovery code is kept as %q", hash)
				}
			}
			return nil
		})
		if err != nil {
			f.Fatal(err)
		}
	})
}

// Who knows the password has five guesses, and then ever fewer: four an hour.
func TestGuessing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, storagetest.SQLite(t))
		secret, _ := f.enrol()
		begun, looked := time.Now(), 0
		for time.Since(begun) < 24*time.Hour {
			err := f.Check(f.Context(), romeo, "000000")
			switch {
			case errors.Is(err, factor.ErrCode):
				looked++
			case errors.Is(err, factor.ErrTooMany):
				time.Sleep(10 * time.Second)
			default:
				f.Fatal(err)
			}
		}
		if looked < 20 || looked > 110 {
			f.Errorf("a day allows %d guesses", looked)
		}
		f.want("the right code while none is looked at", f.Check(f.Context(), romeo, code(f, secret, 0)), factor.ErrTooMany)
		time.Sleep(15 * time.Minute)
		f.want("the right code", f.Check(f.Context(), romeo, code(f, secret, 0)), nil)
		f.want("a wrong one, forgiven", f.Check(f.Context(), romeo, "000000"), factor.ErrCode)
		time.Sleep(time.Minute)
		f.want("the right code again", f.Check(f.Context(), romeo, code(f, secret, 0)), nil)
	})
}

// prove logs in as a client does, and returns what the log-in knows.
func (f *fixture) prove(mech, secret string, asks bool) (*factor.Login, error) {
	l := &factor.Login{Backend: f.accounts.Backend(romeo.Host()), Store: f.Store, Host: romeo.Host(), Asks: asks}
	server, err := sasl.NewServer(mech, l, sasl.ServerOptions{Domain: romeo.Domain(), OverTLS: true})
	if err != nil {
		f.Fatal(err)
	}
	client, err := sasl.NewClient(mech, sasl.Credentials{Username: romeo.Local(), Password: secret},
		sasl.ClientOptions{Offered: []string{mech}, OverTLS: true})
	if err != nil {
		f.Fatal(err)
	}
	message, err := client.Start()
	for err == nil {
		var challenge []byte
		var done bool
		if challenge, done, err = server.Next(f.Context(), message); err != nil {
			break
		}
		if done && challenge == nil {
			return l, nil
		}
		if message, err = client.Next(challenge); done {
			if err == nil && !client.Done() {
				f.Errorf("%s: the server has not proved itself", mech)
			}
			return l, err
		}
	}
	return l, err
}

// TestAppPassword: mechanism × password × client. An app password lets in without
// a code, the password alone only where the client will be asked for one.
func TestAppPassword(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, storagetest.SQLite(t))
		mechs := []string{sasl.Plain, sasl.ScramSHA1, sasl.ScramSHA256, sasl.ScramSHA512}
		if _, err := f.NewAppPassword(f.Context(), romeo, "tablet"); !errors.Is(err, factor.ErrNotEnrolled) {
			f.Errorf("without a second factor: %v", err)
		}
		for _, m := range mechs {
			if l, err := f.prove(m, password, false); err != nil {
				f.Errorf("%s without a second factor: %v", m, err)
			} else if _, wanted := l.Wanted(); wanted {
				f.Errorf("%s without a second factor wants a code", m)
			}
		}
		f.enrol()
		var apps []string
		for _, label := range []string{"tablet", "kitchen"} {
			p, err := f.NewAppPassword(f.Context(), romeo, label)
			if err != nil {
				f.Fatal(err)
			}
			apps = append(apps, p)
		}
		for _, m := range mechs {
			for _, asks := range []bool{false, true} {
				for _, secret := range apps {
					l, err := f.prove(m, secret, asks)
					if err != nil {
						f.Errorf("%s with an app password: %v", m, err)
						continue
					}
					if _, wanted := l.Wanted(); wanted {
						f.Errorf("%s with an app password wants a code", m)
					}
					if err := l.Used(f.Context()); err != nil {
						f.Error(err)
					}
				}
				if _, err := f.prove(m, "guess", asks); err == nil {
					f.Errorf("%s with a guess is let in", m)
				}
				l, err := f.prove(m, password, asks)
				switch who, wanted := l.Wanted(); {
				case !asks && err == nil:
					f.Errorf("%s: the password alone is enough", m)
				case asks && (err != nil || !wanted || who != romeo):
					f.Errorf("%s: the password, with a code to come: %v, %v, %v", m, who, wanted, err)
				}
			}
		}
		list, err := f.AppPasswords(f.Context(), romeo)
		if err != nil || len(list) != 2 || list[0].Label != "tablet" || list[0].Used.IsZero() {
			f.Fatalf("AppPasswords: %+v, %v", list, err)
		}
		if err := f.Revoke(f.Context(), romeo, list[0].ID, ""); err != nil {
			f.Error(err)
		}
		f.want("revoked twice", f.Revoke(f.Context(), romeo, list[0].ID, ""), factor.ErrNoApp)
		if _, err := f.prove(sasl.ScramSHA256, apps[0], true); err == nil {
			f.Error("a revoked app password is good")
		}
		if _, err := f.prove(sasl.ScramSHA256, apps[1], true); err != nil {
			f.Errorf("the other app password: %v", err)
		}
		if err := f.accounts.SetPassword(f.Context(), romeo, "it is the east", ""); err != nil {
			f.Fatal(err)
		}
		if _, err := f.prove(sasl.ScramSHA256, apps[1], true); err == nil {
			f.Error("an app password outlives the account's password")
		}
		if list, err := f.AppPasswords(f.Context(), romeo); err != nil || len(list) != 0 {
			f.Errorf("with another password the list is %+v, %v; want those that let in", list, err)
		}
	})
}

func TestAppPasswordBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, storagetest.SQLite(t))
		f.enrol()
		for _, label := range []string{"", "  ", strings.Repeat("x", 101)} {
			_, err := f.NewAppPassword(f.Context(), romeo, label)
			f.want("the label "+label, err, factor.ErrLabel)
		}
		err := f.db.Write(f.Context(), func(tx *storage.Tx) error {
			for range 19 {
				if _, err := tx.Exec(`INSERT INTO app_password (account, label, created, used) SELECT account, 'x', 0, 0 FROM factor`); err != nil {
					return err
				}
			}
			_, err := tx.Exec(`INSERT INTO app_key (app, account, hash, salt, stored_key, server_key)
				SELECT p.id, p.account, c.hash, c.salt, c.stored_key, c.server_key FROM app_password p JOIN credential c ON c.account = p.account`)
			return err
		})
		if err != nil {
			f.Fatal(err)
		}
		_, err = f.NewAppPassword(f.Context(), romeo, "the twentieth")
		f.want("the twentieth", err, nil)
		_, err = f.NewAppPassword(f.Context(), romeo, "one more")
		f.want("one more", err, factor.ErrTooManyApps)
		if was, err := f.Remove(f.Context(), romeo); err != nil || !was {
			f.Errorf("Remove: %v, %v", was, err)
		}
		if list, err := f.AppPasswords(f.Context(), romeo); err != nil || len(list) > 0 {
			f.Errorf("without the second factor there are %+v, %v", list, err)
		}
		if _, err := f.prove(sasl.Plain, password, false); err != nil {
			f.Errorf("without the second factor: %v", err)
		}
	})
}

// What is sealed for one account is no other's.
func TestSealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, storagetest.SQLite(t))
		juliet := jid.MustParse("juliet@montague.example")
		accounttest.Create(f, f.accounts, juliet)
		secret, _ := f.enrol()
		if _, err := f.Begin(f.Context(), juliet); err != nil {
			f.Fatal(err)
		}
		err := f.db.Write(context.Background(), func(tx *storage.Tx) error {
			_, err := tx.Exec(`UPDATE factor SET secret = (SELECT secret FROM factor WHERE enabled)`)
			return err
		})
		if err != nil {
			f.Fatal(err)
		}
		if _, err := f.Confirm(f.Context(), juliet, code(f, secret, 0)); err == nil {
			f.Error("a secret was moved to another account")
		}
	})
}
