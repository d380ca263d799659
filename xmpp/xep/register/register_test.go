package register_test

import (
	"reflect"
	"testing"

	"kith/xmpp/xep/form"
	"kith/xmpp/xep/register"
	"kith/xmpp/xmltree"
)

func TestRoundTrip(t *testing.T) {
	for _, c := range []struct {
		query register.Query
		xml   string
	}{
		{register.Query{}, `<query xmlns='jabber:iq:register'/>`},
		{register.Query{Remove: true}, `<query xmlns='jabber:iq:register'><remove/></query>`},
		{register.Query{Instructions: "Choose.", Fields: []register.Field{{"username", ""}, {"password", ""}}},
			`<query xmlns='jabber:iq:register'><instructions>Choose.</instructions><username/><password/></query>`},
		{register.Query{Registered: true, Fields: []register.Field{{"username", "juliet"}, {"password", "R0m<30"}}},
			`<query xmlns='jabber:iq:register'><registered/><username>juliet</username><password>R0m&lt;30</password></query>`},
		{register.Query{Instructions: "Visit us.", URL: "http://www.shakespeare.lit/contests.php"},
			`<query xmlns='jabber:iq:register'><instructions>Visit us.</instructions><x xmlns='jabber:x:oob'><url>http://www.shakespeare.lit/contests.php</url></x></query>`},
		{register.Query{Form: form.New(form.Submit, register.FormCancel, form.Field{Var: "username", Values: []string{"bill"}})},
			`<query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'>` +
				`<field var='FORM_TYPE' type='hidden'><value>jabber:iq:register:cancel</value></field><field var='username'><value>bill</value></field></x></query>`},
	} {
		if got := string(xmltree.Marshal(&c.query, "jabber:client")); got != c.xml {
			t.Errorf("written\n%s, want\n%s", got, c.xml)
		}
		if got, err := register.Parse(parse(t, c.xml)); err != nil || !reflect.DeepEqual(*got, c.query) {
			t.Errorf("%s is read as %+v (%v), want %+v", c.xml, got, err, c.query)
		}
	}
	if got := string(xmltree.Marshal(register.Feature{}, "")); got != `<register xmlns='http://jabber.org/features/iq-register'/>` {
		t.Errorf("the feature is %s", got)
	}
}

func TestPrecedence(t *testing.T) {
	// XEP-0077 §6: the form goes first, even where it says nothing.
	q, err := register.Parse(parse(t, `<query xmlns='jabber:iq:register'><username>field</username><password>secret</password>`+
		`<x xmlns='jabber:x:data' type='submit'><field var='username'><value>form</value></field></x></query>`))
	if err != nil {
		t.Fatal(err)
	}
	if q.Value("username") != "form" || q.Value("password") != "" || q.Has("password") || !q.Has("username") {
		t.Errorf("username %q, password %q, want those of the form", q.Value("username"), q.Value("password"))
	}
	for _, xml := range []string{
		`<query xmlns='jabber:iq:roster'/>`,
		`<query xmlns='jabber:iq:register'><x xmlns='jabber:x:data'/></query>`,
	} {
		if q, err := register.Parse(parse(t, xml)); err == nil {
			t.Errorf("%s is read as %+v, want an error", xml, q)
		}
	}
}

// FuzzParse: nothing makes it panic, and what is read can be written.
func FuzzParse(f *testing.F) {
	f.Add(`<query xmlns='jabber:iq:register'><username>a</username><x xmlns='jabber:x:data' type='submit'/><x xmlns='jabber:x:oob'><url>u</url></x></query>`)
	f.Fuzz(func(t *testing.T, s string) {
		el, err := xmltree.Parse([]byte(s), xmltree.Limits{})
		if err != nil {
			return
		}
		q, err := register.Parse(el)
		if err != nil {
			return
		}
		back, err := xmltree.Build(q)
		if err != nil {
			t.Fatalf("%q is written as what cannot be read: %v", s, err)
		}
		if again, err := register.Parse(back); err != nil || again.Value("username") != q.Value("username") || again.Remove != q.Remove {
			t.Fatalf("%q is read again as %+v (%v), want %+v", s, again, err, q)
		}
	})
}

func parse(t *testing.T, s string) xmltree.Element {
	t.Helper()
	el, err := xmltree.Parse([]byte(s), xmltree.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return el
}
