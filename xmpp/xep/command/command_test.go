package command_test

import (
	"reflect"
	"testing"

	"kith/xmpp/ns"
	"kith/xmpp/xep/command"
	"kith/xmpp/xep/form"
	"kith/xmpp/xmltree"
)

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, c := range []*command.Command{
		{Node: "list", Action: command.Execute},
		{Node: "config", Session: "s", Action: command.Complete, Form: form.New(form.Submit, "", form.Field{Var: "a", Values: []string{"1", "2"}})},
		{Node: "config", Session: "s", Status: command.Executing, Actions: []command.Action{command.Prev, command.Complete}, Default: command.Complete},
		{Node: "config", Session: "s", Status: command.Completed, Notes: []command.Note{{command.Info, "done"}, {command.Error, "not quite"}}},
	} {
		el, err := xmltree.Build(c)
		if err != nil {
			t.Fatal(err)
		}
		got, err := command.Parse(el)
		if err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("%s became %+v, %v", el.Raw(), got, err)
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, xml := range []string{
		"<command xmlns='" + ns.Commands + "'/>",
		"<query xmlns='" + ns.Commands + "' node='a'/>",
	} {
		el, err := xmltree.Parse([]byte(xml), xmltree.Limits{Bytes: 1000, Depth: 8, Elements: 10, Attrs: 10, Namespaces: 10})
		if err != nil {
			t.Fatal(err)
		}
		if c, err := command.Parse(el); err == nil {
			t.Errorf("%s is taken for %+v", xml, c)
		}
	}
}
