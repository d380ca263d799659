package negotiate_test

import (
	"errors"
	"testing"

	"kith/xmpp/jid"
	"kith/xmpp/negotiate"
	"kith/xmpp/ns"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

// TestWeakKeys: the vectors of XEP-0185 §3 and XEP-0220 §2, and that no two inputs
// give one key.
func TestWeakKeys(t *testing.T) {
	for _, tt := range []struct{ secret, receiving, originating, id, want string }{
		{"s3cr3tf0rd14lb4ck", "xmpp.example.com", "example.org", "D60000229F", "37c69b1cf07a3f67c04a5ef5902fa5114f2c76fe4a2686482ba5b89323075643"},
	} {
		if got := negotiate.DialbackKey([]byte(tt.secret), jid.MustParse(tt.receiving), jid.MustParse(tt.originating), tt.id); got != tt.want {
			t.Errorf("key of %+v = %s", tt, got)
		}
	}
	seen := map[string]bool{}
	for _, in := range [][3]string{
		{"a.example", "b.example", "x"}, {"b.example", "a.example", "x"}, {"a.example", "b.example", "x "}, {"a.example", "b.examplex", ""},
		{"a.exampleb", "example", "x"}, {"a.example", "b.example", "c.example x"}, {"a.example", "b.example", " x"},
	} {
		key := negotiate.DialbackKey([]byte("secret"), jid.MustParse(in[0]), jid.MustParse(in[1]), in[2])
		if seen[key] {
			t.Errorf("%q has the key of another", in)
		}
		seen[key] = true
	}
	for _, domain := range []string{"a b", "a.example x", "a\u00a0b"} {
		if j, err := jid.Parse(domain); err == nil {
			t.Errorf("%q is a domain, %q, and has what keeps names apart", domain, j)
		}
	}
}

// TestParseDialback: XEP-0220 §2.
func TestParseDialback(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want negotiate.Dialback
		err  error
	}{
		{"<db:result from='a.example' to='b.example'>key</db:result>", negotiate.Dialback{Key: "key"}, nil},
		{"<db:result from='a.example' to='b.example'>\n key \n</db:result>", negotiate.Dialback{Key: "key"}, nil},
		{"<db:verify from='a.example' to='b.example' id='1'>key</db:verify>", negotiate.Dialback{Verify: true, ID: "1", Key: "key"}, nil},
		{"<db:verify from='a.example' to='b.example' id='1' type='valid'>key</db:verify>", negotiate.Dialback{Verify: true, ID: "1", Verdict: "valid"}, nil},
		{"<db:result from='a.example' to='b.example' type='invalid'/>", negotiate.Dialback{Verdict: "invalid"}, nil},
		{"<db:result from='a.example' to='b.example' type='maybe'/>", negotiate.Dialback{}, stream.ErrInvalidXML},
		{"<db:verify from='a.example' to='b.example'>key</db:verify>", negotiate.Dialback{}, stream.ErrInvalidXML},
		{"<db:result from='a.example'>key</db:result>", negotiate.Dialback{}, stream.ErrImproperAddressing},
		{"<db:result to='a.example'>key</db:result>", negotiate.Dialback{}, stream.ErrImproperAddressing},
		{"<db:result from='x@a.example' to='b.example'>key</db:result>", negotiate.Dialback{}, stream.ErrImproperAddressing},
		{"<db:result from='a.example/x' to='b.example'>key</db:result>", negotiate.Dialback{}, stream.ErrImproperAddressing},
		{"<db:result from='' to='b.example'>key</db:result>", negotiate.Dialback{}, stream.ErrImproperAddressing},
	} {
		got, ok, err := negotiate.ParseDialback(read(t, tt.in))
		if !ok || !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, %v; want %v", tt.in, ok, err, tt.err)
			continue
		}
		if err == nil {
			tt.want.From, tt.want.To = jid.MustParse("a.example"), jid.MustParse("b.example")
			if got != tt.want {
				t.Errorf("%s = %+v, want %+v", tt.in, got, tt.want)
			}
		}
	}
	d, ok, err := negotiate.ParseDialback(read(t, "<db:result from='a.example' to='b.example' type='error'><error type='cancel'>"+
		"<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>"))
	if !ok || err != nil || d.Err == nil || d.Err.Condition != "item-not-found" {
		t.Errorf("an error is read as %+v, %v", d, err)
	}
	if _, ok, _ := negotiate.ParseDialback(read(t, "<message/>")); ok {
		t.Error("a message is dialback")
	}
}

// TestDialbackPrefix: XEP-0220 §2: with the prefix of the header.
func TestDialbackPrefix(t *testing.T) {
	d := negotiate.Dialback{From: jid.MustParse("a.example"), To: jid.MustParse("b.example"), Key: "k<"}
	want := "<db:result xmlns:db='jabber:server:dialback' from='a.example' to='b.example'>k&lt;</db:result>"
	if got := string(xmltree.Marshal(d, ns.Client)); got != want {
		t.Errorf("written as %s, want %s", got, want)
	}
}

// read is an element as it comes on a stream between servers.
func read(t *testing.T, text string) xmltree.Element {
	t.Helper()
	d := xmltree.NewDecoder(xmltree.DefaultLimits())
	d.Feed([]byte("<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' xmlns:stream='http://etherx.jabber.org/streams'>" + text))
	if _, err := d.Header(); err != nil {
		t.Fatal(err)
	}
	el, err := d.Next()
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return el
}
