package blocking_test

import (
	"testing"
	"testing/synctest"

	"kith/xmpptest"
)

// What cannot be stored is told to the one who wanted it and blocks nobody; what
// was sent with it is done, and once.
func TestFailedCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		cs := s.MustBeOnline("juliet@capulet.example/chamber", "romeo@montague.example/orchard", "nurse@capulet.example/house")
		juliet, romeo, nurse := cs[0], cs[1], cs[2]
		s.Change(`CREATE TRIGGER refuse BEFORE INSERT ON blocklist WHEN new.jid = 'nurse@capulet.example' BEGIN SELECT raise(ABORT, 'no'); END`)
		juliet.MustSend(`<iq id='b' type='get'><blocklist xmlns='urn:xmpp:blocking'/></iq>` +
			`<presence to='romeo@montague.example/orchard'/><presence to='nurse@capulet.example/house'/>`)
		juliet.Expect(`<iq id='b' type='result' ...>...</iq>`)
		romeo.Expect(`<presence from='juliet@capulet.example/chamber' to='romeo@montague.example/orchard'/>`)
		nurse.Expect(`<presence from='juliet@capulet.example/chamber' to='nurse@capulet.example/house'/>`)
		juliet.MustSend(`<iq id='1' type='set'><block xmlns='urn:xmpp:blocking'><item jid='romeo@montague.example'/></block></iq>` +
			`<iq id='2' type='set'><block xmlns='urn:xmpp:blocking'><item jid='nurse@capulet.example'/></block></iq>`)
		juliet.Expect(`<iq id='1' type='result' .../>`)
		juliet.Expect(`<iq type='set' ...><block xmlns='urn:xmpp:blocking'><item jid='romeo@montague.example'/></block></iq>`)
		juliet.Expect(`<iq id='2' type='error' ...><error type='cancel'><internal-server-error xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`)
		juliet.ExpectNothing()
		romeo.Expect(`<presence from='juliet@capulet.example/chamber' to='romeo@montague.example/orchard' type='unavailable'/>`)
		romeo.ExpectNothing()
		nurse.ExpectNothing()
		nurse.MustSend(`<message to='juliet@capulet.example/chamber'><body>Madam!</body></message>`)
		juliet.Expect(`<message from='nurse@capulet.example/house' ...>...</message>`)
		romeo.MustSend(`<message id='3' to='juliet@capulet.example/chamber'><body>?</body></message>`)
		romeo.Expect(`<message id='3' type='error' ...>...</message>`)
		juliet.ExpectNothing()
	})
}
