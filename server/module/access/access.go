// Package access implements XEP-0494: Client Access Management: people see what is
// logged in with their account, or may, and take that away; by a command (XEP-0050)
// also from a client that does not know of it. Where a directory knows the people of
// the host, it is asked again and again whether those who have sessions are still
// there.
//
// Who has come with an app password, a second factor being wanted, does not manage
// the access of others.
package access

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"kith/server/access"
	"kith/server/account"
	"kith/server/cluster"
	"kith/server/module"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/sasl"
	"kith/xmpp/stanza"
	xaccess "kith/xmpp/xep/access"
	"kith/xmpp/xmltree"
)

// Module is the module.
var Module = module.Define("access", attach,
	module.XEP(494, "0.1.0").Partly("clients that give no id of their own are listed while they have a session"))

// Config is the table [modules.access].
type Config struct {
	// How long it is remembered that a client that has logged in by a password, and has no token that is valid, was here ("90d" if nothing is said); "0s" is not at all.
	Keep time.Duration `toml:"keep"`
}

// Default sets what holds where the configuration says nothing.
func (c *Config) Default() { c.Keep = 90 * 24 * time.Hour }

// Validate refuses what cannot be meant.
func (c *Config) Validate() error {
	if c.Keep < 0 || c.Keep > 0 && c.Keep < time.Hour {
		return errors.New("keep must be at least an hour, or 0s for not at all")
	}
	return nil
}

// manager is the module at a host.
type manager struct {
	host   *module.Host
	online module.Online
	keep   time.Duration
}

func attach(h *module.Host, c Config) error {
	online, ok := h.Router.(module.Online)
	if !ok {
		return errors.New("the host's router does not know who is there")
	}
	m := &manager{h, online, c.Keep}
	h.DiscoFeature(ns.CAM)
	h.AccountFeature(ns.CAM)
	h.Query(stanza.Get, xaccess.NameList, module.ToAccount, m.list)
	h.Query(stanza.Set, xaccess.NameRevoke, module.ToAccount, m.revoke)
	h.Command(module.ToAccount, m.command())
	if c.Keep > 0 {
		h.Facts.Bound = append(h.Facts.Bound, bound)
	}
	if h.Domain == h.Config.Hosts[0] { // the devices of all
		h.Every(module.Job{Name: "forget devices", Every: 24 * time.Hour, Run: m.forget})
	}
	// Without a name of ours only the owner of an entry can read it.
	if l, ok := h.Config.LDAP[h.Domain.Domain()]; ok && (l.DN == "" || l.BindDN != "") {
		h.Every(module.Job{Name: "look people up", Every: l.Recheck, Run: m.look})
	}
	return nil
}

type reader = func(context.Context) (xmltree.Appender, error)

// asker is who asks, as it was in the lane.
type asker struct {
	m        *manager
	account  jid.JID
	self     account.Access
	session  access.Session
	limited  bool
	sessions []access.Session
}

func (m *manager) asker(t *module.Transit) *asker {
	a := &asker{m: m, account: t.Account.JID, self: t.Sender.Access(), limited: t.Sender.Limited(), sessions: access.Sessions(t.Account)}
	for _, s := range a.sessions {
		if s.ID == t.Sender.ID {
			a.session = s
		}
	}
	return a
}

// clients lists what the one who asks may know of.
func (a *asker) clients(ctx context.Context) ([]access.Client, error) {
	all, err := access.List(ctx, a.m.host.Accounts, a.m.host.Factors, a.account, a.sessions)
	if err != nil || !a.limited {
		return all, err
	}
	list := all[:0]
	for _, c := range all {
		if c.ID == a.self {
			list = append(list, c)
		}
	}
	return list, nil
}

// list answers what has access (XEP-0494 §4.1). Nobody else learns it (§6).
func (m *manager) list(_ context.Context, t *module.Transit) (reader, error) {
	if err := t.Owned(); err != nil {
		return nil, err
	}
	a := m.asker(t)
	return func(ctx context.Context) (xmltree.Appender, error) {
		list, err := a.clients(ctx)
		if err != nil {
			return nil, err
		}
		out := xaccess.Clients{}
		for i := range list {
			out = append(out, words(&list[i]))
		}
		return out, nil
	}, nil
}

func words(c *access.Client) xaccess.Client {
	w := xaccess.Client{
		ID: string(c.ID), Connected: c.Connected, Type: xaccess.Access, First: c.First, Last: c.Last,
		Permission: xaccess.Unrestricted, Software: c.Software, Device: c.Device,
		Auth: xaccess.Auth{
			Password: c.By&account.ByPassword != 0, Grant: c.By&(account.ByGrant|account.ByApp) != 0, Fast: c.By&account.ByToken != 0,
		},
	}
	if c.By&account.ByCertificate != 0 {
		w.Auth.Mechanism = "EXTERNAL"
	}
	if c.Used {
		w.Type = xaccess.Session
	}
	if c.Limited() {
		w.Permission = xaccess.Normal
	}
	return w
}

