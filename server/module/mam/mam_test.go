package mam_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kith/xmpp/xep/mam"
	"kith/xmpp/xmltree"
	"kith/xmpptest"
)

func TestScenarios(t *testing.T) { xmpptest.Run(t, "testdata/*.xmpp") }

// fill has romeo write n messages to juliet, who is there.
func fill(t *testing.T, s *xmpptest.Server, n int, body string) *xmpptest.Client {
	t.Helper()
	cs := s.MustBeOnline("romeo@montague.example/orchard", "juliet@capulet.example/balcony")
	for i := range n {
		cs[0].MustSend(fmt.Sprintf(`<message to='juliet@capulet.example' type='chat' id='%d'><body>%s</body></message>`, i, body))
		s.Settle()
	}
	if got := len(cs[1].Received()); got != n {
		t.Fatalf("juliet received %d messages, want %d", got, n)
	}
	return cs[1]
}

// pages counts the results that a client got before each end.
func pages(els []xmltree.Element) (list []int) {
	n := 0
	for _, el := range els {
		if _, err := mam.ParseResult(el.First()); err == nil {
			n++
		} else {
			list = append(list, n)
			n = 0
		}
	}
	return list
}

const free = "limits = {stanza_rate = 0, byte_rate = 0}\n"

// A page is as large as the client wants it, within bounds.
func TestPageSizes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t, xmpptest.Config(free+"[modules.mam]\npage = 5\npage_max = 8"))
		juliet := fill(t, s, 12, "hark")
		for _, set := range []string{"", "<max>3</max>", "<max>8</max>", "<max>9</max>", "<max>99999999999999999999</max>", "<max>0</max>"} {
			juliet.MustSend(`<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'><set xmlns='http://jabber.org/protocol/rsm'>` + set + `</set></query></iq>`)
		}
		s.Pass(time.Second)
		if got := fmt.Sprint(pages(juliet.Received())); got != "[5 3 8 8 8 0]" {
			t.Errorf("pages of %s, want [5 3 8 8 8 0]", got)
		}
		// More ids than fit a page are refused.
		var ids strings.Builder
		for range 9 {
			ids.WriteString(`<value>x</value>`)
		}
		juliet.MustSend(`<iq type='set' id='ids'><query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field><field var='ids'>` + ids.String() + `</field></x></query></iq>`)
		juliet.Expect(`<iq type='error' id='ids' ...><error type='modify'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>...</error></iq>`)
		juliet.MustSend(`<iq type='set' id='long'><query xmlns='urn:xmpp:mam:2' queryid='` + strings.Repeat("q", 257) + `'/></iq>`)
		juliet.Expect(`<iq type='error' id='long' ...><error type='modify'><bad-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>...</error></iq>`)
	})
}

// Whoever asks for more than he reads loses neither his stream nor anything he
// has asked for; what he may ask for at once is bounded.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t, xmpptest.Config("limits = {stanza_rate = 0, byte_rate = 0, session_queue = \"256KiB\", credit = 1000}\n"), xmpptest.Buffer(4<<10))
		juliet := fill(t, s, 30, strings.Repeat("x", 15000))
		juliet.Pause()
		const asked = 80
		for i := range asked {
			juliet.MustSend(fmt.Sprintf(`<iq type='set' id='%d'><query xmlns='urn:xmpp:mam:2'/></iq>`, i))
		}
		s.Settle()
		juliet.Resume()
		s.Pass(time.Minute)
		answered, refused, results, last := 0, 0, 0, -1
		for _, el := range juliet.Received() {
			switch {
			case el.First().Is(mam.NameResult):
				results++
			case el.Attr("type") == "error":
				refused++
			default:
				var id int
				fmt.Sscan(el.Attr("id"), &id)
				if id <= last {
					t.Errorf("the answer to %d came behind that to %d", id, last)
				}
				last = id
				answered++
			}
		}
		// One is under way, and 64 wait.
		if answered < 64 || answered+refused != asked || refused == 0 {
			t.Errorf("%d answered, %d refused of %d", answered, refused, asked)
		}
		if results == 0 || results > answered*4 {
			t.Errorf("%d results in %d pages, want 64 KiB each at most", results, answered)
		}
		if ended, err := juliet.Ended(); ended {
			t.Errorf("the stream has ended: %v", err)
		}
	})
}

// A stored message that cannot be read is skipped, and everything else is there.
func TestPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		juliet := fill(t, s, 3, "hark")
		s.Change(`UPDATE message SET stanza = $1, peer = $2 WHERE NOT outgoing AND id = (SELECT min(id) FROM message WHERE NOT outgoing)`, []byte("<mess"), "@")
		juliet.MustSend(`<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>`)
		juliet.Expect(`<message ...><result xmlns='urn:xmpp:mam:2' ...><forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' .../><message xmlns='jabber:client' id='1' ...>...</message></forwarded></result></message>`)
		juliet.Expect(`<message ...><result xmlns='urn:xmpp:mam:2' ...>...</result></message>`)
		juliet.Expect(`<iq type='result' id='q' ...>...</iq>`)
		juliet.ExpectNothing()
	})
}

// Preferences have bounds.
func TestLongPreferences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		juliet := s.MustConnect("juliet@capulet.example/balcony")
		list := func(n int) string {
			var b strings.Builder
			for i := range n {
				fmt.Fprintf(&b, `<jid>n%d@capulet.example</jid>`, i)
			}
			return `<prefs xmlns='urn:xmpp:mam:2' default='always'><never>` + b.String() + `</never></prefs>`
		}
		juliet.MustSend(`<iq type='set' id='1'>` + list(1001) + `</iq>`)
		juliet.Expect(`<iq type='error' id='1' ...><error type='modify'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>...</error></iq>`)
		juliet.MustSend(`<iq type='set' id='2'>` + list(1000) + `</iq>`)
		juliet.Expect(`<iq type='result' id='2' ...>...</iq>`)
	})
}
