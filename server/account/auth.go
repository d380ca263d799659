package account

import (
	"context"
	"errors"
	"fmt"

	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpp/sasl"
)

// Backend answers the SASL mechanisms for the accounts of one host.
func (s *Store) Backend(host jid.JID) Backend {
	return Backend{s, host.Domain(), s.peopleOf(host.Domain())}
}

// Backend implements sasl.ExternalBackend and sasl.TokenBackend.
type Backend struct {
	s      *Store
	domain string
	people People
}

// Local reports whether passwords are checked here, and not by a directory.
func (b Backend) Local() bool { return b.people.Directory == nil }

// SCRAM returns the keys of an account. Who does not exist, or is locked out,
// has keys too, made up: nobody can tell by asking.
func (b Backend) SCRAM(ctx context.Context, username, hash string) (sasl.Keys, error) {
	j, err := jid.New(username, b.domain, "")
	if err != nil { // no account has such a name
		return sasl.FakeKeys(b.s.secret, username+"@"+b.domain, hash, Iterations), nil //nolint:nilerr // who asks must not learn it
	}
	// By the address in its one form, for an account too has one salt, however
	// its name is spelt.
	fake := sasl.FakeKeys(b.s.secret, j.String(), hash, Iterations)
	if b.people.Directory != nil { // whatever is kept here, it is not to be logged in with
		return fake, nil
	}
	k, err := b.s.read(ctx, j, hash)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return fake, nil
	case err != nil:
		return sasl.Keys{}, fmt.Errorf("read keys of %s: %w", j, err)
	}
	return k, nil
}

// External implements sasl.ExternalBackend. Who has proved who he is may be told
// that his account is locked.
func (b Backend) External(ctx context.Context, username string) error {
	if d := b.people.Directory; d != nil {
		p, err := d.Find(ctx, username)
		return b.directory(ctx, username, p, err)
	}
	j, err := jid.New(username, b.domain, "")
	if err != nil {
		return &sasl.Failure{Condition: sasl.NotAuthorized, Err: err}
	}
	switch st, err := b.s.Load(ctx, j, nil); {
	case err != nil:
		return err
	case st.ID == 0:
		return &sasl.Failure{Condition: sasl.NotAuthorized}
	case st.Disabled:
		return &sasl.Failure{Condition: sasl.AccountDisabled}
	}
	return nil
}

// Plain checks a password, when it is its turn, or has the directory do so.
func (b Backend) Plain(ctx context.Context, username, password string) error {
	if d := b.people.Directory; d != nil {
		p, err := d.Check(ctx, username, password)
		return b.directory(ctx, username, p, err)
	}
	k, hash, err := b.s.plain(ctx, username, b.domain)
	if err != nil {
		return err
	}
	return b.s.CheckPassword(ctx, k, hash, password)
}

// PlainHash returns the hash of the keys by which Plain checks a password.
func (b Backend) PlainHash(ctx context.Context, username string) (string, error) {
	_, hash, err := b.s.plain(ctx, username, b.domain)
	return hash, err
}
