package vcard_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"kith/xmpp/jid"
	"kith/xmpptest"
)

func TestScenarios(t *testing.T) { xmpptest.Run(t, "testdata/*.xmpp") }

// Nothing is left of an account that is deleted, and nothing of it is found by
// who has its address next.
func TestPurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		for _, c := range s.MustBeOnline("romeo@montague.example/foo", "juliet@capulet.example/balcony") {
			c.MustSend(`<iq type='set' id='1'><vCard xmlns='vcard-temp'><FN>x</FN></vCard></iq>`)
			c.Expect(`<iq type='result' id='1' .../>`)
		}
		romeo := jid.MustParse("romeo@montague.example")
		if err := s.Accounts().Delete(t.Context(), romeo); err != nil {
			t.Fatal(err)
		}
		if n := s.Count(`SELECT count(*) FROM vcard`); n != 1 {
			t.Errorf("%d rows are left, want 1: that of the other account", n)
		}
		if err := s.Accounts().Create(t.Context(), romeo, xmpptest.Password, false); err != nil {
			t.Fatal(err)
		}
		c := s.MustConnect("romeo@montague.example/foo")
		c.MustSend(`<iq type='get' id='g'><vCard xmlns='vcard-temp'/></iq>`)
		c.Expect(`<iq type='error' id='g' ...><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`)
	})
}

// A vCard that cannot be read is none, and the log says so.
func TestDamagedRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		cs := s.MustBeOnline("romeo@montague.example/foo", "juliet@capulet.example/balcony")
		cs[0].MustSend(`<iq type='set' id='1'><vCard xmlns='vcard-temp'><FN>x</FN></vCard></iq>`)
		cs[0].Expect(`<iq type='result' id='1' .../>`)
		s.Change(`UPDATE vcard SET content = $1`, []byte("<vCard xmlns='vcard-temp'>x</vCard>"))
		cs[0].MustSend(`<iq type='get' id='2'><vCard xmlns='vcard-temp'/></iq>`)
		cs[0].Expect(`<iq type='error' id='2' ...><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`)
		cs[1].MustSend(`<iq type='get' id='3' to='romeo@montague.example'><vCard xmlns='vcard-temp'/></iq>`)
		cs[1].Expect(`<iq type='error' id='3' ...><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`)
		if log := s.TakeLog(); !strings.Contains(log, "cannot be read") {
			t.Errorf("the log says %q", log)
		}
	})
}

// Of a vCard that cannot be stored nobody is told, not even that there is one.
func TestFailedCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		s.Change(`CREATE TRIGGER refuse BEFORE INSERT ON vcard BEGIN SELECT raise(ABORT, 'no'); END`)
		c := s.MustConnect("romeo@montague.example/foo")
		c.MustSend(`<iq type='set' id='1'><vCard xmlns='vcard-temp'><FN>x</FN></vCard></iq><iq type='get' id='2'><vCard xmlns='vcard-temp'/></iq>`)
		c.Expect(`<iq type='error' id='1' ...><error type='cancel'><internal-server-error xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`)
		c.Expect(`<iq type='error' id='2' ...><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`)
		s.TakeLog()
	})
}
