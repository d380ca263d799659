package admin

import (
	"context"
	"slices"
	"strings"

	"kith/server/account"
	"kith/server/cluster"
	"kith/server/module"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/command"
	"kith/xmpp/xep/form"
	"kith/xmpp/xmltree"
)

// announcements are the commands of XEP-0133 §4.23 to §4.28.
func (a *admin) announcements() []module.Command {
	return []module.Command{
		a.one("announce", "Send Announcement to Online Users", a.announce,
			form.Field{Var: "announcement", Type: form.TextMulti, Label: "The announcement", Required: true}),
		a.one("set-motd", "Set Message of the Day", a.tell(motd, true),
			form.Field{Var: string(motd), Type: form.TextMulti, Label: "The message of the day", Required: true}),
		a.edit("edit-motd", "Edit Message of the Day", motd, "The message of the day"),
		a.command("delete-motd", "Delete Message of the Day", nil, a.delete(motd)),
		a.edit("set-welcome", "Set Welcome Message", welcome, "What new accounts are told at their first log-in"),
		a.command("delete-welcome", "Delete Welcome Message", nil, a.delete(welcome)),
	}
}

// edit is a command that shows the text that there is.
func (a *admin) edit(node, name string, k kind, label string) module.Command {
	c := a.command(node, name, nil, a.tell(k, false))
	read := func(ctx context.Context) (*form.Form, error) {
		n, err := a.current(ctx, k)
		if err != nil {
			return nil, err
		}
		field := form.Field{Var: string(k), Type: form.TextMulti, Label: label, Required: true}
		if n.body != "" {
			field.Values = strings.Split(n.body, "\n")
		}
		f := form.New(form.Empty, ns.Admin, field)
		f.Title = name
		return f, nil
	}
	c.Read = func(*module.Transit) func(context.Context) (*form.Form, error) { return read }
	return c
}

// text reads what people are to be told.
func text(f *form.Form, name string) (string, error) {
	if field := f.Field(name); field != nil {
		if s := strings.TrimSpace(strings.Join(field.Values, "\n")); s != "" {
			return s, nil
		}
	}
	return "", stanza.ErrBadRequest.With("There is nothing to be told.")
}

var nameBody = xmltree.Name{Space: ns.Client, Local: "body"}

type body string

// AppendXML implements xmltree.Appender.
func (b body) AppendXML(w *xmltree.Writer) { w.Element(nameBody, string(b)) }

// message is what people see. It is for those who are there, and in no archive.
func (a *admin) message(s string) *stanza.Stanza {
	st := stanza.New(stanza.Message, stanza.Headline, a.host.Domain, jid.JID{}, body(s))
	st.Tail() // before others read it
	return st
}

// atOnce is how many accounts are told, or asked, at once: a lane has other things
// to do.
const atOnce = 256

// each hands an item to accounts that are in memory.
func (a *admin) each(list []jid.JID, it cluster.Item) {
	for page := range slices.Chunk(list, atOnce) {
		keys := make([]cluster.Key, len(page))
		for i, j := range page {
			keys[i] = account.Key(j)
		}
		a.online.SendMany(keys, it, true)
	}
}

// announce: XEP-0133 §4.23.
func (a *admin) announce(_ context.Context, f *form.Form) (*command.Command, error) {
	s, err := text(f, "announcement")
	if err != nil {
		return nil, err
	}
	a.each(a.online.Online(a.host.Domain.Domain()), &announcement{a, a.message(s)})
	return new(command.Command), nil
}

// announcement is on its way to accounts.
type announcement struct {
	*admin
	st *stanza.Stanza
}

// Handle implements cluster.Item.
func (o *announcement) Handle(t *cluster.Turn, ac cluster.Actor) {
	for _, r := range ac.(*account.Actor).Resources() {
		if fit(r) {
			o.deliver(t, r, o.st)
		}
	}
}

// Fail implements cluster.Item: nobody is there.
func (*announcement) Fail(*cluster.Turn, error) {}

// fit reports whether somebody is there to read it.
func fit(r *account.Resource) bool { return r.Available() && r.Priority >= 0 }

func (a *admin) deliver(t *cluster.Turn, r *account.Resource, st *stanza.Stanza) {
	e := a.host.Entry(st, r.JID.String(), r)
	t.After(cluster.EffectFunc(func(t *cluster.Turn) {
		if r.Out.Send(e) {
			t.Dirty(r.Out)
		}
	}))
}

// tell sets a notice. A fresh one is shown to those who are there at once
// (XEP-0133 §4.24, the note).
func (a *admin) tell(k kind, fresh bool) work {
	return func(ctx context.Context, f *form.Form) (*command.Command, error) {
		s, err := text(f, string(k))
		if err != nil {
			return nil, err
		}
		n, err := a.set(ctx, k, s, fresh)
		if err != nil {
			return nil, err
		}
		return new(command.Command), a.spread(ctx, &change{a, n, fresh})
	}
}

// delete: XEP-0133 §4.26, §4.28.
func (a *admin) delete(k kind) work {
	return func(ctx context.Context, _ *form.Form) (*command.Command, error) {
		n, err := a.set(ctx, k, "", false)
		if err != nil {
			return nil, err
		}
		return new(command.Command), a.spread(ctx, &change{a, n, false})
	}
}

// spread makes a change known to the accounts that are in memory, with sessions or
// without. The others read it with what they are loaded from.
func (a *admin) spread(ctx context.Context, c *change) error {
	list, err := a.host.Accounts.List(ctx)
	if err != nil {
		return err
	}
	var js []jid.JID
	for _, i := range list {
		if i.JID.Domain() == a.host.Domain.Domain() {
			js = append(js, i.JID)
		}
	}
	a.each(js, c)
	return nil
}

// change is a notice that has changed.
type change struct {
	*admin
	notice
	fresh bool // also for those who have seen the one before
}

// Handle implements cluster.Item. A welcome is for new accounts, which are not in
// memory before they are made; of one that waits here, the text may have changed.
func (c *change) Handle(t *cluster.Turn, ac cluster.Actor) {
	a := ac.(*account.Actor)
	if !a.Exists() {
		return
	}
	p := slices.Clone(unseen.Durable(a))
	i := slices.IndexFunc(p, func(n notice) bool { return n.kind == c.kind })
	switch {
	case i >= 0 && c.body == "":
		p = slices.Delete(p, i, i+1)
	case i >= 0:
		p[i] = c.notice
	case c.fresh:
		p = append(p, c.notice)
	default:
		return
	}
	unseen.SetDurable(a, p)
	c.show(t, a, a.Resources())
}

// Fail implements cluster.Item: who is not in memory reads it later.
func (*change) Fail(*cluster.Turn, error) {}

// show tells sessions what their account has not been told.
func (a *admin) show(t *cluster.Turn, owner *account.Actor, to []*account.Resource) {
	p := unseen.Durable(owner)
	if len(p) == 0 || !slices.ContainsFunc(to, fit) {
		return
	}
	for _, n := range p {
		st := a.message(n.body)
		for _, r := range to {
			if fit(r) {
				a.deliver(t, r, st)
			}
		}
	}
	seen(t, owner)
}

// greet tells a session that becomes available what its account has not been told
// (XEP-0133 §4.24, §4.27).
func (a *admin) greet(_ context.Context, t *module.Transit) error {
	if t.Account.Exists() {
		a.show(t.Turn, t.Account, []*account.Resource{t.Sender})
	}
	return nil
}
