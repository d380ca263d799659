package mam_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/xep/forward"
	"kith/xmpp/xep/mam"
	"kith/xmpp/xep/order"
	"kith/xmpp/xep/rsm"
	"kith/xmpp/xmltree"
)

func parse(t *testing.T, s string) xmltree.Element {
	t.Helper()
	el, err := xmltree.Parse([]byte(s), xmltree.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return el
}

const (
	submit = `<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>urn:xmpp:mam:2</value></field>`
	stamp  = "2010-06-07T00:00:00Z"
)

func field(name, value string) string {
	return `<field var='` + name + `'><value>` + value + `</value></field>`
}

func query(inner string) string { return `<query xmlns='urn:xmpp:mam:2'>` + inner + `</query>` }

func TestQueries(t *testing.T) {
	yes, no := true, false
	at := time.Date(2010, 6, 7, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name  string
		query mam.Query
		xml   string
	}{
		{"Example 2", mam.Query{QueryID: "f27"}, `<query xmlns='urn:xmpp:mam:2' queryid='f27'/>`},
		{"§4.1.1", mam.Query{Filter: mam.Filter{With: jid.MustParse("juliet@capulet.lit")}}, query(submit + field("with", "juliet@capulet.lit") + `</x>`)},
		{"§4.1.2", mam.Query{Filter: mam.Filter{Start: at, End: at.Add(time.Millisecond)}},
			query(submit + field("start", stamp) + field("end", "2010-06-07T00:00:00.001Z") + `</x>`)},
		{"§4.1.3", mam.Query{Filter: mam.Filter{AfterID: "28482-98726-73623", BeforeID: "09af3-cc343-b409f"}},
			query(submit + field("before-id", "09af3-cc343-b409f") + field("after-id", "28482-98726-73623") + `</x>`)},
		{"§4.1.3 ids", mam.Query{Filter: mam.Filter{IDs: []string{"1", "2"}}}, query(submit + `<field var='ids'><value>1</value><value>2</value></field></x>`)},
		{"§4.1.4", mam.Query{Filter: mam.Filter{Groupchat: &yes}}, query(submit + field("include-groupchat", "true") + `</x>`)},
		{"§4.1.4 none", mam.Query{Filter: mam.Filter{Groupchat: &no}}, query(submit + field("include-groupchat", "false") + `</x>`)},
		{"§4.3.4", mam.Query{Set: rsm.Request{Max: rsm.Of(10), After: "x"}, Flip: true},
			query(`<set xmlns='http://jabber.org/protocol/rsm'><max>10</max><after>x</after></set><flip-page/>`)},
		{"XEP-0413 Example 5", mam.Query{QueryID: "123", Node: "plays", Order: []order.By{{By: "creation"}}},
			`<query xmlns='urn:xmpp:mam:2' queryid='123' node='plays'><order xmlns='urn:xmpp:order-by:1' by='creation'/></query>`},
	} {
		if got := string(xmltree.Marshal(&c.query, "jabber:client")); got != c.xml {
			t.Errorf("%s: written\n%s, want\n%s", c.name, got, c.xml)
		}
		if got, err := mam.ParseQuery(parse(t, c.xml)); err != nil || !reflect.DeepEqual(got, &c.query) {
			t.Errorf("%s: read %+v (%v), want %+v", c.name, got, err, c.query)
		}
	}
}

func TestWrongQueries(t *testing.T) {
	for _, c := range []struct {
		xml  string
		want error
	}{
		{`<query xmlns='urn:xmpp:mam:1'/>`, mam.ErrMalformed},
		{query(`<x xmlns='jabber:x:data' type='submit'/>`), mam.ErrMalformed},
		{query(`<x xmlns='jabber:x:data' type='form'><field var='FORM_TYPE' type='hidden'><value>urn:xmpp:mam:2</value></field></x>`), mam.ErrMalformed},
		{query(`<x xmlns='jabber:x:data' type='submit'>` + field("FORM_TYPE", "urn:xmpp:mam:1") + `</x>`), mam.ErrMalformed},
		{query(`<x xmlns='jabber:x:data'/>`), mam.ErrMalformed},
		{query(submit + field("{http://example.com/}free-text-search", "Juliet") + `</x>`), mam.ErrField},
		{query(submit + field("with", "@") + `</x>`), mam.ErrAddress},
		{query(submit + field("start", "yesterday") + `</x>`), mam.ErrMalformed},
		{query(submit + field("end", "2010-06-07") + `</x>`), mam.ErrMalformed},
		{query(submit + field("end", stamp) + field("end", stamp) + `</x>`), mam.ErrMalformed},
		{query(submit + `<field var='with'><value>a@b</value><value>c@d</value></field></x>`), mam.ErrMalformed},
		{query(submit + field("include-groupchat", "perhaps") + `</x>`), mam.ErrMalformed},
		{query(submit + field("ids", "") + `</x>`), mam.ErrMalformed},
		{query(`<set xmlns='http://jabber.org/protocol/rsm'><max>many</max></set>`), rsm.ErrMalformed},
	} {
		if q, err := mam.ParseQuery(parse(t, c.xml)); !errors.Is(err, c.want) {
			t.Errorf("%s is read as %+v (%v), want %v", c.xml, q, err, c.want)
		}
	}
	q, err := mam.ParseQuery(parse(t, query(submit+field("with", "")+`<field var='start'/>`+`</x>`)))
	if err != nil || !reflect.DeepEqual(q.Filter, mam.Filter{}) {
		t.Errorf("fields without values are read as %+v (%v)", q, err)
	}
}

func TestAnswers(t *testing.T) {
	at := time.Date(2008, 8, 22, 21, 9, 4, 0, time.UTC)
	message := parse(t, `<message xmlns='jabber:client' to='macbeth@shakespeare.lit'><body>Hail to thee</body></message>`)
	for _, c := range []struct {
		name  string
		value xmltree.Appender
		xml   string
		read  func(xmltree.Element) (xmltree.Appender, error)
	}{
		{"result", &mam.Result{QueryID: "f27", ID: "28482", Forwarded: forward.Forwarded{Stamp: at, Stanza: message}},
			`<result xmlns='urn:xmpp:mam:2' queryid='f27' id='28482'><forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='2008-08-22T21:09:04Z'/>` +
				`<message xmlns='jabber:client' to='macbeth@shakespeare.lit'><body>Hail to thee</body></message></forwarded></result>`,
			func(el xmltree.Element) (xmltree.Appender, error) { return mam.ParseResult(el) }},
		{"fin", &mam.Fin{Complete: true, Unstable: true, Set: rsm.Result{First: "a", Last: "b"}},
			`<fin xmlns='urn:xmpp:mam:2' complete='true' stable='false'><set xmlns='http://jabber.org/protocol/rsm'><first>a</first><last>b</last></set></fin>`,
			func(el xmltree.Element) (xmltree.Appender, error) { return mam.ParseFin(el) }},
		{"metadata", &mam.Metadata{Start: &mam.Mark{ID: "YWxwaGEg", At: at}, End: &mam.Mark{ID: "b21lZ2Eg", At: at}},
			`<metadata xmlns='urn:xmpp:mam:2'><start id='YWxwaGEg' timestamp='2008-08-22T21:09:04Z'/><end id='b21lZ2Eg' timestamp='2008-08-22T21:09:04Z'/></metadata>`,
			func(el xmltree.Element) (xmltree.Appender, error) { return mam.ParseMetadata(el) }},
		{"nothing there", &mam.Metadata{}, `<metadata xmlns='urn:xmpp:mam:2'/>`,
			func(el xmltree.Element) (xmltree.Appender, error) { return mam.ParseMetadata(el) }},
		{"prefs", &mam.Prefs{Default: mam.Roster, Always: []jid.JID{jid.MustParse("romeo@montague.lit")}, Never: []jid.JID{jid.MustParse("montague@montague.lit/x")}},
			`<prefs xmlns='urn:xmpp:mam:2' default='roster'><always><jid>romeo@montague.lit</jid></always><never><jid>montague@montague.lit/x</jid></never></prefs>`,
			func(el xmltree.Element) (xmltree.Appender, error) { return mam.ParsePrefs(el) }},
		{"empty prefs", &mam.Prefs{Default: mam.Never}, `<prefs xmlns='urn:xmpp:mam:2' default='never'><always/><never/></prefs>`,
			func(el xmltree.Element) (xmltree.Appender, error) { return mam.ParsePrefs(el) }},
		{"trim", mam.Trim{ID: "e5c258ec"}, `<trim xmlns='urn:xmpp:mamtrim:0'><id>e5c258ec</id></trim>`,
			func(el xmltree.Element) (xmltree.Appender, error) { return mam.ParseTrim(el) }},
		{"trim all", mam.Trim{}, `<trim xmlns='urn:xmpp:mamtrim:0'/>`,
			func(el xmltree.Element) (xmltree.Appender, error) { return mam.ParseTrim(el) }},
	} {
		if got := string(xmltree.Marshal(c.value, "jabber:client")); got != c.xml {
			t.Errorf("%s: written\n%s, want\n%s", c.name, got, c.xml)
		}
		back, err := c.read(parse(t, c.xml))
		if err != nil {
			t.Errorf("%s: read: %v", c.name, err)
		} else if got := string(xmltree.Marshal(back, "jabber:client")); got != c.xml {
			t.Errorf("%s: read as\n%s, want\n%s", c.name, got, c.xml)
		}
	}
	for _, xml := range []string{
		`<result xmlns='urn:xmpp:mam:2' id='1'/>`,
		`<result xmlns='urn:xmpp:mam:2'><forwarded xmlns='urn:xmpp:forward:0'/></result>`,
		`<fin xmlns='urn:xmpp:mam:2'/>`,
		`<metadata xmlns='urn:xmpp:mam:2'><start id='1' timestamp='2008-08-22T21:09:04Z'/></metadata>`,
		`<metadata xmlns='urn:xmpp:mam:2'><start id='1' timestamp='x'/><end id='1' timestamp='x'/></metadata>`,
		`<prefs xmlns='urn:xmpp:mam:2'/>`,
		`<prefs xmlns='urn:xmpp:mam:2' default='sometimes'/>`,
		`<prefs xmlns='urn:xmpp:mam:2' default='always'><never><jid>@</jid></never></prefs>`,
		`<trim xmlns='urn:xmpp:mamtrim:0'><id/></trim>`,
		`<trim xmlns='urn:xmpp:mamtrim:0'><id>1</id><id>2</id></trim>`,
		`<trim xmlns='urn:xmpp:mamtrim:0'><before>1</before></trim>`,
	} {
		el := parse(t, xml)
		for _, read := range []func(xmltree.Element) error{
			func(el xmltree.Element) error { _, err := mam.ParseResult(el); return err },
			func(el xmltree.Element) error { _, err := mam.ParseFin(el); return err },
			func(el xmltree.Element) error { _, err := mam.ParseMetadata(el); return err },
			func(el xmltree.Element) error { _, err := mam.ParsePrefs(el); return err },
			func(el xmltree.Element) error { _, err := mam.ParseTrim(el); return err },
		} {
			if err := read(el); err == nil {
				t.Errorf("%s is read without an error", xml)
			}
		}
	}
}

// FuzzParseQuery: what is read is written so that it is read again as the same.
func FuzzParseQuery(f *testing.F) {
	f.Add(query(submit + field("with", "juliet@capulet.lit/a") + field("start", stamp) + field("end", stamp) + `</x><flip-page/>`))
	f.Add(query(submit + field("ids", "a") + field("before-id", "b") + field("after-id", "c") + field("include-groupchat", "1") + `</x>`))
	f.Add(query(`<set xmlns='http://jabber.org/protocol/rsm'><max>10</max><before/></set><order xmlns='urn:xmpp:order-by:1' by='creation' desc='1'/>`))
	f.Fuzz(func(t *testing.T, s string) {
		el, err := xmltree.Parse([]byte(s), xmltree.Limits{})
		if err != nil {
			return
		}
		q, err := mam.ParseQuery(el)
		if err != nil {
			return
		}
		back, err := xmltree.Build(q)
		if err != nil {
			t.Fatalf("%q is written as what cannot be read: %v", s, err)
		}
		again, err := mam.ParseQuery(back)
		if err != nil {
			t.Fatalf("%q cannot be read again: %v", s, err)
		}
		if a, b := string(xmltree.Marshal(q, "")), string(xmltree.Marshal(again, "")); a != b {
			t.Errorf("%q is read again as another:\n%s\n%s", s, a, b)
		}
	})
}
