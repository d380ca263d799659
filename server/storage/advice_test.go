package storage_test

import (
	"context"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"kith/server/storage"
	"kith/server/storage/storagetest"
)

// TestPostgresRefuses: whoever is to mend it learns what; the password is never said.
func TestPostgresRefuses(t *testing.T) {
	base := storagetest.PostgresURL(t)
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	schema := u.Query().Get("search_path")
	for _, sql := range []string{
		"CREATE ROLE guarded LOGIN PASSWORD 'it'", "CREATE ROLE poor LOGIN", "CREATE ROLE locked", "GRANT USAGE ON SCHEMA " + schema + " TO poor",
		"CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'",
	} {
		admin(t, base, sql)
	}
	t.Cleanup(func() {
		for _, sql := range []string{"DROP DATABASE latin", "REVOKE ALL ON SCHEMA " + schema + " FROM poor", "DROP ROLE guarded", "DROP ROLE poor", "DROP ROLE locked"} {
			admin(t, base, sql)
		}
	})
	with := func(change func(u *url.URL, q url.Values)) string {
		u, err := url.Parse(base)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		change(u, q)
		u.RawQuery = q.Encode()
		return u.String()
	}
	as := func(user, password string) string {
		return with(func(u *url.URL, q url.Values) { q.Del("user"); u.User = url.UserPassword(user, password) })
	}
	for name, test := range map[string]struct{ url, want string }{
		"wrong password":   {as(storagetest.Guarded, "my-secret"), "password authentication failed for user \"guarded\""},
		"what to do":       {as(storagetest.Guarded, "my-secret"), "have to be those of CREATE ROLE"},
		"no such user":     {as("nobody", "my-secret"), "have to be those of CREATE ROLE"},
		"may not log in":   {as("locked", "my-secret"), "have to be those of CREATE ROLE"},
		"may make nothing": {as("poor", "my-secret"), "; give the database to the user of the URL"},
		"no such database": {with(func(u *url.URL, _ url.Values) { u.Path = "/none" }), "; make the database"},
		"other encoding":   {with(func(u *url.URL, _ url.Values) { u.Path = "/latin" }), "encoding LATIN1, wanted UTF8; make it anew"},
		"read-only":        {base + "&default_transaction_read_only=on", "; the database is a standby or read-only"},
		"no socket":        {"postgres://kith:my-secret@/db?host=" + url.QueryEscape(t.TempDir()), "; is PostgreSQL running there"},
		"no listener":      {"postgres://kith:my-secret@127.0.0.1:1/db", "; is PostgreSQL running there"},
		"no URL":           {"postgres://kith:my-secret@[bad/db", "; wanted postgres://USER:PASSWORD@HOST/NAME"},
		"not encoded":      {"postgres://kith:my-secret%@host/db", "; wanted postgres://USER:PASSWORD@HOST/NAME"},
	} {
		t.Run(name, func(t *testing.T) {
			err := openAndMigrate(t, test.url)
			if err == nil {
				t.Fatal("no error")
			}
			text := err.Error()
			if !strings.Contains(text, test.want) || strings.Contains(text, "secret") || strings.ContainsAny(text, "\n\t") {
				t.Errorf("got  %s\nwant %s", text, test.want)
			}
			if n := strings.Count(text, "connection refused"); n > 1 {
				t.Errorf("said %d times: %s", n, text)
			}
		})
	}
}

func openAndMigrate(t *testing.T, url string) error {
	db, err := storage.Open(t.Context(), url, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer db.Close() //nolint:errcheck // the error that matters is the other
	return db.Migrate(t.Context())
}

func admin(t *testing.T, url, sql string) {
	t.Helper()
	ctx := context.Background()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx) //nolint:errcheck // it is the statement that matters
	if _, err := c.Exec(ctx, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}
