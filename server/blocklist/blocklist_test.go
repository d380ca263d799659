package blocklist_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"kith/server/account"
	"kith/server/account/accounttest"
	"kith/server/blocklist"
	"kith/server/cluster"
	"kith/server/storage"
	"kith/server/storage/storagetest"
	"kith/xmpp/jid"
)

var romeo = jid.MustParse("romeo@montague.example")

// owner is romeo, in his lane.
type owner struct{ *accounttest.Owner }

func open(t *testing.T, db *storage.DB) *owner {
	t.Helper()
	return &owner{accounttest.Open(t, db, romeo, blocklist.Migrations(), blocklist.Purges, blocklist.Load)}
}

// list reads addresses that stand one behind the other.
func list(text string) (out []jid.JID) {
	for _, s := range strings.Fields(text) {
		out = append(out, jid.MustParse(s))
	}
	return out
}

func text(list []jid.JID) string {
	out := make([]string, len(list))
	for n, j := range list {
		out[n] = j.String()
	}
	return strings.Join(out, " ")
}

// block blocks addresses, for which there is room.
func (o *owner) block(entries string) (c *blocklist.Change) {
	o.Helper()
	o.Do(func(t *cluster.Turn, a *account.Actor) {
		var err error
		if c, err = blocklist.Block(t, a, list(entries), blocklist.Limits{}); err != nil {
			o.Error(err)
		}
	})
	return c
}

// unblock unblocks addresses.
func (o *owner) unblock(entries string, want error) (c *blocklist.Change) {
	o.Helper()
	o.Do(func(t *cluster.Turn, a *account.Actor) {
		var err error
		if c, err = blocklist.Unblock(t, a, list(entries)); !errors.Is(err, want) {
			o.Errorf("unblock %s: %v, want %v", entries, err, want)
		}
	})
	return c
}

// want checks what is on the list, now and after a restart, and in the rows.
func (o *owner) want(entries string) {
	o.Helper()
	for range 2 {
		o.Do(func(_ *cluster.Turn, a *account.Actor) {
			l := blocklist.Of(a)
			if got := text(l.Entries()); got != entries || l.Len() != len(list(entries)) || (l.Size() > 0) != (entries != "") {
				o.Errorf("the list is %q (%d of %d bytes), want %q", got, l.Len(), l.Size(), entries)
			}
		})
		o.Restart()
	}
	if n := o.rows(); n != len(list(entries)) {
		o.Errorf("%d rows, want %d", n, len(list(entries)))
	}
}

func (o *owner) rows() int { return o.Count(`SELECT count(*) FROM blocklist`) }

func TestEntriesLast(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, db *storage.DB) {
		o := open(t, db)
		o.want("")
		if c := o.block("tybalt@capulet.example verona.example/x tybalt@capulet.example Tybalt@Capulet.example/Ünter"); text(c.Entries) !=
			"tybalt@capulet.example tybalt@capulet.example/Ünter verona.example/x" {
			t.Errorf("the change is about %s", text(c.Entries))
		}
		o.want("tybalt@capulet.example tybalt@capulet.example/Ünter verona.example/x")
		o.block("tybalt@capulet.example mantua.example")
		o.want("mantua.example tybalt@capulet.example tybalt@capulet.example/Ünter verona.example/x")
		o.unblock("nurse@capulet.example", blocklist.ErrUnknown)
		o.unblock("nurse@capulet.example verona.example/x mantua.example", nil)
		o.want("tybalt@capulet.example tybalt@capulet.example/Ünter")
		o.Do(func(t *cluster.Turn, a *account.Actor) { blocklist.Clear(t, a) })
		o.want("")
		o.Do(func(t *cluster.Turn, a *account.Actor) { blocklist.Clear(t, a) })
		o.block("mantua.example")
		o.unblock("mantua.example", nil)
		o.want("")
	})
}

// XEP-0191 §6, and nobody locks himself out (§5).
func TestMatching(t *testing.T) {
	for _, c := range []struct{ entry, blocked, free string }{
		{"juliet@capulet.example/balcony", "juliet@capulet.example/balcony",
			"juliet@capulet.example juliet@capulet.example/chamber capulet.example capulet.example/balcony"},
		{"juliet@capulet.example", "juliet@capulet.example juliet@capulet.example/balcony juliet@capulet.example/x/y@z",
			"nurse@capulet.example capulet.example capulet.example/juliet juliet@verona.example"},
		{"capulet.example/balcony", "capulet.example/balcony",
			"capulet.example juliet@capulet.example/balcony capulet.example/chamber"},
		{"capulet.example", "capulet.example capulet.example/balcony juliet@capulet.example juliet@capulet.example/balcony nurse@capulet.example",
			"rooms.capulet.example juliet@rooms.capulet.example example"},
		{"montague.example", "benvolio@montague.example benvolio@montague.example/street",
			"montague.example montague.example/announce romeo@montague.example romeo@montague.example/orchard"},
		{"romeo@montague.example", "", "romeo@montague.example romeo@montague.example/orchard benvolio@montague.example"},
		{"romeo@montague.example/orchard", "", "romeo@montague.example/orchard"},
		{"montague.example/announce", "", "montague.example/announce montague.example"},
	} {
		o := open(t, storagetest.SQLite(t))
		change := o.block(c.entry)
		o.Do(func(_ *cluster.Turn, a *account.Actor) {
			all := append(list(c.blocked), list(c.free)...)
			if got, want := text(blocklist.Without(a, all)), text(list(c.free)); got != want {
				t.Errorf("%s blocks all but %s, want %s", c.entry, got, want)
			}
			for n, j := range all {
				if want := n < len(list(c.blocked)); change.Blocked(j) != want || blocklist.Blocks(a, j) != want || change.Unblocked(j) {
					t.Errorf("%s: of %s the change says %v, the list %v, want %v", c.entry, j, change.Blocked(j), blocklist.Blocks(a, j), want)
				}
			}
			if blocklist.Blocks(a, jid.JID{}) {
				t.Errorf("%s blocks nobody's address", c.entry)
			}
		})
		o.Close()
	}
}

