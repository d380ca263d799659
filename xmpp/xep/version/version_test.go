package version_test

import (
	"testing"

	"kith/xmpp/xep/version"
	"kith/xmpp/xmltree"
)

func TestRoundTrip(t *testing.T) {
	for _, c := range []struct {
		query version.Query
		xml   string
		ok    bool // as a result
	}{
		{version.Query{}, `<query xmlns='jabber:iq:version'/>`, false},
		{version.Query{Name: "Exodus", Version: "0.7.0.4", OS: "Windows-XP 5.01.2600"},
			`<query xmlns='jabber:iq:version'><name>Exodus</name><version>0.7.0.4</version><os>Windows-XP 5.01.2600</os></query>`, true},
		{version.Query{Name: "Kith", Version: "1"}, `<query xmlns='jabber:iq:version'><name>Kith</name><version>1</version></query>`, true},
	} {
		if got := string(xmltree.Marshal(c.query, "jabber:client")); got != c.xml {
			t.Errorf("written %s, want %s", got, c.xml)
		}
		el, err := xmltree.Parse([]byte(c.xml), xmltree.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := version.Parse(el); got != c.query || (err == nil) != c.ok {
			t.Errorf("%s is read as %v (%v), want %v", c.xml, got, err, c.query)
		}
	}
}
