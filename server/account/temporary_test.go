package account_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"kith/server/account"
	"kith/server/session"
	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpp/sasl"
)

// open2 returns a store whose host montague.example lets people in without accounts,
// three in all and two of one source.
func open2(t *testing.T) (*account.Store, account.Backend) {
	t.Helper()
	s, _ := open(t)
	s.SetPeople(map[string]account.People{"montague.example": {Anonymous: true}})
	s.LimitTemporary(3, 2)
	return s, s.Backend(romeo.Host())
}

// TestTemporary: who has no account gets one that is nowhere in the database, within
// bounds, and that is gone when it is over.
func TestTemporary(t *testing.T) {
	s, b := open2(t)
	var made []jid.JID
	for i, step := range []struct {
		source string
		ok     bool
	}{{"a", true}, {"a", true}, {"a", false}, {"b", true}, {"c", false}} {
		j, err := b.Anonymous(t.Context(), step.source)
		if f := (&sasl.Failure{Condition: sasl.TemporaryAuthFailure}); (err == nil) != step.ok || err != nil && !errors.Is(err, f) {
			t.Errorf("%d: %s gets %s, %v", i, step.source, j, err)
		}
		if err == nil {
			made = append(made, j)
		}
	}
	for i, j := range made {
		if slices.Contains(made[:i], j) || len(j.Local()) != 36 || j.Domain() != "montague.example" || !j.IsBare() {
			t.Errorf("an account is called %s", j)
		}
		if st := load(t, s, j); st.ID != 0 || !st.Temporary {
			t.Errorf("%s: %+v", j, st)
		}
	}
	if n, err := s.Count(t.Context()); n != 0 || err != nil {
		t.Errorf("%d accounts in the database, %v", n, err)
	}
	if got, want := s.TemporaryStats(), (account.TemporaryStats{Accounts: 3, Made: 3, Refused: 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	for range 2 { // once is enough
		s.Vanish(made[0])
	}
	if st := load(t, s, made[0]); st.Temporary || s.Temporary(made[0]) {
		t.Errorf("%s is still there", made[0])
	}
	if _, err := b.Anonymous(t.Context(), "a"); err != nil {
		t.Errorf("a place that is free: %v", err)
	}
	if _, err := b.Anonymous(t.Context(), "c"); err == nil {
		t.Error("there are more than there may be")
	}
	if _, err := s.Backend(juliet.Host()).Anonymous(t.Context(), "d"); !errors.Is(err, &sasl.Failure{Condition: sasl.InvalidMechanism}) {
		t.Errorf("at a host that has none: %v", err)
	}
}

// TestTemporaryPart: what an engine reads of an account is read of a temporary one,
// and is nothing.
func TestTemporaryPart(t *testing.T) {
	s, b := open2(t)
	j, err := b.Anonymous(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	var ids []int64
	part := func(_ *storage.Reader, st *account.State) error {
		ids = append(ids, st.ID)
		return nil
	}
	load(t, s, j, part)
	load(t, s, jid.MustParse("nobody@montague.example"), part)
	if !slices.Equal(ids, []int64{0}) {
		t.Errorf("read of accounts %v, want of 0 once", ids)
	}
}

// TestTemporaryNames: nobody is called as somebody was, or could have been, who had
// no account.
func TestTemporaryNames(t *testing.T) {
	s, b := open2(t)
	j, err := b.Anonymous(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := s.Invite(t.Context(), account.Invitation{Host: romeo.Host(), Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	ticket, err := s.Admit(t.Context(), romeo.Host(), token)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // while it is there, and afterwards
		_, redeem := s.Redeem(t.Context(), j, "secret", ticket)
		for what, err := range map[string]error{
			"Create":    s.Create(context.Background(), j, "secret", false),
			"Available": s.Available(t.Context(), j),
			"Redeem":    redeem,
		} {
			if !errors.Is(err, account.ErrExists) {
				t.Errorf("%s of %s: %v, want ErrExists", what, j, err)
			}
		}
		p := account.Person{Source: "https://issuer.example", Subject: "1", Username: j.Local(), Create: true}
		s.SetPeople(map[string]account.People{"montague.example": {Anonymous: true, Issuer: elsewhere{people: map[string]account.Person{"token": p}}}})
		if name, err := s.Backend(romeo.Host()).Token(t.Context(), "token"); !errors.Is(err, &sasl.Failure{Condition: sasl.NotAuthorized}) {
			t.Errorf("a token for %s: %s, %v", j, name, err)
		}
		s.Vanish(j)
	}
	// Where there are no such people, a name is a name.
	same, err := jid.New(j.Local(), "capulet.example", "")
	if err != nil {
		t.Fatal(err)
	}
	create(t, s, same, "secret")
}

// TestTemporaryLook: a directory is not asked about people of whom it has never known.
func TestTemporaryLook(t *testing.T) {
	s, b := open2(t)
	j, err := b.Anonymous(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	s.SetPeople(map[string]account.People{"montague.example": {Anonymous: true, Directory: elsewhere{err: account.Gone("nobody")}}})
	var ended []jid.JID
	s.OnWithdrawal(func(j jid.JID, _ []account.Access, _ session.ID) { ended = append(ended, j) })
	if gone, err := s.Look(t.Context(), j); gone != nil || err != nil || len(ended) > 0 {
		t.Errorf("gone: %v, %v; the sessions of %v end", gone, err, ended)
	}
	if gone, err := s.Look(t.Context(), romeo); gone == nil || err != nil || len(ended) != 1 {
		t.Errorf("who is gone: %v, %v; the sessions of %v end", gone, err, ended)
	}
}
