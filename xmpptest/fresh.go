package xmpptest

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"kith/server"
	"kith/server/storage"
)

// fresh is the file of a SQLite database that has all tables and no rows. The
// migrations of a first start take longer than most tests: they run once in a
// process, and each server begins with a copy.
var fresh = sync.OnceValues(makeFresh)

func makeFresh() (_ []byte, err error) {
	dir, err := os.MkdirTemp("", "xmpptest-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := &Server{dir: dir, opts: options{hosts: Hosts}}
	if err := s.configure(); err != nil {
		return nil, err
	}
	if err := s.load(); err != nil {
		return nil, err
	}
	ctx, log := context.Background(), slog.New(slog.DiscardHandler)
	srv, err := server.New(ctx, s.config, "test", log)
	if err != nil {
		return nil, err
	}
	if err := srv.Close(); err != nil {
		return nil, err
	}
	db, err := storage.Open(ctx, s.config.StorageURL(), log)
	if err != nil {
		return nil, err
	}
	// Each server makes secrets of its own, as it does at its first start.
	err = db.Write(ctx, func(tx *storage.Tx) error {
		_, err := tx.Exec("DELETE FROM secret")
		return err
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return nil, err
	}
	return os.ReadFile(strings.TrimPrefix(s.config.StorageURL(), "sqlite:"))
}

// furnish gives the server a database with all tables, if it is one of SQLite.
func (s *Server) furnish() error {
	path, ok := strings.CutPrefix(s.config.StorageURL(), "sqlite:")
	if !ok {
		return nil
	}
	b, err := fresh()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil // that of a test
	}
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}
