package admin

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"kith/server/account"
	"kith/server/cluster"
	"kith/server/module"
	"kith/server/roster"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xep/command"
	"kith/xmpp/xep/form"
	xroster "kith/xmpp/xep/roster"
	"kith/xmpp/xep/xtime"
	"kith/xmpp/xmltree"
)

// people are the commands about single accounts and their sessions.
func (a *admin) people() []module.Command {
	edit := a.command("edit-admin", "Edit Admin List", nil, nil)
	edit.Read = func(*module.Transit) func(context.Context) (*form.Form, error) { return a.admins }
	edit.Run = func(t *module.Transit, f *form.Form) (func(context.Context) (*command.Command, error), error) {
		by := t.From.Bare().Clone()
		return a.logged(by, "edit-admin", f, func(ctx context.Context, f *form.Form) (*command.Command, error) {
			return a.setAdmins(ctx, f, by)
		}), nil
	}
	return []module.Command{
		edit,
		a.one("end-user-session", "End User Session", a.end,
			form.Field{Var: "accountjids", Type: form.JIDMulti, Label: "The accounts, or single sessions of theirs, to be ended", Required: true}),
		a.one("get-user-roster", "Get User Roster", a.roster,
			form.Field{Var: "accountjids", Type: form.JIDMulti, Label: "The address of the account: one at a time", Required: true}),
		a.one("get-user-lastlogin", "Get User Last Login Time", a.lastLogin,
			form.Field{Var: "accountjids", Type: form.JIDMulti, Label: "The addresses of the accounts", Required: true}),
		a.one("user-stats", "Get User Statistics", a.stats,
			form.Field{Var: "accountjid", Type: form.JIDSingle, Label: "The address of the account", Required: true}),
	}
}

// named reads the field accountjids: at least one, at most as many as a list has.
func (a *admin) named(f *form.Form, read func(string) (jid.JID, error)) (js []jid.JID, err error) {
	field := f.Field("accountjids")
	switch {
	case field == nil || len(field.Values) == 0:
		return nil, stanza.ErrBadRequest.With("No account is named.")
	case len(field.Values) > mostListed:
		return nil, stanza.ErrNotAcceptable.With(fmt.Sprintf("At most %d accounts can be named.", mostListed))
	}
	for _, v := range field.Values {
		j, err := read(v)
		if err != nil {
			return nil, err
		}
		js = append(js, j)
	}
	return js, nil
}

// session reads an address of this host, or of one of its sessions.
func (a *admin) session(v string) (jid.JID, error) {
	j, err := jid.Parse(strings.TrimSpace(v))
	if err != nil {
		return a.own(v)
	}
	if _, err := a.own(j.Bare().String()); err != nil {
		return j, err
	}
	return j.Clone(), nil
}

// askWithin is how long the owners of sessions may take to answer.
const askWithin = 10 * time.Second

// ask has f look at accounts that are in memory, each in its lane, and returns the
// answers. f returns false where there is nothing to be said.
func ask[T any](ctx context.Context, a *admin, list []jid.JID, f func(*cluster.Turn, *account.Actor) (T, bool)) ([]T, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	var all []T
	for page := range slices.Chunk(list, atOnce) {
		q := &question[T]{f, make(chan *T, len(page))}
		a.each(page, q)
		for range page {
			select {
			case one := <-q.answers:
				if one != nil {
					all = append(all, *one)
				}
			case <-ctx.Done():
				return nil, stanza.ErrResourceConstraint.With("The server is too busy to answer. Try again later.")
			}
		}
	}
	return all, nil
}

type question[T any] struct {
	f       func(*cluster.Turn, *account.Actor) (T, bool)
	answers chan *T // has room for all
}

// Handle implements cluster.Item. The answer is given once, after the commit.
func (q *question[T]) Handle(t *cluster.Turn, ac cluster.Actor) {
	one, is := q.f(t, ac.(*account.Actor))
	t.After(cluster.EffectFunc(func(*cluster.Turn) {
		if is {
			q.answers <- &one
		} else {
			q.answers <- nil
		}
	}))
}