// What a change is about, of some contacts.
func TestConcerned(t *testing.T) {
	contacts := list("capulet.example juliet@capulet.example nurse@capulet.example tybalt@verona.example romeo@montague.example")
	is := func(j jid.JID) bool {
		for _, c := range contacts {
			if c == j {
				return true
			}
		}
		return false
	}
	o := open(t, storagetest.SQLite(t))
	check := func(c *blocklist.Change, blocked, unblocked string) {
		t.Helper()
		var b, u []jid.JID
		for _, j := range c.Concerned(contacts, is) {
			if c.Blocked(j) {
				b = append(b, j)
			}
			if c.Unblocked(j) {
				u = append(u, j)
			}
		}
		if text(b) != blocked || text(u) != unblocked {
			t.Errorf("of %s: blocked %q, unblocked %q; want %q, %q", text(c.Entries), text(b), text(u), blocked, unblocked)
		}
	}
	check(o.block("juliet@capulet.example/balcony peter@capulet.example"), "juliet@capulet.example/balcony", "")
	check(o.block("juliet@capulet.example"), "juliet@capulet.example", "")
	check(o.block("capulet.example nurse@capulet.example"), "capulet.example nurse@capulet.example", "")
	check(o.block("montague.example"), "", "")
	check(o.unblock("juliet@capulet.example juliet@capulet.example/balcony", nil), "", "")
	check(o.unblock("capulet.example", nil), "", "capulet.example juliet@capulet.example")
	var c *blocklist.Change
	o.Do(func(t *cluster.Turn, a *account.Actor) { c = blocklist.Clear(t, a) })
	check(c, "", "nurse@capulet.example")
}

func TestLimits(t *testing.T) {
	o := open(t, storagetest.SQLite(t))
	o.Do(func(turn *cluster.Turn, a *account.Actor) {
		block := func(entries string, l blocklist.Limits, want error) {
			t.Helper()
			if _, err := blocklist.Block(turn, a, list(entries), l); !errors.Is(err, want) {
				t.Errorf("block %s: %v, want %v", entries, err, want)
			}
		}
		l := blocklist.Limits{Entries: 2, Bytes: 1000}
		block("a@x.example b@x.example c@x.example", l, blocklist.ErrFull)
		block("a@x.example a@x.example b@x.example", l, nil)
		block("c@x.example", l, blocklist.ErrFull)
		block("a@x.example", blocklist.Limits{Entries: 1}, nil) // nothing grows
		block("a@x.example/"+strings.Repeat("x", 1000), blocklist.Limits{Bytes: 1000}, blocklist.ErrFull)
	})
	o.want("a@x.example b@x.example")
}

// A commit that fails leaves neither rows nor state.
func TestFailedCommit(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, db *storage.DB) {
		o := open(t, db)
		o.block("tybalt@capulet.example")
		err := o.Try(func(turn *cluster.Turn, a *account.Actor) {
			if _, err := blocklist.Block(turn, a, list("nurse@capulet.example"), blocklist.Limits{}); err != nil {
				t.Error(err)
			}
			turn.Write(`INSERT INTO blocklist (owner, jid) VALUES ($1, $2)`, a.ID(), "tybalt@capulet.example") // there is one
		})
		if err == nil {
			t.Fatal("it was committed")
		}
		o.want("tybalt@capulet.example")
	})
}

// Deletion takes everything; rows that make no sense cost nobody the account.
func TestPurgeAndPoison(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, db *storage.DB) {
		o := open(t, db)
		var all []string
		for n := range 1500 {
			all = append(all, fmt.Sprintf("n%d@capulet.example", n))
		}
		o.block(strings.Join(all, " "))
		err := db.Write(t.Context(), func(tx *storage.Tx) error {
			_, err := tx.Exec(`UPDATE blocklist SET jid = $1 WHERE jid = $2`, "@@", all[0])
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		o.Restart()
		o.Do(func(_ *cluster.Turn, a *account.Actor) {
			if n := blocklist.Of(a).Len(); n != len(all)-1 {
				t.Errorf("%d entries, want %d", n, len(all)-1)
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

func TestBlocksAllocatesNothing(t *testing.T) {
	o := open(t, storagetest.SQLite(t))
	juliet, contacts := jid.MustParse("juliet@capulet.example/balcony"), list("juliet@capulet.example nurse@capulet.example")
	for _, entries := range []string{"", "verona.example tybalt@capulet.example"} {
		if entries != "" {
			o.block(entries)
		}
		o.Do(func(_ *cluster.Turn, a *account.Actor) {
			if n := testing.AllocsPerRun(100, func() { blocklist.Blocks(a, juliet); blocklist.Without(a, contacts) }); n != 0 {
				t.Errorf("with %q on the list: %v allocations", entries, n)
			}
		})
	}
}

// What each stanza pays at an account that blocks nobody.
func BenchmarkBlocksNobody(b *testing.B) {
	a, juliet := account.NewActor(romeo, new(account.State), nil), jid.MustParse("juliet@capulet.example/balcony")
	for b.Loop() {
		blocklist.Blocks(a, juliet)
	}
}
