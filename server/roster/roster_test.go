package roster_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"kith/server/account"
	"kith/server/account/accounttest"
	"kith/server/cluster"
	"kith/server/roster"
	"kith/server/storage"
	"kith/server/storage/storagetest"
	"kith/xmpp/jid"
)

var (
	romeo  = jid.MustParse("romeo@montague.example")
	juliet = jid.MustParse("juliet@capulet.example")
	nurse  = jid.MustParse("nurse@capulet.example")
)

// owner is romeo, in his lane.
type owner struct{ *accounttest.Owner }

func open(t *testing.T, db *storage.DB) *owner {
	t.Helper()
	return &owner{accounttest.Open(t, db, romeo, roster.Migrations(), roster.Purges, roster.Load)}
}

// try does something with the roster and returns when it is committed, or why it is not.
func (o *owner) try(do func(t *cluster.Turn, a *account.Actor, r *roster.Roster)) error {
	return o.Try(func(t *cluster.Turn, a *account.Actor) { do(t, a, roster.Of(a)) })
}

func (o *owner) do(do func(t *cluster.Turn, a *account.Actor, r *roster.Roster)) {
	o.Helper()
	if err := o.try(do); err != nil {
		o.Fatal(err)
	}
}

// put puts contacts, which all have room.
func (o *owner) put(items ...roster.Item) {
	o.Helper()
	o.do(func(t *cluster.Turn, a *account.Actor, r *roster.Roster) {
		for _, i := range items {
			if _, _, err := r.Put(t, a, i, roster.Limits{}, false); err != nil {
				o.Error(err)
			}
		}
	})
}

// version returns the roster's.
func (o *owner) version() (v string) {
	o.do(func(_ *cluster.Turn, _ *account.Actor, r *roster.Roster) { v = r.Version() })
	return v
}

func TestItemsLast(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, db *storage.DB) {
		o := open(t, db)
		want := []roster.Item{
			{JID: juliet, Name: "Juliet <3", Groups: []string{"Friends", `"Lovers"`}, State: roster.Both, Listed: true, Approved: true},
			{JID: nurse, State: roster.To | roster.PendingIn, Listed: true, Request: []byte("<presence/>")},
			{JID: jid.MustParse("benvolio@montague.example"), State: roster.From | roster.PendingOut, Listed: true},
			{JID: jid.MustParse("tybalt@capulet.example"), State: roster.PendingIn, Request: []byte("<presence type='subscribe'/>")},
		}
		o.put(want...)
		version := o.version()
		o.Restart()
		o.do(func(_ *cluster.Turn, _ *account.Actor, r *roster.Roster) {
			for _, w := range want {
				i := r.Item(w.JID)
				got, want := i.Words(), w.Words()
				if !reflect.DeepEqual(got, want) || i.State != w.State || i.Listed != w.Listed || string(i.Request) != string(w.Request) {
					t.Errorf("got %+v, want %+v", i, w)
				}
			}
			if got := fmt.Sprint(r.Len(), r.Version() == version, r.Subscribers(), r.Subscriptions(), len(r.Requests()), len(r.Asked())); got !=
				"3 true [benvolio@montague.example juliet@capulet.example] [juliet@capulet.example nurse@capulet.example] 2 1" {
				t.Error(got)
			}
			if !r.Subscribed(jid.MustParse(juliet.String()+"/balcony")) || r.Subscribed(nurse) || r.Size() < 100 {
				t.Error("subscribed, size")
			}
		})
		// A request that is answered leaves nothing behind.
		o.put(roster.Item{JID: want[3].JID})
		if n := o.rows(); n != 3 {
			t.Errorf("%d rows, want 3", n)
		}
	})
}

func (o *owner) rows() int { return o.Count(`SELECT count(*) FROM roster_item`) }

func TestVersions(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, db *storage.DB) {
		o := open(t, db)
		empty := o.version()
		o.put(roster.Item{JID: juliet, Listed: true}, roster.Item{JID: nurse, Listed: true})
		two := o.version()
		// What clients do not see is no change (RFC 6121 §2.6.3).
		o.put(roster.Item{JID: juliet, Listed: true, State: roster.PendingIn, Request: []byte("<presence/>")})
		if v := o.version(); v != two {
			t.Errorf("a request changed the version from %s to %s", two, v)
		}
		o.do(func(t *cluster.Turn, a *account.Actor, r *roster.Roster) {
			if _, err := r.Remove(t, a, nurse); err != nil {
				o.Error(err)
			}
		})
		o.Restart()
		o.do(func(_ *cluster.Turn, _ *account.Actor, r *roster.Roster) {
			for version, want := range map[string]string{
				empty: "juliet@capulet.example nurse@capulet.example", two: "nurse@capulet.example", r.Version(): "",
				"": "unknown", "x": "unknown", "7.1": "unknown", strings.Replace(two, ".", ".9", 1): "unknown", two + " ": "unknown",
			} {
				changed, known := r.Since(version)
				var got []string
				for _, i := range changed {
					got = append(got, i.JID.String())
				}
				if !known {
					got = []string{"unknown"}
				}
				if strings.Join(got, " ") != want {
					t.Errorf("since %q: %v, want %s", version, got, want)
				}
			}
		})
	})
}

