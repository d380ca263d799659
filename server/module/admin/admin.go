// Package admin implements XEP-0133: Service Administration, over ad-hoc
// commands: what an administrator of the server does from any client. Each
// command concerns the accounts of the host that it is sent to.
//
// A message of the day is shown once to each account, when somebody is there; so
// is the welcome message, to accounts that were made after it.
package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"kith/server/account"
	"kith/server/module"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/command"
	"kith/xmpp/xep/form"
)

// Module is the module. It comes behind presence, which notes who is there.
var Module = module.Define("admin", attach,
	module.XEP(133, "1.3.1").Partly("no lists of blocked addresses, no restart, no rates in the statistics of users"))

type admin struct {
	host   *module.Host
	online module.Online
}

func attach(h *module.Host, _ struct{}) error {
	online, ok := h.Router.(module.Online)
	if !ok {
		return errors.New("the host's router does not know who is there")
	}
	a := &admin{h, online}
	idle := func(owner *account.Actor) bool { return !active(owner) }
	h.Stages.Leaving.Broadcast = append(h.Stages.Leaving.Broadcast, a.greet)
	for _, c := range slices.Concat([]module.Command{
		a.one("add-user", "Add User", a.add,
			form.Field{Var: "accountjid", Type: form.JIDSingle, Label: "The address of the account to be added", Required: true},
			password, verify),
		a.many("delete-user", "Delete User", "The addresses of the accounts to be deleted", h.Accounts.Delete),
		a.many("disable-user", "Disable User", "The addresses of the accounts to be disabled",
			func(ctx context.Context, j jid.JID) error { return h.Accounts.SetDisabled(ctx, j, true) }),
		a.many("reenable-user", "Re-Enable User", "The addresses of the accounts to be enabled again",
			func(ctx context.Context, j jid.JID) error { return h.Accounts.SetDisabled(ctx, j, false) }),
		a.one("change-user-password", "Change User Password", a.change,
			form.Field{Var: "accountjid", Type: form.JIDSingle, Label: "The address of the account", Required: true},
			form.Field{Var: "password", Type: form.TextPrivate, Label: "The new password", Required: true}),
		a.count("get-registered-users-num", "Get Number of Registered Users", "registeredusersnum", a.registered(all)),
		a.count("get-disabled-users-num", "Get Number of Disabled Users", "disabledusersnum", a.registered(disabled)),
		a.count("get-online-users-num", "Get Number of Online Users", "onlineusersnum", a.present(nil)),
		a.count("get-active-users-num", "Get Number of Active Users", "activeusersnum", a.present(active)),
		a.count("get-idle-users-num", "Get Number of Idle Users", "idleusersnum", a.present(idle)),
		a.list("get-registered-users-list", "Get List of Registered Users", "registereduserjids", a.registered(all)),
		a.list("get-disabled-users-list", "Get List of Disabled Users", "disableduserjids", a.registered(disabled)),
		a.list("get-online-users-list", "Get List of Online Users", "onlineuserjids", a.present(nil)),
		a.list("get-active-users", "Get List of Active Users", "activeuserjids", a.present(active)),
		a.list("get-idle-users", "Get List of Idle Users", "activeuserjids", a.present(idle)), // as XEP-0133 §4.22 has it
	}, a.people(), a.announcements()) {
		h.Command(module.ToServer, c)
	}
	return nil
}

var (
	password = form.Field{Var: "password", Type: form.TextPrivate, Label: "The password for this account", Required: true}
	verify   = form.Field{Var: "password-verify", Type: form.TextPrivate, Label: "The password again", Required: true}
)

// work is what a command does with what was submitted.
type work func(ctx context.Context, f *form.Form) (*command.Command, error)

func (a *admin) command(node, name string, f func(*module.Transit) *form.Form, w work) module.Command {
	return module.Command{
		Node: ns.Admin + "#" + node, Name: name, May: (*module.Transit).Administers, Form: f, // XEP-0133 §6
		Run: func(t *module.Transit, submitted *form.Form) (func(context.Context) (*command.Command, error), error) {
			return a.logged(t.From.Clone(), node, submitted, w), nil
		},
	}
}

// logged does the work and leaves a line in the log.
func (a *admin) logged(by jid.JID, node string, f *form.Form, w work) func(context.Context) (*command.Command, error) {
	return func(ctx context.Context) (*command.Command, error) {
		done, err := w(ctx, f)
		a.host.Log.Info("administrator's command", "by", by, "command", node, "failed", err != nil || failed(done))
		return done, err
	}
}

func failed(c *command.Command) bool {
	for _, n := range c.Notes {
		if n.Severity == command.Error {
			return true
		}
	}
	return false
}

// one is a command that asks for these fields.
func (a *admin) one(node, name string, w work, fields ...form.Field) module.Command {
	return a.command(node, name, func(*module.Transit) *form.Form {
		f := form.New(form.Empty, ns.Admin, fields...)
		f.Title = name
		return f
	}, w)
}

// many is a command that does the same to several accounts.
func (a *admin) many(node, name, label string, do func(context.Context, jid.JID) error) module.Command {
	return a.one(node, name, func(ctx context.Context, f *form.Form) (*command.Command, error) {
		js, err := a.named(f, a.own)
		if err != nil {
			return nil, err
		}
		done := new(command.Command)
		for _, j := range js {
			if err := do(ctx, j); err != nil {
				done.Notes = append(done.Notes, command.Note{Severity: command.Error, Text: say(j, err)})
			}
		}
		return done, nil
	}, form.Field{Var: "accountjids", Type: form.JIDMulti, Label: label, Required: true})
}

