package mam_test

import (
	"fmt"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"kith/server/account"
	"kith/server/archive"
	"kith/server/config"
	"kith/server/module"
	"kith/server/module/mam"
	"kith/server/route"
	"kith/server/storage"
	"kith/server/storage/storagetest"
	"kith/xmpp/jid"
)

// BenchmarkPage reads a page of 50 messages out of an archive of 20,000 with 40
// people, and of one of 100,000, and writes what the client gets.
func BenchmarkPage(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) { benchmarkPage(b, storagetest.SQLite(b), 20_000) })
	b.Run("sqlite-100k", func(b *testing.B) { benchmarkPage(b, storagetest.SQLite(b), 100_000) })
	b.Run("postgres", func(b *testing.B) { benchmarkPage(b, storagetest.Postgres(b), 20_000) })
}

const people = 40

var began = time.Date(2020, 4, 20, 14, 0, 0, 0, time.UTC).UnixMilli()

// filled makes an archive and returns what answers a query of its owner.
func filled(b testing.TB, db *storage.DB, messages int) func(archive.Filter, archive.Page) int {
	b.Helper()
	log := slog.New(slog.DiscardHandler)
	if err := db.Migrate(b.Context(), archive.Migrations()); err != nil {
		b.Fatal(err)
	}
	accounts, err := account.Open(b.Context(), db)
	if err != nil {
		b.Fatal(err)
	}
	c := config.Local(b.TempDir())
	h := &module.Host{Domain: c.Hosts[0], DB: db, Accounts: accounts, Router: route.New(accounts, log), Config: c, Log: log}
	if err := mam.Module.Attach(h); err != nil {
		b.Fatal(err)
	}
	answer, err := mam.Answerer(b.Context(), h)
	if err != nil {
		b.Fatal(err)
	}
	var ops []storage.Op
	for i := range messages {
		peer := fmt.Sprintf("person%02d@capulet.example", i*7%people)
		stanza := fmt.Appendf(nil, "<message to='romeo@montague.example' from='%s/balcony' type='chat' id='%d' xml:lang='en'><body>But, soft! what light through yonder window breaks? It is the east, and Juliet is the sun.</body>"+
			"<active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/><origin-id xmlns='urn:xmpp:sid:0' id='de305d54-75b4-431b-adb2-eb6b9e546013'/></message>", peer, i)
		ops = append(ops, storage.Op{SQL: `INSERT INTO message (owner, id, peer, resource, outgoing, transit, size, stanza) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			Args: []any{1, (began + int64(i)*1000) << 20, peer, "balcony", false, false, len(stanza), stanza}})
		if len(ops) == 1000 || i == messages-1 {
			if err := db.Commit(ops); err != nil {
				b.Fatal(err)
			}
			ops = nil
		}
	}
	if db.Dialect() == storage.Postgres { // as it does by itself after a while; SQLite does not
		if err := db.Commit([]storage.Op{{SQL: "ANALYZE"}}); err != nil {
			b.Fatal(err)
		}
	}
	return answer
}

func benchmarkPage(b *testing.B, db *storage.DB, messages int) {
	answer := filled(b, db, messages)
	for _, c := range []struct {
		name   string
		filter archive.Filter
		page   archive.Page
	}{
		{"last", archive.Filter{}, archive.Page{Backwards: true}},
		{"middle", archive.Filter{}, archive.Page{After: (began + 10_000_000) << 20}},
		{"with", archive.Filter{With: jid.MustParse("person07@capulet.example")}, archive.Page{Backwards: true}},
		{"time", archive.Filter{Start: time.UnixMilli(began + 5_000_000)}, archive.Page{}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			before := cpu(b)
			for range b.N {
				f, p := c.filter, c.page
				f.Owner, p.Rows, p.Bytes = 1, 50, 128<<10
				if n := answer(f, p); n != 51 {
					b.Fatalf("%d stanzas, want 50 results and an end", n)
				}
			}
			b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// cpu is what the process has used so far.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
