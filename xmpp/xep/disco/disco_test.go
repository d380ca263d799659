package disco_test

import (
	"reflect"
	"testing"

	"kith/xmpp/jid"
	"kith/xmpp/xep/disco"
	"kith/xmpp/xep/form"
	"kith/xmpp/xmltree"
)

func TestInfo(t *testing.T) {
	for _, c := range []struct {
		info disco.Info
		xml  string
	}{
		{disco.Info{}, `<query xmlns='http://jabber.org/protocol/disco#info'/>`},
		{disco.Info{Node: "http://jabber.org/protocol/commands"},
			`<query xmlns='http://jabber.org/protocol/disco#info' node='http://jabber.org/protocol/commands'/>`},
		{disco.Info{
			Identities: []disco.Identity{{"server", "im", "", ""}, {"conference", "text", "en", "Play-Specific Chatrooms"}},
			Features:   []string{"http://jabber.org/protocol/disco#info", "jabber:iq:time"},
			Forms:      []xmltree.Appender{form.New(form.Result, "urn:xmpp:dataforms:softwareinfo", form.Field{Var: "os", Values: []string{"a'b"}})},
		}, `<query xmlns='http://jabber.org/protocol/disco#info'><identity category='server' type='im'/>` +
			`<identity category='conference' type='text' xml:lang='en' name='Play-Specific Chatrooms'/>` +
			`<feature var='http://jabber.org/protocol/disco#info'/><feature var='jabber:iq:time'/>` +
			`<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>urn:xmpp:dataforms:softwareinfo</value></field>` +
			`<field var='os'><value>a&apos;b</value></field></x></query>`},
	} {
		got := build(t, &c.info)
		if want := parse(t, c.xml); !same(got, want) {
			t.Errorf("written\n%s, want\n%s", got.Raw(), want.Raw())
		}
		if back, err := disco.ParseInfo(got); err != nil || !reflect.DeepEqual(*back, c.info) {
			t.Errorf("%s is read as %+v (%v), want %+v", got.Raw(), back, err, c.info)
		}
	}
}

func TestInfoSkips(t *testing.T) {
	i, err := disco.ParseInfo(parse(t, `<query xmlns='http://jabber.org/protocol/disco#info'><identity category='client' type='pc'/>`+
		`<x xmlns='jabber:x:data' type='what'/><new xmlns='urn:new'/><feature var='a'/></query>`))
	if err != nil || len(i.Forms) != 0 || !i.Has("a") || i.Has("b") || !i.Is("client", "pc") || i.Is("client", "phone") || i.Form("a") != nil {
		t.Errorf("read as %+v (%v)", i, err)
	}
	if _, err := disco.ParseInfo(parse(t, `<query xmlns='http://jabber.org/protocol/disco#items'/>`)); err == nil {
		t.Error("items are read as info")
	}
}

func TestItems(t *testing.T) {
	items := disco.Items{Node: "music", Items: []disco.Item{
		{JID: jid.MustParse("catalog.shakespeare.lit"), Node: "music/A"},
		{JID: jid.MustParse("romeo@montague.net/orchard"), Name: "Romeo's CD player"},
	}}
	el := build(t, &items)
	if back, err := disco.ParseItems(el); err != nil || !reflect.DeepEqual(*back, items) {
		t.Errorf("%s is read as %+v (%v), want %+v", el.Raw(), back, err, items)
	}
	some, err := disco.ParseItems(parse(t, `<query xmlns='http://jabber.org/protocol/disco#items'><item jid='@'/><item/><other/><item jid='a.b'/></query>`))
	if err != nil || len(some.Items) != 1 {
		t.Errorf("read as %+v (%v), want the one item with an address", some, err)
	}
	if _, err := disco.ParseItems(parse(t, `<query xmlns='http://jabber.org/protocol/disco#info'/>`)); err == nil {
		t.Error("info is read as items")
	}
}

// same compares what two elements say: escapes may differ.
func same(a, b xmltree.Element) bool {
	x, err1 := disco.ParseInfo(a)
	y, err2 := disco.ParseInfo(b)
	return err1 == nil && err2 == nil && reflect.DeepEqual(x, y)
}

func build(t *testing.T, a xmltree.Appender) xmltree.Element {
	t.Helper()
	el, err := xmltree.Build(a)
	if err != nil {
		t.Fatal(err)
	}
	return el
}

func parse(t *testing.T, s string) xmltree.Element {
	t.Helper()
	el, err := xmltree.Parse([]byte(s), xmltree.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return el
}
