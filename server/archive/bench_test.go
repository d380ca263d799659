package archive_test

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"kith/server/archive"
	"kith/server/storage"
	"kith/server/storage/storagetest"
)

// BenchmarkRecord inserts messages of 300 bytes of 10,000 random owners, each with
// 20 people, 64 to a commit; with all that the index holds and with less.
func BenchmarkRecord(b *testing.B) {
	for name, open := range map[string]func(testing.TB) *storage.DB{"sqlite": storagetest.SQLite, "postgres": storagetest.Postgres} {
		for _, columns := range []string{"", "owner, id"} {
			b.Run(fmt.Sprintf("%s/index=%s", name, cmp.Or(columns, "all")), func(b *testing.B) {
				db := open(b)
				if err := db.Migrate(b.Context(), archive.Migrations()); err != nil {
					b.Fatal(err)
				}
				if columns != "" {
					if err := db.Commit([]storage.Op{{SQL: `DROP INDEX message_id`}, {SQL: `CREATE INDEX message_id ON message (owner, id)`}}); err != nil {
						b.Fatal(err)
					}
				}
				random := rand.New(rand.NewPCG(1, 1))
				stanza := bytes.Repeat([]byte("x"), 300)
				id := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli() << 20
				before := cpu(b)
				for i := 0; i < b.N; i += 64 {
					ops := make([]storage.Op, 64)
					for k := range ops {
						id++
						ops[k] = storage.Op{SQL: `INSERT INTO message (owner, id, peer, resource, outgoing, transit, size, stanza) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
							Args: []any{random.IntN(10_000), id, fmt.Sprintf("person%d@capulet.example", random.IntN(20)), "balcony", false, false, 300, stanza}}
					}
					if err := db.Commit(ops); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/row")
			})
		}
	}
}

func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
