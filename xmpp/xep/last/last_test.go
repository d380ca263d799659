package last_test

import (
	"math"
	"testing"
	"time"

	"kith/xmpp/xep/last"
	"kith/xmpp/xmltree"
)

func TestAppendXML(t *testing.T) {
	for _, c := range []struct {
		q    last.Query
		want string
	}{
		{last.Query{}, `<query xmlns='jabber:iq:last'/>`},
		{last.Query{Known: true}, `<query xmlns='jabber:iq:last' seconds='0'/>`},
		{last.Query{Known: true, Ago: -time.Hour}, `<query xmlns='jabber:iq:last' seconds='0'/>`},
		{last.Query{Known: true, Ago: 903*time.Second + 999*time.Millisecond, Status: "Heading <Home>"}, `<query xmlns='jabber:iq:last' seconds='903'>Heading &lt;Home&gt;</query>`},
	} {
		if got := string(xmltree.Marshal(c.q, "jabber:client")); got != c.want {
			t.Errorf("%+v is written %s, want %s", c.q, got, c.want)
		}
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		in   string
		want last.Query // zero: an error
	}{
		{`<query xmlns='jabber:iq:last' seconds='903'>Heading Home</query>`, last.Query{Known: true, Ago: 903 * time.Second, Status: "Heading Home"}},
		{`<query xmlns='jabber:iq:last' seconds='18446744073709551615'/>`, last.Query{Known: true, Ago: math.MaxInt64 - math.MaxInt64%time.Second}},
		{`<query xmlns='jabber:iq:last' seconds='18446744073709551616'/>`, last.Query{}},
		{`<query xmlns='jabber:iq:last' seconds='-1'/>`, last.Query{}},
		{`<query xmlns='jabber:iq:last'/>`, last.Query{}},
		{`<query xmlns='jabber:iq:time' seconds='1'/>`, last.Query{}},
	} {
		el, err := xmltree.Parse([]byte(c.in), xmltree.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := last.Parse(el)
		if got != c.want || (err != nil) != (c.want == last.Query{}) {
			t.Errorf("%s is read as %+v (%v), want %+v", c.in, got, err, c.want)
		}
	}
}
