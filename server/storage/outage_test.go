package storage_test

import (
	"crypto/rand"
	"errors"
	"sync"
	"testing"
	"time"

	"kith/server/storage"
	"kith/server/storage/storagetest"
)

// TestOutage: the database crashes under load. What was acknowledged is there, each
// failure is ErrUnavailable, and all goes on when it is back.
func TestOutage(t *testing.T) {
	server := storagetest.NewServer(t)
	db := storagetest.Open(t, server.Database(t), storage.Options{Readers: 2})
	blobs(t, db)
	const writers = 8
	var mu sync.Mutex // guards acked, unknown
	acked, unknown := make(map[int]bool), make(map[int]bool)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := w; ; n += writers {
				select {
				case <-stop:
					return
				default:
				}
				err := db.Commit([]storage.Op{{SQL: insertBlob, Args: []any{n, []byte("x")}}})
				if err != nil && !errors.Is(err, storage.ErrUnavailable) {
					t.Errorf("commit during an outage: %v", err)
				}
				mu.Lock()
				if err == nil {
					acked[n] = true
				} else {
					unknown[n] = true
				}
				mu.Unlock()
				if err != nil {
					time.Sleep(time.Millisecond) // a real server is waited for
				}
			}
		})
	}
	for range 2 {
		until(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(acked) > 200 })
		server.Crash(t)
		until(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(unknown) > 50 })
		if err := db.Ping(t.Context()); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("ping during an outage: %v", err)
		}
		if err := db.Read(t.Context(), func(*storage.Reader) error { return nil }); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("read during an outage: %v", err)
		}
		server.Start(t)
		back := time.Now()
		until(t, func() bool { return db.Ping(t.Context()) == nil })
		t.Logf("back %v after the database", time.Since(back))
		count(t, db)
		mu.Lock()
		clear(unknown)
		mu.Unlock()
	}
	close(stop)
	wg.Wait()
	mu.Lock()
	defer mu.Unlock()
	there := make(map[int]int)
	err := db.Read(t.Context(), func(r *storage.Reader) error {
		for row, err := range r.Query("SELECT owner FROM blob") {
			var n int
			if err == nil {
				err = row.Scan(&n)
			}
			if err != nil {
				return err
			}
			there[n]++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for n := range acked {
		if there[n] != 1 {
			t.Errorf("row %d was acknowledged and is there %d times", n, there[n])
		}
	}
}

// TestDiskFullPostgres: PostgreSQL has no room for rows. Reading goes on, and writing when
// there is room.
func TestDiskFullPostgres(t *testing.T) {
	url, disk := storagetest.NewServer(t).SmallDatabase(t, 8<<20)
	db := storagetest.Open(t, url, storage.Options{})
	blobs(t, db)
	// So random that it cannot be packed.
	bytes := make([]byte, 100_000)
	if _, err := rand.Read(bytes); err != nil {
		t.Fatal(err)
	}
	big := []storage.Op{{SQL: insertBlob, Args: []any{1, bytes}}}
	if err := db.Commit(big); err != nil {
		t.Fatal(err)
	}
	disk.Fill(t)
	ended := make(chan error)
	for range 8 {
		go func() { ended <- db.Commit(big) }()
	}
	for range 8 {
		if err := <-ended; !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrClosed) {
			t.Errorf("commit on a full disk: error %v, want ErrUnavailable", err)
		}
	}
	if n := count(t, db); n != 1 {
		t.Errorf("%d rows are read on the full disk, want 1", n)
	}
	if err := db.Commit([]storage.Op{{SQL: "DELETE FROM blob"}}); err != nil {
		t.Errorf("deletion on a full disk: %v", err)
	}
	disk.Clear(t)
	if err := db.Commit(big); err != nil {
		t.Errorf("commit in the room that was made: %v", err)
	}
	if n := count(t, db); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
}

// TestConnectionsKilled: the server ends our connections while they are idle.
func TestConnectionsKilled(t *testing.T) {
	url := storagetest.PostgresURL(t)
	db := storagetest.Open(t, url, storage.Options{Readers: 3})
	other := storagetest.Open(t, url, storage.Options{})
	blobs(t, db)
	var pid int
	err := db.Write(t.Context(), func(tx *storage.Tx) error { return tx.QueryRow("SELECT pg_backend_pid()").Scan(&pid) })
	if err != nil {
		t.Fatal(err)
	}
	row := []storage.Op{{SQL: insertBlob, Args: []any{1, []byte("x")}}}
	if err := db.Commit(row); err != nil {
		t.Fatal(err)
	}
	err = other.Write(t.Context(), func(tx *storage.Tx) error {
		var n int
		return tx.QueryRow(`SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
			WHERE pid = $1`, pid).Scan(&n)
	})
	if err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return db.Commit(row) == nil })
	// All readers at once.
	terminate := func() {
		t.Helper()
		err := other.Write(t.Context(), func(tx *storage.Tx) error {
			var n int
			return tx.QueryRow(`SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
				WHERE pid <> pg_backend_pid() AND application_name = 'kith'`).Scan(&n)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	terminate()
	if n := count(t, db); n != 2 {
		t.Errorf("%d rows, want 2", n)
	}
	terminate()
	var one int
	if err := db.QueryRow(t.Context(), "SELECT 1").Scan(&one); err != nil || one != 1 {
		t.Errorf("a lone row: %d, error %v", one, err)
	}
}

// until waits for something of the real world.
func until(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited for 30 s in vain")
		}
	}
}
