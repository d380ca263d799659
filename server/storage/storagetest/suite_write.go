package storagetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"kith/server/storage"
)

func ownGuilt(t *testing.T, db *storage.DB) {
	numbers(t, db)
	h := hold(t, db)
	var r results
	for n := range 20 {
		ops := []storage.Op{insert(n, "a")}
		if n == 7 {
			ops = append(ops, insert(3, "twice"))
		}
		r.submit(db, n, ops...)
	}
	h.letGo(t)
	r.wg.Wait()
	var want []int
	for n := range 20 {
		if n == 7 {
			wantError(t, "the batch with a number twice", r.errs[n], storage.ErrConflict)
			continue
		}
		want = append(want, n)
		if r.errs[n] != nil {
			t.Errorf("batch %d beside the guilty one: %v", n, r.errs[n])
		}
	}
	wantNumbers(t, db, want...)
	if s := db.Stats(); s.Rerun == 0 || s.Failed != 1 {
		t.Errorf("stats %+v, want a rerun and one failed", s)
	}
}

func manyGuilty(t *testing.T, db *storage.DB) {
	numbers(t, db)
	h := hold(t, db)
	var r results
	bad := []storage.Op{{SQL: "no SQL"}, {SQL: "INSERT INTO number (n, by_whom) VALUES ($1, $2)", Args: []any{1}}, insert(0, "twice"),
		{SQL: "INSERT INTO number (n, by_whom) VALUES ($1, $2)", Args: []any{1000, nil}}}
	var want []int
	for n := range 60 {
		if n%3 == 2 {
			r.submit(db, n, insert(n, "a"), bad[n/3%len(bad)])
			continue
		}
		want = append(want, n)
		r.submit(db, n, insert(n, "a"))
	}
	h.letGo(t)
	r.wg.Wait()
	for n := range 60 {
		if guilty := n%3 == 2; guilty != (r.errs[n] != nil) {
			t.Errorf("batch %d: error %v, guilty %v", n, r.errs[n], guilty)
		}
	}
	wantNumbers(t, db, want...)
}

func guiltyAtCommit(t *testing.T, db *storage.DB) {
	Schema(t, db, `CREATE TABLE parent (id bigint PRIMARY KEY);
		CREATE TABLE number (seq {{id}}, n bigint NOT NULL, parent bigint REFERENCES parent DEFERRABLE INITIALLY DEFERRED)`)
	h := hold(t, db)
	var r results
	add := func(n, parent int) storage.Op {
		return storage.Op{SQL: "INSERT INTO number (n, parent) VALUES ($1, $2)", Args: []any{n, parent}}
	}
	r.submit(db, 0, add(0, 1), storage.Op{SQL: "INSERT INTO parent (id) VALUES ($1)", Args: []any{1}})
	r.submit(db, 1, add(1, 99))
	r.submit(db, 2, add(2, 1))
	h.letGo(t)
	r.wg.Wait()
	if r.errs[0] != nil || r.errs[1] == nil || r.errs[2] != nil {
		t.Errorf("errors %v, want one for batch 1, which has no parent", r.errs)
	}
	wantNumbers(t, db, 0, 2)
}

func submissionOrder(t *testing.T, db *storage.DB) {
	numbers(t, db)
	var r results
	var want []int
	for n := range 500 {
		want = append(want, n)
		r.submit(db, n, insert(n, "a"))
	}
	r.wg.Wait()
	wantNumbers(t, db, want...)
	if !slices.Equal(r.seq, want) {
		t.Errorf("results came in the order %v", r.seq)
	}
}

