package carbons_test

import (
	"testing"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/carbons"
	"kith/xmpp/xmltree"
)

func TestCopy(t *testing.T) {
	t.Parallel()
	for _, sent := range []bool{false, true} {
		st := stanza.New(stanza.Message, stanza.Chat, jid.MustParse("juliet@capulet.example/balcony"), jid.MustParse("romeo@montague.example"))
		el, err := xmltree.Build(carbons.Copy{Sent: sent, Message: st})
		if err != nil {
			t.Fatal(err)
		}
		if !carbons.IsCopy(el) || el.Is(carbons.NameSent) != sent {
			t.Errorf("%s is no wrapper of that kind", el.Raw())
		}
		got, err := stanza.Parse(carbons.Forwarded(el))
		if err != nil || got.From != st.From || got.To != st.To || got.Type != st.Type {
			t.Errorf("the message in %s is %v, %v", el.Raw(), got, err)
		}
	}
	empty, err := xmltree.Build(xmltree.Appender(none{}))
	if err != nil {
		t.Fatal(err)
	}
	if carbons.Forwarded(empty).Exists() {
		t.Error("there is a message in an empty wrapper")
	}
}

type none struct{}

func (none) AppendXML(w *xmltree.Writer) {
	w.Element(xmltree.Name{Space: ns.Carbons, Local: "received"}, "")
}
