package archive

import (
	"cmp"
	"context"
	"slices"

	"kith/server/storage"
	"kith/xmpp/jid"
)

// count returns how many messages match between the bounds, -1 if they are more
// than most.
func (f *Filter) count(r *storage.Reader, b bounds, most int) (int, error) {
	if !f.With.IsZero() && most <= looked/5 {
		return f.countNear(r, b, most)
	}
	n := 0
	for row, err := range f.query(r, selection{
		`SELECT count(*) FROM (SELECT 1 FROM message WHERE owner = $1 AND id > $2 AND id < $3 AND NOT transit LIMIT $4 + 0) AS matching`,
		`SELECT count(*) FROM (SELECT 1 FROM message WHERE owner = $1 AND id > $2 AND id < $3
			AND peer = $5 AND ($6 = '' OR resource = $6) AND NOT transit LIMIT $4 + 0) AS matching`,
	}, b, most+1) {
		if err == nil {
			err = row.Scan(&n)
		}
		if err != nil {
			return 0, err
		}
	}
	if n > most {
		return -1, nil
	}
	return n, nil
}

// looked is how many messages are looked at to count those of one person beside a
// page.
const looked = 500

// countNear is count for the messages of one person, who may be one of many: it
// returns -1 as well if there are more of everybody's than it looks at.
func (f *Filter) countNear(r *storage.Reader, b bounds, most int) (int, error) {
	all, n := 0, 0
	err := r.QueryRow(`SELECT count(*), coalesce(sum(CASE WHEN peer = $5 AND ($6 = '' OR resource = $6) AND NOT transit THEN 1 ELSE 0 END), 0)
		FROM (SELECT peer, resource, transit FROM message WHERE owner = $1 AND id > $2 AND id < $3 LIMIT $4 + 0) AS near`,
		f.Owner, b.lo, b.hi, looked+1, f.With.Bare().String(), f.With.Resource()).Scan(&all, &n)
	if all > looked || n > most {
		n = -1
	}
	return n, err
}

// around counts what matches in front of a page and behind it, beside what is in
// it: before is how many are in front, and count is of all, -1 if they are more than
// are counted. It does not look where the page has shown that there is nothing.
func (f *Filter) around(r *storage.Reader, all, at bounds, p *Page, out *Found) (before, count int, err error) {
	first, last := out.Messages[0].ID, out.Messages[len(out.Messages)-1].ID
	front, behind := bounds{all.lo, min(first, last)}, bounds{max(first, last), all.hi}
	forward := p.Descending == p.Backwards // by time
	if at.lo == all.lo && (forward || !out.More) {
		front = bounds{}
	}
	if at.hi == all.hi && (!forward || !out.More) {
		behind = bounds{}
	}
	if p.Descending {
		front, behind = behind, front
	}
	count = len(out.Messages)
	for i, side := range []bounds{front, behind} {
		n := 0
		switch {
		case count > p.Count:
			n = -1
		case i == 0 && p.ByIndex:
			n = p.Index
		case side != bounds{}:
			n, err = f.count(r, side, p.Count-count)
		}
		if n < 0 || err != nil {
			return before, -1, err
		}
		if count += n; i == 0 {
			before = n
		}
	}
	if count > p.Count {
		count = -1
	}
	return before, count, nil
}

// at returns the id of the message of that number, 0 if there are not so many.
func (f *Filter) at(r *storage.Reader, b bounds, p *Page) (id int64, err error) {
	if p.Index > p.Count {
		return 0, ErrTooFar
	}
	s := selection{`SELECT id` + inRange + ` ORDER BY id LIMIT 1 OFFSET $4`, `SELECT id` + ofPeer + ` ORDER BY id LIMIT 1 OFFSET $4`}
	if p.Descending {
		s = selection{`SELECT id` + inRange + ` ORDER BY id DESC LIMIT 1 OFFSET $4`, `SELECT id` + ofPeer + ` ORDER BY id DESC LIMIT 1 OFFSET $4`}
	}
	for row, err := range f.query(r, s, b, p.Index) {
		if err == nil {
			err = row.Scan(&id)
		}
		if err != nil {
			return 0, err
		}
	}
	return id, nil
}

