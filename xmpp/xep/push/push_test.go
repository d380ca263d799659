package push_test

import (
	"testing"

	"kith/xmpp/jid"
	"kith/xmpp/xep/form"
	"kith/xmpp/xep/push"
	"kith/xmpp/xmltree"
)

func parse(t *testing.T, text string) xmltree.Element {
	t.Helper()
	el, err := xmltree.Parse([]byte(text), xmltree.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return el
}

const secret = `<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#publish-options</value></field><field var='secret'><value>s</value></field></x>`

func TestParseEnable(t *testing.T) {
	const options = `<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>http://jabber.org/protocol/pubsub#publish-options</value></field><field var='secret'><value>s</value></field></x>`
	for _, tt := range []struct{ in, out string }{
		{`<enable xmlns='urn:xmpp:push:0' jid='push.example' node='n'/>`, `<enable xmlns='urn:xmpp:push:0' jid='push.example' node='n'/>`},
		{`<enable xmlns='urn:xmpp:push:0' jid='push.example'/>`, `<enable xmlns='urn:xmpp:push:0' jid='push.example'/>`},
		{`<enable xmlns='urn:xmpp:push:0' jid='PUSH.example' node='n'>` + secret + `</enable>`, `<enable xmlns='urn:xmpp:push:0' jid='push.example' node='n'>` + options + `</enable>`},
		// A form that does not say what it is means the same; one for something else nothing.
		{`<enable xmlns='urn:xmpp:push:0' jid='push.example' node='n'><x xmlns='jabber:x:data' type='submit'><field var='secret' label='x'><value>s</value></field></x></enable>`,
			`<enable xmlns='urn:xmpp:push:0' jid='push.example' node='n'>` + options + `</enable>`},
		{`<enable xmlns='urn:xmpp:push:0' jid='push.example' node='n'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>other</value></field></x>` + secret + `</enable>`,
			`<enable xmlns='urn:xmpp:push:0' jid='push.example' node='n'>` + options + `</enable>`},
		{`<enable xmlns='urn:xmpp:push:0' node='n'/>`, ""},
		{`<enable xmlns='urn:xmpp:push:0' jid='@' node='n'/>`, ""},
		{`<disable xmlns='urn:xmpp:push:0' jid='push.example' node='n'/>`, ""},
		{`<enable xmlns='urn:xmpp:push:0' jid='push.example' node='n'><x xmlns='jabber:x:data' type='odd'/></enable>`, ""},
	} {
		e, err := push.ParseEnable(parse(t, tt.in))
		if (err == nil) != (tt.out != "") {
			t.Errorf("%s: error %v", tt.in, err)
		}
		if err != nil {
			continue
		}
		if got := string(xmltree.Marshal(e, "jabber:client")); got != tt.out {
			t.Errorf("%s\n  is read as %s\n  want       %s", tt.in, got, tt.out)
		}
	}
}

func TestParseDisable(t *testing.T) {
	const in = `<disable xmlns='urn:xmpp:push:0' jid='push.example' node='n'/>`
	d, err := push.ParseDisable(parse(t, in))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(xmltree.Marshal(d, "jabber:client")); got != in {
		t.Errorf("written %s, want %s", got, in)
	}
	for _, bad := range []string{`<disable xmlns='urn:xmpp:push:0' node='n'/>`, `<enable xmlns='urn:xmpp:push:0' jid='push.example'/>`} {
		if _, err := push.ParseDisable(parse(t, bad)); err == nil {
			t.Errorf("%s is read as a request", bad)
		}
	}
}

func TestPublish(t *testing.T) {
	options, err := push.ParseOptions(parse(t, secret))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		in   push.Publish
		want string
	}{
		{"nothing", push.Publish{}, `<publish><item><notification xmlns='urn:xmpp:push:0'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>urn:xmpp:push:summary</value></field></x></notification></item></publish>`},
		{"all", push.Publish{Node: "n", Options: options, Summary: push.Summary{Messages: 2, Sender: jid.MustParse("juliet@capulet.example/b"), Body: "a<b"}},
			`<publish node='n'><item><notification xmlns='urn:xmpp:push:0'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>urn:xmpp:push:summary</value></field>` +
				`<field var='message-count'><value>2</value></field><field var='last-message-sender'><value>juliet@capulet.example/b</value></field><field var='last-message-body'><value>a&lt;b</value></field></x></notification></item></publish>` +
				`<publish-options>` + string(xmltree.Marshal(options, "jabber:client")) + `</publish-options>`},
	} {
		want := `<pubsub xmlns='http://jabber.org/protocol/pubsub'>` + tt.want + `</pubsub>`
		if got := string(xmltree.Marshal(&tt.in, "jabber:client")); got != want {
			t.Errorf("%s: written\n%s, want\n%s", tt.name, got, want)
		}
	}
}

func TestRevoked(t *testing.T) {
	const pubsub = `<pubsub xmlns='http://jabber.org/protocol/pubsub' node='n'>`
	for in, want := range map[string]bool{
		pubsub + `<affiliation jid='user@example.com' affiliation='none'/></pubsub>`:                                                                 true,
		`<pubsub xmlns='http://jabber.org/protocol/pubsub'><affiliations node='n'><affiliation jid='u' affiliation='none'/></affiliations></pubsub>`: true,
		pubsub + `<affiliation jid='user@example.com' affiliation='publish-only'/></pubsub>`:                                                         false,
		pubsub + `</pubsub>`: false,
		`<pubsub xmlns='x' node='n'><affiliation affiliation='none'/></pubsub>`: false,
	} {
		node, got := push.Revoked(parse(t, in))
		if got != want || want && node != "n" {
			t.Errorf("%s: node %q revoked %v, want %v", in, node, got, want)
		}
	}
}

// The options' form is one of XEP-0004 that others can read too.
func TestOptions(t *testing.T) {
	f, err := push.ParseOptions(parse(t, secret))
	if err != nil || f.Type != form.Submit || f.Value("secret") != "s" {
		t.Errorf("read %+v (%v)", f, err)
	}
}
