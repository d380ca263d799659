package module

import (
	"context"
	"fmt"

	"kith/xmpp/xep/command"
	"kith/xmpp/xep/form"
)

// Command is something that people have done through any client (XEP-0050): at
// most one form is asked, then it is done.
type Command struct {
	Node, Name string
	// May says who sees it and may have it done. It runs in the lane.
	May func(t *Transit) bool
	// Form is what is asked; nil: nothing. It runs in the lane.
	Form func(t *Transit) *form.Form
	// Read makes the form in the place of Form: what it returns runs outside the
	// lane, where it may wait for the store, and uses nothing of t.
	Read func(t *Transit) func(context.Context) (*form.Form, error)
	// Run checks what was submitted (nil if nothing was asked) in the lane, and
	// returns what is done outside, where it may wait for the store; run must use
	// nothing of t but what Run copied from it. A *stanza.Error refuses the
	// command; that it failed is said by an Error note.
	Run func(t *Transit, f *form.Form) (run func(context.Context) (*command.Command, error), err error)
}

// Asks reports whether there is a form.
func (c *Command) Asks() bool { return c.Form != nil || c.Read != nil }

// Command declares a command of the host's or of each account's.
func (h *Host) Command(to Target, c Command) {
	for _, one := range []Target{ToServer, ToAccount} {
		if to&one == 0 {
			continue
		}
		if h.CommandOf(one, c.Node) != nil {
			panic(fmt.Sprintf("module: two commands %s", c.Node))
		}
		if h.commands == nil {
			h.commands = make(map[Target][]Command)
		}
		h.commands[one] = append(h.commands[one], c)
	}
}

// Commands returns the commands of the host or of its accounts.
func (h *Host) Commands(to Target) []Command { return h.commands[to] }

// CommandOf returns a command, nil if there is none of that node.
func (h *Host) CommandOf(to Target, node string) *Command {
	for i := range h.commands[to] {
		if c := &h.commands[to][i]; c.Node == node {
			return c
		}
	}
	return nil
}
