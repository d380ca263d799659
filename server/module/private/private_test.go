package private_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"kith/xmpp/jid"
	"kith/xmpptest"
)

func TestScenarios(t *testing.T) { xmpptest.Run(t, "testdata/*.xmpp") }

// Nothing is left of an account that is deleted, however much it had.
func TestPurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t, xmpptest.Config("limits = {stanza_rate = 0, byte_rate = 0}"))
		for _, who := range []string{"romeo@montague.example/foo", "juliet@capulet.example/balcony"} {
			c := s.MustConnect(who)
			for i := range 250 {
				c.MustSend(fmt.Sprintf(`<iq type='set' id='%d'><query xmlns='jabber:iq:private'><a xmlns='x:%d'>x</a></query></iq>`, i, i))
			}
			s.Settle()
		}
		if n := s.Count(`SELECT count(*) FROM private_data`); n != 500 {
			t.Fatalf("%d rows, want 500", n)
		}
		if err := s.Accounts().Delete(t.Context(), jid.MustParse("romeo@montague.example")); err != nil {
			t.Fatal(err)
		}
		if n := s.Count(`SELECT count(*) FROM private_data`); n != 250 {
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
		s := xmpptest.New(t)
		c := s.MustConnect("romeo@montague.example/foo")
		for _, x := range []string{"a", "b"} {
			c.MustSend(`<iq type='set' id='` + x + `'><query xmlns='jabber:iq:private'><` + x + ` xmlns='x:x'>x</` + x + `></query></iq>`)
			c.Expect(`<iq type='result' id='` + x + `' .../>`)
		}
		s.Change(`UPDATE private_data SET content = $1 WHERE name = 'a'`, []byte("<query"))
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
		s := xmpptest.New(t, xmpptest.Config(`modules.private.size = "1KiB"`))
		c := s.MustConnect("romeo@montague.example/foo")
		c.MustSend(`<iq type='set' id='1'><query xmlns='jabber:iq:private'><a xmlns='x:x'>old</a></query></iq>`)
		c.Expect(`<iq type='result' id='1' .../>`)
		s.Change(`CREATE TRIGGER refuse BEFORE INSERT ON private_data BEGIN SELECT raise(ABORT, 'no'); END`)
		big := strings.Repeat("x", 600)
		c.MustSend(`<iq type='set' id='2'><query xmlns='jabber:iq:private'><a xmlns='x:x'>` + big + `</a></query></iq>` +
			`<iq type='get' id='3'><query xmlns='jabber:iq:private'><a xmlns='x:x'/></query></iq>`)
		c.Expect(`<iq type='error' id='2' ...><error type='cancel'><internal-server-error xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`)
		c.Expect(`<iq type='result' id='3' ...><query xmlns='jabber:iq:private'><a xmlns='x:x'>old</a></query></iq>`)
		s.Change(`DROP TRIGGER refuse`)
		c.MustSend(`<iq type='set' id='4'><query xmlns='jabber:iq:private'><b xmlns='x:x'>` + big + `</b></query></iq>`)
		c.Expect(`<iq type='result' id='4' .../>`)
		s.TakeLog()
	})
}
