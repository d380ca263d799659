package caps

import (
	"container/list"
	"context"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"kith/server/cluster"
	"kith/server/session"
	"kith/server/storage"
	"kith/xmpp/ns"
	"kith/xmpp/xep/caps"
	"kith/xmpp/xep/disco"
	"kith/xmpp/xmltree"
)

//go:embed migrations
var files embed.FS

// Migrations returns the table of this package. Nothing in it belongs to an
// account.
func Migrations() storage.Migrations {
	sub, err := fs.Sub(files, "migrations")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	return storage.Migrations{Name: "caps", FS: sub}
}

// How much is kept, in memory as in the store. Above that what was not used for
// the longest time is forgotten.
const (
	maxKept      = 1000
	maxKeptBytes = 4 << 20
)

const (
	// patience is how long one device is waited for by others that claim the same.
	patience = 10 * time.Second
	// maxAsking is how many claims are being asked about at the same time, so that
	// others wait, and maxWaiting how many do so. Whoever comes then is asked too.
	maxAsking  = 1000
	maxWaiting = 1000
	// day is how exactly it is stored when something was used.
	day = 24 * time.Hour
)

// name is what is claimed without the software that claims it: the same hash means
// the same.
type name struct{ hash, ver string }

// Cache is what was verified, for all hosts and accounts.
type Cache struct {
	mu     sync.Mutex // guards what follows
	kept   map[name]*list.Element
	recent list.List // of *entry, the most recently used first
	bytes  int
	asking map[name]*question
}

type entry struct {
	name
	known *Known
	used  time.Time // as it is stored
}

func (e *entry) size() int { return 200 + len(e.hash) + len(e.ver) + e.known.size() }

// question is that one device is being asked.
type question struct {
	by      session.ID
	at      time.Time
	waiting []Waiter
}

// Open reads what was verified before; what is too much, or cannot be read, it
// deletes.
func Open(ctx context.Context, db *storage.DB, log *slog.Logger) (*Cache, error) {
	c := &Cache{kept: make(map[name]*list.Element), asking: make(map[name]*question)}
	var rest []name
	err := db.Read(ctx, func(r *storage.Reader) error {
		for row, err := range r.Query(`SELECT hash, ver, info, used FROM caps ORDER BY used DESC, hash, ver`) {
			if err != nil {
				return err
			}
			e := new(entry)
			var info []byte
			var used int64
			if err := row.Scan(&e.hash, &e.ver, &info, &used); err != nil {
				return err
			}
			e.used = time.UnixMilli(used)
			if e.known, err = parse(info); err != nil {
				log.Warn("stored capabilities cannot be read; they are forgotten", "ver", e.ver, "error", err)
				rest = append(rest, e.name)
				continue
			}
			if len(c.kept) >= maxKept || c.bytes+e.size() > maxKeptBytes {
				rest = append(rest, e.name)
				continue
			}
			c.kept[e.name] = c.recent.PushBack(e)
			c.bytes += e.size()
		}
		return nil
	})
	if err == nil && len(rest) > 0 {
		err = db.Write(ctx, func(tx *storage.Tx) error {
			for _, n := range rest {
				if _, err := tx.Exec(`DELETE FROM caps WHERE hash = $1 AND ver = $2`, n.hash, n.ver); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("read capabilities: %w", err)
	}
	return c, nil
}

// stored are the limits for what is read from the store.
var stored = xmltree.Limits{Bytes: 1 << 20, Depth: 8, Elements: 1 << 12, Attrs: 16, Namespaces: 16}

func parse(b []byte) (*Known, error) {
	el, err := xmltree.ParseIn(ns.Client, b, stored)
	if err != nil {
		return nil, err
	}
	info, err := disco.ParseInfo(el)
	if err != nil {
		return nil, err
	}
	return newKnown(info), nil
}

// get returns what was verified of a claim, nil if nothing was.
func (c *Cache) get(claim caps.Caps, now time.Time) (*Known, *Save) {
	c.mu.Lock()
	defer c.mu.Unlock()
	el := c.kept[name{claim.Hash, claim.Ver}]
	if el == nil {
		return nil, nil
	}
	c.recent.MoveToFront(el)
	e := el.Value.(*entry)
	if now.Sub(e.used) < day {
		return e.known, nil
	}
	e.used = now
	return e.known, &Save{touched: e.name, at: now}
}

// put keeps what was verified. It returns what is kept, which may be what somebody
// else has answered at the same time.
func (c *Cache) put(claim caps.Caps, k *Known, now time.Time) (*Known, *Save) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := &entry{name: name{claim.Hash, claim.Ver}, known: k, used: now}
	if el := c.kept[e.name]; el != nil {
		return el.Value.(*entry).known, nil
	}
	s := &Save{added: e, at: now}
	c.kept[e.name] = c.recent.PushFront(e)
	c.bytes += e.size()
	for len(c.kept) > maxKept || c.bytes > maxKeptBytes {
		last := c.recent.Remove(c.recent.Back()).(*entry)
		delete(c.kept, last.name)
		c.bytes -= last.size()
		s.gone = append(s.gone, last.name)
	}
	return k, s
}

// begin reports whether a device is to be asked. If not, another is being asked
// the same, and it waits.
func (c *Cache) begin(claim caps.Caps, w Waiter, now time.Time, mayWait bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := name{claim.Hash, claim.Ver}
	q := c.asking[n]
	if q != nil && now.Sub(q.at) < patience {
		if !mayWait || len(q.waiting) >= maxWaiting {
			return true
		}
		q.waiting = append(q.waiting, w)
		return false
	}
	if len(c.asking) >= maxAsking {
		for n, q := range c.asking {
			if now.Sub(q.at) >= patience {
				delete(c.asking, n)
			}
		}
	}
	if len(c.asking) < maxAsking {
		c.asking[n] = &question{by: w.Session, at: now}
	}
	return true
}

// end is told that a device has answered. It returns who has waited for that.
func (c *Cache) end(claim caps.Caps, by session.ID, verified bool) []Waiter {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := name{claim.Hash, claim.Ver}
	q := c.asking[n]
	if q == nil || q.by != by && !verified {
		return nil
	}
	delete(c.asking, n)
	return q.waiting
}

// Save stores what the cache has learnt, as an item of any actor.
type Save struct {
	added   *entry
	touched name
	gone    []name
	at      time.Time
}

// Handle implements cluster.Item.
func (s *Save) Handle(t *cluster.Turn, _ cluster.Actor) {
	switch e := s.added; {
	case e != nil:
		info := &disco.Info{Identities: e.known.Identities, Features: e.known.Features}
		t.Write(`INSERT INTO caps (hash, ver, info, used) VALUES ($1, $2, $3, $4)
			ON CONFLICT (hash, ver) DO UPDATE SET info = excluded.info, used = excluded.used`,
			e.hash, e.ver, xmltree.Marshal(info, ns.Client), s.at.UnixMilli())
	default:
		t.Write(`UPDATE caps SET used = $3 WHERE hash = $1 AND ver = $2`, s.touched.hash, s.touched.ver, s.at.UnixMilli())
	}
	for _, n := range s.gone {
		t.Write(`DELETE FROM caps WHERE hash = $1 AND ver = $2`, n.hash, n.ver)
	}
}

// Fail implements cluster.Item. What is not stored is asked again after the next
// start.
func (s *Save) Fail(*cluster.Turn, error) {}
