package contact_test

import (
	"reflect"
	"testing"

	"kith/xmpp/xep/contact"
	"kith/xmpp/xep/form"
	"kith/xmpp/xmltree"
)

func TestRoundTrip(t *testing.T) {
	a := contact.Addresses{
		Abuse:    []string{"mailto:abuse@shakespeare.lit", "xmpp:abuse@shakespeare.lit"},
		Admin:    []string{"xmpp:admins@shakespeare.lit"},
		Security: []string{"xmpp:security@shakespeare.lit"},
	}
	const xml = `<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>http://jabber.org/network/serverinfo</value></field>` +
		`<field var='abuse-addresses'><value>mailto:abuse@shakespeare.lit</value><value>xmpp:abuse@shakespeare.lit</value></field>` +
		`<field var='admin-addresses'><value>xmpp:admins@shakespeare.lit</value></field>` +
		`<field var='security-addresses'><value>xmpp:security@shakespeare.lit</value></field></x>`
	if got := string(xmltree.Marshal(a.Form(), "")); got != xml {
		t.Errorf("written\n%s, want\n%s", got, xml)
	}
	if got, ok := contact.Parse(a.Form()); !ok || !reflect.DeepEqual(got, a) {
		t.Errorf("read %+v (%v), want %+v", got, ok, a)
	}
	if f := (contact.Addresses{}).Form(); f != nil {
		t.Errorf("no addresses make the form %+v", f)
	}
	if got, ok := contact.Parse(form.New(form.Result, "urn:other")); ok {
		t.Errorf("another form is read as %+v", got)
	}
}
