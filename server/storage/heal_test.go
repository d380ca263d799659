package storage

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var insertA = []Op{{SQL: "INSERT INTO a (a) VALUES ($1)", Args: []any{1}}}

func openTest(t *testing.T, path string) *DB {
	t.Helper()
	db, err := Open(t.Context(), "sqlite:"+path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func table(t *testing.T, db *DB) {
	t.Helper()
	err := db.Write(context.Background(), func(tx *Tx) error {
		_, err := tx.Exec("CREATE TABLE a (a bigint)")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestHeal: the write connection breaks while the file is away; the committer connects
// again once it is back, and not more often than it should try.
func TestHeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "dir")
		db := openTest(t, filepath.Join(dir, "kith.db"))
		table(t, db)
		if err := db.Commit(insertA); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(dir, dir+"-away"); err != nil {
			t.Fatal(err)
		}
		err := db.Write(t.Context(), func(tx *Tx) error {
			tx.c.(*sqliteConn).bad = true // as after an I/O error
			tx.err = errors.New("input/output error")
			return tx.err
		})
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("write on a broken connection: %v, want ErrUnavailable", err)
		}
		for wait := minBackoff; wait < 4*maxBackoff; wait *= 2 {
			if err := db.Commit(insertA); !errors.Is(err, ErrUnavailable) {
				t.Errorf("commit without a file: %v, want ErrUnavailable", err)
			}
			time.Sleep(wait)
		}
		if err := os.Rename(dir+"-away", dir); err != nil {
			t.Fatal(err)
		}
		time.Sleep(maxBackoff)
		if err := db.Commit(insertA); err != nil {
			t.Errorf("commit after the file is back: %v", err)
		}
		var n int
		err = db.Read(t.Context(), func(r *Reader) error { return r.QueryRow("SELECT count(*) FROM a").Scan(&n) })
		if err != nil || n != 2 {
			t.Errorf("%d rows, error %v, want 2", n, err)
		}
	})
}

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &downStore{}
		c := newCommitter(s, slog.New(slog.DiscardHandler))
		for range 10_000 {
			if err := c.connect(reconnectTime); !errors.Is(err, ErrUnavailable) {
				t.Fatalf("connect: %v", err)
			}
			time.Sleep(time.Millisecond)
		}
		// 20 + 40 + ... + 640 ms, then each second.
		if n := s.tries.Load(); n < 10 || n > 20 {
			t.Errorf("%d tries in ten seconds, want about 15", n)
		}
	})
}

// TestNoAnswer: while an attempt to connect is not answered, writers learn at once that the
// store is down, and there is only one attempt.
func TestNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &downStore{takes: 10 * time.Second}
		c := newCommitter(s, slog.New(slog.DiscardHandler))
		begun := time.Now()
		if err := c.connect(reconnectTime); !errors.Is(err, ErrUnavailable) || time.Since(begun) != reconnectTime {
			t.Errorf("the first attempt: %v after %v, want ErrUnavailable after %v", err, time.Since(begun), reconnectTime)
		}
		for range 3 {
			begun = time.Now()
			if err := c.connect(reconnectTime); !errors.Is(err, ErrUnavailable) || time.Since(begun) != 0 {
				t.Errorf("while it is under way: %v after %v, want ErrUnavailable at once", err, time.Since(begun))
			}
		}
		time.Sleep(s.takes)
		if err := c.connect(reconnectTime); !errors.Is(err, ErrUnavailable) || s.tries.Load() != 1 {
			t.Errorf("when it has failed: %v after %d tries, want ErrUnavailable after 1", err, s.tries.Load())
		}
		time.Sleep(maxBackoff)
		begun = time.Now()
		if err := c.connect(reconnectTime); !errors.Is(err, ErrUnavailable) || time.Since(begun) != minBackoff || s.tries.Load() != 2 {
			t.Errorf("the second attempt: %v after %v and %d tries, want ErrUnavailable after %v and 2", err, time.Since(begun), s.tries.Load(), minBackoff)
		}
		time.Sleep(s.takes)
	})
}

type downStore struct {
	store
	tries atomic.Int32
	takes time.Duration
}

func (s *downStore) connect() (writer, error) {
	s.tries.Add(1)
	if s.takes > 0 {
		<-time.After(s.takes)
	}
	return nil, errors.New("down")
}

// TestOwnTransaction: a batch that meddles with the transaction does not break the next.
func TestOwnTransaction(t *testing.T) {
	db := openTest(t, filepath.Join(t.TempDir(), "kith.db"))
	table(t, db)
	for _, sql := range []string{"COMMIT", "ROLLBACK", "BEGIN"} {
		if err := db.Commit([]Op{{SQL: sql}}); err == nil {
			t.Errorf("a batch that says %s is no error", sql)
		}
		if err := db.Commit(insertA); err != nil {
			t.Errorf("commit after a batch that said %s: %v", sql, err)
		}
	}
}

func TestCorrupt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kith.db")
	db := openTest(t, path)
	table(t, db)
	var ops []Op
	for range 2000 {
		ops = append(ops, insertA[0])
	}
	if err := db.Commit(ops); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 4096; i < len(data); i++ {
		data[i] = 0x5a
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	db = openTest(t, path)
	var n int
	err = db.Read(t.Context(), func(r *Reader) error { return r.QueryRow("SELECT count(*) FROM a").Scan(&n) })
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("read of a corrupt file: %d, %v, want ErrUnavailable", n, err)
	}
	if err := db.Commit(insertA); !errors.Is(err, ErrUnavailable) {
		t.Errorf("commit to a corrupt file: %v, want ErrUnavailable", err)
	}
}

func TestStatementCache(t *testing.T) {
	db := openTest(t, filepath.Join(t.TempDir(), "kith.db"))
	err := db.Write(t.Context(), func(tx *Tx) error {
		c := tx.c.(*sqliteConn)
		text := []byte("SELECT 1 -- ")
		for range 2*maxPrepared + 10 {
			text = append(text, '.')
			var n int
			if err := tx.QueryRow(string(text)).Scan(&n); err != nil {
				return err
			}
			if len(c.prepared) > maxPrepared {
				t.Fatalf("%d statements are prepared", len(c.prepared))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
