package private

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"kith/server/account"
	"kith/server/module"
	"kith/server/storage"
	"kith/xmpp/ns"
	xprivate "kith/xmpp/xep/private"
	"kith/xmpp/xmltree"
)

//go:embed migrations
var files embed.FS

// Migrations returns the table of this package.
func Migrations() storage.Migrations {
	sub, err := fs.Sub(files, "migrations")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	return storage.Migrations{Name: "private", FS: sub}
}

// Purges delete what is kept of a deleted account.
var Purges = []account.Purge{
	`DELETE FROM private_data WHERE owner = $1 AND (space, name) IN (SELECT space, name FROM private_data WHERE owner = $1 ORDER BY space, name LIMIT 100)`,
}

// row is about what a row costs beside its strings.
const row = 100

// contents is what an account has stored: the names, and what each costs. The
// data itself stays in the store.
type contents struct {
	cost  map[xmltree.Name]int
	total int
}

var slot = account.NewSlot[*contents]("private data")

// of returns what an account has stored.
func of(a *account.Actor) *contents {
	if c := slot.Durable(a); c != nil {
		return c
	}
	return &contents{cost: make(map[xmltree.Name]int)}
}

// Load reads what an account has stored, as a part of it.
func Load(r *storage.Reader, st *account.State) error {
	c := &contents{cost: make(map[xmltree.Name]int)}
	for row, err := range r.Query(`SELECT space, name, length(content) FROM private_data WHERE owner = $1`, st.ID) {
		if err != nil {
			return err
		}
		var n xmltree.Name
		var bytes int
		if err := row.Scan(&n.Space, &n.Local, &bytes); err != nil {
			return err
		}
		c.note(n, bytes)
	}
	if len(c.cost) > 0 {
		slot.Load(st, c)
	}
	return nil
}

// Size implements the account's measure.
func (c *contents) Size() int {
	n := 0
	for name := range c.cost {
		n += row + len(name.Space) + len(name.Local)
	}
	return n
}

func cost(n xmltree.Name, bytes int) int {
	if bytes == 0 {
		return 0
	}
	return row + len(n.Space) + len(n.Local) + bytes
}

// note takes down how much there is of a name now.
func (c *contents) note(n xmltree.Name, bytes int) {
	c.total += cost(n, bytes) - c.cost[n]
	if bytes == 0 {
		delete(c.cost, n)
		return
	}
	c.cost[xmltree.Name{Space: strings.Clone(n.Space), Local: strings.Clone(n.Local)}] = cost(n, bytes)
}

// write puts the content of a name in the place of what was there; nil takes it
// away.
func (c *contents) write(t *module.Transit, n xmltree.Name, content []byte) {
	c.note(n, len(content))
	if slot.Durable(t.Account) != c {
		slot.SetDurable(t.Account, c)
	}
	if content == nil {
		t.Write(`DELETE FROM private_data WHERE owner = $1 AND space = $2 AND name = $3`, t.Account.ID(), n.Space, n.Local)
		return
	}
	t.Write(`INSERT INTO private_data (owner, space, name, content) VALUES ($1, $2, $3, $4)
		ON CONFLICT (owner, space, name) DO UPDATE SET content = excluded.content`, t.Account.ID(), n.Space, n.Local, content)
}

// stored are the limits for what was read from a stanza before.
var stored = xmltree.Limits{Bytes: 16 << 20, Depth: 256, Elements: 1 << 16, Attrs: 1 << 10, Namespaces: 1 << 12}

// read reads what there is of some names, those of them that are asked for, from
// one snapshot.
func (m *store) read(ctx context.Context, owner int64, names []xmltree.Name, asked []bool) ([][]xmltree.Element, error) {
	found := make([][]xmltree.Element, len(names))
	err := m.host.DB.Read(ctx, func(r *storage.Reader) error {
		for i, n := range names {
			if !asked[i] {
				continue
			}
			var content []byte
			err := r.QueryRow(`SELECT content FROM private_data WHERE owner = $1 AND space = $2 AND name = $3`,
				owner, n.Space, n.Local).Scan(&content)
			switch {
			case errors.Is(err, storage.ErrNotFound): // taken away since
			case err != nil:
				return err
			default:
				found[i] = m.parse(owner, n, content)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read private data: %w", err)
	}
	return found, nil
}

// parse reads what is stored. What cannot be read, which is not our doing, is not
// there.
func (m *store) parse(owner int64, n xmltree.Name, content []byte) []xmltree.Element {
	el, err := xmltree.ParseIn(ns.Client, content, stored)
	if err == nil {
		var items []xmltree.Element
		if items, err = xprivate.Parse(el); err == nil {
			return items
		}
	}
	m.host.Log.Error("stored private data cannot be read; it is skipped", "account", owner, "namespace", n.Space, "error", err)
	return nil
}