// own reads an address of this host.
func (a *admin) own(v string) (jid.JID, error) {
	j, err := jid.Parse(strings.TrimSpace(v))
	switch {
	case err != nil || j.Local() == "" || !j.IsBare():
		return jid.JID{}, stanza.ErrJIDMalformed.With(fmt.Sprintf("%q is not the address of an account.", v))
	case j.Domain() != a.host.Domain.Domain(): // XEP-0133 §5
		return jid.JID{}, stanza.ErrNotAllowed.With(j.String() + " is not an account of " + a.host.Domain.String() + ".")
	}
	return j.Clone(), nil
}

// say tells an administrator why something was not done.
func say(j jid.JID, err error) string {
	if l, ok := errors.AsType[*account.Lookalike](err); ok {
		return j.String() + " looks like " + l.Other.String() + ", for which people would take it."
	}
	switch {
	case errors.Is(err, account.ErrUnknown):
		return "There is no account " + j.String() + "."
	case errors.Is(err, account.ErrExists):
		return "There is an account " + j.String() + " already."
	case errors.Is(err, account.ErrElsewhere):
		return "Who logs in as " + j.String() + ", and by what, is decided by a directory or an issuer of tokens. Make or change it there."
	case errors.Is(err, account.ErrMixed):
		return j.String() + " mixes scripts, so that it could be taken for another."
	}
	return j.String() + ": " + err.Error()
}

func problem(j jid.JID, err error) *command.Command {
	return &command.Command{Notes: []command.Note{{Severity: command.Error, Text: say(j, err)}}}
}

// add: XEP-0133 §4.1.
func (a *admin) add(ctx context.Context, f *form.Form) (*command.Command, error) {
	j, err := a.own(f.Value("accountjid"))
	if err != nil {
		return nil, err
	}
	secret := f.Value("password")
	switch {
	case secret == "":
		return nil, stanza.ErrBadRequest.With("A password is needed.")
	case f.Field("password-verify") != nil && f.Value("password-verify") != secret:
		return nil, stanza.ErrBadRequest.With("The two passwords differ.")
	}
	if err := a.host.Accounts.Create(ctx, j, secret, false); err != nil {
		return problem(j, err), nil
	}
	return new(command.Command), nil
}

// change: XEP-0133 §4.7.
func (a *admin) change(ctx context.Context, f *form.Form) (*command.Command, error) {
	j, err := a.own(f.Value("accountjid"))
	if err != nil {
		return nil, err
	}
	if f.Value("password") == "" {
		return nil, stanza.ErrBadRequest.With("A password is needed.")
	}
	if err := a.setPassword(ctx, j, f.Value("password")); err != nil {
		return problem(j, err), nil
	}
	return new(command.Command), nil
}

// setPassword ends all sessions of the account, be it the administrator's own.
func (a *admin) setPassword(ctx context.Context, j jid.JID, password string) error {
	return a.host.Accounts.SetPassword(ctx, j, password, "")
}

func all(account.Info) bool        { return true }
func disabled(i account.Info) bool { return i.Disabled }

// accounts are those of this host that a list is about.
func (a *admin) accounts(ctx context.Context, which func(account.Info) bool) (js []string, err error) {
	list, err := a.host.Accounts.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, i := range list {
		if i.JID.Domain() == a.host.Domain.Domain() && which(i) {
			js = append(js, i.JID.String())
		}
	}
	return js, nil
}

// source tells the addresses that a list is about.
type source func(context.Context) ([]string, error)

func (a *admin) registered(which func(account.Info) bool) source {
	return func(ctx context.Context) ([]string, error) { return a.accounts(ctx, which) }
}

// count tells how many accounts there are: XEP-0133 §4.13 to §4.17.
func (a *admin) count(node, name, field string, from source) module.Command {
	return a.command(node, name, nil, func(ctx context.Context, _ *form.Form) (*command.Command, error) {
		js, err := from(ctx)
		if err != nil {
			return nil, err
		}
		return result(form.Field{Var: field, Type: form.TextSingle, Label: name, Values: []string{strconv.Itoa(len(js))}}), nil
	})
}

// list tells which accounts there are, as many as are asked for: XEP-0133 §4.18 to
// §4.22.
func (a *admin) list(node, name, field string, from source) module.Command {
	return a.one(node, name, func(ctx context.Context, f *form.Form) (*command.Command, error) {
		js, err := from(ctx)
		if err != nil {
			return nil, err
		}
		n, err := strconv.Atoi(f.Value("max_items"))
		if err != nil || n <= 0 || n > mostListed {
			n = mostListed
		}
		done := result(form.Field{Var: field, Type: form.JIDMulti, Label: name, Values: js[:min(n, len(js))]})
		if len(js) > n {
			done.Notes = append(done.Notes, command.Note{Severity: command.Warn, Text: fmt.Sprintf("%d of %d are listed.", n, len(js))})
		}
		return done, nil
	}, form.Field{
		Var: "max_items", Type: form.ListSingle, Label: "How many to show at most",
		Options: []form.Option{{Value: "25"}, {Value: "50"}, {Value: "100"}, {Value: "200"}, {Label: "None", Value: "none"}},
	})
}

// mostListed keeps a list within what one stanza may hold.
const mostListed = 1000

func result(fields ...form.Field) *command.Command {
	return &command.Command{Form: form.New(form.Result, ns.Admin, fields...)}
}
