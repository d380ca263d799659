package vcard_test

import (
	"testing"

	"kith/xmpp/xep/vcard"
	"kith/xmpp/xmltree"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		in, want string // "" is an error
	}{
		{`<vCard xmlns='vcard-temp'/>`, `<vCard xmlns='vcard-temp'/>`},
		{`<vCard xmlns='vcard-temp' version='2.0' prodid='x'> <FN>J &amp; M</FN>
			<N><GIVEN>J</GIVEN><MIDDLE/></N></vCard>`, `<vCard xmlns='vcard-temp' version='2.0'><FN>J &amp; M</FN><N><GIVEN>J</GIVEN><MIDDLE/></N></vCard>`},
		{`<v:vCard xmlns:v='vcard-temp'><v:FN>J</v:FN><x xmlns='y'/></v:vCard>`, `<vCard xmlns='vcard-temp'><v:FN xmlns:v='vcard-temp'>J</v:FN><x xmlns='y'/></vCard>`},
		{`<vCard xmlns='vcard-temp'>J<FN>J</FN></vCard>`, ``},
		{`<vCard xmlns='vcard'><FN>J</FN></vCard>`, ``},
		{`<vcard xmlns='vcard-temp'><FN>J</FN></vcard>`, ``},
	} {
		el, err := xmltree.Parse([]byte(c.in), xmltree.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		card, err := vcard.Parse(el)
		switch {
		case c.want == "" && err == nil:
			t.Errorf("%s is read as a vCard", c.in)
		case c.want != "" && err != nil:
			t.Errorf("%s: %v", c.in, err)
		case c.want != "":
			if got := string(xmltree.Marshal(card, "jabber:client")); got != c.want {
				t.Errorf("%s is written\n%s, want\n%s", c.in, got, c.want)
			}
		}
	}
}
