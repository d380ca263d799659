// Package register implements XEP-0077: In-Band Registration: making an account
// before one logs in, changing its password and giving it up; and XEP-0445:
// Pre-Authenticated In-Band Registration, by invitation.
//
// Nothing here touches an actor. What hashes a password or waits for the store
// runs on the goroutine of a stream that has not logged in, or outside the lane;
// the account's owner learns of the change by the store.
package register

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"kith/server/account"
	"kith/server/config"
	"kith/server/limit"
	"kith/server/module"
	"kith/server/storage"
	"kith/xmpp/ns"
	"kith/xmpp/sasl"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/invitation"
	xregister "kith/xmpp/xep/register"
	"kith/xmpp/xmltree"
)

// Module is the module.
var Module = module.Define("register", attach,
	module.XEP(77, "2.4").Partly("without the numeric error codes of XEP-0086"),
	module.XEP(401, "0.6.0").Partly("links for accounts, made with kith invite; no commands, no landing page"),
	module.XEP(445, "0.2.0").Partly("tokens that leave the choice of the name"))

// Config is the table [modules.register].
type Config struct {
	// Whether people may change their password from their client.
	PasswordChange bool `toml:"password_change"`
	// Whether people may delete their account from their client.
	Removal bool `toml:"removal"`
}

// Default sets what holds where the configuration says nothing.
func (c *Config) Default() { c.PasswordChange, c.Removal = true, true }

// How often one source may try a name for each account that it may make, and how
// often an account may change its password.
const (
	triesPerAccount = 10
	changes         = 5
	changesPer      = time.Minute
)

// register is the module at a host. The limits count anew when the configuration
// is loaded again.
type register struct {
	host    *module.Host
	lanes   module.Lanes
	config  Config
	mode    config.Mode
	tried   *limit.Rate // names asked for, by source
	made    *limit.Rate // accounts made, by source
	changed *limit.Rate // passwords changed, by account
}

func attach(h *module.Host, c Config) error {
	lanes, ok := h.Router.(module.Lanes)
	if !ok {
		return errors.New("the host's router is no way into the lanes")
	}
	limits := h.Config.Registration
	r := &register{
		host: h, lanes: lanes, config: c, mode: h.Config.RegistrationMode(h.Domain),
		tried:   limit.NewRate(triesPerAccount*limits.PerIP, limits.Per),
		made:    limit.NewRate(limits.PerIP, limits.Per),
		changed: limit.NewRate(changes, changesPer),
	}
	early := module.Early{Name: xregister.Name, Answer: r.early}
	if r.mode != config.Closed {
		early.Feature = xregister.Feature{}
		h.BeforeLogin(module.Early{Feature: invitation.Feature{}, Name: invitation.Name, Answer: r.admit})
	}
	h.BeforeLogin(early)
	if r.mode != config.Closed || c.PasswordChange || c.Removal {
		h.DiscoFeature(ns.Register)
	}
	h.IQ(stanza.Get, xregister.Name, module.ToServer|module.ToAccount, r.registered)
	h.Query(stanza.Set, xregister.Name, module.ToServer|module.ToAccount, r.change)
	return nil
}

func tooMany() error {
	return stanza.ErrResourceConstraint.With("Too many accounts were asked for from your network. Try again later.")
}

func conflict() error { return stanza.ErrConflict.With("This name is taken.") }

// failed says what the peer is told of an error of the store.
func failed(err error) error {
	if _, ok := errors.AsType[*account.Lookalike](err); ok {
		return stanza.ErrConflict.With("This name looks like one that is taken.")
	}
	switch {
	case errors.Is(err, account.ErrExists):
		return conflict()
	case errors.Is(err, account.ErrElsewhere):
		return stanza.ErrNotAllowed.With("The password of this account is not kept here. Change it where you have got it.")
	case errors.Is(err, account.ErrPassword):
		return stanza.ErrNotAcceptable.With("The directory does not take this password. Choose another one.")
	case errors.Is(err, account.ErrMixed):
		return stanza.ErrNotAcceptable.With("This name mixes scripts, so that it could be taken for another one.")
	case errors.Is(err, account.ErrNoInvitation):
		return stanza.ErrItemNotFound.With("This invitation is not valid, or not any more.")
	case errors.Is(err, account.ErrUnknown):
		return stanza.ErrRegistrationRequired
	case errors.Is(err, sasl.ErrCredentials):
		return stanza.ErrNotAcceptable.With("This password holds characters that cannot be used.")
	case errors.Is(err, storage.ErrUnavailable):
		return stanza.ErrResourceConstraint.With("The server cannot store anything at the moment. Try again later.")
	}
	return fmt.Errorf("register: %w", err)
}

// parse reads a request, and the form in it if it is one of the given names or
// has none (XEP-0068 §4).
func parse(payload xmltree.Element, forms ...string) (*xregister.Query, error) {
	q, err := xregister.Parse(payload)
	if err != nil {
		return nil, stanza.ErrBadRequest
	}
	if q.Form == nil || q.Form.Name() == "" {
		return q, nil
	}
	for _, name := range forms {
		if q.Form.Name() == name {
			return q, nil
		}
	}
	return nil, stanza.ErrNotAcceptable.With("This is another form than the one that is wanted.")
}

// known refuses who cannot have an account here: for them the host supports no
// registration (XEP-0077 §3.1). An account answers nobody but its owner.
func (r *register) known(t *module.Transit) error {
	toAccount := t.To.IsZero() || t.To.Local() != ""
	if toAccount && !t.Own() || t.From.Local() == "" || t.From.Host() != r.host.Domain {
		return stanza.ErrServiceUnavailable
	}
	return nil
}

// registered tells an account that it is one (XEP-0077 §3.1).
func (r *register) registered(_ context.Context, t *module.Transit) (xmltree.Appender, error) {
	if err := r.known(t); err != nil {
		return nil, err
	}
	return &xregister.Query{
		Registered:   true,
		Instructions: "You have an account. Send its name and a new password to change the password.",
		Fields: []xregister.Field{
			{Name: xregister.Username, Value: strings.Clone(t.From.Local())},
			{Name: xregister.Password},
		},
	}, nil
}
