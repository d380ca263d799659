package storage_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"kith/server/storage"
	"kith/server/storage/storagetest"
)

const insertBlob = "INSERT INTO blob (owner, b) VALUES ($1, $2)"

func blobs(t testing.TB, db *storage.DB) {
	storagetest.Schema(t, db, `CREATE TABLE blob (owner bigint NOT NULL, b {{bytes}} NOT NULL)`)
}

func count(t testing.TB, db *storage.DB) (n int) {
	t.Helper()
	err := db.Read(t.Context(), func(r *storage.Reader) error {
		return r.QueryRow("SELECT count(*) FROM blob").Scan(&n)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSQLiteFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "a?b %20#c")
	url := "sqlite:" + filepath.Join(dir, "kith.db")
	db := storagetest.Open(t, url, storage.Options{})
	blobs(t, db)
	for name, want := range map[string]os.FileMode{"": 0o700, "kith.db": 0o600, "kith.db-wal": 0o600, "kith.db-shm": 0o600} {
		fi, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := fi.Mode().Perm(); got != want {
			t.Errorf("mode of %q is %o, want %o", name, got, want)
		}
	}
	var mode, sync string
	err := db.Write(t.Context(), func(tx *storage.Tx) error {
		return errors.Join(tx.QueryRow("PRAGMA journal_mode").Scan(&mode), tx.QueryRow("PRAGMA synchronous").Scan(&sync))
	})
	if err != nil || mode != "wal" || sync != "2" {
		t.Errorf("journal_mode %s, synchronous %s, error %v, want wal, 2 (FULL)", mode, sync, err)
	}
	if err := db.Commit([]storage.Op{{SQL: insertBlob, Args: []any{1, []byte("x")}}}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if n := count(t, storagetest.Open(t, url, storage.Options{})); n != 1 {
		t.Errorf("%d rows after the database was opened again, want 1", n)
	}
}

func TestOpenRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("this is text and by no means a database, however long one reads"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"", "sqlite:", "sqlite::memory:", "mysql://u:secret@host/db", "sqlite:" + file, "sqlite:" + file + "/x/kith.db",
		"postgres://u:secret@[bad/db", "postgres:///db?synchronous_commit=off", "postgres://kith:secret@/db?host=" + t.TempDir()} {
		db, err := storage.Open(t.Context(), url, slog.New(slog.DiscardHandler))
		if err == nil {
			t.Errorf("Open(%q) is no error", url)
			db.Close()
			continue
		}
		t.Log(err)
	}
	goleak.VerifyNone(t)
}

func TestDiskFull(t *testing.T) {
	db := storagetest.SQLite(t)
	blobs(t, db)
	big := []storage.Op{{SQL: insertBlob, Args: []any{1, make([]byte, 100_000)}}}
	if err := db.Commit(big); err != nil {
		t.Fatal(err)
	}
	if err := db.LimitPages(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	for range 8 {
		go func() { ended <- db.Commit(big) }()
	}
	for range 8 {
		if err := <-ended; !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrClosed) {
			t.Errorf("commit on a full disk: error %v, want ErrUnavailable", err)
		}
	}
	err := db.Write(t.Context(), func(tx *storage.Tx) error {
		_, err := tx.Exec(insertBlob, 2, make([]byte, 100_000))
		return err
	})
	if !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("write on a full disk: error %v, want ErrUnavailable", err)
	}
	if n := count(t, db); n != 1 {
		t.Errorf("%d rows are read on the full disk, want 1", n)
	}
	if err := db.Commit([]storage.Op{{SQL: "DELETE FROM blob"}}); err != nil {
		t.Errorf("deletion on a full disk: %v", err)
	}
	if err := db.Commit(big); err != nil {
		t.Errorf("commit in the room that was made: %v", err)
	}
	if err := db.Commit(big); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("commit on a disk that is full again: error %v, want ErrUnavailable", err)
	}
	if err := db.LimitPages(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if err := db.Commit(big); err != nil {
		t.Errorf("commit on a larger disk: %v", err)
	}
	if n := count(t, db); n != 2 {
		t.Errorf("%d rows, want 2", n)
	}
}

