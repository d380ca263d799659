// Package mfa implements Multi-Factor Authentication with TOTP, a specification
// that has no number yet: how people give their account a second factor. That a
// log-in wants it is the business of the streams.
//
// Beside the two requests of the specification there are commands (XEP-0050) for
// it, and for the app passwords of clients that cannot be asked for a code.
package mfa

import (
	"context"
	"errors"
	"strings"

	"kith/server/account"
	"kith/server/factor"
	"kith/server/module"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	xmfa "kith/xmpp/xep/mfa"
	"kith/xmpp/xmltree"
)

// Module is the module. Those whom a directory or an issuer vouches for have their
// second factor there.
var Module = module.Define("mfa", attach, module.Proposal("Multi-Factor Authentication with TOTP", "0.0.2").
	Partly("no TOTP-INIT; the secret is in base32, as authenticators read it; the task has an element of our own"))

type mfa struct {
	host  *module.Host
	store *factor.Store
}

func attach(h *module.Host, _ struct{}) error {
	m := &mfa{h, h.Factors}
	h.AccountFeature(ns.MFA)
	h.DiscoFeature(ns.MFA)
	h.Query(stanza.Set, xmfa.NameSetup, module.ToAccount, m.setup)
	for _, c := range m.commands() {
		h.Command(module.ToAccount, c)
	}
	return nil
}

// setup begins an enrolment, or ends it with a code.
func (m *mfa) setup(_ context.Context, t *module.Transit) (func(context.Context) (xmltree.Appender, error), error) {
	if err := t.Owned(); err != nil {
		return nil, err
	}
	switch {
	case !m.local():
		return nil, stanza.ErrServiceUnavailable
	case t.Sender.Limited():
		return nil, stanza.ErrForbidden
	}
	own, code := t.Account.JID, strings.Clone(strings.TrimSpace(t.Payload().Text()))
	return func(ctx context.Context) (xmltree.Appender, error) {
		if code == "" {
			e, err := m.store.Begin(ctx, own)
			if err != nil {
				return nil, refusal(err)
			}
			return xmfa.Setup(e.URI), nil
		}
		// The recovery codes have no place in this protocol: they are made by the
		// command, when they are wanted.
		_, err := m.store.Confirm(ctx, own, code)
		return nil, refusal(err)
	}, nil
}

// refusal is how a client is told that something was not done.
func refusal(err error) error {
	for _, known := range []struct {
		is  error
		say *stanza.Error
	}{
		{factor.ErrCode, stanza.ErrNotAuthorized.With("The code is wrong, or was used before. Is the clock of your device right?")},
		{factor.ErrTooMany, stanza.ErrPolicyViolation.With("There were too many wrong codes. Try again later.")},
		{factor.ErrEnrolled, stanza.ErrConflict.With("Your account has a second factor already.")},
		{factor.ErrNotEnrolled, stanza.ErrItemNotFound.With("Your account has no second factor.")},
		{factor.ErrTooManyApps, stanza.ErrResourceConstraint.With("Your account has as many app passwords as it may have. Revoke one first.")},
		{factor.ErrNoApp, stanza.ErrItemNotFound.With("There is no such app password.")},
		{factor.ErrLabel, stanza.ErrBadRequest.With("The app needs a name of 1 to 100 bytes.")},
		{account.ErrUnknown, stanza.ErrServiceUnavailable},
	} {
		if errors.Is(err, known.is) {
			return known.say
		}
	}
	return err
}

// own: these commands are for the account's own sessions, and not for those that
// were let in without a second factor.
func (m *mfa) own(t *module.Transit) bool {
	return t.Own() && t.Sender != nil && !t.Sender.Limited() && m.local()
}

// local reports whether passwords are checked here: a directory has second factors
// of its own, and ours would not be asked for.
func (m *mfa) local() bool { return m.host.Accounts.Backend(m.host.Domain).Local() }

func owner(t *module.Transit) jid.JID { return t.Account.JID }