// crowd: everybody at once, some of them wrong; what was acknowledged is there, whole, and nothing else.
func crowd(t *testing.T, db *storage.DB) {
	numbers(t, db)
	const writers, each = 16, 30
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				n := (w*each + i) * 10
				var err error
				switch {
				case i%10 == 9:
					err = db.Commit([]storage.Op{insert(n, "bad"), insert(n+1, "bad"), insert(n, "bad")})
					if !errors.Is(err, storage.ErrConflict) {
						t.Errorf("a batch with a number twice: %v", err)
					}
					continue
				case i%4 == 3:
					err = db.Write(ctx, func(tx *storage.Tx) error {
						for k := range 3 {
							if _, err := tx.Exec("INSERT INTO number (n, by_whom) VALUES ($1, $2)", n+k, "write"); err != nil {
								return err
							}
						}
						return nil
					})
				default:
					err = db.Commit([]storage.Op{insert(n, "a"), insert(n+1, "a"), insert(n+2, "a")})
				}
				if err != nil {
					t.Errorf("number %d: %v", n, err)
				}
				err = db.Read(ctx, func(r *storage.Reader) error {
					var count int
					err := r.QueryRow("SELECT count(*) FROM number WHERE n BETWEEN $1 AND $2", n, n+9).Scan(&count)
					if count != 3 {
						t.Errorf("%d of the 3 rows at %d are there", count, n)
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got, want := len(stored(t, db)), writers*each/10*9*3; got != want {
		t.Errorf("%d rows, want %d", got, want)
	}
}

func write(t *testing.T, db *storage.DB) {
	numbers(t, db)
	var seq, affected int64
	err := db.Write(ctx, func(tx *storage.Tx) error {
		if err := tx.QueryRow("INSERT INTO number (n, by_whom) VALUES ($1, $2) RETURNING seq", 1, "a").Scan(&seq); err != nil {
			return err
		}
		if _, err := tx.Exec("INSERT INTO number (n, by_whom) VALUES ($1, $2) ON CONFLICT (n) DO UPDATE SET by_whom = excluded.by_whom", 2, "a"); err != nil {
			return err
		}
		var count int
		if err := tx.QueryRow("SELECT count(*) FROM number").Scan(&count); err != nil || count != 2 {
			t.Errorf("the transaction sees %d rows of its own, error %v", count, err)
		}
		var err error
		affected, err = tx.Exec("UPDATE number SET n = n + 10 WHERE by_whom = $1", "a")
		return err
	})
	if err != nil || seq != 1 || affected != 2 {
		t.Errorf("seq %d, affected %d, error %v", seq, affected, err)
	}
	wantNumbers(t, db, 11, 12)
}

func writeThatFails(t *testing.T, db *storage.DB) {
	numbers(t, db)
	mine := errors.New("mine")
	for name, f := range map[string]func(tx *storage.Tx) error{
		"error": func(tx *storage.Tx) error { return mine },
		"panic": func(tx *storage.Tx) error { panic("mine") },
		"failed statement that is not reported": func(tx *storage.Tx) error {
			if _, err := tx.Exec("INSERT INTO number (n, by_whom) VALUES ($1, $2)", 100, "a"); err == nil {
				t.Error("a number twice is no error")
			}
			if _, err := tx.Exec("INSERT INTO number (n, by_whom) VALUES ($1, $2)", 102, "a"); err == nil {
				t.Error("a statement after one that failed is no error")
			}
			return nil
		},
	} {
		h := hold(t, db)
		var r results
		r.submit(db, 1, insert(1, "before"))
		ended := make(chan error)
		queued := db.Stats().Queue
		go func() {
			ended <- db.Write(ctx, func(tx *storage.Tx) error {
				if _, err := tx.Exec("INSERT INTO number (n, by_whom) VALUES ($1, $2)", 100, "a"); err != nil {
					t.Error(err)
				}
				return f(tx)
			})
		}()
		for db.Stats().Queue == queued {
			runtime.Gosched()
		}
		r.submit(db, 2, insert(2, "after"))
		h.letGo(t)
		r.wg.Wait()
		err := <-ended
		var p *storage.PanicError
		switch {
		case name == "error" && err != mine,
			name == "panic" && (!errors.As(err, &p) || len(p.Stack) == 0),
			name[0] == 'f' && !errors.Is(err, storage.ErrConflict):
			t.Errorf("%s: the write answers %v", name, err)
		}
		if r.errs[1] != nil || r.errs[2] != nil {
			t.Errorf("%s: its neighbours answer %v", name, r.errs)
		}
		wantNumbers(t, db, 1, 2)
		if err := db.Commit([]storage.Op{{SQL: "DELETE FROM number"}}); err != nil {
			t.Fatal(err)
		}
	}
}

// writeThatRefuses: looking before one writes costs the others nothing.
func writeThatRefuses(t *testing.T, db *storage.DB) {
	numbers(t, db)
	h := hold(t, db)
	ended := make(chan error)
	go func() {
		ended <- db.Write(ctx, func(tx *storage.Tx) error {
			var n int
			return tx.QueryRow("SELECT n FROM number WHERE n = $1", 5).Scan(&n)
		})
	}()
	for db.Stats().Queue == 0 {
		runtime.Gosched()
	}
	var r results
	r.submit(db, 1, insert(1, "a"))
	h.letGo(t)
	r.wg.Wait()
	wantError(t, "the write that found nothing", <-ended, storage.ErrNotFound)
	if s := db.Stats(); r.errs[1] != nil || s.Rerun != 0 {
		t.Errorf("its neighbour answers %v, %d groups were run again, want none", r.errs[1], s.Rerun)
	}
}

func writeRunAgain(t *testing.T, db *storage.DB) {
	numbers(t, db)
	h := hold(t, db)
	ended := make(chan error)
	runs := 0
	go func() {
		ended <- db.Write(ctx, func(tx *storage.Tx) error {
			runs++
			_, err := tx.Exec("INSERT INTO number (n, by_whom) VALUES ($1, $2)", 1, fmt.Sprint(runs))
			return err
		})
	}()
	for db.Stats().Queue == 0 {
		runtime.Gosched()
	}
	var r results
	r.submit(db, 2, insert(2, "a"), insert(2, "a"))
	h.letGo(t)
	r.wg.Wait()
	if err := <-ended; err != nil || runs != 2 {
		t.Errorf("the write ran %d times and answered %v, want twice because of its neighbour", runs, err)
	}
	wantNumbers(t, db, 1)
}

// refusedAnew: what a function refused for may be rolled back; then it does not count.
func refusedAnew(t *testing.T, db *storage.DB) {
	Schema(t, db, `CREATE TABLE parent (id bigint PRIMARY KEY);
		CREATE TABLE number (seq {{id}}, n bigint NOT NULL, parent bigint REFERENCES parent DEFERRABLE INITIALLY DEFERRED)`)
	h := hold(t, db)
	var r results
	// This batch fails when the group is committed, long after the function saw its row.
	r.submit(db, 1, storage.Op{SQL: "INSERT INTO number (n, parent) VALUES (1, 99)"})
	ended := make(chan error)
	taken := errors.New("taken")
	queued := db.Stats().Queue
	go func() {
		ended <- db.Write(ctx, func(tx *storage.Tx) error {
			var n int
			if err := tx.QueryRow("SELECT n FROM number WHERE n = $1", 1).Scan(&n); !errors.Is(err, storage.ErrNotFound) {
				return errors.Join(taken, err)
			}
			_, err := tx.Exec("INSERT INTO number (n) VALUES ($1)", 1)
			return err
		})
	}()
	for db.Stats().Queue == queued {
		runtime.Gosched()
	}
	h.letGo(t)
	r.wg.Wait()
	if err := <-ended; err != nil || r.errs[1] == nil {
		t.Errorf("the write answers %v, want nil; the batch without a parent %v", err, r.errs[1])
	}
	wantNumbers(t, db, 1)
}

func writeCancelled(t *testing.T, db *storage.DB) {
	c, cancel := context.WithCancel(ctx)
	h := hold(t, db)
	ended := make(chan error)
	go func() {
		ended <- db.Write(c, func(*storage.Tx) error {
			t.Error("a cancelled write ran")
			return nil
		})
	}()
	for db.Stats().Queue == 0 {
		runtime.Gosched()
	}
	cancel()
	wantError(t, "a write cancelled while it waited", <-ended, context.Canceled)
	h.letGo(t)
	wantError(t, "a write cancelled before", db.Write(c, func(*storage.Tx) error { t.Error("it ran"); return nil }), context.Canceled)

	c, cancel = context.WithCancel(ctx)
	err := db.Write(c, func(tx *storage.Tx) error {
		cancel()
		var one int
		return tx.QueryRow("SELECT 1").Scan(&one)
	})
	if err != nil {
		t.Errorf("a write cancelled after it began: %v", err)
	}
}

// writeThatLeaves: t.FailNow in a function ends its goroutine, and nothing else.
func writeThatLeaves(t *testing.T, db *storage.DB) {
	numbers(t, db)
	left := make(chan struct{})
	go func() {
		defer close(left)
		err := db.Write(ctx, func(tx *storage.Tx) error {
			if _, err := tx.Exec("INSERT INTO number (n, by_whom) VALUES ($1, $2)", 1, "a"); err != nil {
				t.Error(err)
			}
			runtime.Goexit()
			return nil
		})
		t.Errorf("a write whose goroutine ended answers %v", err)
	}()
	<-left
	if err := db.Commit([]storage.Op{insert(2, "a")}); err != nil {
		t.Error(err)
	}
	wantNumbers(t, db, 2)
}

func closing(t *testing.T, db *storage.DB) {
	numbers(t, db)
	h := hold(t, db)
	var r results
	for n := range 10 {
		r.submit(db, n, insert(n, "a"))
	}
	closed := make(chan error)
	go func() { closed <- db.Close() }()
	h.letGo(t)
	if err := <-closed; err != nil {
		t.Error(err)
	}
	r.wg.Wait()
	for n, err := range r.errs {
		if err != nil && !errors.Is(err, storage.ErrClosed) {
			t.Errorf("batch %d, queued before the close: %v", n, err)
		}
	}
	for what, err := range map[string]error{
		"Commit": db.Commit([]storage.Op{insert(100, "a")}),
		"Write":  db.Write(ctx, func(*storage.Tx) error { return nil }),
		"Read":   db.Read(ctx, func(*storage.Reader) error { return nil }),
		"Ping":   db.Ping(ctx),
		"row":    db.QueryRow(ctx, "SELECT 1").Scan(new(int)),
	} {
		wantError(t, what+" after Close", err, storage.ErrClosed)
		wantError(t, what+" after Close", err, storage.ErrUnavailable)
	}
	if err := db.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func statsAndPing(t *testing.T, db *storage.DB) {
	numbers(t, db)
	before := db.Stats()
	for n := range 3 {
		if err := db.Commit([]storage.Op{insert(2*n, "a"), insert(2*n+1, "a")}); err != nil {
			t.Fatal(err)
		}
	}
	wantError(t, "a number twice", db.Commit([]storage.Op{insert(1, "a")}), storage.ErrConflict)
	s := db.Stats()
	if s.Groups-before.Groups != 3 || s.Batches-before.Batches != 3 || s.Rows-before.Rows != 6 || s.Failed-before.Failed != 1 || s.Queue != 0 {
		t.Errorf("stats %+v after %+v", s, before)
	}
	if s.CommitMax <= 0 || s.CommitSum < s.CommitMax || s.CommitMax > time.Minute {
		t.Errorf("latency max %v, sum %v", s.CommitMax, s.CommitSum)
	}
	if err := db.Ping(ctx); err != nil {
		t.Error(err)
	}
	if err := db.Commit(nil); err != nil {
		t.Errorf("an empty batch: %v", err)
	}
}
