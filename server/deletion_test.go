package server_test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpp/stream"
	"kith/xmpptest"
)

// ownerless are the tables that hold nothing of an account. A table that is
// neither here nor has a column owner or account fails the test.
var ownerless = []string{"account", "migration", "secret"}

// column is one of a table.
type column struct {
	name, kind string
}

// value is something that a column takes.
func (c column) value(id int64) any {
	switch {
	case c.name == "owner", c.name == "account", c.name == "id":
		return id
	case strings.Contains(c.kind, "BLOB"):
		return strconv.AppendInt(nil, id, 10)
	case strings.Contains(c.kind, "TEXT"):
		return strconv.FormatInt(id, 10)
	}
	return int64(1)
}

// tables returns the columns of all tables that there are in SQLite.
func tables(t *testing.T, db *storage.DB) map[string][]column {
	t.Helper()
	out := map[string][]column{}
	err := db.Read(t.Context(), func(r *storage.Reader) error {
		for row, err := range r.Query(`SELECT m.name, c.name, upper(c.type) FROM sqlite_master m, pragma_table_info(m.name) c
			WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' ORDER BY m.name, c.cid`) {
			if err != nil {
				return err
			}
			var table string
			var c column
			if err := row.Scan(&table, &c.name, &c.kind); err != nil {
				return err
			}
			out[table] = append(out[table], c)
		}
		return nil
	})
	if err != nil || len(out) < 6 {
		t.Fatalf("tables: %v, %v", out, err)
	}
	return out
}

// owner returns the column that says whose a row is; "" if there is none.
func owner(columns []column) string {
	for _, c := range columns {
		if c.name == "owner" || c.name == "account" {
			return c.name
		}
	}
	return ""
}

// insertion is a statement that puts a row into a table.
func insertion(table string, columns []column, id int64) (sql string, args []any) {
	var names, places []string
	for i, c := range columns {
		names, places = append(names, c.name), append(places, "$"+strconv.Itoa(i+1))
		args = append(args, c.value(id))
	}
	return "INSERT INTO " + table + " (" + strings.Join(names, ", ") + ") VALUES (" + strings.Join(places, ", ") + ") ON CONFLICT DO NOTHING", args
}

func rows(t *testing.T, db *storage.DB, table, owner string, id int64) (n int) {
	t.Helper()
	if err := db.Read(t.Context(), func(r *storage.Reader) error {
		return r.QueryRow("SELECT count(*) FROM "+table+" WHERE "+owner+" = $1", id).Scan(&n)
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestDeletionLeavesNothing puts something of an account into every table that
// the schema has, those of other packages too, deletes the account, and looks.
func TestDeletionLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		db := s.Inside().DB()
		accounts := map[string]int64{}
		for _, name := range []string{"romeo@montague.example", "nurse@capulet.example"} {
			j := s.Account(jid.MustParse(name))
			st, err := s.Accounts().Load(t.Context(), j, nil)
			if err != nil {
				t.Fatal(err)
			}
			accounts[name] = st.ID
		}
		all := tables(t, db)
		before := map[string]int{}
		for table, columns := range all {
			whose := owner(columns)
			if slices.Contains(ownerless, table) {
				continue
			}
			if whose == "" {
				t.Errorf("table %s: nobody owns its rows; name it in ownerless if that is right", table)
				continue
			}
			for name, id := range accounts {
				sql, args := insertion(table, columns, id)
				if err := db.Write(t.Context(), func(tx *storage.Tx) error {
					_, err := tx.Exec(sql, args...)
					return err
				}); err != nil {
					t.Fatalf("%s: %v", sql, err)
				}
				if before[table] = rows(t, db, table, whose, id); before[table] == 0 {
					t.Errorf("table %s holds nothing of %s: the test shows nothing", table, name)
				}
			}
		}
		gone := accounts["romeo@montague.example"]
		if err := s.Accounts().Delete(t.Context(), jid.MustParse("romeo@montague.example")); err != nil {
			t.Fatal(err)
		}
		for table, columns := range all {
			whose := owner(columns)
			if table == "account" {
				whose = "id"
			}
			if whose == "" {
				continue
			}
			if n := rows(t, db, table, whose, gone); n != 0 {
				t.Errorf("table %s still holds %d rows of the deleted account", table, n)
			}
		}
		for table, n := range before {
			if got := rows(t, db, table, owner(all[table]), accounts["nurse@capulet.example"]); n != 0 && got == 0 {
				t.Errorf("table %s lost what it held of another account", table)
			}
		}
	})
}

// TestSessionsEnd: who is locked out or deleted is out at once; who gets another
// password has to show it.
func TestSessionsEnd(t *testing.T) {
	for _, c := range []struct {
		what string
		do   func(context.Context, *xmpptest.Server, jid.JID) error
		want *stream.Error
	}{
		{"disabled", func(ctx context.Context, s *xmpptest.Server, j jid.JID) error {
			return s.Accounts().SetDisabled(ctx, j, true)
		}, stream.ErrNotAuthorized},
		{"deleted", func(ctx context.Context, s *xmpptest.Server, j jid.JID) error { return s.Accounts().Delete(ctx, j) }, stream.ErrNotAuthorized},
		{"another password", func(ctx context.Context, s *xmpptest.Server, j jid.JID) error {
			return s.Accounts().SetPassword(ctx, j, "x", "")
		}, stream.ErrReset},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := xmpptest.New(t)
				cs := s.MustBeOnline("romeo@montague.example/orchard", "romeo@montague.example/home", "nurse@capulet.example/kitchen")
				if err := c.do(t.Context(), s, jid.MustParse("romeo@montague.example")); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				cs[0].ExpectError(c.want)
				cs[1].ExpectError(c.want)
				cs[2].MustSend("<iq type='get' id='1' to='capulet.example'><ping xmlns='urn:xmpp:ping'/></iq>")
				cs[2].Expect("<iq type='result' id='1' .../>")
			})
		})
	}
}

// TestLastLogin: that somebody was here is noted, to the hour.
func TestLastLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		s.Account(jid.MustParse("nurse@capulet.example"))
		s.MustBeOnline("romeo@montague.example/orchard")
		synctest.Wait()
		list, err := s.Accounts().List(t.Context())
		if err != nil || len(list) != 2 || !list[0].Last.IsZero() || list[1].Last.Before(list[1].Created) {
			t.Errorf("accounts: %+v, %v; want romeo's log-in and none of the nurse's", list, err)
		}
	})
}