// revoke takes the access from a client (XEP-0494 §4.2).
func (m *manager) revoke(_ context.Context, t *module.Transit) (reader, error) {
	if err := t.Owned(); err != nil {
		return nil, err
	}
	id := account.Access(xaccess.ParseRevoke(t.Payload()).ID)
	if id == "" {
		return nil, stanza.ErrBadRequest.With("The id of a client is needed.")
	}
	a := m.asker(t)
	return func(ctx context.Context) (xmltree.Appender, error) {
		_, left, err := a.revoke(ctx, id)
		if err != nil {
			return nil, err
		}
		return nil, refusal(left)
	}, nil
}

// refusal says that the client can come back; nil if it cannot.
func refusal(left access.Remains) error {
	switch left {
	case access.Password:
		return stanza.ErrServiceUnavailable.With("The client is logged out, but it knows the password. Change that to keep it out.").WithApp(xaccess.PasswordReset{})
	case access.Elsewhere:
		return stanza.ErrServiceUnavailable.With("The client is logged out, but what it logs in by was not given to it here, and can only be taken from it where that was.")
	case access.Nothing:
	}
	return nil
}

// graceful is how long the answer has to reach a client that has given itself up,
// before its session ends.
const graceful = time.Second

// revoke is the end of a client. The session that asks for its own ends a little
// later, so that it gets the answer.
func (a *asker) revoke(ctx context.Context, id account.Access) (access.Client, access.Remains, error) {
	if a.limited && id != a.self {
		return access.Client{}, access.Nothing, stanza.ErrForbidden.With("An app that has a password of its own cannot revoke the access of others.")
	}
	store := a.m.host.Accounts
	c, left, err := access.Revoke(ctx, store, a.m.host.Factors, a.account, a.sessions, id, a.session.ID)
	switch {
	case errors.Is(err, access.ErrUnknown):
		return c, left, stanza.ErrItemNotFound.With("There is no such client. It may have gone, or another device has revoked it.")
	case err != nil:
		return c, left, err
	}
	a.m.host.Log.Info("access revoked by its owner", "account", a.account, "client", id)
	if id == a.self {
		time.AfterFunc(graceful, func() {
			// Nothing is stored, so that nothing fails.
			_ = store.Withdraw(context.Background(), a.account, "", nil, account.OfSession(a.session.ID))
		})
	}
	return c, left, nil
}

// bound has it noted who has logged in, behind the log-in: nobody waits for it, and
// where nothing can be stored it is not noted.
func bound(t *module.Transit, r *account.Resource) {
	if r.Means.Lasting() {
		id := r.ID
		t.Turn.After(cluster.EffectFunc(func(t *cluster.Turn) {
			t.Send(t.Key(), seen(func(t *cluster.Turn, a *account.Actor) {
				if r := a.Resource(id); r != nil {
					a.Seen(t, r)
				}
			}))
		}))
	}
}

type seen func(*cluster.Turn, *account.Actor)

// Handle implements cluster.Item.
func (s seen) Handle(t *cluster.Turn, ac cluster.Actor) { s(t, ac.(*account.Actor)) }

// Fail implements cluster.Item.
func (seen) Fail(*cluster.Turn, error) {}

// forgetAtOnce is how many devices one commit forgets.
const forgetAtOnce = 500

// forget forgets devices that were not here for long (XEP-0494 §7).
func (m *manager) forget(ctx context.Context) error {
	for more := true; more; {
		var err error
		if more, err = m.host.Accounts.ForgetDevices(ctx, time.Now().Add(-m.keep), forgetAtOnce); err != nil {
			return err
		}
	}
	return nil
}

// lookPause is the time between two questions to the directory, lookWithin how long
// each may take.
const (
	lookPause  = 100 * time.Millisecond
	lookWithin = 30 * time.Second
)

// look asks the directory whether those are still there who have sessions. If it
// cannot be asked, nobody is gone: the next time comes.
func (m *manager) look(ctx context.Context) error {
	for _, j := range m.online.Online(m.host.Domain.Domain()) {
		if err := m.lookAt(ctx, j); err != nil {
			return fmt.Errorf("look up who has a session: %w", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lookPause):
		}
	}
	return nil
}

func (m *manager) lookAt(ctx context.Context, j jid.JID) error {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	gone, err := m.host.Accounts.Look(ctx, j)
	if gone != nil {
		m.host.Log.Info("sessions ended of somebody who is gone", "account", j, "why", gone)
	}
	if refused, ok := errors.AsType[*sasl.Failure](err); ok { // it says no more of him; the others wait
		m.host.Log.Warn("it is not known whether somebody is gone", "account", j, "error", refused)
		return nil
	}
	return err
}

// said is an id in the words of people.
func said(c *access.Client, self account.Access) string {
	words := []string{c.Name()}
	switch {
	case c.ID == self:
		words = append(words, "this one")
	case c.Connected:
		words = append(words, "logged in")
	}
	if c.Last.IsZero() {
		words = append(words, "never logged in")
	} else {
		words = append(words, "last seen "+c.Last.Format("2006-01-02 15:04")+" UTC")
	}
	return strings.Join(append(words, "by "+strings.Join(c.By.Names(), " and ")), ", ")
}
