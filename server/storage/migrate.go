package storage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Migrations are the numbered changes of one package's tables: files 0001_name.sql,
// 0002_name.sql, ... anywhere in FS, each of one or more statements. A file that has been
// released is never changed; the next change is a new file.
type Migrations struct {
	Name string // of the package; it is never changed
	FS   fs.FS
}

type migration struct {
	number   int
	file     string
	sql      string
	checksum string
}

// migrationLock is the key of the advisory lock under which the nodes of a cluster migrate one after the other.
const migrationLock = "SELECT pg_advisory_xact_lock(5284197301176245)"

const migrationTable = `CREATE TABLE IF NOT EXISTS migration (
	name     {{text}}  NOT NULL,
	number   integer   NOT NULL,
	checksum text      NOT NULL,
	applied  bigint    NOT NULL, -- Unix milliseconds
	PRIMARY KEY (name, number)
)`

// Migrate brings the tables of each set up to date, in the order given, each migration in a
// transaction of its own. It refuses a database that a newer program has changed.
func (db *DB) Migrate(ctx context.Context, sets ...Migrations) error {
	err := db.Write(ctx, func(tx *Tx) error {
		w := tx.c.(writer)
		tx.wrote = true
		if err := lockMigrations(db.Dialect(), w); err != nil {
			return err
		}
		return w.script(db.Dialect().expand(migrationTable))
	})
	if err != nil {
		return fmt.Errorf("migrate: %w", advised(err))
	}
	for _, set := range sets {
		if err := db.migrate(ctx, set); err != nil {
			return fmt.Errorf("migrate %s: %w", set.Name, advised(err))
		}
	}
	return nil
}

func (db *DB) migrate(ctx context.Context, set Migrations) error {
	files, err := set.load()
	if err != nil {
		return err
	}
	applied := make(map[int]string)
	err = db.Read(ctx, func(r *Reader) error {
		for row, err := range r.Query("SELECT number, checksum FROM migration WHERE name = $1", set.Name) {
			var n int
			var sum string
			if err == nil {
				err = row.Scan(&n, &sum)
			}
			if err != nil {
				return err
			}
			applied[n] = sum
		}
		return nil
	})
	if err != nil {
		return err
	}
	for n := range applied {
		if n > len(files) {
			return fmt.Errorf("the database is newer than this program: it has migration %d of %s, the program knows %d; "+
				"run the program that made it, or restore a backup made before the upgrade", n, set.Name, len(files))
		}
	}
	for _, m := range files {
		if sum, ok := applied[m.number]; ok {
			if sum != m.checksum {
				return errChanged(m)
			}
			continue
		}
		level := slog.LevelInfo
		if len(applied) == 0 { // tables that there have never been: nothing of anybody's is changed
			level = slog.LevelDebug
		}
		if err := db.apply(ctx, set.Name, m, level); err != nil {
			return fmt.Errorf("%s: %w", m.file, err)
		}
	}
	return nil
}

func errChanged(m migration) error {
	return fmt.Errorf("%s was changed after it had been applied to this database; "+
		"put back the file as it was and make the change in a new one", m.file)
}

func (db *DB) apply(ctx context.Context, name string, m migration, level slog.Level) error {
	begun := time.Now()
	fresh := false
	err := db.Write(ctx, func(tx *Tx) error {
		fresh, tx.wrote = false, true
		w := tx.c.(writer)
		if err := lockMigrations(db.Dialect(), w); err != nil {
			return err
		}
		// Another node or process may have been faster.
		var sum string
		switch err := tx.QueryRow("SELECT checksum FROM migration WHERE name = $1 AND number = $2", name, m.number).Scan(&sum); {
		case err == nil && sum != m.checksum:
			return errChanged(m)
		case err == nil:
			return nil
		case !errors.Is(err, ErrNotFound):
			return err
		}
		fresh = true
		if err := w.script(db.Dialect().expand(m.sql)); err != nil {
			return err
		}
		_, err := tx.Exec("INSERT INTO migration (name, number, checksum, applied) VALUES ($1, $2, $3, $4)",
			name, m.number, m.checksum, begun.UnixMilli())
		return err
	})
	if err == nil && fresh {
		db.log.Log(ctx, level, "migrated", "tables", name, "file", m.file, "took", time.Since(begun))
	}
	return err
}

// lockMigrations makes other processes wait; SQLite's transaction is a lock already.
func lockMigrations(d Dialect, w writer) error {
	if d == Postgres {
		return w.script(migrationLock)
	}
	return nil
}

// load reads the files; their numbers are 1, 2, 3, ...
func (set Migrations) load() ([]migration, error) {
	if set.Name == "" {
		return nil, errors.New("migrations without a name")
	}
	var files []migration
	err := fs.WalkDir(set.FS, ".", func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || path.Ext(p) != ".sql" {
			return err
		}
		digits, _, ok := strings.Cut(path.Base(p), "_")
		n, err := strconv.Atoi(digits)
		if !ok || err != nil || len(digits) != 4 {
			return fmt.Errorf("%s: the name must be like 0001_name.sql", p)
		}
		text, err := fs.ReadFile(set.FS, p)
		if err != nil {
			return err
		}
		if i := strings.Index(SQLite.expand(string(text)), "{{"); i >= 0 {
			return fmt.Errorf("%s: unknown word in %q", p, brief(SQLite.expand(string(text))[i:]))
		}
		sum := sha256.Sum256(text)
		files = append(files, migration{n, path.Base(p), string(text), hex.EncodeToString(sum[:])})
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(files, func(a, b migration) int { return a.number - b.number })
	for i, m := range files {
		if m.number != i+1 {
			return nil, fmt.Errorf("%s: migration %d is missing or there twice", m.file, i+1)
		}
	}
	if len(files) == 0 {
		return nil, errors.New("no file 0001_name.sql")
	}
	return files, nil
}

// expand replaces the words in which migrations for the two databases differ.
func (d Dialect) expand(sql string) string {
	words := strings.NewReplacer(
		"{{id}}", "INTEGER PRIMARY KEY AUTOINCREMENT",
		"{{text}}", "text",
		"{{bytes}}", "blob",
		"{{json}}", "text",
		"{{clustered}}", "WITHOUT ROWID",
	)
	if d == Postgres {
		words = strings.NewReplacer(
			"{{id}}", "bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
			"{{text}}", `text COLLATE "C"`,
			"{{bytes}}", "bytea",
			"{{json}}", "jsonb",
			"{{clustered}}", "",
		)
	}
	return words.Replace(sql)
}
