package reporting_test

import (
	"errors"
	"reflect"
	"testing"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/xep/reporting"
	"kith/xmpp/xep/stanzaid"
	"kith/xmpp/xmltree"
)

func TestRoundTrip(t *testing.T) {
	for _, c := range []struct {
		report reporting.Report
		xml    string
	}{
		{reporting.Report{Reason: reporting.Spam}, `<report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:spam'/>`},
		{reporting.Report{
			Reason: reporting.Abuse, Text: "Never came trouble to my house like this.", Lang: "en", Origin: true, ThirdParty: true,
			Messages: []stanzaid.ID{{ID: "28482-98726-73623", By: jid.MustParse("romeo@example.net")}},
		}, `<report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:abuse'><stanza-id xmlns='urn:xmpp:sid:0' id='28482-98726-73623' by='romeo@example.net'/>` +
			`<text xml:lang='en'>Never came trouble to my house like this.</text><report-origin/><third-party/></report>`},
	} {
		if got := string(xmltree.Marshal(&c.report, ns.Client)); got != c.xml {
			t.Errorf("written %s, want %s", got, c.xml)
		}
		if got, err := reporting.Parse(parse(t, c.xml)); err != nil || !reflect.DeepEqual(*got, c.report) {
			t.Errorf("%s is read as %+v (%v), want %+v", c.xml, got, err, c.report)
		}
	}
}

func TestParse(t *testing.T) {
	for _, wrong := range []string{
		`<report xmlns='urn:xmpp:reporting:1'/>`, `<report xmlns='urn:xmpp:reporting:0' reason='a'/>`, `<reports xmlns='urn:xmpp:reporting:1' reason='a'/>`,
	} {
		if got, err := reporting.Parse(parse(t, wrong)); !errors.Is(err, reporting.ErrMalformed) {
			t.Errorf("%s is read as %+v (%v), want ErrMalformed", wrong, got, err)
		}
	}
	const several = `<report xmlns='urn:xmpp:reporting:1' reason='a'><text>first</text><text>second</text><stanza-id xmlns='urn:xmpp:sid:0' id='1' by='@'/><other xmlns='b'/></report>`
	if got, err := reporting.Parse(parse(t, several)); err != nil || got.Text != "first" || len(got.Messages) != 0 {
		t.Errorf("%s is read as %+v (%v)", several, got, err)
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
