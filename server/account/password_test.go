package account_test

import (
	"errors"
	"testing"

	"kith/server/account"
	"kith/server/session"
	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpp/sasl"
)

// TestPlainOfWhatThereIs: a password is checked by whichever keys an account has.
func TestPlainOfWhatThereIs(t *testing.T) {
	for _, only := range []string{sasl.SHA1, sasl.SHA256, sasl.SHA512} {
		s, db := open(t)
		create(t, s, romeo, "r0m30")
		if err := db.Write(t.Context(), func(tx *storage.Tx) error {
			_, err := tx.Exec(`DELETE FROM credential WHERE hash <> $1`, only)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if err := plain(t, s, romeo, "r0m30"); err != nil {
			t.Errorf("%s only: %v", only, err)
		}
		wantRefused(t, only+" only, a wrong password", plain(t, s, romeo, "other"))
		if err := s.SetDisabled(t.Context(), romeo, true); err != nil {
			t.Fatal(err)
		}
		wantRefused(t, only+" only, locked out", plain(t, s, romeo, "r0m30"))
	}
}

// TestChangePassword: somebody's own password is changed where it is kept, if that is
// allowed there.
func TestChangePassword(t *testing.T) {
	s, _ := open(t)
	var ended []session.ID
	s.OnPassword(func(_ jid.JID, by session.ID) { ended = append(ended, by) })
	create(t, s, juliet, "ju1i3t")
	if err := s.ChangePassword(t.Context(), juliet, "another", "desk"); err != nil {
		t.Error(err)
	}
	if err := plain(t, s, juliet, "another"); err != nil {
		t.Errorf("a password that is kept here: %v", err)
	}
	d := elsewhere{word: "secret", people: map[string]account.Person{
		"mercutio": {Source: "ldap", Subject: "id of mercutio", Username: "mercutio", Create: true},
	}}
	b := from(s, d, nil)
	mercutio := jid.MustParse("mercutio@montague.example")
	if err := b.Plain(t.Context(), "mercutio", "secret"); err != nil {
		t.Fatal(err)
	}
	ended = nil
	for _, test := range []struct {
		password string
		want     error
	}{{"plague", nil}, {"weak", account.ErrPassword}, {"not here", account.ErrElsewhere}} {
		if err := s.ChangePassword(t.Context(), mercutio, test.password, "desk"); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.password, err, test.want)
		}
	}
	if d.people["changed"].Subject != "id of mercutio" || d.people["changed"].Source != "plague" {
		t.Errorf("the directory has %+v", d.people["changed"])
	}
	if len(ended) != 1 || ended[0] != "desk" {
		t.Errorf("sessions end for the changes of %q, want those of one", ended)
	}
	// The name is another's by now, or nobody's.
	d.people["mercutio"] = account.Person{Source: "ldap", Subject: "id of another", Username: "mercutio", Create: true}
	for range 2 {
		if err := s.ChangePassword(t.Context(), mercutio, "pox", "desk"); !errors.Is(err, account.ErrElsewhere) {
			t.Errorf("the password of who is called so now: %v, want ErrElsewhere", err)
		}
		delete(d.people, "mercutio")
	}
}