// Fail implements cluster.Item.
func (q *question[T]) Fail(*cluster.Turn, error) { q.answers <- nil }

// end: XEP-0133 §4.5.
func (a *admin) end(ctx context.Context, f *form.Form) (*command.Command, error) {
	js, err := a.named(f, a.session)
	if err != nil {
		return nil, err
	}
	done := new(command.Command)
	for _, j := range js {
		ended, err := ask(ctx, a, []jid.JID{j.Bare()}, func(t *cluster.Turn, owner *account.Actor) (n int, _ bool) {
			for _, r := range owner.Resources() {
				if !j.IsFull() || r.JID == j {
					n++
					// The RFC has no condition for it.
					t.After(cluster.EffectFunc(func(*cluster.Turn) {
						r.Out.Close(stream.ErrUndefinedCondition.With("closed by an administrator of the server"))
					}))
				}
			}
			return n, n > 0
		})
		if err != nil {
			return nil, err
		}
		if len(ended) == 0 {
			done.Notes = append(done.Notes, command.Note{Severity: command.Warn, Text: "There is no session of " + j.String() + "."})
		}
	}
	return done, nil
}

// contacts reads a roster from the store, where it is whole after each change.
func (a *admin) contacts(ctx context.Context, j jid.JID) (*roster.Roster, error) {
	st, err := a.host.Accounts.Load(ctx, j, []account.Part{roster.Load})
	if err != nil {
		return nil, err
	}
	owner := account.NewActor(j, st, nil)
	if !owner.Exists() {
		return nil, account.ErrUnknown
	}
	return roster.Of(owner), nil
}

// roster: XEP-0133 §4.8. The text tells whose roster it is by a field, so there
// can be one only.
func (a *admin) roster(ctx context.Context, f *form.Form) (*command.Command, error) {
	js, err := a.named(f, a.own)
	if err != nil {
		return nil, err
	}
	if len(js) > 1 {
		return nil, stanza.ErrNotAcceptable.With("One account at a time.")
	}
	r, err := a.contacts(ctx, js[0])
	if err != nil {
		return problem(js[0], err), nil
	}
	q, items := new(xroster.Query), r.List()
	roster.Sort(items)
	for _, i := range items {
		q.Items = append(q.Items, i.Words())
	}
	done := result(form.Field{Var: "accountjids", Type: form.JIDMulti, Values: []string{js[0].String()}})
	done.Form.Others = []xmltree.Appender{q}
	return done, nil
}

// lastLogin: XEP-0133 §4.9. Who has never logged in is in no field.
func (a *admin) lastLogin(ctx context.Context, f *form.Form) (*command.Command, error) {
	js, err := a.named(f, a.own)
	if err != nil {
		return nil, err
	}
	who := form.Field{Var: "accountjids", Type: form.JIDMulti}
	when := form.Field{Var: "lastlogin", Type: form.TextMulti}
	var notes []command.Note
	for _, j := range js {
		switch i, err := a.host.Accounts.Info(ctx, j); {
		case err != nil:
			notes = append(notes, command.Note{Severity: command.Error, Text: say(j, err)})
		case i.Last.IsZero():
			notes = append(notes, command.Note{Severity: command.Info, Text: j.String() + " has never logged in."})
		default:
			who.Values, when.Values = append(who.Values, j.String()), append(when.Values, xtime.Format(i.Last))
		}
	}
	done := result(who, when)
	done.Notes = notes
	return done, nil
}

