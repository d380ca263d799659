package hints_test

import (
	"testing"

	"kith/xmpp/xep/hints"
	"kith/xmpp/xmltree"
)

func TestHints(t *testing.T) {
	for h, want := range map[hints.Hint]string{
		hints.Store:            `<store xmlns='urn:xmpp:hints'/>`,
		hints.NoStore:          `<no-store xmlns='urn:xmpp:hints'/>`,
		hints.NoCopy:           `<no-copy xmlns='urn:xmpp:hints'/>`,
		hints.NoPermanentStore: `<no-permanent-store xmlns='urn:xmpp:hints'/>`,
	} {
		if got := string(xmltree.Marshal(h, "jabber:client")); got != want {
			t.Errorf("written %s, want %s", got, want)
		}
		if el, err := xmltree.Build(h); err != nil || !el.Is(h.Name()) {
			t.Errorf("%s has the name %v (%v), want %v", want, el.Name(), err, h.Name())
		}
	}
}
