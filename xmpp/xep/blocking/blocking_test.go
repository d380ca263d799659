package blocking_test

import (
	"errors"
	"reflect"
	"testing"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/xep/blocking"
	"kith/xmpp/xmltree"
)

func TestRoundTrip(t *testing.T) {
	for _, c := range []struct {
		payload blocking.Payload
		xml     string
	}{
		{blocking.Payload{Name: blocking.List}, `<blocklist xmlns='urn:xmpp:blocking'/>`},
		{blocking.Payload{Name: blocking.Unblock}, `<unblock xmlns='urn:xmpp:blocking'/>`},
		{blocking.Payload{Name: blocking.Block, Items: []jid.JID{
			jid.MustParse("romeo@montague.net"), jid.MustParse("shakespeare.lit"), jid.MustParse("iago@shakespeare.lit/O'Hara"),
		}}, `<block xmlns='urn:xmpp:blocking'><item jid='romeo@montague.net'/><item jid='shakespeare.lit'/>` +
			`<item jid='iago@shakespeare.lit/O&apos;Hara'/></block>`},
	} {
		if got := string(xmltree.Marshal(&c.payload, ns.Client)); got != c.xml {
			t.Errorf("written %s, want %s", got, c.xml)
		}
		el, err := xmltree.Parse([]byte(c.xml), xmltree.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := blocking.Parse(el); err != nil || !reflect.DeepEqual(*got, c.payload) {
			t.Errorf("%s is read as %+v (%v), want %+v", c.xml, got, err, c.payload)
		}
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		xml   string
		items int
		want  error
	}{
		{`<block xmlns='urn:xmpp:blocking'><item jid='Romeo@Montague.net'><report xmlns='urn:xmpp:reporting:1'/></item><x xmlns='other'/></block>`, 1, nil},
		{`<block xmlns='urn:xmpp:blocking'><item/></block>`, 0, blocking.ErrMalformed},
		{`<block xmlns='urn:xmpp:blocking'><item jid='a@b.example'/><item jid=''/></block>`, 0, blocking.ErrMalformed},
		{`<block xmlns='urn:xmpp:blocking'><item jid='@b.example'/></block>`, 0, blocking.ErrAddress},
		{`<unblock xmlns='urn:xmpp:blocking'><item xmlns='other' jid='a@b.example'/></unblock>`, 0, blocking.ErrMalformed},
		{`<block xmlns='other'><item jid='a@b.example'/></block>`, 0, blocking.ErrMalformed},
		{`<item xmlns='urn:xmpp:blocking' jid='a@b.example'/>`, 0, blocking.ErrMalformed},
	} {
		el, err := xmltree.Parse([]byte(c.xml), xmltree.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		p, err := blocking.Parse(el)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || err == nil && len(p.Items) != c.items {
			t.Errorf("%s: %+v, %v; want %d items, %v", c.xml, p, err, c.items, c.want)
		}
	}
}

func TestErrBlocked(t *testing.T) {
	want := `<error type='cancel'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><blocked xmlns='urn:xmpp:blocking:errors'/></error>`
	if got := string(xmltree.Marshal(blocking.ErrBlocked, ns.Client)); got != want {
		t.Errorf("written %s, want %s", got, want)
	}
}
