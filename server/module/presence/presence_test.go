package presence_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"kith/xmpp/jid"
	"kith/xmpptest"
)

func TestScenarios(t *testing.T) { xmpptest.Run(t, "testdata/*.xmpp") }

// Who has many contacts asks them in portions, so that nobody else waits for
// accounts that have to be read.
func TestProbesArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t, xmpptest.Config("limits = {stanza_rate = 0, byte_rate = 0}"))
		c := s.MustConnect("romeo@montague.example/foo")
		const contacts = 600
		for n := range contacts { // none of them exists, so that each probe mends the roster
			c.MustSend(fmt.Sprintf(`<iq id='%d' type='set'><query xmlns='jabber:iq:roster'><item jid='n%03d@capulet.example'/></query></iq>`, n, n))
		}
		s.Drain()
		s.Change(`UPDATE roster_item SET subscription = $1`, "to")
		s.Restart()
		c = s.MustConnect("romeo@montague.example/foo")
		c.MustSend(`<iq id='r' type='get'><query xmlns='jabber:iq:roster'/></iq>`)
		s.Drain()
		c.MustSend(`<presence/>`)
		for _, want := range []int{1 + 2*250, 2 * 250, 2 * 100, 0} {
			s.Settle()
			if got := len(c.Received()); got != want {
				t.Errorf("received %d stanzas, want %d", got, want)
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
}

// A roster that is wrong is mended by the probe of the next log-in (RFC 6121
// §4.3.2, rule 1): Romeo takes himself for subscribed, and is not.
func TestMismatchIsMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		if err := s.Befriend(jid.MustParse("romeo@montague.example"), jid.MustParse("juliet@capulet.example")); err != nil {
			t.Fatal(err)
		}
		s.Change(`UPDATE roster_item SET subscription = 'to' WHERE jid = $1`, "romeo@montague.example")
		s.Restart()
		s.MustBeOnline("juliet@capulet.example/balcony")
		c := s.MustConnect("romeo@montague.example/orchard")
		c.MustSend(`<iq id='r' type='get'><query xmlns='jabber:iq:roster'/></iq>`)
		c.Expect(`<iq id='r' type='result' ...><query xmlns='jabber:iq:roster' ver='...'><item jid='juliet@capulet.example' subscription='both'/></query></iq>`)
		c.MustSend(`<presence/>`)
		c.Expect(`<presence from='romeo@montague.example/orchard' .../>`)
		c.Expect(`<presence from='juliet@capulet.example' id='...' to='romeo@montague.example' type='unsubscribed'/>`)
		c.Expect(`<iq type='set' ...><query xmlns='jabber:iq:roster' ver='...'><item jid='juliet@capulet.example' subscription='from'/></query></iq>`)
		c.ExpectNothing()
	})
}
