package storagetest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/fstest"

	"kith/server/storage"
)

// Run is the conformance suite: what every database behind storage.DB must do alike. Each
// of its tests opens a database of its own.
func Run(t *testing.T, open func(t *testing.T) *storage.DB) {
	for name, test := range map[string]func(*testing.T, *storage.DB){
		"values":               values,
		"NULL":                 nulls,
		"refused arguments":    refusedArguments,
		"text order":           textOrder,
		"wrong statements":     wrongStatements,
		"rows":                 queryRows,
		"snapshot":             snapshot,
		"readers do not write": readersDoNotWrite,
		"lone row":             loneRow,
		"cancelled read":       cancelledRead,
		"own guilt":            ownGuilt,
		"many guilty":          manyGuilty,
		"guilty at commit":     guiltyAtCommit,
		"order":                submissionOrder,
		"crowd":                crowd,
		"write":                write,
		"write that fails":     writeThatFails,
		"write that refuses":   writeThatRefuses,
		"write run again":      writeRunAgain,
		"write refused anew":   refusedAnew,
		"write cancelled":      writeCancelled,
		"write that leaves":    writeThatLeaves,
		"close":                closing,
		"stats and ping":       statsAndPing,
		"migrations":           migrations,
		"migrations refused":   migrationsRefused,
		"migrate together":     migrateTogether,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

var ctx = context.Background()

// Schema makes tables in a fresh database from one migration.
func Schema(t testing.TB, db *storage.DB, sql string) {
	t.Helper()
	set := storage.Migrations{Name: t.Name(), FS: fstest.MapFS{"0001_test.sql": {Data: []byte(sql)}}}
	if err := db.Migrate(context.Background(), set); err != nil {
		t.Fatal(err)
	}
}

func numbers(t testing.TB, db *storage.DB) {
	t.Helper()
	Schema(t, db, `CREATE TABLE number (seq {{id}}, n bigint NOT NULL UNIQUE, by_whom {{text}} NOT NULL)`)
}

func insert(n int, whom string) storage.Op {
	return storage.Op{SQL: "INSERT INTO number (n, by_whom) VALUES ($1, $2)", Args: []any{n, whom}}
}

// stored returns the numbers in the order in which they were stored.
func stored(t testing.TB, db *storage.DB) []int {
	t.Helper()
	var all []int
	err := db.Read(ctx, func(r *storage.Reader) error {
		all = nil
		for row, err := range r.Query("SELECT n FROM number ORDER BY seq") {
			var n int
			if err == nil {
				err = row.Scan(&n)
			}
			if err != nil {
				return err
			}
			all = append(all, n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A held committer waits in a function, so that what is submitted meanwhile is one group.
type held struct {
	release chan struct{}
	ended   chan error
}

func hold(t testing.TB, db *storage.DB) *held {
	h := &held{make(chan struct{}), make(chan error, 1)}
	begun := make(chan struct{})
	once := sync.OnceFunc(func() { close(begun) })
	go func() {
		h.ended <- db.Write(ctx, func(*storage.Tx) error {
			once()
			<-h.release
			return nil
		})
	}()
	<-begun
	return h
}

func (h *held) letGo(t testing.TB) {
	t.Helper()
	close(h.release)
	if err := <-h.ended; err != nil {
		t.Errorf("the write that held the group: %v", err)
	}
}

// results collects what Submit reports, in order.
type results struct {
	mu   sync.Mutex // guards errs and seq
	errs map[int]error
	seq  []int
	wg   sync.WaitGroup
}

func (r *results) submit(db *storage.DB, n int, ops ...storage.Op) {
	r.wg.Add(1)
	db.Submit(ops, func(err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.errs == nil {
			r.errs = make(map[int]error)
		}
		r.errs[n] = err
		r.seq = append(r.seq, n)
		r.wg.Done()
	})
}

func wantError(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

func wantNumbers(t testing.TB, db *storage.DB, want ...int) {
	t.Helper()
	got := stored(t, db)
	if len(got) != len(want) {
		t.Fatalf("stored %v, want %v", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("stored %v, want %v", got, want)
		}
	}
}
