package blocking_test

import (
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kith/xmpptest"
)

// attempt is what a stranger may send to find out about an address, which stands
// there as TO.
type attempt struct{ name, xml string }

var attempts = []attempt{
	{"message", `<message id='1' to='TO'><body>?</body></message>`},
	{"chat", `<message id='1' to='TO' type='chat'><body>?</body></message>`},
	{"chat state", `<message id='1' to='TO' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>`},
	{"groupchat", `<message id='1' to='TO' type='groupchat'><body>?</body></message>`},
	{"headline", `<message id='1' to='TO' type='headline'><body>?</body></message>`},
	{"message of no known type", `<message id='1' to='TO' type='telegram'><body>?</body></message>`},
	{"message without an id", `<message to='TO' xml:lang='de'><body>?</body></message>`},
	{"error", `<message id='1' to='TO' type='error'><error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>`},
	{"ping", `<iq id='1' to='TO' type='get'><ping xmlns='urn:xmpp:ping'/></iq>`},
	{"disco", `<iq id='1' to='TO' type='get'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>`},
	{"roster", `<iq id='1' to='TO' type='set'><query xmlns='jabber:iq:roster'/></iq>`},
	{"block list", `<iq id='1' to='TO' type='get'><blocklist xmlns='urn:xmpp:blocking'/></iq>`},
	{"malformed block", `<iq id='1' to='TO' type='set'><block xmlns='urn:xmpp:blocking'><item/></block></iq>`},
	{"unknown request", `<iq id='1' to='TO' type='get'><x xmlns='urn:example:x'/></iq>`},
	{"result", `<iq id='1' to='TO' type='result'/>`},
	{"presence", `<presence id='1' to='TO'/>`},
	{"presence gone", `<presence id='1' to='TO'/><presence id='2' to='TO' type='unavailable'/>`},
	{"presence error", `<presence id='1' to='TO' type='error'/>`},
	{"probe", `<presence id='1' to='TO' type='probe'/>`},
	{"subscribe", `<presence id='1' to='TO' type='subscribe'/>`},
	{"subscribe again", `<presence id='1' to='TO' type='subscribe'/><presence id='2' to='TO' type='subscribe'/>`},
	{"unsubscribe", `<presence id='1' to='TO' type='unsubscribe'/>`},
	{"subscribed", `<presence id='1' to='TO' type='subscribed'/>`},
	{"unsubscribed", `<presence id='1' to='TO' type='unsubscribed'/>`},
}

// fresh are values that are never the same: the ids of pushes, versions.
var fresh = regexp.MustCompile(`(type='set' id|ver)='[^']*'`)

// asked sends something to an address and returns all that comes back at once and
// within a second, with the name taken out of it.
func asked(s *xmpptest.Server, c *xmpptest.Client, xml, name, resource string) string {
	to := name + "@capulet.example" + resource
	c.MustSend(strings.ReplaceAll(xml, "TO", to))
	s.Settle()
	var b strings.Builder
	for _, el := range c.Received() {
		b.WriteString("at once " + string(el.Raw()) + "\n")
	}
	s.Pass(time.Second)
	for _, el := range c.Received() {
		b.WriteString("later " + string(el.Raw()) + "\n")
	}
	return fresh.ReplaceAllString(strings.ReplaceAll(b.String(), name, "NAME"), "$1")
}

// Who is blocked cannot tell the account from one that does not exist, whether
// anybody is logged in there or not, nor by whether the address is one of a
// session.
func TestBlockedAndUnknownLookAlike(t *testing.T) {
	for _, presence := range []string{`<presence/>`, ``} {
		for _, resource := range []string{"", "/chamber", "/tomb"} {
			t.Run("juliet"+resource+presence, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { alike(t, presence, resource) })
			})
		}
	}
}

func alike(t *testing.T, presence, resource string) {
	s := xmpptest.New(t)
	juliet := s.MustConnect("juliet@capulet.example/chamber")
	away := s.MustConnect("nurse@capulet.example/chamber")
	for _, c := range []*xmpptest.Client{juliet, away} {
		c.MustSend(`<iq id='b' type='set'><block xmlns='urn:xmpp:blocking'><item jid='romeo@montague.example'/></block></iq>` + presence)
	}
	s.Settle()
	juliet.Received()
	away.Close()
	romeo := s.MustConnect("romeo@montague.example/orchard")
	romeo.MustSend(`<iq id='r' type='get'><query xmlns='jabber:iq:roster'/></iq>`)
	s.Settle()
	romeo.Received()
	for _, a := range attempts {
		// What one attempt leaves in his roster is the same for all.
		unknown := asked(s, romeo, a.xml, "nobody", resource)
		for _, name := range []string{"juliet", "nurse"} {
			if got := asked(s, romeo, a.xml, name, resource); got != unknown {
				t.Errorf("%s to %s:\n%s\nto nobody:\n%s", a.name, name, got, unknown)
			}
		}
	}
	s.Settle()
	for _, el := range juliet.Received() {
		t.Errorf("juliet got %s", el.Raw())
	}
}
