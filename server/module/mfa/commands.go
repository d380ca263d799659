package mfa

import (
	"context"
	"strconv"
	"strings"

	"kith/server/module"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/command"
	"kith/xmpp/xep/form"
)

// Nodes of the commands.
const (
	nodeSetup    = ns.MFA + "#setup"
	nodeRecovery = ns.MFA + "#recovery"
	nodeRemove   = ns.MFA + "#remove"
	nodeApp      = ns.MFA + "#app-password"
	nodeRevoke   = ns.MFA + "#revoke"
)

var code = form.Field{Var: "code", Type: form.TextSingle, Label: "A code of your authenticator, or a recovery code", Required: true}

func (m *mfa) commands() []module.Command {
	return []module.Command{
		{Node: nodeSetup, Name: "Set up a second factor", May: m.own, Read: m.secret, Run: m.with("code", m.confirm)},
		m.ask(nodeRecovery, "Make new recovery codes", m.with("code", m.renew), code),
		m.ask(nodeRemove, "Remove the second factor", m.with("code", m.remove), code),
		m.ask(nodeApp, "Make a password for an app that cannot ask for codes", m.app,
			form.Field{Var: "name", Type: form.TextSingle, Label: "What you call the app", Required: true}, code),
		{Node: nodeRevoke, Name: "Revoke an app's password", May: m.own, Read: m.apps, Run: m.with("app", m.revoke)},
	}
}

type run = func(*module.Transit, *form.Form) (func(context.Context) (*command.Command, error), error)

// ask is a command that asks for these fields.
func (m *mfa) ask(node, name string, r run, fields ...form.Field) module.Command {
	return module.Command{Node: node, Name: name, May: m.own, Run: r, Form: func(*module.Transit) *form.Form {
		f := form.New(form.Empty, node, fields...)
		f.Title = name
		return f
	}}
}

// with runs a command for which one field matters.
func (m *mfa) with(field string, do func(ctx context.Context, j jid.JID, value string) (*command.Command, error)) run {
	return func(t *module.Transit, f *form.Form) (func(context.Context) (*command.Command, error), error) {
		if f.Type == form.Cancel {
			return func(context.Context) (*command.Command, error) { return new(command.Command), nil }, nil
		}
		j, value := owner(t), strings.Clone(strings.TrimSpace(f.Value(field)))
		return func(ctx context.Context) (*command.Command, error) {
			done, err := do(ctx, j, value)
			return done, refusal(err)
		}, nil
	}
}

// secret shows what an authenticator has to be told, and asks for a code of it.
func (m *mfa) secret(t *module.Transit) func(context.Context) (*form.Form, error) {
	j := owner(t)
	return func(ctx context.Context) (*form.Form, error) {
		e, err := m.store.Begin(ctx, j)
		if err != nil {
			return nil, refusal(err)
		}
		f := form.New(form.Empty, nodeSetup,
			form.Field{Var: "uri", Type: form.TextSingle, Label: "For an authenticator on this device, or as a QR code", Values: []string{e.URI}},
			form.Field{Var: "secret", Type: form.TextSingle, Label: "To be typed into an authenticator", Values: []string{e.Secret}},
			form.Field{Var: "code", Type: form.TextSingle, Label: "The code that it shows", Required: true})
		f.Title = "Set up a second factor"
		f.Instructions = []string{
			"From now on somebody who logs in has to give a code of your authenticator, too.",
			"Clients that cannot ask for codes will need passwords of their own.",
		}
		return f, nil
	}
}

func (m *mfa) confirm(ctx context.Context, j jid.JID, code string) (*command.Command, error) {
	codes, err := m.store.Confirm(ctx, j, code)
	if err != nil {
		return nil, err
	}
	return recovery(codes), nil
}

func (m *mfa) renew(ctx context.Context, j jid.JID, code string) (*command.Command, error) {
	codes, err := m.store.Renew(ctx, j, code)
	if err != nil {
		return nil, err
	}
	return recovery(codes), nil
}

// recovery shows recovery codes.
func recovery(codes []string) *command.Command {
	f := form.New(form.Result, nodeRecovery, form.Field{Var: "recovery", Type: form.TextMulti,
		Label: "Recovery codes, each good once, for when you have lost your authenticator", Values: codes})
	f.Title = "Keep these where others do not find them. They are not shown again."
	return &command.Command{Form: f}
}

func (m *mfa) remove(ctx context.Context, j jid.JID, code string) (*command.Command, error) {
	if err := m.store.Check(ctx, j, code); err != nil {
		return nil, err
	}
	_, err := m.store.Remove(ctx, j)
	return &command.Command{Notes: []command.Note{{Severity: command.Info, Text: "The second factor and all app passwords are gone."}}}, err
}

// app makes an app password.
func (m *mfa) app(t *module.Transit, f *form.Form) (func(context.Context) (*command.Command, error), error) {
	label := strings.Clone(f.Value("name"))
	return m.with("code", func(ctx context.Context, j jid.JID, code string) (*command.Command, error) {
		if err := m.store.Check(ctx, j, code); err != nil {
			return nil, err
		}
		password, err := m.store.NewAppPassword(ctx, j, label)
		if err != nil {
			return nil, err
		}
		shown := form.New(form.Result, nodeApp, form.Field{Var: "password", Type: form.TextSingle, Label: "The app's password", Values: []string{password}})
		shown.Title = "Give it to this app alone. It is not shown again."
		return &command.Command{Form: shown}, nil
	})(t, f)
}

// apps shows the app passwords.
func (m *mfa) apps(t *module.Transit) func(context.Context) (*form.Form, error) {
	j := owner(t)
	return func(ctx context.Context) (*form.Form, error) {
		list, err := m.store.AppPasswords(ctx, j)
		if err != nil {
			return nil, refusal(err)
		}
		if len(list) == 0 {
			return nil, stanza.ErrItemNotFound.With("Your account has no app passwords.")
		}
		which := form.Field{Var: "app", Type: form.ListSingle, Label: "Whose password is no longer good", Required: true}
		for _, a := range list {
			label := a.Label + ", made " + a.Created.Format("2006-01-02")
			if !a.Used.IsZero() {
				label += ", used last " + a.Used.Format("2006-01-02")
			}
			which.Options = append(which.Options, form.Option{Label: label, Value: strconv.FormatInt(a.ID, 10)})
		}
		return form.New(form.Empty, nodeRevoke, which), nil
	}
}

func (m *mfa) revoke(ctx context.Context, j jid.JID, app string) (*command.Command, error) {
	id, err := strconv.ParseInt(app, 10, 64)
	if err != nil {
		return nil, stanza.ErrBadRequest.With("That is no app password's number.")
	}
	return &command.Command{Notes: []command.Note{{Severity: command.Info, Text: "The app cannot log in any more with its password, and is logged out."}}}, m.store.Revoke(ctx, j, id, "")
}
