// Package report keeps what people report of others (XEP-0377), for those who
// administer the server.
//
// Reports are written in the lane of who reports, as many as one may in a day. The
// copies of messages are added outside. A report goes with the account of who has
// made it, when it is old, or when an administrator deletes it.
package report

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"kith/server/account"
	"kith/server/cluster"
	"kith/server/storage"
	"kith/xmpp/jid"
)

//go:embed migrations
var files embed.FS

// Migrations returns the tables of this package.
func Migrations() storage.Migrations {
	sub, err := fs.Sub(files, "migrations")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	return storage.Migrations{Name: "report", FS: sub}
}

// Purges delete what is kept of a deleted account.
var Purges = []account.Purge{
	`DELETE FROM report_message WHERE owner = $1 AND report IN (SELECT report FROM report_message WHERE owner = $1 ORDER BY report LIMIT 100)`,
	`DELETE FROM report WHERE owner = $1 AND id IN (SELECT id FROM report WHERE owner = $1 ORDER BY id LIMIT 1000)`,
}

// Day is the time for which reports are counted.
const Day = 24 * time.Hour

// MaxWords is how many bytes of what a person says are kept, MaxMessages how many
// messages, and MaxMessage how many bytes one of them may have.
const (
	MaxWords    = 4 << 10
	MaxMessages = 10
	MaxMessage  = 16 << 10
)

// Report is a report.
type Report struct {
	ID       int64     `json:"id"`
	Host     string    `json:"host"`
	At       time.Time `json:"at"`
	By       jid.JID   `json:"by"`
	Reported jid.JID   `json:"reported"`
	Reason   string    `json:"reason"`
	Words    string    `json:"words,omitempty"`
	// What the reporter agrees to (XEP-0377 §5). The server does neither.
	Origin     bool     `json:"report_origin"`
	ThirdParty bool     `json:"third_party"`
	Messages   []string `json:"messages,omitempty"` // as XML
}

// recent are the times of an account's reports, Unix milliseconds, of a day at
// least.
var recent = account.NewSlot[[]int64]("reports of a day")

// Load reads how much an account has reported, as a part of it.
func Load(r *storage.Reader, st *account.State) error {
	var times []int64
	for row, err := range r.Query(`SELECT at FROM report WHERE owner = $1 AND at > $2 ORDER BY at`, st.ID, time.Now().Add(-Day).UnixMilli()) {
		var at int64
		if err == nil {
			err = row.Scan(&at)
		}
		if err != nil {
			return err
		}
		times = append(times, at)
	}
	if times != nil {
		recent.Load(st, times)
	}
	return nil
}

