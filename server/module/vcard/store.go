package vcard

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"kith/server/account"
	"kith/server/storage"
	"kith/xmpp/ns"
	xvcard "kith/xmpp/xep/vcard"
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
	return storage.Migrations{Name: "vcard", FS: sub}
}

// Purges delete what is kept of a deleted account.
var Purges = []account.Purge{`DELETE FROM vcard WHERE owner = $1`}

// exists says of an account whether it has a vCard, so that one without says so at
// once, like an account that does not exist. The vCard itself stays in the store.
var exists = account.NewSlot[bool]("vCard")

// Load reads whether an account has a vCard, as a part of it.
func Load(r *storage.Reader, st *account.State) error {
	var one int
	err := r.QueryRow(`SELECT 1 FROM vcard WHERE owner = $1`, st.ID).Scan(&one)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	exists.Load(st, err == nil)
	return err
}

// stored are the limits for what was read from a stanza before.
var stored = xmltree.Limits{Bytes: 16 << 20, Depth: 256, Elements: 1 << 16, Attrs: 1 << 10, Namespaces: 1 << 12}

// read reads the vCard of an account; nil if there is none. One that cannot be
// read, which is not our doing, is none.
func (m *cards) read(ctx context.Context, owner int64) (*xvcard.Card, error) {
	var content []byte
	err := m.host.DB.Read(ctx, func(r *storage.Reader) error {
		return r.QueryRow(`SELECT content FROM vcard WHERE owner = $1`, owner).Scan(&content)
	})
	switch {
	case errors.Is(err, storage.ErrNotFound): // taken away since it was asked for
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read vCard: %w", err)
	}
	el, err := xmltree.ParseIn(ns.Client, content, stored)
	if err == nil {
		var c *xvcard.Card
		if c, err = xvcard.Parse(el); err == nil {
			return c, nil
		}
	}
	m.host.Log.Error("stored vCard cannot be read; it is skipped", "account", owner, "error", err)
	return nil, nil
}
