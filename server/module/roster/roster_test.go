package roster_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"kith/xmpp/xep/roster"
	"kith/xmpptest"
)

func TestScenarios(t *testing.T) { xmpptest.Run(t, "testdata/*.xmpp") }

// A change that cannot be stored is told to the one who wanted it and to nobody
// else; what was sent with it is done.
func TestFailedCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		cs := s.MustBeOnline("romeo@montague.example/foo", "juliet@capulet.example/balcony")
		romeo, juliet := cs[0], cs[1]
		romeo.MustSend(`<iq id='r' type='get'><query xmlns='jabber:iq:roster'/></iq>`)
		romeo.Expect(`<iq id='r' type='result' ...><query xmlns='jabber:iq:roster' ver='...'/></iq>`)
		s.Change(`CREATE TRIGGER refuse BEFORE INSERT ON roster_item WHEN new.jid = 'juliet@capulet.example' BEGIN SELECT raise(ABORT, 'no'); END`)
		romeo.MustSend(`<presence id='1' to='juliet@capulet.example' type='subscribe'/>` +
			`<iq id='2' type='set'><query xmlns='jabber:iq:roster'><item jid='nurse@capulet.example'/></query></iq>` +
			`<presence type='unavailable'/><presence id='3'/>`)
		romeo.Expect(`<presence id='1' from='juliet@capulet.example' type='error' ...><error type='cancel'><internal-server-error xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>`)
		romeo.Expect(`<iq type='set' ...><query xmlns='jabber:iq:roster' ver='...'><item jid='nurse@capulet.example' subscription='none'/></query></iq>`)
		romeo.Expect(`<iq id='2' type='result' .../>`)
		romeo.Expect(`<presence type='unavailable' .../>`)
		romeo.Expect(`<presence id='3' .../>`)
		romeo.ExpectNothing()
		juliet.ExpectNothing()
		// The other side: the request is lost, and comes again at the next log-in.
		juliet.MustSend(`<presence to='romeo@montague.example' type='subscribe'/>`)
		juliet.Expect(`<presence from='romeo@montague.example' type='error' ...>...</presence>`)
		romeo.ExpectNothing()
		romeo.MustSend(`<iq id='r' type='get'><query xmlns='jabber:iq:roster'/></iq>`)
		romeo.Expect(`<iq id='r' type='result' ...><query xmlns='jabber:iq:roster' ver='...'><item jid='nurse@capulet.example' subscription='none'/></query></iq>`)
	})
}

// A roster that is written outside the lane comes before what is pushed
// meanwhile.
func TestBigRoster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t, xmpptest.Config("limits = {stanza_rate = 0, byte_rate = 0}"))
		c := s.MustConnect("romeo@montague.example/foo")
		const contacts = 600
		for n := range contacts {
			c.MustSend(fmt.Sprintf(`<iq id='%d' type='set'><query xmlns='jabber:iq:roster'><item jid='n%03d@capulet.example'/></query></iq>`, n, n))
		}
		s.Drain()
		c.MustSend(`<iq id='r' type='get'><query xmlns='jabber:iq:roster'/></iq>` +
			`<iq id='s' type='set'><query xmlns='jabber:iq:roster'><item jid='n000@capulet.example' name='Nurse'/></query></iq>`)
		var order []string
		s.Settle()
		for _, el := range c.Received() {
			q, err := roster.Parse(el.First())
			if err != nil {
				order = append(order, el.Attr("id"))
				continue
			}
			order = append(order, fmt.Sprint(len(q.Items), q.Items[0].Name))
		}
		if got := strings.Join(order, ", "); got != "s, 600, 1Nurse" && got != "600, 1Nurse, s" && got != "600, s, 1Nurse" {
			t.Errorf("received %s; want 600 contacts, the push behind them", got)
		}
	})
}
