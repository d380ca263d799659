package c2s

import (
	"context"
	"errors"
	"time"

	"kith/server/account"
	"kith/server/factor"
	"kith/server/limit"
	"kith/xmpp/jid"
	"kith/xmpp/negotiate"
	"kith/xmpp/sasl"
)

// attempt is an attempt to log in. While it is under way it counts, for its account
// and its address, as one that has failed: who tries several at once gains nothing
// by it.
type attempt struct {
	tried    string         // the account that the client last tried to log in to; "": it is not known
	by       account.Method // what by; 0: by nothing
	guessed  bool           // that can be guessed
	byName   bool           // it is under way, and counted for the account
	bySource bool           // and for the address
	told     bool           // the client has been told that it is wrong, and it is counted
}

// ending is how an attempt ends.
type ending int

const (
	// drop: nobody has learnt anything.
	drop ending = iota
	// fail: it was wrong.
	fail
	// succeed: the client is in. What was guessed of the password before is forgotten,
	// unless it was by a token, which says nothing of the password: a device does not
	// help who guesses. Nor does an account help who guesses others.
	succeed
)

// try notes what the client tries to log in by, and to which account, if it has said
// so. It ends the attempt before.
func (c *client) try(by account.Method, name string) {
	c.over(drop)
	c.attempt = attempt{tried: name, by: by, guessed: by != account.ByToken && by != 0}
	c.proof, c.agent = nil, negotiate.UserAgent{}
}

// begin begins an attempt on an account, "" if it will show whose it is, when its
// turn comes: the address waits, and if it is by what can be guessed, the account.
// Both wait alike whether the account exists or not.
func (c *client) begin(ctx context.Context, by account.Method, name string) error {
	c.try(by, name)
	s := c.server
	// The address first: who has to wait for that takes nothing from the account.
	err := s.bySource.Begin(ctx, c.source)
	if err == nil {
		c.bySource = true
		if name != "" && c.guessed {
			err = s.byName.Begin(ctx, name)
			c.byName = err == nil
		}
	}
	c.begun = s.accounts.Moment()
	if err == nil {
		return nil
	}
	c.over(drop)
	if errors.Is(err, limit.ErrWait) {
		return &sasl.Failure{Condition: sasl.TemporaryAuthFailure, Text: "too many failed log-ins; try again later"}
	}
	return err
}

// over ends the attempt under way, if there is one.
func (c *client) over(how ending) {
	s, now := c.server, time.Now()
	switch {
	case c.bySource && how == fail:
		s.bySource.Fail(c.source, now)
	case c.bySource:
		s.bySource.Drop(c.source)
	case how == fail:
		s.bySource.Failed(c.source, now)
	}
	switch {
	case c.byName && how == fail:
		s.byName.Fail(c.tried, now)
	case c.byName && how == succeed:
		s.byName.Succeed(c.tried)
	case c.byName:
		s.byName.Drop(c.tried)
	case c.tried == "" || !c.guessed:
	case how == fail:
		s.byName.Failed(c.tried, now)
	case how == succeed:
		s.byName.Succeeded(c.tried)
	}
	c.bySource, c.byName = false, false
}

// refused ends an attempt to log in that has failed.
func (c *client) refused(_ context.Context, st *negotiate.State, f *sasl.Failure) {
	s := c.server
	c.vanish()
	defer func() { c.attempt = attempt{} }() // what else may be wrong is not of this one
	if f.Condition != sasl.NotAuthorized {
		c.over(drop)
		if f.Err != nil {
			s.log.Warn("log-in failed", "stream", st.ID, "remote", c.conn.RemoteAddr().String(), "account", c.tried, "error", f.Err)
		}
		return
	}
	s.failedLogins.Add(1)
	if !c.told {
		c.over(fail)
	}
	s.log.Info("log-in refused", "stream", st.ID, "remote", c.conn.RemoteAddr().String(), "account", c.tried, "why", f.Err)
}

// accepted ends an attempt to log in that has succeeded.
func (c *client) accepted(*negotiate.State) { c.over(succeed) }

// vanish ends the account that was made for the stream, if it has got no session.
func (c *client) vanish() {
	if !c.temporary.IsZero() {
		c.server.accounts.Vanish(c.temporary)
		c.temporary = jid.JID{}
	}
}

// guard makes those wait who fail to log in too often.
type guard struct {
	*factor.Login
	c    *client
	host jid.JID
}

// SCRAM implements sasl.Backend.
func (g guard) SCRAM(ctx context.Context, username, hash string) (sasl.Keys, error) {
	if err := g.begin(ctx, username); err != nil {
		return sasl.Keys{}, err
	}
	return g.Login.SCRAM(ctx, username, hash)
}

// Plain implements sasl.Backend.
func (g guard) Plain(ctx context.Context, username, password string) error {
	if err := g.begin(ctx, username); err != nil {
		return err
	}
	return g.Login.Plain(ctx, username, password)
}

// begin begins an attempt by a password.
func (g guard) begin(ctx context.Context, username string) error {
	if err := g.c.begin(ctx, account.ByPassword, username+"@"+g.host.Domain()); err != nil {
		return err
	}
	g.c.proof = g.Login
	return nil
}

// External implements sasl.ExternalBackend. There is nothing to be guessed.
func (g guard) External(ctx context.Context, username string) error {
	g.c.try(account.ByCertificate, username+"@"+g.host.Domain())
	g.c.begun = g.c.server.accounts.Moment()
	return g.Login.External(ctx, username)
}

// Token implements sasl.TokenBackend. Whose the token is shows when it is
// verified: before that only the address can have to wait.
func (g guard) Token(ctx context.Context, token string) (string, error) {
	if err := g.c.begin(ctx, account.ByGrant, ""); err != nil {
		return "", err
	}
	username, err := g.Login.Token(ctx, token)
	switch _, refused := errors.AsType[*sasl.TokenRefusal](err); {
	case err == nil:
		g.c.tried = username + "@" + g.host.Domain()
	case refused: // as the client learns at once: it need not wait for the failure (RFC 7628 §3.2.3)
		g.c.over(fail)
		g.c.told = true
	}
	return username, err
}

// Anonymous implements sasl.AnonymousBackend.
func (g guard) Anonymous(ctx context.Context) (string, error) {
	g.c.try(0, "")
	g.c.vanish()
	g.c.begun = g.c.server.accounts.Moment()
	j, err := g.Login.Anonymous(ctx, g.c.source)
	g.c.temporary = j
	return j.Local(), err
}
