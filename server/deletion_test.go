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
var ownerless = []string{"account", "caps", "migration", "notice", "report_told", "secret"}

// table is one of the schema's.
type table struct {
	whose   string // the column that says whose a row is; "" if there is none
	columns []string
	kinds   []string
	insert  string // a row of all columns
	count   string // the rows of $1
}

// values are something that the columns take.
func (t *table) values(id int64) []any {
	out := make([]any, len(t.columns))
	for i, name := range t.columns {
		switch {
		case name == t.whose, name == "id" && !strings.Contains(t.kinds[i], "TEXT"):
			out[i] = id
		case strings.Contains(t.kinds[i], "BLOB"):
			out[i] = strconv.AppendInt(nil, id, 10)
		case strings.Contains(t.kinds[i], "TEXT"):
			out[i] = strconv.FormatInt(id, 10)
		default:
			out[i] = int64(1)
		}
	}
	return out
}

// tables returns what there is in SQLite. The names of tables are no arguments of
// a statement, so that the database makes the statements of its own schema.
func tables(t *testing.T, db *storage.DB) map[string]*table {
	t.Helper()
	out := map[string]*table{}
	err := db.Read(t.Context(), func(r *storage.Reader) error {
		for row, err := range r.Query(`SELECT m.name, c.name, upper(c.type), c.name IN ('owner', 'account') OR m.name = 'account' AND c.name = 'id',
			printf('SELECT count(*) FROM "%w" WHERE "%w" = $1', m.name, c.name),
			(SELECT printf('INSERT INTO "%w" (%s) VALUES (%s) ON CONFLICT DO NOTHING',
				m.name, group_concat('"' || n.name || '"'), group_concat('$' || (n.cid + 1))) FROM pragma_table_info(m.name) n)
			FROM sqlite_master m, pragma_table_info(m.name) c
			WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' ORDER BY m.name, c.cid`) {
			if err != nil {
				return err
			}
			var name, column, kind, count, insert string
			var whose bool
			if err := row.Scan(&name, &column, &kind, &whose, &count, &insert); err != nil {
				return err
			}
			to := out[name]
			if to == nil {
				to = &table{insert: insert}
				out[name] = to
			}
			to.columns, to.kinds = append(to.columns, column), append(to.kinds, kind)
			if whose {
				to.whose, to.count = column, count
			}
		}
		return nil
	})
	if err != nil || len(out) < 6 {
		t.Fatalf("tables: %v, %v", out, err)
	}
	return out
}

func (tb *table) rows(t *testing.T, db *storage.DB, id int64) (n int) {
	t.Helper()
	if err := db.Read(t.Context(), func(r *storage.Reader) error { return r.QueryRow(tb.count, id).Scan(&n) }); err != nil {
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
		for name, tb := range all {
			if slices.Contains(ownerless, name) {
				continue
			}
			if tb.whose == "" {
				t.Errorf("table %s: nobody owns its rows; name it in ownerless if that is right", name)
				continue
			}
			for of, id := range accounts {
				if err := db.Write(t.Context(), func(tx *storage.Tx) error {
					_, err := tx.Exec(tb.insert, tb.values(id)...)
					return err
				}); err != nil {
					t.Fatalf("%s: %v", tb.insert, err)
				}
				if tb.rows(t, db, id) == 0 {
					t.Errorf("table %s holds nothing of %s: the test shows nothing", name, of)
				}
			}
		}
		if err := s.Accounts().Delete(t.Context(), jid.MustParse("romeo@montague.example")); err != nil {
			t.Fatal(err)
		}
		for name, tb := range all {
			if tb.whose == "" {
				continue
			}
			if n := tb.rows(t, db, accounts["romeo@montague.example"]); n != 0 {
				t.Errorf("table %s still holds %d rows of the deleted account", name, n)
			}
			if n := tb.rows(t, db, accounts["nurse@capulet.example"]); n == 0 {
				t.Errorf("table %s lost what it held of another account", name)
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
