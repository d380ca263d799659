// Package register implements XEP-0077: In-Band Registration: making an account
// before one logs in, changing its password and giving it up.
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
	xregister "kith/xmpp/xep/register"
	"kith/xmpp/xmltree"
)

// Module is the module.
var Module = module.Define("register", attach, module.XEP(77, "2.4").Partly("without the numeric error codes of XEP-0086"))

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
	config  Config
	tried   *limit.Rate // names asked for, by source
	made    *limit.Rate // accounts made, by source
	changed *limit.Rate // passwords changed, by account
}

func attach(h *module.Host, c Config) error {
	limits := h.Config.Registration
	r := &register{
		host: h, config: c,
		tried:   limit.NewRate(triesPerAccount*limits.PerIP, limits.Per),
		made:    limit.NewRate(limits.PerIP, limits.Per),
		changed: limit.NewRate(changes, changesPer),
	}
	open := h.Config.RegistrationMode(h.Domain) == config.Open
	if open {
		h.BeforeLogin(module.Early{Feature: xregister.Feature{}, Name: xregister.Name, Answer: r.early})
	}
	if open || c.PasswordChange || c.Removal {
		h.DiscoFeature(ns.Register)
	}
	h.IQ(stanza.Get, xregister.Name, module.ToServer|module.ToAccount, r.registered)
	h.Query(stanza.Set, xregister.Name, module.ToServer|module.ToAccount, r.change)
	return nil
}

// early answers who has not logged in.
func (r *register) early(ctx context.Context, source, typ string, payload xmltree.Element) (xmltree.Appender, error) {
	if typ == stanza.Get {
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
	return nil, r.create(ctx, source, q.Value(xregister.Username), q.Value(xregister.Password))
}

// create makes an account, if the source may have one more.
func (r *register) create(ctx context.Context, source, username, password string) error {
	if username == "" || password == "" { // XEP-0077 §3.1
		return stanza.ErrNotAcceptable.With("A name and a password are needed.")
	}
	j, err := newAddress(username, r.host.Domain)
	if err != nil {
		return err
	}
	now := time.Now()
	if !r.tried.Allow(source, now) {
		return tooMany()
	}
	if err := r.host.Accounts.Available(ctx, j); err != nil {
		return failed(err)
	}
	if !r.made.Allow(source, now) {
		return tooMany()
	}
	if err := r.host.Accounts.Create(ctx, j, password, false); err != nil {
		return failed(err)
	}
	r.host.Log.Info("account registered", "account", j, "source", source)
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
	case errors.Is(err, account.ErrMixed):
		return stanza.ErrNotAcceptable.With("This name mixes scripts, so that it could be taken for another one.")
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