// stats: XEP-0133 §4.10, what is known of it.
func (a *admin) stats(ctx context.Context, f *form.Form) (*command.Command, error) {
	j, err := a.own(f.Value("accountjid"))
	if err != nil {
		return nil, err
	}
	r, err := a.contacts(ctx, j)
	if err != nil {
		return problem(j, err), nil
	}
	type session struct{ resource, remote string }
	answers, err := ask(ctx, a, []jid.JID{j}, func(_ *cluster.Turn, owner *account.Actor) (list []session, _ bool) {
		for _, r := range owner.Resources() {
			list = append(list, session{r.JID.Resource(), r.Remote})
		}
		return list, true
	})
	if err != nil {
		return nil, err
	}
	addresses := form.Field{Var: "ipaddresses", Type: form.TextMulti, Label: "The addresses of its clients"}
	resources := form.Field{Var: "onlineresources", Type: form.TextMulti, Label: "Its sessions"}
	for _, s := range slices.Concat(answers...) {
		addresses.Values, resources.Values = append(addresses.Values, host(s.remote)), append(resources.Values, s.resource)
	}
	slices.Sort(addresses.Values)
	addresses.Values = slices.Compact(addresses.Values)
	return result(addresses,
		form.Field{Var: "rostersize", Type: form.TextSingle, Label: "The number of its contacts", Values: []string{strconv.Itoa(r.Len())}},
		resources), nil
}

// host is an address without its port.
func host(remote string) string {
	if i := strings.LastIndexByte(remote, ':'); i > 0 {
		return strings.Trim(remote[:i], "[]")
	}
	return remote
}

// admins shows the administrators of this host.
func (a *admin) admins(ctx context.Context) (*form.Form, error) {
	js, err := a.accounts(ctx, administrator)
	if err != nil {
		return nil, err
	}
	f := form.New(form.Empty, ns.Admin, form.Field{Var: "adminjids", Type: form.JIDMulti, Label: "The administrators of the server", Values: js})
	f.Title = "Edit Admin List"
	return f, nil
}

func administrator(i account.Info) bool { return i.Admin }

// setAdmins: XEP-0133 §4.29, for the accounts of this host. Nobody loses the
// rights by which the list was changed: a server is not left without anybody.
func (a *admin) setAdmins(ctx context.Context, f *form.Form, by jid.JID) (*command.Command, error) {
	field := f.Field("adminjids")
	if field == nil {
		return nil, stanza.ErrBadRequest.With("No list of administrators was submitted.")
	}
	var want []string
	for _, v := range field.Values {
		j, err := a.own(v)
		if err != nil {
			return nil, err
		}
		want = append(want, j.String())
	}
	if by.Domain() == a.host.Domain.Domain() && !slices.Contains(want, by.String()) {
		return nil, stanza.ErrNotAllowed.With("Nobody can take the rights from oneself.")
	}
	have, err := a.accounts(ctx, administrator)
	if err != nil {
		return nil, err
	}
	done := new(command.Command)
	for _, s := range slices.Concat(want, have) {
		is := slices.Contains(want, s)
		if is == slices.Contains(have, s) {
			continue
		}
		j := jid.MustParse(s)
		if err := a.host.Accounts.SetAdmin(ctx, j, is); err != nil {
			done.Notes = append(done.Notes, command.Note{Severity: command.Error, Text: say(j, err)})
		}
	}
	return done, nil
}

var nameShow = xmltree.Name{Space: ns.Client, Local: "show"}

// active reports whether somebody seems to be there: at a client that does not say
// the contrary, by its presence or as XEP-0352 has it.
func active(owner *account.Actor) bool {
	return slices.ContainsFunc(owner.Resources(), func(r *account.Resource) bool {
		if !r.Available() || r.Inactive {
			return false
		}
		show := strings.TrimSpace(r.Presence.Child(nameShow).Text())
		return show != "away" && show != "xa"
	})
}

// present returns who has a session; with a condition, those who meet it.
func (a *admin) present(is func(*account.Actor) bool) source {
	return func(ctx context.Context) ([]string, error) {
		list := a.online.Online(a.host.Domain.Domain())
		if is != nil {
			var err error
			list, err = ask(ctx, a, list, func(_ *cluster.Turn, owner *account.Actor) (jid.JID, bool) {
				return owner.JID, owner.Busy() && is(owner)
			})
			if err != nil {
				return nil, err
			}
		}
		out := make([]string, len(list))
		for i, j := range list {
			out[i] = j.String()
		}
		slices.Sort(out)
		return out, nil
	}
}