func TestMaxPages(t *testing.T) {
	db := storagetest.Open(t, "sqlite:"+filepath.Join(t.TempDir(), "kith.db"), storage.Options{MaxPages: 20})
	blobs(t, db)
	err := db.Commit([]storage.Op{{SQL: insertBlob, Args: []any{1, make([]byte, 100_000)}}})
	if !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("100,000 bytes in 20 pages: error %v, want ErrUnavailable", err)
	}
}

// TestLocked: another process holds the file for longer than we wait.
func TestLocked(t *testing.T) {
	url := "sqlite:" + filepath.Join(t.TempDir(), "kith.db")
	db := storagetest.Open(t, url, storage.Options{Timeout: 20 * time.Millisecond})
	other := storagetest.Open(t, url, storage.Options{})
	blobs(t, db)
	row := []storage.Op{{SQL: insertBlob, Args: []any{1, []byte("x")}}}
	err := other.Write(t.Context(), func(*storage.Tx) error {
		if err := db.Commit(row); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("commit to a locked file: error %v, want ErrUnavailable", err)
		}
		if n := count(t, db); n != 0 {
			t.Errorf("%d rows", n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Commit(row); err != nil {
		t.Errorf("commit after the lock: %v", err)
	}
	if n := count(t, other); n != 1 {
		t.Errorf("the other handle sees %d rows, want 1", n)
	}
}

// TestBubble: in a synctest bubble time passes only while every goroutine waits for the bubble.
func TestBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := storagetest.SQLite(t)
		blobs(t, db)
		begun := time.Now()
		for n := range 10 {
			go func() {
				time.Sleep(time.Duration(n) * time.Hour)
				if err := db.Commit([]storage.Op{{SQL: insertBlob, Args: []any{n, []byte("x")}}}); err != nil {
					t.Error(err)
				}
			}()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Hour)
		defer cancel()
		<-ctx.Done()
		synctest.Wait()
		if n := count(t, db); n != 6 {
			t.Errorf("%d rows after five hours, want 6", n)
		}
		if err := db.Read(ctx, func(*storage.Reader) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("read after the deadline: %v", err)
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if n := count(t, db); n != 10 {
			t.Errorf("%d rows after a day, want 10", n)
		}
		if d := time.Since(begun); d != 29*time.Hour {
			t.Errorf("%v have passed, want 29h", d)
		}
		if s := db.Stats(); s.CommitSum != 0 {
			t.Errorf("commits took %v of the bubble's time", s.CommitSum)
		}
	})
}

// TestReadersWait: with all readers busy a Read waits, and gives up with its context.
func TestReadersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := storagetest.Open(t, "sqlite:"+filepath.Join(t.TempDir(), "kith.db"), storage.Options{Readers: 1})
		busy := make(chan struct{})
		ended := make(chan error)
		read := func(ctx context.Context, f func()) {
			ended <- db.Read(ctx, func(*storage.Reader) error { f(); return nil })
		}
		go read(t.Context(), func() { <-busy })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go read(ctx, func() { t.Error("a read with the only reader busy") })
		if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("read with the only reader busy: %v", err)
		}
		go read(t.Context(), func() {})
		synctest.Wait()
		close(busy)
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
}

// TestReaderPanic: a panic goes up, the connection comes back.
func TestReaderPanic(t *testing.T) {
	db := storagetest.Open(t, "sqlite:"+filepath.Join(t.TempDir(), "kith.db"), storage.Options{Readers: 1})
	for range 3 {
		func() {
			defer func() {
				if v := recover(); v != "mine" {
					t.Errorf("recovered %v", v)
				}
			}()
			err := db.Read(t.Context(), func(r *storage.Reader) error {
				for range r.Query("SELECT 1") {
					panic("mine")
				}
				return nil
			})
			t.Errorf("Read returned %v", err)
		}()
	}
	if err := db.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}
