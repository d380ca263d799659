package account_test

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kith/server/account"
	"kith/server/storage"
	"kith/server/storage/storagetest"
	"kith/xmpp/jid"
)

// invite makes an invitation and shows its token.
func invite(t *testing.T, s *account.Store, i account.Invitation) (string, account.Ticket) {
	t.Helper()
	if i.Host.IsZero() {
		i.Host = romeo.Host()
	}
	i.Expires = time.Now().Add(time.Hour)
	token, _, err := s.Invite(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	k, err := s.Admit(t.Context(), i.Host, token)
	if err != nil || !k.Held() {
		t.Fatalf("Admit: %+v, %v", k, err)
	}
	return token, k
}

func wantNoInvitation(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, account.ErrNoInvitation) {
		t.Errorf("%s: %v, want ErrNoInvitation", what, err)
	}
}

func TestInvitation(t *testing.T) {
	s, db := open(t)
	create(t, s, juliet, "x")
	token, k := invite(t, s, account.Invitation{Admin: true, Contact: juliet})
	if list, err := s.Invitations(t.Context()); err != nil || len(list) != 1 || list[0].Contact != juliet || !list[0].Admin ||
		list[0].Host != romeo.Host() || !list[0].Expires.After(list[0].Created) {
		t.Errorf("Invitations: %+v, %v", list, err)
	}
	if len(token) < 26 { // 128 bits, five in a character
		t.Errorf("the token has %d characters", len(token))
	}
	err := db.Read(t.Context(), func(r *storage.Reader) error {
		var hash []byte
		err := r.QueryRow(`SELECT hash FROM invitation`).Scan(&hash)
		if bytes.Contains(hash, []byte(token)) {
			t.Error("the token is in the database")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Admit(t.Context(), juliet.Host(), token)
	wantNoInvitation(t, "at another host", err)
	_, err = s.Admit(t.Context(), romeo.Host(), token+"A")
	wantNoInvitation(t, "another token", err)
	_, err = s.Redeem(t.Context(), jid.MustParse("nurse@capulet.example"), "x", k)
	wantNoInvitation(t, "an account at another host", err)

	// Who fails has not used it.
	create(t, s, jid.MustParse("tybalt@montague.example"), "x")
	if _, err := s.Redeem(t.Context(), jid.MustParse("tybalt@montague.example"), "y", k); !errors.Is(err, account.ErrExists) {
		t.Errorf("a name that is taken: %v", err)
	}
	i, err := s.Redeem(t.Context(), romeo, "r0m30", k)
	if err != nil || i.Contact != juliet || !i.Admin {
		t.Fatalf("Redeem: %+v, %v", i, err)
	}
	if st := load(t, s, romeo); !st.Admin {
		t.Errorf("made %+v, want an administrator", st)
	}
	if err := plain(t, s, romeo, "r0m30"); err != nil {
		t.Errorf("log-in: %v", err)
	}
	_, err = s.Redeem(t.Context(), jid.MustParse("mercutio@montague.example"), "x", k)
	wantNoInvitation(t, "a second time", err)
	_, err = s.Admit(t.Context(), romeo.Host(), token)
	wantNoInvitation(t, "shown a second time", err)
}

func TestRevoke(t *testing.T) {
	s, _ := open(t)
	_, k := invite(t, s, account.Invitation{})
	list, err := s.Invitations(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("Invitations: %+v, %v", list, err)
	}
	if err := s.Revoke(t.Context(), list[0].ID); err != nil {
		t.Fatal(err)
	}
	wantNoInvitation(t, "Revoke again", s.Revoke(t.Context(), list[0].ID))
	_, err = s.Redeem(t.Context(), romeo, "x", k)
	wantNoInvitation(t, "Redeem", err)

	// What an account has invited to ends with it.
	create(t, s, juliet, "x")
	_, k = invite(t, s, account.Invitation{Contact: juliet})
	if err := s.Delete(t.Context(), juliet); err != nil {
		t.Fatal(err)
	}
	_, err = s.Redeem(t.Context(), romeo, "x", k)
	wantNoInvitation(t, "of a deleted account", err)
	if _, _, err := s.Invite(t.Context(), account.Invitation{Host: romeo.Host(), Contact: juliet}); !errors.Is(err, account.ErrUnknown) {
		t.Errorf("an invitation in the name of nobody: %v", err)
	}
}

// XEP-0445 §4: the expiry counts when the token is shown, and no later.
func TestInvitationExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := open(t)
		late, _ := invite(t, s, account.Invitation{})
		_, shown := invite(t, s, account.Invitation{})
		time.Sleep(time.Hour) // by synctest
		if _, _, err := s.Invite(t.Context(), account.Invitation{Host: romeo.Host(), Expires: time.Now()}); err != nil {
			t.Fatal(err)
		}
		_, err := s.Admit(t.Context(), romeo.Host(), late)
		wantNoInvitation(t, "late", err)
		if list, err := s.Invitations(t.Context()); len(list) != 0 || err != nil {
			t.Errorf("Invitations: %+v, %v", list, err)
		}
		if _, err := s.Redeem(t.Context(), romeo, "x", shown); err != nil {
			t.Errorf("shown in time: %v", err)
		}
	})
}

// Of many who have one token, one gets an account.
func TestRedeemAtTheSameTime(t *testing.T) {
	s, _ := open(t)
	_, k := invite(t, s, account.Invitation{})
	errs := make([]error, 6)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = s.Redeem(t.Context(), jid.MustParse(fmt.Sprintf("guest%c@montague.example", 'a'+i)), "x", k)
		})
	}
	wg.Wait()
	made := 0
	for _, err := range errs {
		if err == nil {
			made++
			continue
		}
		wantNoInvitation(t, "Redeem", err)
	}
	if n, err := s.Count(t.Context()); made != 1 || n != 1 || err != nil {
		t.Errorf("%d succeeded, %d accounts, %v; want one", made, n, err)
	}
}

// The statements mean the same to both databases.
func TestInvitationInEach(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, db *storage.DB) {
		s, err := account.Open(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		create(t, s, juliet, "x")
		exec(t, db, `UPDATE account SET skeleton = NULL, skeleton_version = 0`)
		if s, err = account.Open(t.Context(), db); err != nil {
			t.Fatal(err)
		}
		if _, ok := errors.AsType[*account.Lookalike](s.Available(t.Context(), jid.MustParse("ju1iet@capulet.example"))); !ok {
			t.Error("ju1iet does not look like juliet")
		}
		_, other := invite(t, s, account.Invitation{})
		_, k := invite(t, s, account.Invitation{Contact: juliet, Admin: true})
		if list, err := s.Invitations(t.Context()); err != nil || len(list) != 2 || !list[0].Contact.IsZero() || list[1].Contact != juliet {
			t.Errorf("Invitations: %+v, %v", list, err)
		}
		if i, err := s.Redeem(t.Context(), romeo, "x", k); err != nil || i.Contact != juliet || !i.Admin {
			t.Errorf("Redeem: %+v, %v", i, err)
		}
		_, err = s.Redeem(t.Context(), jid.MustParse("nurse@montague.example"), "x", k)
		wantNoInvitation(t, "again", err)
		if _, err := s.Redeem(t.Context(), jid.MustParse("nurse@montague.example"), "x", other); err != nil {
			t.Errorf("Redeem: %v", err)
		}
		if list, err := s.List(t.Context()); err != nil || len(list) != 3 || !list[0].Last.IsZero() {
			t.Errorf("List: %+v, %v", list, err)
		}
	})
}
