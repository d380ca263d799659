package retract_test

import (
	"errors"
	"testing"
	"time"

	"kith/xmpp/ns"
	"kith/xmpp/xep/retract"
	"kith/xmpp/xmltree"
)

func TestRetract(t *testing.T) {
	const want = `<retract xmlns='urn:xmpp:message-retract:1' id='it&apos;s'/>`
	r := retract.Retract{ID: "it's"}
	if got := string(xmltree.Marshal(r, ns.Client)); got != want {
		t.Errorf("written %s, want %s", got, want)
	}
	if got, err := retract.Parse(parse(t, want)); err != nil || got != r {
		t.Errorf("%s is read as %+v (%v), want %+v", want, got, err, r)
	}
	for _, wrong := range []string{`<retract xmlns='urn:xmpp:message-retract:1'/>`, `<retract xmlns='urn:xmpp:message-retract:0' id='a'/>`, `<retracted xmlns='urn:xmpp:message-retract:1' id='a'/>`} {
		if got, err := retract.Parse(parse(t, wrong)); !errors.Is(err, retract.ErrIncomplete) {
			t.Errorf("%s is read as %+v (%v), want ErrIncomplete", wrong, got, err)
		}
	}
}

func TestTombstone(t *testing.T) {
	for _, c := range []struct {
		stone retract.Tombstone
		xml   string
	}{
		{retract.Tombstone{ID: "retract-message-1", Stamp: time.Date(2019, 9, 20, 23, 9, 32, 0, time.UTC)},
			`<retracted xmlns='urn:xmpp:message-retract:1' stamp='2019-09-20T23:09:32Z' id='retract-message-1'/>`},
		{retract.Tombstone{ID: "a"}, `<retracted xmlns='urn:xmpp:message-retract:1' id='a'/>`},
	} {
		if got := string(xmltree.Marshal(c.stone, ns.Client)); got != c.xml {
			t.Errorf("written %s, want %s", got, c.xml)
		}
		if got, err := retract.ParseTombstone(parse(t, c.xml)); err != nil || got.ID != c.stone.ID || !got.Stamp.Equal(c.stone.Stamp) {
			t.Errorf("%s is read as %+v (%v), want %+v", c.xml, got, err, c.stone)
		}
	}
	for _, wrong := range []string{`<retracted xmlns='urn:xmpp:message-retract:1'/>`, `<retracted xmlns='urn:xmpp:message-retract:1' id='a' stamp='yesterday'/>`} {
		if got, err := retract.ParseTombstone(parse(t, wrong)); err == nil {
			t.Errorf("%s is read as %+v, want an error", wrong, got)
		}
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
