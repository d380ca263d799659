package private_test

import (
	"testing"

	"kith/xmpp/xep/private"
	"kith/xmpp/xmltree"
)

func TestRoundTrip(t *testing.T) {
	const in = `<query xmlns='jabber:iq:private'><exodus xmlns='exodus:prefs'><defaultnick>Hamlet</defaultnick></exodus><exodus xmlns='exodus:prefs'/></query>`
	el, err := xmltree.Parse([]byte(in), xmltree.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	items, err := private.Parse(el)
	if err != nil || len(items) != 2 {
		t.Fatalf("read %d elements (%v), want 2", len(items), err)
	}
	q := &private.Query{Items: []xmltree.Appender{items[0], private.Nothing{Space: "exodus:prefs", Local: "exodus"}}}
	if got := string(xmltree.Marshal(q, "jabber:client")); got != in {
		t.Errorf("written\n%s, want\n%s", got, in)
	}
	for _, el := range []xmltree.Element{{}, items[0]} {
		if _, err := private.Parse(el); err == nil {
			t.Errorf("%s is read as a query", el.Raw())
		}
	}
}

func TestReserved(t *testing.T) {
	for space, want := range map[string]bool{
		"": true, "jabber:iq:private": true, "jabber:client": true, "http://jabber.org/protocol/disco#info": true, "vcard-temp": true,
		"exodus:prefs": false, "storage:bookmarks": false, "roster:delimiter": false, "http://jabber.example/": false, "vcard-temp:x": false,
	} {
		if got := private.Reserved(space); got != want {
			t.Errorf("Reserved(%q) = %v, want %v", space, got, want)
		}
	}
}