// Add keeps a report of an account's, and returns false if it has made too many in
// a day.
func Add(t *cluster.Turn, a *account.Actor, perDay int, r *Report) bool {
	since := t.Now().Add(-Day).UnixMilli()
	times := slices.DeleteFunc(slices.Clone(recent.Durable(a)), func(at int64) bool { return at <= since })
	if len(times) >= perDay {
		return false
	}
	recent.SetDurable(a, append(times, t.Now().UnixMilli()))
	t.Write(`INSERT INTO report (host, owner, at, reported, reason, words, origin, third) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		a.JID.Domain(), a.ID(), t.Now().UnixMilli(), r.Reported.String(), r.Reason, r.Words, r.Origin, r.ThirdParty)
	return true
}

// Attach adds copies of messages to the last report that an account has made of
// somebody.
func Attach(ctx context.Context, db *storage.DB, owner int64, reported jid.JID, messages [][]byte) error {
	err := db.Write(ctx, func(tx *storage.Tx) error {
		var id int64
		err := tx.QueryRow(`SELECT coalesce(max(id), 0) FROM report WHERE owner = $1 AND reported = $2`, owner, reported.String()).Scan(&id)
		if err != nil || id == 0 {
			return err
		}
		for n, m := range messages {
			if _, err := tx.Exec(`INSERT INTO report_message (report, n, owner, stanza) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`, id, n, owner, m); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("add messages to a report of %s: %w", reported, err)
	}
	return nil
}

// List returns reports, the newest first, older than the one of that number unless
// it is 0, at most n; of one host, or with "" of all.
func List(ctx context.Context, db *storage.DB, host string, before int64, n int) (list []Report, err error) {
	err = db.Read(ctx, func(r *storage.Reader) error {
		list = list[:0]
		for row, err := range r.Query(`SELECT r.id, r.host, r.at, coalesce(a.jid, ''), r.reported, r.reason, r.words, r.origin, r.third
			FROM report r LEFT JOIN account a ON a.id = r.owner
			WHERE ($1 = '' OR r.host = $1) AND ($2 = 0 OR r.id < $2) ORDER BY r.id DESC LIMIT $3`, host, before, n) {
			if err != nil {
				return err
			}
			var one Report
			var at int64
			var by, reported string
			if err := row.Scan(&one.ID, &one.Host, &at, &by, &reported, &one.Reason, &one.Words, &one.Origin, &one.ThirdParty); err != nil {
				return err
			}
			one.At = time.UnixMilli(at).UTC()
			one.By, _ = jid.Parse(by)             // '' of one that is being deleted
			one.Reported, _ = jid.Parse(reported) // it was an address when it was written
			list = append(list, one)
		}
		for i := range list {
			for row, err := range r.Query(`SELECT stanza FROM report_message WHERE report = $1 ORDER BY n`, list[i].ID) {
				var b []byte
				if err == nil {
					err = row.Scan(&b)
				}
				if err != nil {
					return err
				}
				list[i].Messages = append(list[i].Messages, string(b))
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list reports: %w", err)
	}
	return list, nil
}

// Delete deletes reports of one host, or with "" of any, and returns which of them
// there were.
func Delete(ctx context.Context, db *storage.DB, host string, ids ...int64) (done []int64, err error) {
	err = db.Write(ctx, func(tx *storage.Tx) error {
		done = nil
		for _, id := range ids {
			n, err := tx.Exec(`DELETE FROM report WHERE id = $1 AND ($2 = '' OR host = $2)`, id, host)
			if err != nil {
				return err
			}
			if n == 0 {
				continue
			}
			if _, err := tx.Exec(`DELETE FROM report_message WHERE report = $1`, id); err != nil {
				return err
			}
			done = append(done, id)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("delete reports: %w", err)
	}
	return done, nil
}

// sweepAtOnce is how many reports are deleted in one commit.
const sweepAtOnce = 100

// Sweep deletes a host's reports that are older than a time, and the oldest of
// those that are more than most.
func Sweep(ctx context.Context, db *storage.DB, host string, before time.Time, most int) error {
	for {
		var ids []int64
		err := db.Read(ctx, func(r *storage.Reader) error {
			ids = ids[:0]
			for row, err := range r.Query(`SELECT id FROM report WHERE host = $1 AND (at < $2 OR id <= coalesce(
				(SELECT id FROM report WHERE host = $1 ORDER BY id DESC LIMIT 1 OFFSET $3), 0)) ORDER BY id LIMIT $4`,
				host, before.UnixMilli(), most, sweepAtOnce) {
				var id int64
				if err == nil {
					err = row.Scan(&id)
				}
				if err != nil {
					return err
				}
				ids = append(ids, id)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("look for old reports: %w", err)
		}
		if len(ids) == 0 {
			return nil
		}
		if _, err := Delete(ctx, db, host, ids...); err != nil {
			return err
		}
	}
}

// News are a host's reports that nobody was told of.
type News struct {
	Count  int
	Newest Report
}

// Tell returns what there is to be told at a host, nothing if that was done less
// than quiet ago. It counts as told.
func Tell(ctx context.Context, db *storage.DB, host string, now time.Time, quiet time.Duration) (news News, err error) {
	err = db.Write(ctx, func(tx *storage.Tx) error {
		news = News{}
		var upTo, at int64
		err := tx.QueryRow(`SELECT upto, at FROM report_told WHERE host = $1`, host).Scan(&upTo, &at)
		switch {
		case errors.Is(err, storage.ErrNotFound):
		case err != nil:
			return err
		case now.Sub(time.UnixMilli(at)) < quiet:
			return nil
		}
		var newest int64
		if err := tx.QueryRow(`SELECT count(*), coalesce(max(id), 0) FROM report WHERE host = $1 AND id > $2`, host, upTo).Scan(&news.Count, &newest); err != nil || newest == 0 {
			return err
		}
		var by, reported string
		if err := tx.QueryRow(`SELECT r.id, coalesce(a.jid, ''), r.reported, r.reason, r.words FROM report r LEFT JOIN account a ON a.id = r.owner
			WHERE r.id = $1`, newest).Scan(&news.Newest.ID, &by, &reported, &news.Newest.Reason, &news.Newest.Words); err != nil {
			return err
		}
		news.Newest.By, _ = jid.Parse(by)             // as in List
		news.Newest.Reported, _ = jid.Parse(reported) // as in List
		_, err = tx.Exec(`INSERT INTO report_told (host, upto, at) VALUES ($1, $2, $3)
			ON CONFLICT (host) DO UPDATE SET upto = excluded.upto, at = excluded.at`, host, newest, now.UnixMilli())
		return err
	})
	if err != nil {
		return News{}, fmt.Errorf("see what was reported at %s: %w", host, err)
	}
	return news, nil
}
