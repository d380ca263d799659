package account_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"kith/server/account"
	"kith/server/session"
	"kith/server/storage"
	"kith/server/storage/storagetest"
	"kith/xmpp/jid"
	"kith/xmpp/sasl"
)

var (
	romeo  = jid.MustParse("romeo@montague.example")
	juliet = jid.MustParse("juliet@capulet.example")
)

// notes is what another package keeps of accounts; it is deleted two rows at a
// time.
var notes = storage.Migrations{Name: "notes", FS: fstest.MapFS{"0001_note.sql": {Data: []byte(
	`CREATE TABLE note (account bigint NOT NULL, n bigint NOT NULL, PRIMARY KEY (account, n));`)}}}

const purgeNotes = account.Purge(`DELETE FROM note WHERE account = $1 AND n IN (SELECT n FROM note WHERE account = $1 ORDER BY n LIMIT 2)`)

func open(t *testing.T) (*account.Store, *storage.DB) {
	t.Helper()
	db := storagetest.SQLite(t)
	if err := db.Migrate(t.Context(), notes); err != nil {
		t.Fatal(err)
	}
	return reopen(t, db), db
}

func reopen(t *testing.T, db *storage.DB) *account.Store {
	t.Helper()
	s, err := account.Open(t.Context(), db, purgeNotes)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func create(t *testing.T, s *account.Store, j jid.JID, password string) {
	t.Helper()
	if err := s.Create(t.Context(), j, password, false); err != nil {
		t.Fatalf("Create(%s): %v", j, err)
	}
}

func load(t *testing.T, s *account.Store, j jid.JID, parts ...account.Part) *account.State {
	t.Helper()
	st, err := s.Load(t.Context(), j, parts)
	if err != nil {
		t.Fatalf("Load(%s): %v", j, err)
	}
	return st
}

// plain logs in by a password.
func plain(t *testing.T, s *account.Store, j jid.JID, password string) error {
	t.Helper()
	return s.Backend(j.Host()).Plain(t.Context(), j.Local(), password)
}

func wantRefused(t *testing.T, what string, err error) {
	t.Helper()
	var f *sasl.Failure
	if !errors.As(err, &f) || f.Condition != sasl.NotAuthorized {
		t.Errorf("%s: %v, want not-authorized", what, err)
	}
}

func TestCreate(t *testing.T) {
	s, _ := open(t)
	var told []jid.JID
	s.OnChange(func(j jid.JID) { told = append(told, j) })
	create(t, s, romeo, "r0m30")
	if err := s.Create(t.Context(), juliet, "ju1i3t", true); err != nil {
		t.Fatal(err)
	}
	if err := s.Create(t.Context(), romeo, "other", true); !errors.Is(err, account.ErrExists) {
		t.Errorf("a second account of the name: %v, want ErrExists", err)
	}
	if err := plain(t, s, romeo, "r0m30"); err != nil {
		t.Errorf("the first one's password: %v", err)
	}
	wantRefused(t, "the second one's password", plain(t, s, romeo, "other"))
	if st := load(t, s, romeo); st.ID == 0 || st.Disabled || st.Admin {
		t.Errorf("romeo: %+v", st)
	}
	if st := load(t, s, juliet); !st.Admin {
		t.Errorf("juliet: %+v", st)
	}
	if st := load(t, s, jid.MustParse("nobody@montague.example")); st.ID != 0 {
		t.Errorf("nobody: %+v", st)
	}
	infos, err := s.List(t.Context())
	if err != nil || len(infos) != 2 || infos[0].JID != juliet || !infos[0].Admin || infos[1].JID != romeo ||
		time.Since(infos[1].Created) > time.Minute || infos[1].Created.Location() != time.UTC {
		t.Errorf("List: %+v, %v", infos, err)
	}
	if n, err := s.Count(t.Context()); n != 2 || err != nil {
		t.Errorf("Count: %d, %v", n, err)
	}
	if want := []jid.JID{romeo, juliet}; !slices.Equal(told, want) {
		t.Errorf("told of %v, want %v", told, want)
	}
}

func TestCreateRefuses(t *testing.T) {
	s, _ := open(t)
	for _, j := range []string{"montague.example", "romeo@montague.example/orchard"} {
		if err := s.Create(t.Context(), jid.MustParse(j), "r0m30", false); err == nil {
			t.Errorf("Create(%s) worked", j)
		}
	}
	if err := s.Create(t.Context(), romeo, "bell\a", false); !errors.Is(err, sasl.ErrCredentials) {
		t.Errorf("a password that SASLprep prohibits: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Create(ctx, romeo, "r0m30", false); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if n, err := s.Count(t.Context()); n != 0 || err != nil {
		t.Errorf("%d accounts, %v", n, err)
	}
}

// One of many who want a name gets it.
func TestCreateAtTheSameTime(t *testing.T) {
	s, _ := open(t)
	errs := make([]error, 6)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = s.Create(t.Context(), romeo, fmt.Sprint("password", i), false) })
	}
	wg.Wait()
	made := -1
	for i, err := range errs {
		switch {
		case err == nil && made < 0:
			made = i
		case !errors.Is(err, account.ErrExists):
			t.Errorf("Create: %v, want ErrExists", err)
		}
	}
	if made < 0 {
		t.Fatal("nobody got the name")
	}
	if err := plain(t, s, romeo, fmt.Sprint("password", made)); err != nil {
		t.Errorf("password of the one who got it: %v", err)
	}
}

