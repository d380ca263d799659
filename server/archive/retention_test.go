package archive_test

import (
	"errors"
	"testing"
	"time"

	"kith/server/account"
	"kith/server/archive"
	"kith/server/cluster"
	"kith/server/storage"
	"kith/server/storage/storagetest"
	"kith/xmpp/jid"
	"kith/xmpp/xep/mam"
)

func on() error { return nil }

func TestSweep(t *testing.T) {
	const day = 24 * time.Hour
	now := began.Add(100 * day)
	for _, c := range []struct {
		name         string
		policy       archive.Policy
		marked       []int // days ago
		transit      []int
		first        int // days ago, of the oldest that stays
		rows, marks  int
		transitStays int
	}{
		{"for ever", archive.Policy{}, nil, nil, 99, 100, 0, 0},
		{"by age", archive.Policy{Age: 10 * day}, nil, nil, 10, 11, 0, 0},
		{"by size", archive.Policy{Bytes: 150 * 25}, nil, nil, 24, 25, 0, 0},
		{"by both", archive.Policy{Age: 10 * day, Bytes: 150 * 5}, nil, nil, 4, 5, 0, 0},
		{"nothing stays", archive.Policy{Bytes: 1}, nil, nil, 0, 0, 0, 0},
		{"what waits stays, and what came later", archive.Policy{Bytes: 150 * 5}, []int{20}, nil, 20, 21, 1, 0},
		{"what has waited too long does not", archive.Policy{Bytes: 150 * 5}, []int{40, 31}, nil, 4, 5, 0, 0},
		{"nor what is older than it may be", archive.Policy{Age: 10 * day}, []int{20, 5}, nil, 10, 11, 1, 0},
		{"what was kept for delivery only", archive.Policy{}, []int{50, 20}, []int{50, 20}, 99, 99, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			storagetest.Each(t, func(t *testing.T, db *storage.DB) {
				o := open(t, db)
				owner := o.ID()
				var ops []storage.Op
				for ago := 99; ago >= 0; ago-- {
					id := at(now.Add(-time.Duration(ago)*day), 1)
					transit := false
					for _, d := range c.transit {
						transit = transit || d == ago
					}
					op := o.put(owner, id, juliet, transit, false, 1)
					op.Args[6] = 150
					ops = append(ops, op, o.put(owner+1, id, juliet, false, false, 1))
					for _, d := range c.marked {
						if d == ago {
							ops = append(ops, mark(owner, id))
						}
					}
				}
				ops = append(ops, mark(owner+1, at(now.Add(-90*day), 1)))
				o.commit(ops...)
				if _, err := c.policy.Sweep(t.Context(), db, owner, now, on); err != nil {
					t.Fatal(err)
				}
				if got := o.count("message") - 100; got != c.rows {
					t.Errorf("%d messages are left, want %d", got, c.rows)
				}
				if got := o.count("offline") - 1; got != c.marks {
					t.Errorf("%d marks are left, want %d", got, c.marks)
				}
				first, _, err := archive.Ends(t.Context(), db, owner, 0)
				if want := at(now.Add(-time.Duration(c.first)*day), 1); err != nil || c.rows > 0 && first != want {
					t.Errorf("the first is of %v (%v), want %v", archive.Time(first), err, archive.Time(want))
				}
				// XEP-0313 §6.2: no id is given again, even if all are gone.
				o.Restart()
				o.Do(func(_ *cluster.Turn, a *account.Actor) {
					if c.rows == 0 && archive.Last(a) != at(now, 1) {
						t.Errorf("the last id is %d, want %d", archive.Last(a), at(now, 1))
					}
				})
			})
		})
	}
}

// What is deleted is deleted in pieces, from the oldest on; the work can stop
// between two.
func TestSweepInPieces(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, db *storage.DB) {
		o := open(t, db)
		owner := o.ID()
		var ops []storage.Op
		for i := range int64(1200) {
			ops = append(ops, o.put(owner, at(began, i), juliet, false, false, 1))
		}
		o.commit(ops...)
		enough := errors.New("enough")
		p := archive.Policy{Age: time.Hour}
		if n, err := p.Sweep(t.Context(), db, owner, began.Add(2*time.Hour), func() error { return enough }); n != 500 || !errors.Is(err, enough) {
			t.Errorf("%d deleted (%v), want a piece of 500", n, err)
		}
		if first, last, err := archive.Ends(t.Context(), db, owner, 0); first != at(began, 500) || last != at(began, 1199) || err != nil {
			t.Errorf("left are %d to %d (%v), want the newest", first, last, err)
		}
		if n, err := p.Sweep(t.Context(), db, owner, began.Add(2*time.Hour), on); n != 700 || err != nil {
			t.Errorf("%d deleted (%v), want the rest", n, err)
		}
		if next, err := archive.NextOwner(t.Context(), db, 0); next != 0 || err != nil {
			t.Errorf("%d (%v) keeps messages, want nobody", next, err)
		}
	})
}

