package xping_test

import (
	"testing"

	"kith/xmpp/xep/xping"
	"kith/xmpp/xmltree"
)

func TestRequest(t *testing.T) {
	if got := string(xmltree.Marshal(xping.Request{}, "jabber:client")); got != `<ping xmlns='urn:xmpp:ping'/>` {
		t.Errorf("written %s", got)
	}
	if el, err := xmltree.Build(xping.Request{}); err != nil || !el.Is(xping.Ping) {
		t.Errorf("has the name %v (%v), want %v", el.Name(), err, xping.Ping)
	}
}
