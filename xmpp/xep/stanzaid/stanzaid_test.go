package stanzaid_test

import (
	"testing"

	"kith/xmpp/jid"
	"kith/xmpp/xep/stanzaid"
	"kith/xmpp/xmltree"
)

func TestRoundTrip(t *testing.T) {
	const xml = `<stanza-id xmlns='urn:xmpp:sid:0' id='28482-98726-73623' by='juliet@capulet.lit'/>`
	id := stanzaid.ID{ID: "28482-98726-73623", By: jid.MustParse("juliet@capulet.lit")}
	if got := string(xmltree.Marshal(id, "jabber:client")); got != xml {
		t.Errorf("written %s, want %s", got, xml)
	}
	if got := string(xmltree.Marshal(stanzaid.Origin{ID: "a&b"}, "jabber:client")); got != `<origin-id xmlns='urn:xmpp:sid:0' id='a&amp;b'/>` {
		t.Errorf("origin-id is written %s", got)
	}
	for _, c := range []struct {
		xml  string
		want stanzaid.ID
		ok   bool
	}{
		{xml, id, true},
		{`<stanza-id xmlns='urn:xmpp:sid:0' id='1' by='JULIET@capulet.lit'/>`, stanzaid.ID{ID: "1", By: id.By}, true},
		{`<stanza-id xmlns='urn:xmpp:sid:0' by='juliet@capulet.lit'/>`, stanzaid.ID{}, false},
		{`<stanza-id xmlns='urn:xmpp:sid:0' id='1'/>`, stanzaid.ID{}, false},
		{`<stanza-id xmlns='urn:xmpp:sid:0' id='1' by='@'/>`, stanzaid.ID{}, false},
		{`<origin-id xmlns='urn:xmpp:sid:0' id='1' by='juliet@capulet.lit'/>`, stanzaid.ID{}, false},
	} {
		el, err := xmltree.Parse([]byte(c.xml), xmltree.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := stanzaid.Parse(el); got != c.want || (err == nil) != c.ok {
			t.Errorf("%s is read as %v (%v), want %v", c.xml, got, err, c.want)
		}
	}
}
