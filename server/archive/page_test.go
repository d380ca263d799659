package archive_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"kith/server/archive"
	"kith/server/storage"
	"kith/server/storage/storagetest"
	"kith/xmpp/jid"
)

var began = time.Date(2020, 4, 20, 14, 0, 0, 0, time.UTC)

// row is a message of the model.
type row struct {
	id      int64
	peer    jid.JID
	transit bool
	bytes   int
}

func peers() []jid.JID {
	return []jid.JID{
		jid.MustParse("juliet@capulet.example/balcony"), jid.MustParse("juliet@capulet.example/chamber"), juliet,
		jid.MustParse("nurse@capulet.example/a"), jid.MustParse("juliet@capulet.example2/balcony"),
	}
}

// fill makes an archive, and others beside it.
func fill(o *owner, owner int64, n int, rng *rand.Rand) (rows []row) {
	var ops []storage.Op
	for i := range n {
		r := row{id: at(began.Add(time.Duration(i/3)*time.Second), int64(i%3)), peer: peers()[rng.IntN(5)], transit: rng.IntN(8) == 0}
		op := o.put(owner, r.id, r.peer, r.transit, false, rng.IntN(300))
		r.bytes = op.Args[6].(int)
		rows = append(rows, r)
		ops = append(ops, op, o.put(owner+1, r.id, r.peer, false, false, 1), o.put(owner-1, r.id+1, r.peer, false, false, 1))
	}
	o.commit(ops...)
	return rows
}

// matching is what the model says that matches, in the order asked for.
func matching(rows []row, f *archive.Filter, descending bool) (out []row) {
	for _, r := range rows {
		told := archive.Time(r.id)
		switch {
		case r.transit, r.id <= f.Floor,
			!f.With.IsZero() && f.With != r.peer && f.With != r.peer.Bare(),
			!f.Start.IsZero() && told.Before(f.Start), !f.End.IsZero() && told.After(f.End),
			f.After != 0 && r.id <= f.After, f.Before != 0 && r.id >= f.Before,
			f.IDs != nil && !slices.Contains(f.IDs, r.id):
		default:
			out = append(out, r)
		}
	}
	if descending {
		slices.Reverse(out)
	}
	return out
}

// wanted is the page that the model says.
func wanted(rows []row, f *archive.Filter, p *archive.Page) (page []int64, more bool, index, count int) {
	all := matching(rows, f, p.Descending)
	behind := func(id, than int64) bool { return id > than != p.Descending && id != than }
	part := slices.DeleteFunc(slices.Clone(all), func(r row) bool {
		return p.After != 0 && !behind(r.id, p.After) || p.Before != 0 && !behind(p.Before, r.id)
	})
	if p.ByIndex {
		part = part[min(p.Index, len(part)):]
	}
	if p.Backwards {
		slices.Reverse(part)
	}
	left := p.Bytes
	for i, r := range part {
		left -= p.Each + r.bytes
		if i == p.Rows || i > 0 && left < 0 {
			more = true
			break
		}
		page = append(page, r.id)
	}
	if p.Backwards {
		slices.Reverse(page)
	}
	index = -1
	if len(page) > 0 && !p.Backwards {
		index = slices.IndexFunc(all, func(r row) bool { return r.id == page[0] })
	}
	return page, more, index, len(all)
}

