package form_test

import (
	"reflect"
	"testing"

	"kith/xmpp/xep/form"
	"kith/xmpp/xmltree"
)

func TestRoundTrip(t *testing.T) {
	for _, c := range []struct {
		name string
		form *form.Form
		xml  string
	}{
		{"to be completed", &form.Form{
			Type: form.Empty, Title: "Bot Configuration", Instructions: []string{"Fill out this form", "to configure your new bot!"},
			Fields: []form.Field{
				{Var: "FORM_TYPE", Type: form.Hidden, Values: []string{"jabber:bot"}},
				{Type: form.Fixed, Values: []string{"Section 1: Bot Info"}},
				{Var: "public", Type: form.Boolean, Label: "Public bot?", Required: true},
				{Var: "maxsubs", Type: form.ListSingle, Desc: "How many", Values: []string{"20"},
					Options: []form.Option{{"10", "10"}, {"None", "none"}}},
			},
		}, `<x xmlns='jabber:x:data' type='form'><title>Bot Configuration</title>` +
			`<instructions>Fill out this form</instructions><instructions>to configure your new bot!</instructions>` +
			`<field var='FORM_TYPE' type='hidden'><value>jabber:bot</value></field>` +
			`<field type='fixed'><value>Section 1: Bot Info</value></field>` +
			`<field var='public' type='boolean' label='Public bot?'><required/></field>` +
			`<field var='maxsubs' type='list-single'><desc>How many</desc><value>20</value>` +
			`<option label='10'><value>10</value></option><option label='None'><value>none</value></option></field></x>`},
		{"submission", form.New(form.Submit, "jabber:bot", form.Field{Var: "features", Values: []string{"news", "<search>"}}, form.Field{Var: "empty"}),
			`<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>jabber:bot</value></field>` +
				`<field var='features'><value>news</value><value>&lt;search&gt;</value></field><field var='empty'/></x>`},
		{"several results", &form.Form{Type: form.Result, Title: "Verona",
			Reported: []form.Field{{Var: "name", Type: form.TextSingle, Label: "Name"}},
			Items: [][]form.Field{
				{{Var: "name", Values: []string{"Juliet"}}},
				{{Var: "name", Values: []string{""}}},
			}},
			`<x xmlns='jabber:x:data' type='result'><title>Verona</title>` +
				`<reported><field var='name' type='text-single' label='Name'/></reported>` +
				`<item><field var='name'><value>Juliet</value></field></item><item><field var='name'><value/></field></item></x>`},
		{"a list open to other values", form.New(form.Empty, "", form.Field{Var: "ids", Type: form.ListMulti, Open: true}),
			`<x xmlns='jabber:x:data' type='form'><field var='ids' type='list-multi'>` +
				`<validate xmlns='http://jabber.org/protocol/xdata-validate' datatype='xs:string'><open/></validate></field></x>`},
		{"cancelled", form.New(form.Cancel, ""), `<x xmlns='jabber:x:data' type='cancel'/>`},
	} {
		if got := string(xmltree.Marshal(c.form, "jabber:client")); got != c.xml {
			t.Errorf("%s: written\n%s, want\n%s", c.name, got, c.xml)
		}
		got, err := form.Parse(parse(t, c.xml))
		if err != nil || !reflect.DeepEqual(got, c.form) {
			t.Errorf("%s: read %+v (%v), want %+v", c.name, got, err, c.form)
		}
	}
}

func TestMalformed(t *testing.T) {
	for _, xml := range []string{
		`<x xmlns='jabber:x:data'/>`,
		`<x xmlns='jabber:x:data' type='error'/>`,
		`<x xmlns='jabber:x:dato' type='form'/>`,
		`<y xmlns='jabber:x:data' type='form'/>`,
	} {
		if f, err := form.Parse(parse(t, xml)); err == nil {
			t.Errorf("%s is read as %+v, want an error", xml, f)
		}
	}
	if _, err := form.Parse(xmltree.Element{}); err == nil {
		t.Error("no element is read as a form")
	}
}

func TestName(t *testing.T) {
	for _, c := range []struct{ xml, want string }{
		{`<x xmlns='jabber:x:data' type='form'><field var='FORM_TYPE' type='hidden'><value>a</value></field></x>`, "a"},
		{`<x xmlns='jabber:x:data' type='form'><field var='FORM_TYPE' type='text-single'><value>a</value></field></x>`, ""},
		{`<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE'><value>a</value></field></x>`, ""},
		{`<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>a</value></field></x>`, "a"},
		{`<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'/></x>`, ""},
		{`<x xmlns='jabber:x:data' type='submit'/>`, ""},
	} {
		f, err := form.Parse(parse(t, c.xml))
		if err != nil || f.Name() != c.want {
			t.Errorf("%s has the name %q (%v), want %q", c.xml, f.Name(), err, c.want)
		}
	}
}

func TestValues(t *testing.T) {
	f := form.New(form.Submit, "", form.Field{Var: "a", Values: []string{"1", "2"}}, form.Field{Var: "a", Values: []string{"3"}},
		form.Field{Var: "b", Values: []string{"true"}}, form.Field{Var: "c", Values: []string{"false"}}, form.Field{Var: "d"})
	for name, want := range map[string]string{"a": "1", "d": "", "x": ""} {
		if got := f.Value(name); got != want {
			t.Errorf("Value(%q) = %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string][2]bool{"a": {true, true}, "b": {true, true}, "c": {false, true}, "d": {false, false}, "x": {false, false}} {
		if v, ok := f.Bool(name); v != want[0] || ok != want[1] {
			t.Errorf("Bool(%q) = %v, %v, want %v", name, v, ok, want)
		}
	}
}

// FuzzParse: whatever is read is written so that it is read again as the same.
func FuzzParse(f *testing.F) {
	f.Add(`<x xmlns='jabber:x:data' type='form'><title>t</title><field var='a'><value>&lt;</value><option><value/></option></field></x>`)
	f.Add(`<x xmlns='jabber:x:data' type='result'><reported><field var='a'/></reported><item><field><required/></field></item><y xmlns='z'/></x>`)
	f.Fuzz(func(t *testing.T, s string) {
		el, err := xmltree.Parse([]byte(s), xmltree.Limits{})
		if err != nil {
			return
		}
		one, err := form.Parse(el)
		if err != nil {
			return
		}
		back, err := xmltree.Build(one)
		if err != nil {
			t.Fatalf("%q is written as what cannot be read: %v", s, err)
		}
		two, err := form.Parse(back)
		if err != nil {
			t.Fatalf("%q cannot be read again: %v", s, err)
		}
		if a, b := string(xmltree.Marshal(one, "")), string(xmltree.Marshal(two, "")); a != b {
			t.Fatalf("%q is read again as another:\n%s\n%s", s, a, b)
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
