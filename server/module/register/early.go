package register

import (
	"context"
	"errors"
	"time"

	"kith/server/account"
	"kith/server/config"
	"kith/server/module"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/invitation"
	xregister "kith/xmpp/xep/register"
	"kith/xmpp/xmltree"
)

// admit takes the token of an invitation (XEP-0445 §4). Its expiry counts here
// and at no later time.
func (r *register) admit(ctx context.Context, who *module.Stranger, typ string, payload xmltree.Element) (xmltree.Appender, error) {
	p, err := invitation.Parse(payload)
	switch {
	case typ != stanza.Set || err != nil:
		return nil, stanza.ErrBadRequest
	case !r.tried.Allow(who.Source, time.Now()):
		return nil, tooMany()
	}
	ticket, err := r.host.Accounts.Admit(ctx, r.host.Domain, p.Token)
	if err != nil {
		return nil, failed(err)
	}
	who.Ticket = ticket
	return nil, nil
}

// early answers who has not logged in.
func (r *register) early(ctx context.Context, who *module.Stranger, typ string, payload xmltree.Element) (xmltree.Appender, error) {
	switch {
	case r.mode == config.Closed: // XEP-0077 §3.1
		return nil, stanza.ErrServiceUnavailable
	case r.mode == config.Invite && !who.Ticket.Held():
		return nil, stanza.ErrNotAllowed.With("Accounts are made here by invitation. Open the link that you were sent.")
	case typ == stanza.Get:
		return &xregister.Query{
			Instructions: "Choose a name and a password for your account at " + r.host.Domain.Domain() + ".",
			Fields:       []xregister.Field{{Name: xregister.Username}, {Name: xregister.Password}},
		}, nil
	}
	q, err := parse(payload, xregister.FormRegister)
	switch {
	case err != nil:
		return nil, err
	case q.Remove: // XEP-0077 §3.2: who is that?
		return nil, stanza.ErrUnexpectedRequest
	case cancelled(q):
		return nil, nil
	}
	return nil, r.create(ctx, who, q.Value(xregister.Username), q.Value(xregister.Password))
}

// create makes an account, if the source may have one more. Who is invited may:
// each invitation is good for one.
func (r *register) create(ctx context.Context, who *module.Stranger, username, password string) error {
	if username == "" || password == "" { // XEP-0077 §3.1
		return stanza.ErrNotAcceptable.With("A name and a password are needed.")
	}
	j, err := newAddress(username, r.host.Domain)
	if err != nil {
		return err
	}
	now := time.Now()
	if !r.tried.Allow(who.Source, now) {
		return tooMany()
	}
	if err := r.host.Accounts.Available(ctx, j); err != nil {
		return failed(err)
	}
	if who.Ticket.Held() {
		return r.redeem(ctx, who, j, password)
	}
	if !r.made.Allow(who.Source, now) {
		return tooMany()
	}
	if err := r.host.Accounts.Create(ctx, j, password, false); err != nil {
		return failed(err)
	}
	r.host.Log.Info("account registered", "account", j, "source", who.Source)
	return nil
}

// redeem makes an account by invitation.
func (r *register) redeem(ctx context.Context, who *module.Stranger, j jid.JID, password string) error {
	i, err := r.host.Accounts.Redeem(ctx, j, password, who.Ticket)
	if err != nil {
		if errors.Is(err, account.ErrNoInvitation) {
			who.Ticket = account.Ticket{}
		}
		return failed(err)
	}
	who.Ticket = account.Ticket{} // used up
	r.host.Log.Info("account registered by invitation", "account", j, "source", who.Source, "invitation", i.ID)
	if !i.Contact.IsZero() && r.host.Config.ModuleEnabled("roster") {
		r.introduce(ctx, i.Contact, j)
	}
	return nil
}
