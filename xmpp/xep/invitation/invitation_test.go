package invitation_test

import (
	"errors"
	"testing"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/xep/invitation"
	"kith/xmpp/xmltree"
)

func TestPreauth(t *testing.T) {
	want := `<preauth xmlns='urn:xmpp:pars:0' token='TOKEN'/>`
	if got := string(xmltree.Marshal(invitation.Preauth{Token: "TOKEN"}, ns.Client)); got != want {
		t.Errorf("written %s, want %s", got, want)
	}
	el, err := xmltree.Build(invitation.Preauth{Token: "TOKEN"})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := invitation.Parse(el); err != nil || p.Token != "TOKEN" {
		t.Errorf("read %+v, %v", p, err)
	}
	for _, wrong := range []xmltree.Appender{invitation.Preauth{}, invitation.Feature{}} {
		el, err := xmltree.Build(wrong)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := invitation.Parse(el); !errors.Is(err, invitation.ErrMalformed) {
			t.Errorf("Parse(%v) = %+v, %v; want ErrMalformed", el.Name(), p, err)
		}
	}
}

func TestLink(t *testing.T) {
	for to, want := range map[string]string{
		"example.com":           "xmpp:example.com?register;preauth=TOKEN",
		"juliet@example.com":    "xmpp:juliet@example.com?register;preauth=TOKEN",
		"nurse&co?@example.com": "xmpp:nurse%26co%3F@example.com?register;preauth=TOKEN",
		"čechy.example":         "xmpp:%C4%8Dechy.example?register;preauth=TOKEN",
		"[::1]":                 "xmpp:[::1]?register;preauth=TOKEN",
	} {
		j, err := jid.Parse(to)
		if err != nil {
			t.Logf("%s: %v", to, err)
			continue
		}
		if got := invitation.Link(j, "TOKEN"); got != want {
			t.Errorf("Link(%s) = %s, want %s", to, got, want)
		}
	}
}
