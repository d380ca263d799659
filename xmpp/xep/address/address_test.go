package address_test

import (
	"errors"
	"reflect"
	"testing"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/xep/address"
	"kith/xmpp/xmltree"
)

func TestRoundTrip(t *testing.T) {
	list := address.Addresses{
		{Type: address.To, JID: jid.MustParse("hildjj@jabber.org/Work"), Desc: "Joe Hildebrand", Delivered: true},
		{Type: address.BCC, JID: jid.MustParse("jer@jabber.org"), Node: "n"},
		{Type: address.CC, URI: "sip:a@b.example"},
		{Type: address.NoReply},
	}
	const want = `<addresses xmlns='http://jabber.org/protocol/address'><address type='to' jid='hildjj@jabber.org/Work' desc='Joe Hildebrand' delivered='true'/>` +
		`<address type='bcc' jid='jer@jabber.org' node='n'/><address type='cc' uri='sip:a@b.example'/><address type='noreply'/></addresses>`
	if got := string(xmltree.Marshal(list, ns.Client)); got != want {
		t.Errorf("written %s, want %s", got, want)
	}
	if got, err := address.Parse(parse(t, want)); err != nil || !reflect.DeepEqual(got, list) {
		t.Errorf("%s is read as %+v (%v), want %+v", want, got, err, list)
	}
}

func TestParse(t *testing.T) {
	const begin, end = `<addresses xmlns='http://jabber.org/protocol/address'>`, `</addresses>`
	for _, c := range []struct {
		xml  string
		n    int
		want error
	}{
		{begin + `<address type='to' desc='Foo Group'><group xmlns='some:funny:group:ns'>foo</group></address><address type='replyroom' jid='jdev@conference.jabber.org'/><x xmlns='y'/>` + end, 2, nil},
		{begin + end, 0, address.ErrMalformed},
		{begin + `<address jid='a@b.example'/>` + end, 0, address.ErrMalformed},
		{begin + `<address type='from' jid='a@b.example'/>` + end, 0, address.ErrMalformed},
		{begin + `<address type='to'/>` + end, 0, address.ErrMalformed},
		{begin + `<address type='to' jid='a@b.example' uri='sip:a@b.example'/>` + end, 0, address.ErrMalformed},
		{begin + `<address type='to' node='n' uri='sip:a@b.example'/>` + end, 0, address.ErrMalformed},
		{begin + `<address type='to' jid='@b.example'/>` + end, 0, address.ErrAddress},
		{`<addresses xmlns='other'/>`, 0, address.ErrMalformed},
	} {
		if got, err := address.Parse(parse(t, c.xml)); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || len(got) != c.n {
			t.Errorf("%s: %+v, %v; want %d addresses, %v", c.xml, got, err, c.n, c.want)
		}
	}
}

func parse(t *testing.T, s string) xmltree.Element {
	t.Helper()
	el, err := xmltree.Parse([]byte(s), xmltree.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return el
}
