package roster_test

import (
	"errors"
	"reflect"
	"testing"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/xep/roster"
	"kith/xmpp/xmltree"
)

func TestRoundTrip(t *testing.T) {
	romeo, nurse := jid.MustParse("romeo@example.net"), jid.MustParse("nurse@example.com")
	for _, c := range []struct {
		query roster.Query
		xml   string
	}{
		{roster.Query{}, `<query xmlns='jabber:iq:roster'/>`},
		{roster.Query{Versioned: true}, `<query xmlns='jabber:iq:roster' ver=''/>`},
		{roster.Query{Versioned: true, Ver: "ver11", Items: []roster.Item{
			{JID: romeo, Name: "Romeo", Subscription: roster.Both, Groups: []string{"Friends", "Lo<ers"}},
			{JID: nurse, Subscription: roster.None, Ask: true, Approved: true},
		}}, `<query xmlns='jabber:iq:roster' ver='ver11'>` +
			`<item jid='romeo@example.net' name='Romeo' subscription='both'><group>Friends</group><group>Lo&lt;ers</group></item>` +
			`<item jid='nurse@example.com' subscription='none' ask='subscribe' approved='true'/></query>`},
	} {
		if got := string(xmltree.Marshal(&c.query, ns.Client)); got != c.xml {
			t.Errorf("written %s, want %s", got, c.xml)
		}
		el, err := xmltree.Parse([]byte(c.xml), xmltree.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := roster.Parse(el); err != nil || !reflect.DeepEqual(*got, c.query) {
			t.Errorf("%s is read as %+v (%v), want %+v", c.xml, got, err, c.query)
		}
	}
}

func TestParseItem(t *testing.T) {
	for _, c := range []struct {
		xml  string
		want error
	}{
		{`<item xmlns='jabber:iq:roster' jid='nurse@example.com' approved='1'/>`, nil},
		{`<item xmlns='jabber:iq:roster'/>`, roster.ErrMalformed},
		{`<item xmlns='jabber:iq:roster' jid='@example.com'/>`, roster.ErrAddress},
		{`<item xmlns='jabber:iq:other' jid='nurse@example.com'/>`, roster.ErrMalformed},
	} {
		el, err := xmltree.Parse([]byte(c.xml), xmltree.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		i, err := roster.ParseItem(el)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || err == nil && !i.Approved {
			t.Errorf("%s: %+v, %v, want %v", c.xml, i, err, c.want)
		}
	}
	el, err := xmltree.Parse([]byte(`<query xmlns='jabber:iq:roster'><item jid='@'/><item jid='a@b.example'/></query>`), xmltree.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if q, err := roster.Parse(el); err != nil || len(q.Items) != 1 {
		t.Errorf("one of two items is readable: %+v, %v", q, err)
	}
	if _, err := roster.Parse(el.First()); !errors.Is(err, roster.ErrMalformed) {
		t.Errorf("an item is no roster: %v", err)
	}
}
