// Package command holds the words of XEP-0050: Ad-Hoc Commands.
package command

import (
	"errors"
	"strings"

	"kith/xmpp/ns"
	"kith/xmpp/xep/form"
	"kith/xmpp/xmltree"
)

// Name is the name of a command's element.
var Name = xmltree.Name{Space: ns.Commands, Local: "command"}

// ErrMalformed is returned for what is no command.
var ErrMalformed = errors.New("malformed command")

// Action is what the requester wants (XEP-0050 §4.2).
type Action string

// The actions.
const (
	Execute  Action = "execute"
	Cancel   Action = "cancel"
	Prev     Action = "prev"
	Next     Action = "next"
	Complete Action = "complete"
)

// Status is how far a command is.
type Status string

// The states.
const (
	Executing Status = "executing"
	Completed Status = "completed"
	Canceled  Status = "canceled"
)

// Severity says of what kind a note is.
type Severity string

// The kinds of notes.
const (
	Info  Severity = "info"
	Warn  Severity = "warn"
	Error Severity = "error"
)

// Note is something said to a person.
type Note struct {
	Severity Severity
	Text     string
}

// Command is a request or what answers it.
type Command struct {
	Node    string
	Session string
	Action  Action // of a request; none counts as Execute
	Status  Status // of an answer
	Actions []Action
	Default Action // of Actions: what Execute means
	Form    *form.Form
	Notes   []Note
}

var (
	nameActions = xmltree.Name{Space: ns.Commands, Local: "actions"}
	nameNote    = xmltree.Name{Space: ns.Commands, Local: "note"}
)

// AppendXML implements xmltree.Appender.
func (c *Command) AppendXML(w *xmltree.Writer) {
	w.Open(Name)
	w.Attr("node", c.Node)
	w.AttrOpt("sessionid", c.Session)
	w.AttrOpt("action", string(c.Action))
	w.AttrOpt("status", string(c.Status))
	if len(c.Actions) > 0 {
		w.Open(nameActions)
		w.AttrOpt("execute", string(c.Default))
		for _, a := range c.Actions {
			w.Element(xmltree.Name{Space: ns.Commands, Local: string(a)}, "")
		}
		w.Close()
	}
	if c.Form != nil {
		c.Form.AppendXML(w)
	}
	for _, n := range c.Notes {
		w.Open(nameNote)
		w.AttrOpt("type", string(n.Severity))
		w.Text(n.Text)
		w.Close()
	}
	w.Close()
}

// Parse reads a command. Strings are copies.
func Parse(el xmltree.Element) (*Command, error) {
	c := &Command{
		Node: strings.Clone(el.Attr("node")), Session: strings.Clone(el.Attr("sessionid")),
		Action: Action(strings.Clone(el.Attr("action"))), Status: Status(strings.Clone(el.Attr("status"))),
	}
	if !el.Is(Name) || c.Node == "" {
		return nil, ErrMalformed
	}
	if c.Action == "" && c.Status == "" {
		c.Action = Execute
	}
	for child := range el.Children() {
		switch {
		case child.Is(nameActions):
			c.Default = Action(strings.Clone(child.Attr("execute")))
			for a := range child.Children() {
				c.Actions = append(c.Actions, Action(strings.Clone(a.Name().Local)))
			}
		case child.Is(nameNote):
			c.Notes = append(c.Notes, Note{Severity(strings.Clone(child.Attr("type"))), strings.Clone(child.Text())})
		case child.Is(form.Name) && c.Form == nil: // XEP-0050 §4.4: the first counts
			f, err := form.Parse(child)
			if err != nil {
				return nil, err
			}
			c.Form = f
		}
	}
	return c, nil
}