// What a client has trimmed nobody sees, nothing waits of it, and a sweep deletes
// it; ids go on.
func TestTrim(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, db *storage.DB) {
		o := open(t, db)
		var ids []int64
		record := func(t *cluster.Turn, a *account.Actor) {
			id := archive.Record(t, a, juliet, false, archive.Archive, []byte("<message/>"))
			archive.Missed(t, a, id)
			ids = append(ids, id)
		}
		for range 3 {
			o.Do(record)
		}
		o.Do(func(t *cluster.Turn, a *account.Actor) {
			archive.Trim(t, a, ids[1])
			archive.Trim(t, a, ids[0])
			if archive.Floor(a) != ids[1] {
				o.Errorf("deleted up to %d, want %d", archive.Floor(a), ids[1])
			}
		})
		if n := o.count("offline"); n != 1 {
			t.Errorf("%d messages wait, want 1", n)
		}
		o.Restart()
		o.Do(func(t *cluster.Turn, a *account.Actor) {
			if archive.Floor(a) != ids[1] {
				o.Errorf("after a restart deleted up to %d, want %d", archive.Floor(a), ids[1])
			}
			archive.Trim(t, a, archive.Last(a))
		})
		if n, err := (archive.Policy{}).Sweep(t.Context(), db, o.ID(), time.Now(), on); n != 3 || err != nil {
			t.Errorf("%d messages deleted (%v), want 3", n, err)
		}
		o.Restart()
		o.Do(record)
		if ids[3] <= ids[2] {
			t.Errorf("the id %d comes behind %d", ids[3], ids[2])
		}
	})
}

func TestPrefs(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, db *storage.DB) {
		o := open(t, db)
		a := func(s string) jid.JID { return jid.MustParse(s) }
		said := &archive.Prefs{Prefs: mam.Prefs{Default: mam.Roster,
			Always: []jid.JID{a("a@b/x"), a("c@d")}, Never: []jid.JID{a("a@b"), a("c@d/y"), a("nurse@capulet.example")}}}
		o.Do(func(t *cluster.Turn, a *account.Actor) {
			if !archive.PrefsOf(a).Wants(juliet, nil) {
				o.Error("nothing was said, and yet a message is not wanted")
			}
			if err := archive.SetPrefs(t, a, said); err != nil {
				o.Error(err)
			}
		})
		o.Restart()
		o.Do(func(t *cluster.Turn, actor *account.Actor) {
			archive.Trim(t, actor, 5) // in the same row
			p := archive.PrefsOf(actor)
			contacts := func(j jid.JID) bool { return j == juliet || j.Domain() == "capulet.example" }
			for peer, want := range map[string]bool{
				"a@b": false, "a@b/x": true, "a@b/z": false, "c@d": true, "c@d/y": false, "c@d/z": true,
				"juliet@capulet.example/balcony": true, "romeo@montague.example": false, "nurse@capulet.example/q": false,
			} {
				if got := p.Wants(a(peer), contacts); got != want {
					o.Errorf("messages of %s wanted: %v, want %v", peer, got, want)
				}
			}
			if p.Size() < 100 {
				o.Errorf("size %d", p.Size())
			}
		})
		o.Restart()
		o.Do(func(_ *cluster.Turn, a *account.Actor) {
			if archive.PrefsOf(a).Default != mam.Roster || archive.Floor(a) != 5 {
				o.Errorf("default %s, floor %d", archive.PrefsOf(a).Default, archive.Floor(a))
			}
		})
		o.commit(storage.Op{SQL: `UPDATE archive SET prefs = $1`, Args: []any{"{"}})
		o.Restart()
		o.Do(func(_ *cluster.Turn, a *account.Actor) {
			if archive.PrefsOf(a).Default != mam.Always {
				o.Error("preferences that cannot be read count")
			}
		})
		if err := o.Accounts.Delete(t.Context(), romeo); err != nil {
			t.Fatal(err)
		}
		n := -1
		err := db.Read(t.Context(), func(r *storage.Reader) error { return r.QueryRow(`SELECT count(*) FROM archive`).Scan(&n) })
		if n != 0 || err != nil {
			t.Errorf("%d rows (%v) are left of a deleted account", n, err)
		}
	})
}