// TestRead compares pages with what a list says, for thousands of filters.
func TestRead(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, db *storage.DB) {
		o := open(t, db)
		rng := rand.New(rand.NewPCG(1, 2))
		owner := o.ID() + 10
		rows := fill(o, owner, 120, rng)
		kept := matching(rows, &archive.Filter{}, false)
		some := func() int64 { return kept[rng.IntN(len(kept))].id }
		sometimes := func(n int) bool { return rng.IntN(n) == 0 }
		moment := func() time.Time {
			return began.Add(time.Duration(rng.IntN(44)-2)*time.Second + time.Duration(rng.IntN(3)-1)*time.Microsecond*500)
		}
		for range 1500 {
			f := archive.Filter{Owner: owner}
			p := archive.Page{Rows: rng.IntN(12), Bytes: 1 << 20, Descending: sometimes(3), Backwards: sometimes(2), Count: 1000}
			if sometimes(2) {
				f.With = peers()[rng.IntN(5)]
			}
			if sometimes(3) {
				f.Start = moment()
			}
			if sometimes(3) {
				f.End = moment()
			}
			if sometimes(4) {
				f.After = some()
			}
			if sometimes(4) {
				f.Before = some()
			}
			if sometimes(4) {
				f.IDs = []int64{some(), some(), some(), some()}
			}
			if sometimes(3) {
				p.After = some()
			} else if sometimes(3) {
				p.Before = some()
			}
			if !p.Backwards && p.After == 0 && p.Before == 0 && sometimes(4) {
				p.ByIndex, p.Index = true, rng.IntN(50)
			}
			if sometimes(4) {
				p.Bytes, p.Each = rng.IntN(1500), 20
			}
			page, more, index, count := wanted(rows, &f, &p)
			var got archive.Found
			err := db.Read(t.Context(), func(r *storage.Reader) (err error) {
				got, err = archive.Read(r, &f, &p)
				return err
			})
			if err != nil {
				t.Fatalf("%+v %+v: %v", f, p, err)
			}
			var ids []int64
			for _, m := range got.Messages {
				ids = append(ids, m.ID)
			}
			if !slices.Equal(ids, page) || got.More != more || got.Count != count || got.Index != index {
				t.Fatalf("%+v %+v:\ngot  %v more %v index %d count %d,\nwant %v more %v index %d count %d",
					f, p, ids, got.More, got.Index, got.Count, page, more, index, count)
			}
		}
	})
}

// Ids that must be there, and numbers beyond what is counted.
func TestReadRefused(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, db *storage.DB) {
		o := open(t, db)
		id := o.ID()
		var ops []storage.Op
		for i := range int64(30) {
			ops = append(ops, o.put(id, at(began, i), juliet, i == 7, false, 1))
		}
		o.commit(ops...)
		for _, c := range []struct {
			name   string
			filter archive.Filter
			page   archive.Page
			err    error
			count  int
			index  int
		}{
			{"counted", archive.Filter{}, archive.Page{Rows: 5, Count: 29}, nil, 29, 0},
			{"too many", archive.Filter{}, archive.Page{Rows: 5, Count: 28}, nil, -1, 0},
			{"too many, at the end", archive.Filter{}, archive.Page{Rows: 5, Count: 28, Backwards: true}, nil, -1, -1},
			{"number within", archive.Filter{}, archive.Page{Rows: 5, Count: 10, ByIndex: true, Index: 10}, nil, -1, 10},
			{"number beyond", archive.Filter{}, archive.Page{Rows: 5, Count: 10, ByIndex: true, Index: 11}, archive.ErrTooFar, 0, 0},
			{"after none", archive.Filter{}, archive.Page{After: at(began, 30)}, archive.ErrNoMessage, 0, 0},
			{"before none", archive.Filter{}, archive.Page{Before: at(began, 30)}, archive.ErrNoMessage, 0, 0},
			{"one in transit", archive.Filter{}, archive.Page{After: at(began, 7)}, archive.ErrNoMessage, 0, 0},
			{"after-id", archive.Filter{After: at(began, 30)}, archive.Page{}, archive.ErrNoMessage, 0, 0},
			{"before-id", archive.Filter{Before: at(began, 30)}, archive.Page{}, archive.ErrNoMessage, 0, 0},
			{"ids", archive.Filter{IDs: []int64{at(began, 1), at(began, 30)}}, archive.Page{}, archive.ErrNoMessage, 0, 0},
			{"a deleted one", archive.Filter{Floor: at(began, 3), IDs: []int64{at(began, 3)}}, archive.Page{}, archive.ErrNoMessage, 0, 0},
			{"one that does not match is there", archive.Filter{With: romeo, IDs: []int64{at(began, 3)}}, archive.Page{Rows: 1}, nil, 0, -1},
		} {
			c.filter.Owner = id
			c.page.Bytes = 1 << 20
			err := db.Read(t.Context(), func(r *storage.Reader) error {
				got, err := archive.Read(r, &c.filter, &c.page)
				if err == nil && (got.Count != c.count || got.Index != c.index) {
					t.Errorf("%s: count %d, index %d, want %d, %d", c.name, got.Count, got.Index, c.count, c.index)
				}
				return err
			})
			if !errors.Is(err, c.err) {
				t.Errorf("%s: error %v, want %v", c.name, err, c.err)
			}
		}
		first, last, err := archive.Ends(t.Context(), db, id, at(began, 6))
		if first != at(began, 8) || last != at(began, 29) || err != nil {
			t.Errorf("ends %d, %d (%v)", first, last, err)
		}
		if first, last, err := archive.Ends(t.Context(), db, id+1, 0); first != 0 || last != 0 || err != nil {
			t.Errorf("ends of nothing %d, %d (%v)", first, last, err)
		}
	})
}

