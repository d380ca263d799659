package private_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpptest"
)

func TestScenarios(t *testing.T) { xmpptest.Run(t, "testdata/*.xmpp") }

// open opens the database of a running server.
func open(t *testing.T, dir string) *storage.DB {
	t.Helper()
	db, err := storage.Open(context.Background(), "sqlite:"+filepath.Join(dir, "kith.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func rows(t *testing.T, dir string) (n int) {
	t.Helper()
	db := open(t, dir)
	defer db.Close()
	if err := db.Read(context.Background(), func(r *storage.Reader) error {
		return r.QueryRow(`SELECT count(*) FROM private_data`).Scan(&n)
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// Nothing is left of an account that is deleted, however much it had.
func TestPurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := xmpptest.New(t, xmpptest.Config(fmt.Sprintf("data = %q\nlimits = {stanza_rate = 0, byte_rate = 0}", dir)))
		for _, who := range []string{"romeo@montague.example/foo", "juliet@capulet.example/balcony"} {
			c := s.MustConnect(who)
			for i := range 250 {
				c.MustSend(fmt.Sprintf(`<iq type='set' id='%d'><query xmlns='jabber:iq:private'><a xmlns='x:%d'>x</a></query></iq>`, i, i))
			}
			s.Settle()
		}
		if n := rows(t, dir); n != 500 {
			t.Fatalf("%d rows, want 500", n)
		}
		if err := s.Accounts().Delete(t.Context(), jid.MustParse("romeo@montague.example")); err != nil {
			t.Fatal(err)
		}
		if n := rows(t, dir); n != 250 {
			t.Errorf("%d rows are left, want 250: those of the other account", n)
		}
		// Who has the address next has nothing of it.
		if err := s.Accounts().Create(t.Context(), jid.MustParse("romeo@montague.example"), xmpptest.Password, false); err != nil {
			t.Fatal(err)
		}
		c := s.MustConnect("romeo@montague.example/foo")
		c.MustSend(`<iq type='get' id='g'><query xmlns='jabber:iq:private'><a xmlns='x:1'/></query></iq>`)
		c.Expect(`<iq type='result' id='g' ...><query xmlns='jabber:iq:private'><a xmlns='x:1'/></query></iq>`)
	})
}

// A row that cannot be read is as if it were not there, and the log says so.
func TestDamagedRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := xmpptest.New(t, xmpptest.Config(fmt.Sprintf("data = %q", dir)))
		c := s.MustConnect("romeo@montague.example/foo")
		for _, x := range []string{"a", "b"} {
			c.MustSend(`<iq type='set' id='` + x + `'><query xmlns='jabber:iq:private'><` + x + ` xmlns='x:x'>x</` + x + `></query></iq>`)
			c.Expect(`<iq type='result' id='` + x + `' .../>`)
		}
		db := open(t, dir)
		defer db.Close()
		if err := db.Write(context.Background(), func(tx *storage.Tx) error {
			_, err := tx.Exec(`UPDATE private_data SET content = $1 WHERE name = 'a'`, []byte("<query"))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		c.MustSend(`<iq type='get' id='1'><query xmlns='jabber:iq:private'><a xmlns='x:x'/><b xmlns='x:x'/></query></iq>`)
		c.Expect(`<iq type='result' id='1' ...><query xmlns='jabber:iq:private'><a xmlns='x:x'/><b xmlns='x:x'>x</b></query></iq>`)
		if log := s.TakeLog(); !strings.Contains(log, "cannot be read") {
			t.Errorf("the log says %q", log)
		}
	})
}

// A change that cannot be stored is refused, and what was there is still there;
// the room it would have taken is free.
func TestFailedCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := xmpptest.New(t, xmpptest.Config(fmt.Sprintf("data = %q\nmodules.private.size = \"1KiB\"", dir)))
		c := s.MustConnect("romeo@montague.example/foo")
		c.MustSend(`<iq type='set' id='1'><query xmlns='jabber:iq:private'><a xmlns='x:x'>old</a></query></iq>`)
		c.Expect(`<iq type='result' id='1' .../>`)
		db := open(t, dir)
		defer db.Close()
		trigger := func(statement string) {
			if err := db.Write(context.Background(), func(tx *storage.Tx) error {
				_, err := tx.Exec(statement)
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		trigger(`CREATE TRIGGER refuse BEFORE INSERT ON private_data BEGIN SELECT raise(ABORT, 'no'); END`)
		big := strings.Repeat("x", 600)
		c.MustSend(`<iq type='set' id='2'><query xmlns='jabber:iq:private'><a xmlns='x:x'>` + big + `</a></query></iq>` +
			`<iq type='get' id='3'><query xmlns='jabber:iq:private'><a xmlns='x:x'/></query></iq>`)
		c.Expect(`<iq type='error' id='2' ...><error type='cancel'><internal-server-error xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`)
		c.Expect(`<iq type='result' id='3' ...><query xmlns='jabber:iq:private'><a xmlns='x:x'>old</a></query></iq>`)
		trigger(`DROP TRIGGER refuse`)
		c.MustSend(`<iq type='set' id='4'><query xmlns='jabber:iq:private'><b xmlns='x:x'>` + big + `</b></query></iq>`)
		c.Expect(`<iq type='result' id='4' .../>`)
		s.TakeLog()
	})
}
