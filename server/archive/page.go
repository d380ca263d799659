package archive

import (
	"errors"
	"iter"
	"math"
	"slices"
	"time"

	"kith/server/storage"
	"kith/xmpp/jid"
)

// Errors of reading.
var (
	ErrNoMessage = errors.New("there is no message of that id")
	ErrTooFar    = errors.New("the page begins too far from the beginning to be counted")
)

// Filter says which messages of an archive match.
type Filter struct {
	Owner      int64
	Floor      int64   // up to this id everything is deleted
	With       jid.JID // zero: whoever the other side is; a bare JID stands for all its resources
	Start, End time.Time
	// Ids of messages that must be there: none of those up to After or from Before
	// on matches; 0 is no bound. Of IDs, unless it is nil, only these do.
	After, Before int64
	IDs           []int64
	UpTo          int64 // unless it is 0, no later message matches; it need not be there
}

// Page says which part of what matches is wanted.
type Page struct {
	Rows       int  // at most
	Bytes      int  // at most, unless the first message alone has more
	Each       int  // bytes that count for each beside the stanza
	Descending bool // the newest is the first
	// Where it is, in that order: behind one message, or (Backwards) in front of one,
	// which must be there; 0 is the beginning, or the end.
	After, Before int64
	Backwards     bool
	Index         int // with ByIndex: where it begins
	ByIndex       bool
	Count         int // how far the messages are counted
}

// Found is a page.
type Found struct {
	Messages []Message // in the order asked for
	More     bool      // there are others in the direction of reading
	Count    int       // of all that match; -1: too many to be counted
	Index    int       // of the first in the page; -1: not told
}

// What matches: in a range of ids, and with a peer. Most rows are of others, so
// that is looked at first.
//
// A limit is a sum, because SQLite looks at one that is only a parameter when it
// plans, and so plans anew each time it is run, which costs more than the reading.
const (
	ofOwner = ` FROM message WHERE owner = $1 AND id > $2 AND id < $3`
	inRange = ofOwner + ` AND NOT transit`
	ofPeer  = ofOwner + ` AND peer = $5 AND ($6 = '' OR resource = $6) AND NOT transit`
)

// selection is a statement with and without a peer.
type selection struct{ all, peer string }

// pages are read forward or backward in time.
func pages(forward bool) selection {
	if forward {
		return selection{`SELECT id, stanza` + inRange + ` ORDER BY id LIMIT $4 + 0`, `SELECT id, stanza` + ofPeer + ` ORDER BY id LIMIT $4 + 0`}
	}
	return selection{`SELECT id, stanza` + inRange + ` ORDER BY id DESC LIMIT $4 + 0`, `SELECT id, stanza` + ofPeer + ` ORDER BY id DESC LIMIT $4 + 0`}
}

// query runs a statement for what is between the bounds; n is its $4.
func (f *Filter) query(r *storage.Reader, s selection, b bounds, n int) iter.Seq2[storage.Row, error] {
	if f.With.IsZero() {
		return r.Query(s.all, f.Owner, b.lo, b.hi, n)
	}
	return r.Query(s.peer, f.Owner, b.lo, b.hi, n, f.With.Bare().String(), f.With.Resource())
}

// bounds are the ids between which all that matches is; both are outside.
type bounds struct{ lo, hi int64 }

// lastMS is the last millisecond that an id can tell.
const lastMS = 1<<(63-counterBits) - 1

func (f *Filter) bounds() bounds {
	b := bounds{max(f.Floor, f.After, 0), math.MaxInt64}
	if f.Before > 0 {
		b.hi = f.Before
	}
	if f.UpTo > 0 {
		b.hi = min(b.hi, f.UpTo+1)
	}
	if !f.Start.IsZero() {
		ms := clampMS(f.Start.Add(time.Millisecond - time.Nanosecond)) // the stamps that are told have no more
		b.lo = max(b.lo, ms<<counterBits-1)
	}
	if !f.End.IsZero() {
		if ms := clampMS(f.End); ms < lastMS {
			b.hi = min(b.hi, (ms+1)<<counterBits)
		}
	}
	return b
}

func clampMS(t time.Time) int64 { return min(max(t.UnixMilli(), 0), lastMS) }

// Read reads a page.
func Read(r *storage.Reader, f *Filter, p *Page) (Found, error) {
	for _, id := range []int64{f.After, f.Before, p.After, p.Before} {
		if id == 0 {
			continue
		}
		if _, err := f.find(r, id); err != nil {
			return Found{}, err
		}
	}
	if f.IDs != nil {
		return f.readIDs(r, p)
	}
	return f.read(r, p)
}

// find looks for a message that must be there and returns who the other side is.
func (f *Filter) find(r *storage.Reader, id int64) (with jid.JID, err error) {
	var peer, resource string
	err = r.QueryRow(`SELECT peer, resource FROM message WHERE owner = $1 AND id = $2 AND NOT transit`, f.Owner, id).Scan(&peer, &resource)
	if errors.Is(err, storage.ErrNotFound) || err == nil && id <= f.Floor {
		return jid.JID{}, ErrNoMessage
	}
	if err != nil {
		return jid.JID{}, err
	}
	if with, err = jid.Parse(peer); err == nil && resource != "" {
		with, err = with.WithResource(resource)
	}
	if err != nil {
		return jid.JID{}, nil //nolint:nilerr // the message is there, and with nobody that can be asked for
	}
	return with, nil
}

// read reads a page of what is between two ids.
func (f *Filter) read(r *storage.Reader, p *Page) (Found, error) {
	all := f.bounds()
	at := all
	p.narrow(&at)
	out := Found{Count: -1, Index: -1}
	if p.ByIndex {
		first, err := f.at(r, all, p)
		if err != nil || first == 0 {
			if err == nil {
				out.Count, err = f.count(r, all, p.Count)
			}
			return out, err
		}
		if p.Descending {
			at.hi = first + 1
		} else {
			at.lo = first - 1
		}
	}
	forward := p.Descending == p.Backwards // by time
	if err := f.rows(r, at, p, forward, &out); err != nil {
		return Found{}, err
	}
	if p.Backwards {
		slices.Reverse(out.Messages)
	}
	return out, f.number(r, all, at, p, &out)
}

// narrow moves the bounds to where the page is.
func (p *Page) narrow(b *bounds) {
	after, before := p.After, p.Before
	if p.Descending {
		after, before = before, after
	}
	b.lo = max(b.lo, after)
	if before > 0 {
		b.hi = min(b.hi, before)
	}
}

// rows reads messages, beginning at one of the bounds.
func (f *Filter) rows(r *storage.Reader, b bounds, p *Page, forward bool, out *Found) error {
	left := p.Bytes
	out.Messages = make([]Message, 0, min(p.Rows, 64))
	for row, err := range f.query(r, pages(forward), b, p.Rows+1) {
		if err != nil {
			return err
		}
		n := len(out.Messages)
		if n == p.Rows {
			out.More = true
			return nil
		}
		out.Messages = append(out.Messages, Message{})
		m := &out.Messages[n]
		if err := row.Scan(&m.ID, &m.Stanza); err != nil {
			return err
		}
		if left -= p.Each + len(m.Stanza); n > 0 && left < 0 {
			out.Messages, out.More = out.Messages[:n], true
			return nil
		}
	}
	return nil
}
