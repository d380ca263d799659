// Package storagetest gives tests a fresh database of each kind, and holds the
// conformance suite that both must pass.
//
// PostgreSQL is a server of the test binary's own, listening on a Unix socket only. It
// ends and its files go when the test process does, however that ends.
package storagetest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"kith/server/storage"
)

// SQLite opens a fresh database in t.TempDir, closed when the test ends. It may be
// called in a synctest bubble.
func SQLite(t testing.TB) *storage.DB {
	t.Helper()
	return Open(t, "sqlite:"+filepath.Join(t.TempDir(), "kith.db"), storage.Options{})
}

// Open opens a database that is closed when the test ends.
func Open(t testing.TB, url string, o storage.Options) *storage.DB {
	t.Helper()
	db, err := o.Open(context.Background(), url, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("open %s: %v", url, err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close %s: %v", url, err)
		}
	})
	return db
}

// The test binary's PostgreSQL server, started by the first who asks.
var (
	shared    = sync.OnceValues(startServer)
	databases atomic.Int64
)

// Postgres opens a fresh database of the test binary's PostgreSQL server, dropped when the
// test ends. Where no PostgreSQL is installed, the test is skipped, and with CI=true it
// fails; with KITH_POSTGRES=off it is skipped in any case.
func Postgres(t testing.TB) *storage.DB {
	t.Helper()
	return Open(t, PostgresURL(t), storage.Options{})
}

// PostgresURL is the URL of a fresh database, for tests that open it themselves.
func PostgresURL(t testing.TB) string {
	t.Helper()
	wanted(t)
	s, err := shared()
	if err != nil {
		unavailable(t, err)
	}
	return s.Database(t)
}

// Each runs a test over both databases.
func Each(t *testing.T, test func(t *testing.T, db *storage.DB)) {
	t.Run("sqlite", func(t *testing.T) { test(t, SQLite(t)) })
	t.Run("postgres", func(t *testing.T) { test(t, Postgres(t)) })
}

// wanted skips the test where the environment asks for none on PostgreSQL.
func wanted(t testing.TB) {
	t.Helper()
	if os.Getenv("KITH_POSTGRES") == "off" {
		t.Skip("KITH_POSTGRES=off: nothing is tested on PostgreSQL; make test does")
	}
}

// unavailable skips the test, except where everything has to be there.
func unavailable(t testing.TB, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("no PostgreSQL (run interop/install.sh): %v", err)
	}
	t.Skipf("no PostgreSQL (run interop/install.sh): %v", err)
}

// Database makes a fresh database and returns its URL; it is dropped when the test ends. It
// is a schema: PostgreSQL copies megabytes for what it calls a database.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test%d", databases.Add(1))
	if err := s.admin(pgx.Identifier{name}, "CREATE SCHEMA %s"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.admin(pgx.Identifier{name}, "DROP SCHEMA %s CASCADE"); err != nil {
			t.Error(err)
		}
	})
	return s.url(name)
}

// How long making or dropping a database may take; somebody may still hold its locks.
const adminTime = 30 * time.Second

func (s *Server) admin(name pgx.Identifier, command string) error {
	ctx, cancel := context.WithTimeout(context.Background(), adminTime)
	defer cancel()
	c, err := pgx.Connect(ctx, s.url("public"))
	if err != nil {
		return err
	}
	_, err = c.Exec(ctx, fmt.Sprintf(command, name.Sanitize()))
	if cerr := c.Close(ctx); err == nil {
		err = cerr
	}
	return err
}
