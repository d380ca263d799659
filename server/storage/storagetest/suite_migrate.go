package storagetest

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"kith/server/storage"
)

func set(name string, files ...string) storage.Migrations {
	fs := make(fstest.MapFS)
	for i := 0; i < len(files); i += 2 {
		fs[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return storage.Migrations{Name: name, FS: fs}
}

const (
	first = `-- one; 'two'
		CREATE TABLE a (id {{id}}, s {{text}} NOT NULL, b {{bytes}}, j {{json}});
		CREATE INDEX a_s ON a (s);
		INSERT INTO a (s) VALUES ('from the migration; $1');`
	second = `ALTER TABLE a ADD COLUMN n bigint NOT NULL DEFAULT 5`
)

func migrations(t *testing.T, db *storage.DB) {
	one := set("a", "migrations/0001_first.sql", first)
	two := set("a", "migrations/0001_first.sql", first, "migrations/0002_second.sql", second)
	other := set("b", "0001_other.sql", `CREATE TABLE b (a bigint REFERENCES a)`)
	for _, sets := range [][]storage.Migrations{{one, other}, {one}, {two, other}, {two}} {
		if err := db.Migrate(ctx, sets...); err != nil {
			t.Fatal(err)
		}
	}
	err := db.Read(ctx, func(r *storage.Reader) error {
		var s string
		var n int
		if err := r.QueryRow("SELECT s, n FROM a").Scan(&s, &n); err != nil || s != "from the migration; $1" || n != 5 {
			t.Errorf("row %q %d, error %v", s, n, err)
		}
		return r.QueryRow("SELECT count(*) FROM migration").Scan(&n)
	})
	if err != nil {
		t.Error(err)
	}
	if err := db.Commit([]storage.Op{{SQL: "INSERT INTO b (a) VALUES (7)"}}); err == nil {
		t.Error("foreign keys are not enforced")
	}
}

func migrationsRefused(t *testing.T, db *storage.DB) {
	if err := db.Migrate(ctx, set("a", "0001_first.sql", first, "0002_second.sql", second)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what string
		set  storage.Migrations
		says string
	}{
		{"a newer database", set("a", "0001_first.sql", first), "newer"},
		{"a changed file", set("a", "0001_first.sql", first+" ", "0002_second.sql", second), "0001_first.sql was changed"},
		{"a gap", set("b", "0001_a.sql", "SELECT 1", "0003_c.sql", "SELECT 1"), "migration 2 is missing"},
		{"a number twice", set("b", "0001_a.sql", "SELECT 1", "x/0001_c.sql", "SELECT 1"), "twice"},
		{"a name without a number", set("b", "first.sql", "SELECT 1"), "0001_name.sql"},
		{"no file", set("b"), "0001_name.sql"},
		{"no name", set("", "0001_a.sql", "SELECT 1"), "without a name"},
		{"an unknown word", set("b", "0001_a.sql", "CREATE TABLE c (a {{what}})"), "{{what}}"},
		{"a statement that fails", set("b", "0001_a.sql", "CREATE TABLE c (a bigint); CREATE TABLE a (b bigint)"), "0001_a.sql"},
	} {
		err := db.Migrate(ctx, c.set)
		if err == nil || !strings.Contains(err.Error(), c.says) || errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%s: error %v, want one that says %q", c.what, err, c.says)
		}
	}
	// A migration that failed leaves nothing behind.
	if err := db.Migrate(ctx, set("b", "0001_a.sql", "CREATE TABLE c (a bigint)")); err != nil {
		t.Error(err)
	}
}

// migrateTogether: the nodes of a cluster start at the same time.
func migrateTogether(t *testing.T, db *storage.DB) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := db.Migrate(ctx, set("a", "0001_first.sql", first, "0002_second.sql", second)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
