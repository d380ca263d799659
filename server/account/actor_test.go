package account_test

import (
	"errors"
	"slices"
	"testing"

	"kith/server/account"
	"kith/server/session"
	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
)

func resource(name string, available bool) *account.Resource {
	r := &account.Resource{ID: session.NewID(), JID: jid.MustParse("romeo@montague.example/" + name)}
	if available {
		r.Presence = stanza.New(stanza.Presence, "", r.JID, jid.JID{})
	}
	return r
}

func TestResourcesOfAnActor(t *testing.T) {
	a := account.NewActor(romeo, new(account.State), nil)
	if a.Busy() || a.Exists() {
		t.Error("an actor of nobody is busy or exists")
	}
	desk, phone, tv := resource("desk", true), resource("phone", true), resource("tv", false)
	for _, r := range []*account.Resource{desk, phone, tv} {
		a.Add(r)
	}
	held := a.Resources()
	if got := slices.Collect(a.Available()); !slices.Equal(got, []*account.Resource{desk, phone}) {
		t.Errorf("available: %v", got)
	}
	if a.Named("tv") != tv || a.Named("none") != nil || a.Resource(phone.ID) != phone || a.Resource("none") != nil {
		t.Error("a resource is not found, or one that is not there is")
	}
	if a.Remove(phone.ID) != phone || a.Remove(phone.ID) != nil {
		t.Error("Remove")
	}
	if !slices.Equal(a.Resources(), []*account.Resource{desk, tv}) {
		t.Errorf("left: %v", a.Resources())
	}
	if !slices.Equal(held, []*account.Resource{desk, phone, tv}) {
		t.Error("who goes over the resources is disturbed by Remove")
	}
	next := account.NewActor(romeo, &account.State{ID: 7}, a)
	if !next.Busy() || !next.Exists() || next.ID() != 7 || len(next.Resources()) != 2 {
		t.Error("sessions did not stay")
	}
}

func TestSlots(t *testing.T) {
	one, two := account.NewSlot[int]("n"), account.NewSlot[int]("n")
	r := resource("desk", true)
	if one.Get(r) != 0 {
		t.Error("a value out of nowhere")
	}
	one.Set(r, 1)
	two.Set(r, 2)
	one.Set(r, 3)
	if one.Get(r) != 3 || two.Get(r) != 2 {
		t.Errorf("got %d and %d, want 3 and 2", one.Get(r), two.Get(r))
	}
	var st account.State
	one.Load(&st, 4)
	a := account.NewActor(romeo, &st, nil)
	size := a.Size()
	two.SetDurable(a, 5)
	if one.Durable(a) != 4 || two.Durable(a) != 5 || a.Size() <= size {
		t.Errorf("durable: %d, %d; size %d then %d", one.Durable(a), two.Durable(a), size, a.Size())
	}
	if b := account.NewActor(romeo, new(account.State), a); one.Durable(b) != 0 || two.Durable(b) != 0 {
		t.Error("what is durable was kept, although it was to be forgotten")
	}
}

func TestPartsAreLoadedForThoseWhoExist(t *testing.T) {
	s, db := open(t)
	create(t, s, romeo, "r0m30")
	writeNotes(t, db, load(t, s, romeo).ID, 3)
	number := account.NewSlot[int]("notes")
	calls := 0
	part := func(r *storage.Reader, st *account.State) error {
		calls++
		var n int
		err := r.QueryRow(`SELECT count(*) FROM note WHERE account = $1`, st.ID).Scan(&n)
		number.Load(st, n)
		return err
	}
	if got := number.Durable(account.NewActor(romeo, load(t, s, romeo, part), nil)); got != 3 {
		t.Errorf("loaded %d, want 3", got)
	}
	load(t, s, juliet, part)
	if calls != 1 {
		t.Errorf("the part was called %d times, want 1: juliet does not exist", calls)
	}
	broken := errors.New("broken")
	if _, err := s.Load(t.Context(), romeo, []account.Part{func(*storage.Reader, *account.State) error { return broken }}); !errors.Is(err, broken) {
		t.Errorf("Load: %v", err)
	}
}

func TestKeyOfAnAccount(t *testing.T) {
	if k := account.Key(jid.MustParse("romeo@montague.example/desk")); k != "romeo@montague.example" {
		t.Errorf("key %q", k)
	}
}
