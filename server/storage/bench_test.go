package storage_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"kith/server/storage"
	"kith/server/storage/storagetest"
)

const (
	rowsTable = `CREATE TABLE archive (owner bigint NOT NULL, id bigint NOT NULL, stanza {{bytes}} NOT NULL);
		CREATE UNIQUE INDEX archive_id ON archive (owner, id)`
	insertRow = "INSERT INTO archive (owner, id, stanza) VALUES ($1, $2, $3)"
)

// BenchmarkRows inserts rows of 300 bytes of 10,000 random owners, the group
// being one batch, or as many batches of one row as the committer finds.
func BenchmarkRows(b *testing.B) {
	eachDatabase(b, func(b *testing.B, db *storage.DB) {
		for _, n := range []int{1, 16, 64, 256} {
			b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
				rows := newRows()
				b.ReportAllocs()
				before := cpu(b)
				for i := 0; i < b.N; i += n {
					if err := db.Commit(rows.batch(n)); err != nil {
						b.Fatal(err)
					}
				}
				report(b, before)
			})
		}
		for _, n := range []int{1, 16, 64, 256} {
			b.Run(fmt.Sprintf("callers=%d", n), func(b *testing.B) {
				b.ReportAllocs()
				before := cpu(b)
				var wg sync.WaitGroup
				for k := range n {
					wg.Go(func() {
						rows := newRows()
						for i := k; i < b.N; i += n {
							if err := db.Commit(rows.batch(1)); err != nil {
								b.Error(err)
							}
						}
					})
				}
				wg.Wait()
				report(b, before)
			})
		}
	})
}

// BenchmarkWrite is a small transaction of code outside lanes.
func BenchmarkWrite(b *testing.B) {
	eachDatabase(b, func(b *testing.B, db *storage.DB) {
		rows := newRows()
		b.ReportAllocs()
		for range b.N {
			op := rows.batch(1)[0]
			err := db.Write(b.Context(), func(tx *storage.Tx) error {
				_, err := tx.Exec(op.SQL, op.Args...)
				return err
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkRead is a page of 20 rows.
func BenchmarkRead(b *testing.B) {
	eachDatabase(b, func(b *testing.B, db *storage.DB) {
		var ops []storage.Op
		for id := range 2000 {
			ops = append(ops, storage.Op{SQL: insertRow, Args: []any{id % 100, id, make([]byte, 300)}})
		}
		if err := db.Commit(ops); err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				n := 0
				err := db.Read(b.Context(), func(r *storage.Reader) error {
					for row, err := range r.Query("SELECT id, stanza FROM archive WHERE owner = $1 ORDER BY id LIMIT 20", 7) {
						var id int64
						var stanza []byte
						if err == nil {
							err = row.Scan(&id, &stanza)
						}
						if err != nil {
							return err
						}
						n++
					}
					return nil
				})
				if err != nil || n != 20 {
					b.Error(n, err)
				}
			}
		})
	})
}

func eachDatabase(b *testing.B, bench func(b *testing.B, db *storage.DB)) {
	for name, open := range map[string]func() *storage.DB{
		"sqlite":   func() *storage.DB { return storagetest.SQLite(b) },
		"postgres": func() *storage.DB { return storagetest.Postgres(b) },
	} {
		b.Run(name, func(b *testing.B) {
			db := open()
			storagetest.Schema(b, db, rowsTable)
			bench(b, db)
		})
	}
}

// report adds what does not depend on how busy the disk is: processor time of this process.
func report(b *testing.B, before time.Duration) {
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/row")
}

func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

type rowMaker struct {
	id     int64
	stanza []byte
	random *rand.Rand
}

func newRows() *rowMaker {
	return &rowMaker{id: rand.Int64N(1 << 62), stanza: make([]byte, 300), random: rand.New(rand.NewPCG(1, 2))}
}

func (m *rowMaker) batch(n int) []storage.Op {
	ops := make([]storage.Op, n)
	for i := range ops {
		m.id++
		ops[i] = storage.Op{SQL: insertRow, Args: []any{m.random.Int64N(10_000), m.id, m.stanza}}
	}
	return ops
}

// TestCommitAllocs bounds what a row costs: most of it is the SQLite driver's.
func TestCommitAllocs(t *testing.T) {
	db := storagetest.Open(t, "sqlite:"+filepath.Join(t.TempDir(), "kith.db"), storage.Options{})
	storagetest.Schema(t, db, rowsTable)
	rows := newRows()
	const n = 100
	var batches [][]storage.Op
	for range 12 {
		batches = append(batches, rows.batch(n))
	}
	perBatch := testing.AllocsPerRun(10, func() {
		if err := db.Commit(batches[0]); err != nil {
			t.Fatal(err)
		}
		batches = batches[1:]
	})
	t.Logf("%.1f allocations a row", perBatch/n)
	if perBatch/n > 6 {
		t.Errorf("%.1f allocations a row, want at most 6", perBatch/n)
	}
}
