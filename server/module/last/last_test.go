package last_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kith/xmpp/jid"
	"kith/xmpptest"
)

func TestScenarios(t *testing.T) { xmpptest.Run(t, "testdata/*.xmpp") }

// asked returns what romeo is answered about juliet.
func asked(t *testing.T, s *xmpptest.Server, c *xmpptest.Client, pattern string) {
	t.Helper()
	s.Settle()
	c.Received()
	c.MustSend(`<iq id='l' to='juliet@capulet.example' type='get'><query xmlns='jabber:iq:last'/></iq>`)
	c.Expect(`<iq id='l' from='juliet@capulet.example' ...>` + pattern + `</iq>`)
}

var (
	romeo  = jid.MustParse("romeo@montague.example")
	juliet = jid.MustParse("juliet@capulet.example")
)

// A session ends also when that cannot be stored; while it is known it is told.
func TestFailedCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		if err := s.Befriend(romeo, juliet); err != nil {
			t.Fatal(err)
		}
		cs := s.MustBeOnline("romeo@montague.example/foo", "juliet@capulet.example/balcony")
		cs[1].MustSend(`<presence type='unavailable'><status>once</status></presence>`)
		cs[1].Close()
		s.Pass(10 * time.Second)
		asked(t, s, cs[0], `<query xmlns='jabber:iq:last' seconds='10'>once</query>`)
		s.Change(`CREATE TRIGGER refuse BEFORE INSERT ON last_activity BEGIN SELECT raise(ABORT, 'no'); END`)
		c := s.MustConnect("juliet@capulet.example/balcony")
		c.MustSend(`<presence/>`)
		asked(t, s, cs[0], `<query xmlns='jabber:iq:last' seconds='0'/>`)
		c.MustSend(`<presence type='unavailable'><status>twice</status></presence>`)
		c.Close()
		s.Pass(10 * time.Second)
		asked(t, s, cs[0], `<query xmlns='jabber:iq:last' seconds='10'>twice</query>`)
		s.TakeLog()
	})
}

// Nobody's last words are longer than the server keeps.
func TestLongWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		if err := s.Befriend(romeo, juliet); err != nil {
			t.Fatal(err)
		}
		cs := s.MustBeOnline("romeo@montague.example/foo", "juliet@capulet.example/balcony")
		cs[1].MustSend(`<presence type='unavailable'><status>` + strings.Repeat("é", 5000) + `</status></presence>`)
		cs[1].Close()
		asked(t, s, cs[0], `<query xmlns='jabber:iq:last' seconds='0'>`+strings.Repeat("é", 511)+`</query>`)
	})
}

// Who has the address of an account that was deleted has not been there yet.
func TestPurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		for _, c := range s.MustBeOnline("romeo@montague.example/foo", "juliet@capulet.example/balcony") {
			c.Close()
		}
		s.Pass(time.Second)
		if n := s.Count(`SELECT count(*) FROM last_activity`); n != 2 {
			t.Fatalf("%d rows, want 2", n)
		}
		juliets := s.MustConnect("juliet@capulet.example/balcony") // her session ends by the deletion
		if err := s.Accounts().Delete(t.Context(), juliet); err != nil {
			t.Fatal(err)
		}
		s.Settle()
		if gone, _ := juliets.Ended(); !gone {
			t.Error("the session of a deleted account goes on")
		}
		if n := s.Count(`SELECT count(*) FROM last_activity`); n != 1 {
			t.Errorf("%d rows are left, want 1: that of the other account", n)
		}
	})
}

// Of who has not left yet, as far as the server knows, there is nothing to tell.
func TestNeverThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		if err := s.Befriend(romeo, juliet); err != nil {
			t.Fatal(err)
		}
		s.Pass(time.Second)
		s.Change(`DELETE FROM last_activity`)
		s.Restart()
		asked(t, s, s.MustConnect("romeo@montague.example/foo"),
			`<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>`)
	})
}

// It is stored together with that of others, or when the server stops.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		if err := s.Befriend(romeo, juliet); err != nil {
			t.Fatal(err)
		}
		c := s.MustBeOnline("juliet@capulet.example/balcony")[0]
		s.Pass(10 * time.Second)
		c.MustSend(`<presence type='unavailable'><status>bye</status></presence>`)
		c.Close()
		s.Restart()
		asked(t, s, s.MustConnect("romeo@montague.example/foo"), `<query xmlns='jabber:iq:last' seconds='0'>bye</query>`)
	})
}