// number tells how many messages match, and where among them the page is. Of a
// page that is told by its end that is not told (XEP-0313 §4.3.2 leaves it to us):
// a library in wide use takes a page that ends where the set does for the last
// one, and reads no further backwards.
func (f *Filter) number(r *storage.Reader, all, at bounds, p *Page, out *Found) (err error) {
	n, before := len(out.Messages), 0
	switch fromEnd := all == at; { // of the set
	case fromEnd && !out.More:
		out.Count = n
	case n == 0:
		out.Count, err = f.count(r, all, p.Count)
	default:
		before, out.Count, err = f.around(r, all, at, p, out)
	}
	switch {
	case n == 0 || p.Backwards:
	case p.ByIndex:
		out.Index = p.Index
	case all == at:
		out.Index = 0
	case out.Count >= 0:
		out.Index = before
	}
	return err
}

// readIDs reads a page of messages that were named. Each must be there, whether it
// matches or not.
func (f *Filter) readIDs(r *storage.Reader, p *Page) (Found, error) {
	all := f.bounds()
	var list []int64
	for _, id := range f.IDs {
		with, err := f.find(r, id)
		if err != nil {
			return Found{}, err
		}
		if id > all.lo && id < all.hi && f.with(with) {
			list = append(list, id)
		}
	}
	slices.Sort(list)
	list = slices.Compact(list)
	if p.Descending {
		slices.Reverse(list)
	}
	begin, end := p.cut(list)
	out, left := Found{Count: len(list), Index: -1}, p.Bytes
	for len(out.Messages) < p.Rows && begin < end {
		id := list[begin]
		if p.Backwards {
			id = list[end-1]
		}
		var one Found
		if err := f.rows(r, bounds{id - 1, id + 1}, &Page{Rows: 1}, true, &one); err != nil {
			return Found{}, err
		}
		left -= p.Each + len(one.Messages[0].Stanza)
		if len(out.Messages) > 0 && left < 0 {
			break
		}
		out.Messages = append(out.Messages, one.Messages...)
		if p.Backwards {
			end--
		} else {
			begin++
		}
	}
	out.More = begin < end
	if p.Backwards {
		slices.Reverse(out.Messages)
	}
	if len(out.Messages) > 0 && !p.Backwards {
		out.Index = slices.Index(list, out.Messages[0].ID)
	}
	return out, nil
}

// cut returns where in a list, which is in the order of the page, the page is to
// be looked for.
func (p *Page) cut(list []int64) (begin, end int) {
	compare := cmp.Compare[int64]
	if p.Descending {
		compare = func(a, b int64) int { return cmp.Compare(b, a) }
	}
	end = len(list)
	if p.Before != 0 {
		end, _ = slices.BinarySearchFunc(list, p.Before, compare)
	}
	if p.After != 0 {
		i, found := slices.BinarySearchFunc(list, p.After, compare)
		if begin = i; found {
			begin++
		}
	}
	if p.ByIndex {
		begin = max(begin, min(p.Index, end))
	}
	return begin, end
}

// with reports whether the other side of a message is one that is asked for.
func (f *Filter) with(j jid.JID) bool {
	return f.With.IsZero() || f.With == j || f.With == j.Bare()
}

// Ends returns the ids of the first and the last message of an archive, 0 if it is
// empty.
func Ends(ctx context.Context, db *storage.DB, owner, floor int64) (first, last int64, err error) {
	f := Filter{Owner: owner, Floor: floor}
	err = db.Read(ctx, func(r *storage.Reader) error {
		for _, end := range []struct {
			forward bool
			id      *int64
		}{{true, &first}, {false, &last}} {
			var one Found
			if err := f.rows(r, f.bounds(), &Page{Rows: 1}, end.forward, &one); err != nil {
				return err
			}
			if *end.id = 0; len(one.Messages) > 0 {
				*end.id = one.Messages[0].ID
			}
		}
		return nil
	})
	return first, last, err
}
