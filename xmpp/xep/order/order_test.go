package order_test

import (
	"slices"
	"testing"

	"kith/xmpp/xep/order"
	"kith/xmpp/xmltree"
)

type all []order.By

func (a all) AppendXML(w *xmltree.Writer) {
	w.Open(xmltree.Name{Space: "urn:xmpp:mam:2", Local: "query"})
	for _, b := range a {
		b.AppendXML(w)
	}
	w.Close()
}

func TestRoundTrip(t *testing.T) {
	for _, c := range []struct {
		list all
		xml  string
	}{
		{nil, `<query xmlns='urn:xmpp:mam:2'/>`},
		{all{{By: order.Creation, Descending: true}, {By: "{x}y"}}, `<query xmlns='urn:xmpp:mam:2'><order xmlns='urn:xmpp:order-by:1' by='creation' desc='true'/><order xmlns='urn:xmpp:order-by:1' by='{x}y'/></query>`},
	} {
		if got := string(xmltree.Marshal(c.list, "")); got != c.xml {
			t.Errorf("written %s, want %s", got, c.xml)
		}
		el, err := xmltree.Parse([]byte(c.xml), xmltree.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if got := order.Parse(el); !slices.Equal(got, c.list) {
			t.Errorf("%s is read as %v", c.xml, got)
		}
	}
	el, err := xmltree.Parse([]byte(`<q><order xmlns='urn:xmpp:order-by:1' by='modification' desc='1'/></q>`), xmltree.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got := order.Parse(el); len(got) != 1 || !got[0].Descending || got[0].By != order.Modification {
		t.Errorf("desc='1' is read as %v", got)
	}
	if got := order.Feature("urn:xmpp:mam:2"); got != "urn:xmpp:order-by:1@urn:xmpp:mam:2" {
		t.Errorf("feature %s", got)
	}
}