func TestSetPassword(t *testing.T) {
	s, _ := open(t)
	create(t, s, romeo, "r0m30")
	id := load(t, s, romeo).ID
	told := 0
	s.OnPassword(func(j jid.JID, by session.ID) {
		if told++; j != romeo || by != "desk" {
			t.Errorf("told of %s by %q", j, by)
		}
	})
	if err := s.SetPassword(t.Context(), romeo, "m0nt4gu3", "desk"); err != nil {
		t.Fatal(err)
	}
	if err := plain(t, s, romeo, "m0nt4gu3"); err != nil {
		t.Errorf("the new password: %v", err)
	}
	wantRefused(t, "the old password", plain(t, s, romeo, "r0m30"))
	for _, hash := range []string{sasl.SHA1, sasl.SHA256, sasl.SHA512} {
		k, err := s.Backend(romeo.Host()).SCRAM(t.Context(), "romeo", hash)
		if err != nil || !k.Check(hash, "m0nt4gu3") || k.Check(hash, "r0m30") {
			t.Errorf("%s: keys are not those of the new password (%v)", hash, err)
		}
	}
	if err := s.SetPassword(t.Context(), juliet, "x", ""); !errors.Is(err, account.ErrUnknown) {
		t.Errorf("password of nobody: %v, want ErrUnknown", err)
	}
	if got := load(t, s, romeo).ID; got != id || told != 1 {
		t.Errorf("id %d, was %d; told %d times", got, id, told)
	}
}

func TestDisabledCannotLogIn(t *testing.T) {
	s, _ := open(t)
	create(t, s, romeo, "r0m30")
	if err := s.SetDisabled(t.Context(), romeo, true); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, "disabled", plain(t, s, romeo, "r0m30"))
	if st := load(t, s, romeo); !st.Disabled || st.ID == 0 {
		t.Errorf("state: %+v", st)
	}
	if err := s.SetDisabled(t.Context(), romeo, false); err != nil {
		t.Fatal(err)
	}
	if err := plain(t, s, romeo, "r0m30"); err != nil {
		t.Errorf("let in again: %v", err)
	}
	if err := s.SetDisabled(t.Context(), juliet, true); !errors.Is(err, account.ErrUnknown) {
		t.Errorf("nobody: %v, want ErrUnknown", err)
	}
}

// Deletion frees the name but not the id, and takes everything in pieces.
func TestDelete(t *testing.T) {
	s, db := open(t)
	create(t, s, romeo, "r0m30")
	create(t, s, juliet, "ju1i3t")
	id, other := load(t, s, romeo).ID, load(t, s, juliet).ID
	writeNotes(t, db, id, 7)
	writeNotes(t, db, other, 3)
	told := 0
	s.OnChange(func(jid.JID) {
		told++
		if st := load(t, s, romeo); st.ID != 0 {
			t.Errorf("told of the deletion while the account is there: %+v", st)
		}
	})
	before := db.Stats().Batches
	if err := s.Delete(t.Context(), romeo); err != nil {
		t.Fatal(err)
	}
	if n := db.Stats().Batches - before; n != 1+5+1 {
		t.Errorf("%d writes, want 7: the account's, five of at most two notes, the last", n)
	}
	if told != 1 {
		t.Errorf("told %d times", told)
	}
	wantRefused(t, "deleted", plain(t, s, romeo, "r0m30"))
	if n := count(t, db, `SELECT count(*) FROM note WHERE account = $1`, id); n != 0 {
		t.Errorf("%d notes left", n)
	}
	if n := count(t, db, `SELECT count(*) FROM note WHERE account = $1`, other); n != 3 {
		t.Errorf("juliet has %d notes, want 3", n)
	}
	if n := count(t, db, `SELECT count(*) FROM credential WHERE account = $1`, id); n != 0 {
		t.Errorf("%d keys left", n)
	}
	if err := s.Delete(t.Context(), romeo); !errors.Is(err, account.ErrUnknown) {
		t.Errorf("again: %v, want ErrUnknown", err)
	}
	s.OnChange(func(jid.JID) {})
	create(t, s, romeo, "n3w")
	if got := load(t, s, romeo).ID; got == id || got == 0 {
		t.Errorf("the new account has id %d, the old one had %d", got, id)
	}
	wantRefused(t, "the old one's password", plain(t, s, romeo, "r0m30"))
}

