package delay_test

import (
	"testing"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/xep/delay"
	"kith/xmpp/xmltree"
)

func TestRoundTrip(t *testing.T) {
	at := time.Date(2002, 9, 10, 23, 8, 25, 0, time.UTC)
	for _, c := range []struct {
		delay delay.Delay
		xml   string
	}{
		{delay.Delay{From: jid.MustParse("capulet.com"), Stamp: at, Reason: "Offline Storage"},
			`<delay xmlns='urn:xmpp:delay' from='capulet.com' stamp='2002-09-10T23:08:25Z'>Offline Storage</delay>`},
		{delay.Delay{Stamp: at}, `<delay xmlns='urn:xmpp:delay' stamp='2002-09-10T23:08:25Z'/>`},
	} {
		if got := string(xmltree.Marshal(c.delay, "jabber:client")); got != c.xml {
			t.Errorf("written %s, want %s", got, c.xml)
		}
		el, err := xmltree.Parse([]byte(c.xml), xmltree.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := delay.Parse(el); err != nil || got != c.delay {
			t.Errorf("%s is read as %v (%v), want %v", c.xml, got, err, c.delay)
		}
	}
	for _, xml := range []string{
		`<delay xmlns='urn:xmpp:delay' from='capulet.com'/>`,
		`<delay xmlns='urn:xmpp:delay' from='@' stamp='2002-09-10T23:08:25Z'/>`,
		`<delay xmlns='urn:xmpp:delay' stamp='20020910T23:08:25'/>`,
	} {
		el, err := xmltree.Parse([]byte(xml), xmltree.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := delay.Parse(el); err == nil {
			t.Errorf("%s is read as %v, want an error", xml, got)
		}
	}
}
