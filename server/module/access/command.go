package access

import (
	"context"
	"errors"
	"slices"
	"strings"

	"kith/server/access"
	"kith/server/account"
	"kith/server/module"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/command"
	"kith/xmpp/xep/form"
)

// node is the node of the command.
const node = ns.CAM + "#clients"

// mostRevoked is how many clients can be revoked at once.
const mostRevoked = 50

// command lists the clients of an account and logs out those that are chosen.
func (m *manager) command() module.Command {
	return module.Command{
		Node: node, Name: "Your devices",
		May: func(t *module.Transit) bool { return t.Own() && t.Sender != nil },
		Read: func(t *module.Transit) func(context.Context) (*form.Form, error) {
			return m.asker(t).form
		},
		Run: func(t *module.Transit, f *form.Form) (func(context.Context) (*command.Command, error), error) {
			var ids []string
			if field := f.Field("clients"); field != nil && f.Type != form.Cancel {
				for _, id := range field.Values {
					if !slices.Contains(ids, id) && len(ids) <= mostRevoked {
						ids = append(ids, strings.Clone(id))
					}
				}
			}
			if len(ids) > mostRevoked {
				return nil, stanza.ErrNotAcceptable.With("These are too many at once.")
			}
			a := m.asker(t)
			return func(ctx context.Context) (*command.Command, error) { return a.chosen(ctx, ids) }, nil
		},
	}
}

// form shows what has access.
func (a *asker) form(ctx context.Context) (*form.Form, error) {
	list, err := a.clients(ctx)
	if err != nil {
		return nil, err
	}
	which := form.Field{Var: "clients", Type: form.ListMulti, Label: "Those that are to be logged out"}
	for i := range list {
		which.Options = append(which.Options, form.Option{Label: said(&list[i], a.self), Value: string(list[i].ID)})
	}
	f := form.New(form.Empty, node, which)
	f.Title = "Your devices"
	f.Instructions = []string{"These devices and apps have access to your account. If you do not know one of them, change your password."}
	return f, nil
}

// chosen logs out what was chosen.
func (a *asker) chosen(ctx context.Context, ids []string) (*command.Command, error) {
	done := new(command.Command)
	note := func(s command.Severity, text string) {
		done.Notes = append(done.Notes, command.Note{Severity: s, Text: text})
	}
	for _, id := range ids {
		c, left, err := a.revoke(ctx, account.Access(id))
		if e, ok := errors.AsType[*stanza.Error](err); ok {
			note(command.Error, e.Text)
			continue
		}
		if err != nil {
			return nil, err
		}
		switch left {
		case access.Nothing:
			note(command.Info, c.Name()+" is logged out and has no access any more.")
		case access.Password:
			note(command.Warn, c.Name()+" is logged out, but it knows the password. Change that to keep it out.")
		case access.Elsewhere:
			note(command.Warn, c.Name()+" is logged out, but what it logs in by was not given to it here.")
		}
	}
	if len(ids) == 0 {
		note(command.Info, "Nothing has changed.")
	}
	return done, nil
}