// What a stop interrupted goes on.
func TestResumeDeletion(t *testing.T) {
	s, db := open(t)
	create(t, s, romeo, "r0m30")
	id := load(t, s, romeo).ID
	writeNotes(t, db, id, 5)
	ctx, cancel := context.WithCancel(t.Context())
	s.OnChange(func(jid.JID) { cancel() })
	if err := s.Delete(ctx, romeo); !errors.Is(err, context.Canceled) {
		t.Fatalf("Delete: %v", err)
	}
	// The name is free at once, and the account is not listed.
	s = reopen(t, db)
	create(t, s, romeo, "n3w")
	if n, err := s.Count(t.Context()); n != 1 || err != nil {
		t.Errorf("Count: %d, %v", n, err)
	}
	if err := s.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{`SELECT count(*) FROM note WHERE account = $1`, `SELECT count(*) FROM account WHERE id = $1`} {
		if n := count(t, db, q, id); n != 0 {
			t.Errorf("%s: %d", q, n)
		}
	}
	if err := plain(t, s, romeo, "n3w"); err != nil {
		t.Errorf("the new account: %v", err)
	}
	if err := s.Resume(t.Context()); err != nil {
		t.Errorf("Resume with nothing to do: %v", err)
	}
}

// Who asks for keys learns nothing about who exists: made up ones are the same
// each time, also after a restart, and however the name is spelt, as real ones
// are.
func TestKeysOfNobody(t *testing.T) {
	s, db := open(t)
	create(t, s, romeo, "r0m30")
	create(t, s, jid.MustParse("locked@montague.example"), "r0m30")
	if err := s.SetDisabled(t.Context(), jid.MustParse("locked@montague.example"), true); err != nil {
		t.Fatal(err)
	}
	b, again := s.Backend(romeo.Host()), reopen(t, db).Backend(romeo.Host())
	keys := func(b sasl.Backend, name, hash string) sasl.Keys {
		t.Helper()
		k, err := b.SCRAM(t.Context(), name, hash)
		if err != nil {
			t.Fatalf("SCRAM(%q): %v", name, err)
		}
		return k
	}
	seen := map[string]string{}
	for _, name := range []string{"romeo", "nobody", "locked", "not a name"} {
		for _, hash := range []string{sasl.SHA1, sasl.SHA256, sasl.SHA512} {
			k := keys(b, name, hash)
			if k2 := keys(again, name, hash); !reflect.DeepEqual(k, k2) {
				t.Errorf("%s, %s: other keys at the second time", name, hash)
			}
			if first := seen[string(k.Salt)]; first != "" {
				t.Errorf("%s has the salt of %s", name, first)
			}
			seen[string(k.Salt)] = name
			if k.Iterations != account.Iterations || len(k.StoredKey) != len(keys(b, "romeo", hash).StoredKey) {
				t.Errorf("%s, %s: keys are of another form than real ones", name, hash)
			}
			if k.Check(hash, "r0m30") != (name == "romeo") {
				t.Errorf("%s, %s: password", name, hash)
			}
		}
	}
	for _, name := range []string{"romeo", "nobody", "locked"} {
		spelt := map[string]string{"romeo": "Romeo", "nobody": "NoBody", "locked": "LOCKED"}[name]
		if !reflect.DeepEqual(keys(b, name, sasl.SHA256), keys(b, spelt, sasl.SHA256)) {
			t.Errorf("%s and %s have different keys", name, spelt)
		}
	}
	if reflect.DeepEqual(keys(b, "nobody", sasl.SHA256), keys(s.Backend(juliet.Host()), "nobody", sasl.SHA256)) {
		t.Error("nobody has the same keys at two hosts")
	}
}

func TestPlain(t *testing.T) {
	s, _ := open(t)
	create(t, s, romeo, "r0m30")
	b := s.Backend(romeo.Host())
	if err := b.Plain(t.Context(), "romeo", "r0m30"); err != nil {
		t.Errorf("right: %v", err)
	}
	if err := b.Plain(t.Context(), "ROMEO", "r0m30"); err != nil {
		t.Errorf("name in capitals: %v", err)
	}
	for _, tt := range [][2]string{{"romeo", "R0m30"}, {"romeo", ""}, {"nobody", "r0m30"}, {"not a name", "r0m30"}, {"romeo@montague.example", "r0m30"}, {"", "r0m30"}} {
		wantRefused(t, fmt.Sprintf("%q with %q", tt[0], tt[1]), b.Plain(t.Context(), tt[0], tt[1]))
	}
	wantRefused(t, "at another host", s.Backend(juliet.Host()).Plain(t.Context(), "romeo", "r0m30"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Plain(ctx, "romeo", "r0m30"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func writeNotes(t *testing.T, db *storage.DB, id int64, n int) {
	t.Helper()
	err := db.Write(t.Context(), func(tx *storage.Tx) error {
		for i := range n {
			if _, err := tx.Exec(`INSERT INTO note (account, n) VALUES ($1, $2)`, id, i); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, db *storage.DB, q string, id int64) (n int) {
	t.Helper()
	if err := db.Read(t.Context(), func(r *storage.Reader) error { return r.QueryRow(q, id).Scan(&n) }); err != nil {
		t.Fatal(err)
	}
	return n
}
