package register

import (
	"context"
	"strings"

	"kith/server/module"
	"kith/server/session"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/form"
	xregister "kith/xmpp/xep/register"
	"kith/xmpp/xmltree"
)

type reader = func(context.Context) (xmltree.Appender, error)

// change takes what an account wants of its registration. The error replies do
// not hold what was sent, which is a password (XEP-0077 §3.3).
func (r *register) change(_ context.Context, t *module.Transit) (reader, error) {
	if err := r.known(t); err != nil {
		return nil, err
	}
	q, err := parse(t.Payload(), xregister.FormRegister, xregister.FormChangePassword)
	if err != nil {
		return nil, err
	}
	switch {
	case t.Sender != nil && t.Sender.Limited():
		return nil, stanza.ErrForbidden.With("An app that has a password of its own cannot change the account's, or give it up.")
	case q.Remove:
		return r.remove(t)
	case cancelled(q):
		return func(context.Context) (xmltree.Appender, error) { return nil, nil }, nil
	}
	return r.password(t, q)
}

// cancelled reports whether a person has thought better of it (XEP-0004 §3.1).
func cancelled(q *xregister.Query) bool { return q.Form != nil && q.Form.Type == form.Cancel }

// password changes the password (XEP-0077 §3.3). The account's other sessions end.
func (r *register) password(t *module.Transit, q *xregister.Query) (reader, error) {
	by := session.ID("")
	if t.Sender != nil {
		by = t.Sender.ID
	}
	username, password := q.Value(xregister.Username), strings.Clone(q.Value(xregister.Password))
	own := t.From.Bare().Clone()
	switch {
	case username == "" || password == "": // an empty one leaves the password as it is
		return nil, stanza.ErrBadRequest.With("Your name and a new password are needed.")
	case !names(username, own):
		// XEP-0077 §3.1.1: one account is enough, and another's is not to be touched.
		return nil, stanza.ErrNotAcceptable.With("You are logged in to another account.")
	case !r.config.PasswordChange:
		return nil, stanza.ErrNotAllowed
	case t.Sender != nil && t.Sender.Granted():
		return nil, stanza.ErrNotAllowed.With("You have logged in without your password. Log in with it to change it.")
	case !r.changed.Allow(own.String(), t.Turn.Now()):
		return nil, stanza.ErrResourceConstraint.With("The password was changed too often just now. Try again later.")
	}
	return func(ctx context.Context) (xmltree.Appender, error) {
		if err := r.host.Accounts.ChangePassword(ctx, own, password, by); err != nil {
			return nil, failed(err)
		}
		return nil, nil
	}, nil
}

// names reports whether a user name means an account. The forms of XEP-0077 §3.3
// show the whole address.
func names(username string, own jid.JID) bool {
	if strings.Contains(username, "@") {
		j, err := jid.Parse(username)
		return err == nil && j == own
	}
	j, err := jid.New(username, own.Domain(), "")
	return err == nil && j == own
}