// What was removed is not remembered for ever.
func TestHorizon(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, db *storage.DB) {
		o := open(t, db)
		first := o.version()
		o.do(func(t *cluster.Turn, a *account.Actor, r *roster.Roster) {
			for n := range 1001 {
				j := jid.MustParse(fmt.Sprintf("n%d@capulet.example", n))
				if _, _, err := r.Put(t, a, roster.Item{JID: j, Listed: true}, roster.Limits{}, true); err != nil {
					o.Error(err)
				}
				if _, err := r.Remove(t, a, j); err != nil {
					o.Error(err)
				}
			}
		})
		if n := o.rows(); n != 501 {
			t.Errorf("%d rows, want 501", n)
		}
		o.Restart()
		o.do(func(_ *cluster.Turn, _ *account.Actor, r *roster.Roster) {
			if _, known := r.Since(first); known {
				t.Error("what was forgotten is known")
			}
			if changed, known := r.Since(r.Version()); !known || len(changed) != 0 {
				t.Error("the version of now is not known")
			}
		})
	})
}

func TestLimits(t *testing.T) {
	o := open(t, storagetest.SQLite(t))
	l := roster.Limits{Items: 2, Bytes: 300, Requests: 1}
	o.do(func(turn *cluster.Turn, a *account.Actor, r *roster.Roster) {
		put := func(i roster.Item, want error) {
			t.Helper()
			if _, _, err := r.Put(turn, a, i, l, false); !errors.Is(err, want) {
				t.Errorf("put %+v: %v, want %v", i, err, want)
			}
		}
		put(roster.Item{JID: juliet, Listed: true}, nil)
		put(roster.Item{JID: juliet, Listed: true, Name: strings.Repeat("x", 300)}, roster.ErrFull)
		put(roster.Item{JID: juliet, Listed: true, Name: "Juliet"}, nil)
		put(roster.Item{JID: nurse, State: roster.PendingIn, Request: make([]byte, 1000)}, nil)
		put(roster.Item{JID: romeo, State: roster.PendingIn}, roster.ErrFull)
		put(roster.Item{JID: nurse, Listed: true}, nil)
		put(roster.Item{JID: romeo, Listed: true}, roster.ErrFull)
		if _, err := r.Remove(turn, a, nurse); err != nil {
			t.Error(err)
		}
		put(roster.Item{JID: romeo, Listed: true}, nil)
	})
}

// A commit that fails leaves neither rows nor state (and the next one works).
func TestFailedCommit(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, db *storage.DB) {
		o := open(t, db)
		o.put(roster.Item{JID: juliet, Listed: true})
		before := o.version()
		err := o.try(func(turn *cluster.Turn, a *account.Actor, r *roster.Roster) {
			if _, _, err := r.Put(turn, a, roster.Item{JID: nurse, Listed: true}, roster.Limits{}, false); err != nil {
				t.Error(err)
			}
			turn.Write(`INSERT INTO roster (owner, version, horizon) VALUES ($1, $2, $3)`, a.ID(), 1, 1) // there is one
		})
		if err == nil {
			t.Fatal("it was committed")
		}
		o.do(func(_ *cluster.Turn, _ *account.Actor, r *roster.Roster) {
			if r.Item(nurse).Listed || r.Version() != before || r.Len() != 1 {
				t.Errorf("something is left: %+v, %s, %d", r.Item(nurse), r.Version(), r.Len())
			}
		})
		o.put(roster.Item{JID: nurse, Listed: true})
		if n := o.rows(); n != 2 {
			t.Errorf("%d rows, want 2", n)
		}
	})
}

// Deletion takes everything; rows that make no sense cost nobody the account.
func TestPurgeAndPoison(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, db *storage.DB) {
		o := open(t, db)
		o.put(roster.Item{JID: juliet, Listed: true, Groups: []string{"a"}}, roster.Item{JID: nurse, Listed: true})
		err := db.Write(t.Context(), func(tx *storage.Tx) error {
			if _, err := tx.Exec(`UPDATE roster_item SET groups = $1, subscription = $2 WHERE jid = $3`, "{", "often", juliet.String()); err != nil {
				return err
			}
			_, err := tx.Exec(`UPDATE roster_item SET jid = $1 WHERE jid = $2`, "@@", nurse.String())
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		o.Restart()
		o.do(func(_ *cluster.Turn, _ *account.Actor, r *roster.Roster) {
			i := r.Item(juliet)
			if r.Len() != 1 || i.State != roster.None || !slices.Equal(i.Groups, nil) {
				t.Errorf("%d contacts, %+v", r.Len(), i)
			}
		})
		if err := o.Accounts.Delete(t.Context(), romeo); err != nil {
			t.Fatal(err)
		}
		if n := o.rows(); n != 0 {
			t.Errorf("%d rows are left", n)
		}
	})
}
