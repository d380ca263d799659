package forward_test

import (
	"testing"
	"time"

	"kith/xmpp/xep/forward"
	"kith/xmpp/xmltree"
)

const (
	message = `<message xmlns='jabber:client' from='juliet@capulet.lit/orchard' id='0202197' to='romeo@montague.lit' type='chat'>` +
		`<body>Yet I should kill thee with much cherishing.</body><mood xmlns='http://jabber.org/protocol/mood'><amorous/></mood></message>`
	forwarded = `<forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='2010-07-10T23:08:25Z'/>` + message + `</forwarded>`
)

func parse(t *testing.T, s string) xmltree.Element {
	t.Helper()
	el, err := xmltree.Parse([]byte(s), xmltree.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return el
}

func TestRoundTrip(t *testing.T) {
	at := time.Date(2010, 7, 10, 23, 8, 25, 0, time.UTC)
	f := forward.Forwarded{Stamp: at, Stanza: parse(t, message)}
	if got := string(xmltree.Marshal(f, "jabber:client")); got != forwarded {
		t.Errorf("written\n%s, want\n%s", got, forwarded)
	}
	got, err := forward.Parse(parse(t, forwarded))
	if err != nil || got.Stamp != at || got.Stanza.Attr("id") != "0202197" || got.Stanza.Name().Space != "jabber:client" {
		t.Errorf("read %v %v (%v)", got.Stamp, got.Stanza.Name(), err)
	}
	// §3.2: a stanza that came without its namespace gets it.
	el, err := xmltree.ParseIn("jabber:client", []byte(`<message id='1'><body>x</body></message>`), xmltree.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	const want = `<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' id='1'><body>x</body></message></forwarded>`
	if got := string(xmltree.Marshal(forward.Forwarded{Stanza: el}, "jabber:client")); got != want {
		t.Errorf("written\n%s, want\n%s", got, want)
	}
}

func TestOthers(t *testing.T) {
	for _, c := range []struct {
		xml    string
		ok     bool
		stanza string // its id
		stamp  bool
	}{
		{`<forwarded xmlns='urn:xmpp:forward:0'/>`, true, "", false},
		{`<forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='yesterday'/><message id='x'/></forwarded>`, true, "", false},
		{`<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' id='1'/><message xmlns='jabber:client' id='2'/></forwarded>`, true, "1", false},
		{`<forwarded xmlns='urn:xmpp:forward:1'/>`, false, "", false},
	} {
		got, err := forward.Parse(parse(t, c.xml))
		if (err == nil) != c.ok || got.Stanza.Exists() != (c.stanza != "") || c.stanza != "" && got.Stanza.Attr("id") != c.stanza || got.Stamp.IsZero() == c.stamp {
			t.Errorf("%s is read as %+v (%v)", c.xml, got, err)
		}
	}
	if _, err := forward.Parse(xmltree.Element{}); err == nil {
		t.Error("no element is read as a forwarded stanza")
	}
}
