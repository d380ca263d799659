package account_test

import (
	"errors"
	"testing"

	"kith/server/account"
	"kith/server/storage"
	"kith/xmpp/jid"
)

func TestLookalikes(t *testing.T) {
	s, db := open(t)
	create(t, s, romeo, "r0m30")
	refused := func(name, other string) {
		t.Helper()
		j := jid.MustParse(name)
		for what, err := range map[string]error{"Available": s.Available(t.Context(), j), "Create": s.Create(t.Context(), j, "x", false)} {
			if l, ok := errors.AsType[*account.Lookalike](err); !ok || l.Other.String() != other {
				t.Errorf("%s(%s): %v, want a lookalike of %s", what, name, err, other)
			}
		}
	}
	refused("rorneo@montague.example", "romeo@montague.example")
	create(t, s, jid.MustParse("rorneo@capulet.example"), "x") // another host's names are its own
	if err := s.Available(t.Context(), romeo); !errors.Is(err, account.ErrExists) {
		t.Errorf("Available(%s): %v, want ErrExists", romeo, err)
	}
	mixed := jid.MustParse("rоmeo@montague.example") // Cyrillic о
	if err := s.Create(t.Context(), mixed, "x", false); !errors.Is(err, account.ErrMixed) {
		t.Errorf("Create(%s): %v, want ErrMixed", mixed, err)
	}

	// As a database has them that is older than the rules.
	exec(t, db, `UPDATE account SET skeleton = NULL, skeleton_version = 0`)
	s = reopen(t, db)
	refused("rorneo@montague.example", "romeo@montague.example")
	exec(t, db, `UPDATE account SET skeleton = 'x', skeleton_version = -1`)
	s = reopen(t, db)
	refused("rorneo@montague.example", "romeo@montague.example")

	// The name of a deleted account is free, and what looks like it.
	if err := s.Delete(t.Context(), romeo); err != nil {
		t.Fatal(err)
	}
	create(t, s, jid.MustParse("rorneo@montague.example"), "x")
}

func exec(t *testing.T, db *storage.DB, sql string, args ...any) {
	t.Helper()
	err := db.Write(t.Context(), func(tx *storage.Tx) error {
		_, err := tx.Exec(sql, args...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