func TestIDs(t *testing.T) {
	o := open(t, storagetest.SQLite(t))
	ids, err := archive.OpenIDs(t.Context(), o.Accounts)
	if err != nil {
		t.Fatal(err)
	}
	again, err := archive.OpenIDs(t.Context(), o.Accounts)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for owner := range int64(30) {
		for n := range int64(30) {
			id := at(began, n)
			s := ids.Format(owner, id)
			if back, ok := again.Parse(owner, s); !ok || back != id {
				t.Errorf("%s of %d is read as %d (%v), want %d", s, owner, back, ok, id)
			}
			if back, ok := ids.Parse(owner+1, s); ok {
				t.Errorf("%s is read as %d of another owner", s, back)
			}
			if seen[s] || len(s) != 26 {
				t.Errorf("%s: twice, or of the wrong length", s)
			}
			seen[s] = true
		}
	}
	s := ids.Format(1, 1)
	for _, wrong := range []string{"", "a", s[:25], s + "a", "A" + s[1:], "====" + s[4:], s[:25] + "9", fmt.Sprint(s[1:], "a")} {
		if id, ok := ids.Parse(1, wrong); ok && wrong != s {
			t.Errorf("%q is read as %d", wrong, id)
		}
	}
	// The last character has two bits to spare.
	n := 0
	for _, c := range "abcdefghijklmnopqrstuvwxyz234567" {
		if _, ok := ids.Parse(1, s[:25]+string(c)); ok {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d spellings of one id", n)
	}
}

// TestCountOfOne: beside a page the messages of one person are counted only if
// they need not be looked for among too many others.
func TestCountOfOne(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, db *storage.DB) {
		o := open(t, db)
		nurse := jid.MustParse("nurse@capulet.example/a")
		var ops []storage.Op
		for i := range 800 {
			peer := nurse
			if i%300 == 0 { // 0, 300, 600
				peer = juliet
			}
			ops = append(ops, o.put(o.ID(), at(began.Add(time.Duration(i)*time.Second), 0), peer, false, false, 1))
		}
		o.commit(ops...)
		for _, tt := range []struct {
			rows, most int
			back       bool
			want       int
		}{
			{3, 100, false, 3},     // all are in the page
			{2, 100, false, 3},     // one behind it among 499
			{1, 100, false, -1},    // the other two are among 799
			{1, 100, true, -1},     // or 600
			{2, 100, true, 3},      // or 300
			{1, 100_000, false, 3}, // to whom only asks for that it is worth it
		} {
			f := archive.Filter{Owner: o.ID(), With: juliet.Bare()}
			var found archive.Found
			err := db.Read(t.Context(), func(r *storage.Reader) (err error) {
				found, err = archive.Read(r, &f, &archive.Page{Rows: tt.rows, Bytes: 1 << 20, Count: tt.most, Backwards: tt.back})
				return err
			})
			if err != nil || found.Count != tt.want {
				t.Errorf("%+v: count %d, %v", tt, found.Count, err)
			}
		}
	})
}
