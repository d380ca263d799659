package mam_test

import (
	"strconv"
	"testing"

	"kith/xmpp/xmltree"
	"kith/xmpptest"
)

// FuzzRequests: whatever is asked of an archive, there is an answer.
func FuzzRequests(f *testing.F) {
	const submit = `<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>`
	for _, payload := range []string{
		`<query xmlns='urn:xmpp:mam:2' queryid='q'><flip-page/></query>`,
		`<query xmlns='urn:xmpp:mam:2'>` + submit + `<field var='with'><value>juliet@capulet.example/x</value></field><field var='start'><value>2010-06-07T00:00:00Z</value></field></x></query>`,
		`<query xmlns='urn:xmpp:mam:2'>` + submit + `<field var='end'><value>9999-06-07T00:00:00.999Z</value></field><field var='include-groupchat'><value>1</value></field></x></query>`,
		`<query xmlns='urn:xmpp:mam:2'>` + submit + `<field var='start'><value>0000-01-01T00:00:00Z</value></field></x></query>`,
		`<query xmlns='urn:xmpp:mam:2'>` + submit + `<field var='ids'><value>aaaaaaaaaaaaaaaaaaaaaaaaaa</value></field></x></query>`,
		`<query xmlns='urn:xmpp:mam:2'><set xmlns='http://jabber.org/protocol/rsm'><max>10</max><before/></set><order xmlns='urn:xmpp:order-by:1' by='creation' desc='1'/></query>`,
		`<query xmlns='urn:xmpp:mam:2'><set xmlns='http://jabber.org/protocol/rsm'><max>0</max><after>x</after><index>99999999</index></set></query>`,
		`<query xmlns='urn:xmpp:mam:2'><set xmlns='http://jabber.org/protocol/rsm'><index>2</index></set></query>`,
		`<metadata xmlns='urn:xmpp:mam:2'/>`,
		`<prefs xmlns='urn:xmpp:mam:2' default='roster'><always><jid>a@b</jid></always><never><jid>@</jid></never></prefs>`,
		`<trim xmlns='urn:xmpp:mamtrim:0'><id>x</id></trim>`,
	} {
		f.Add("set", payload)
		f.Add("get", payload)
	}
	s := xmpptest.New(f, xmpptest.Config("limits.stanza_rate = 0\nlimits.byte_rate = 0"))
	c := s.MustConnect("juliet@capulet.example/balcony")
	for range 3 {
		c.MustSend(`<message to='juliet@capulet.example' type='chat'><body>hark</body></message>`)
	}
	n := 0
	f.Fuzz(func(t *testing.T, typ, payload string) {
		el, err := xmltree.ParseIn("jabber:client", []byte(payload), xmltree.Limits{})
		if typ != "set" && typ != "get" || err != nil || !el.Clean() || len(payload) > 64<<10 {
			return
		}
		n++
		id := "fuzz" + strconv.Itoa(n)
		if err := c.Send("<iq type='" + typ + "' id='" + id + "'>" + payload + "</iq>"); err != nil {
			t.Fatal(err)
		}
		for {
			got, ok := c.Next()
			if !ok {
				t.Fatalf("%s %q: no answer", typ, payload)
			}
			if got.Attr("id") == id {
				return
			}
		}
	})
}
