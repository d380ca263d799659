package c2s

import (
	"context"
	"errors"
	"slices"

	"kith/server/account"
	"kith/server/factor"
	"kith/server/module"
	"kith/server/route"
	"kith/xmpp/jid"
	"kith/xmpp/negotiate"
	"kith/xmpp/ns"
	"kith/xmpp/sasl"
	xmfa "kith/xmpp/xep/mfa"
	"kith/xmpp/xmltree"
)

// sasl2 is the log-in by XEP-0388, by the mechanisms of the one of RFC 6120.
func (c *client) sasl2(h *module.Host) negotiate.SASL2 {
	mechanisms := c.sasl(h.Domain, true)
	step := negotiate.SASL2{
		SASL:        mechanisms,
		Establisher: c,
		Features:    append(h.InlineFeatures(), ns.Acks),
		Tasks:       c.secondFactor,
	}
	// Of people from elsewhere we do not learn when they change their password, which
	// has to end their tokens; nor do we keep keys for them.
	if slices.Contains(mechanisms.Only, sasl.ScramSHA256) && !slices.Contains(mechanisms.Only, sasl.OAuthBearer) {
		step.Tokens = &tokens{c}
		upgrades := negotiate.Upgrades(c.server.accounts.Upgrader(h.Domain), sasl.SHA256, sasl.SHA512)
		step.Tasks = negotiate.InTurn(c.secondFactor, func(ctx context.Context, p negotiate.Pending) ([]negotiate.Task, error) {
			if c.proof != nil && c.proof.ByApp() { // an app's password is not to become the account's
				return nil, nil
			}
			return upgrades(ctx, p)
		})
		step.Upgrades = []string{negotiate.UpgradeName(sasl.SHA256), negotiate.UpgradeName(sasl.SHA512)}
	}
	return step
}

// secondFactor asks for the code of an account whose password was proved, if it
// has a second factor.
func (c *client) secondFactor(_ context.Context, p negotiate.Pending) ([]negotiate.Task, error) {
	c.agent = p.Request.Agent
	if c.proof == nil || slices.Contains(p.Done, xmfa.Task) {
		return nil, nil
	}
	if j, wanted := c.proof.Wanted(); wanted && j.Local() == p.User {
		return []negotiate.Task{&codeTask{c.server.factors, j}}, nil
	}
	return nil, nil
}

// codeTask takes a code.
type codeTask struct {
	factors *factor.Store
	account jid.JID
}

// Name implements negotiate.Task.
func (*codeTask) Name() string { return xmfa.Task }

// Next implements negotiate.Task. The client may give the code at once.
func (t *codeTask) Next(ctx context.Context, el xmltree.Element) (xmltree.Appender, bool, error) {
	code := xmfa.ParseCode(el)
	if code == "" {
		return nil, false, nil
	}
	err := t.factors.Check(ctx, t.account, string(code))
	switch {
	case errors.Is(err, factor.ErrCode):
		return nil, false, &sasl.Failure{Condition: sasl.NotAuthorized, Text: "the code is wrong, or was used before"}
	case errors.Is(err, factor.ErrTooMany):
		return nil, false, &sasl.Failure{Condition: sasl.TemporaryAuthFailure, Text: "too many wrong codes; try again later"}
	}
	return nil, err == nil, err
}

var nameInactive = xmltree.Name{Space: ns.CSI, Local: "inactive"}

// Bind2 implements negotiate.Establisher (XEP-0386 §3.2). What the client has asked
// for holds before anybody knows of the session.
func (c *client) Bind2(ctx context.Context, st *negotiate.State, a *negotiate.Authenticate) (jid.JID, []xmltree.Appender, error) {
	c.proved(ctx, st.User)
	tag, agent := a.Bind.Tag, a.Agent.ID
	if !c.temporary.IsZero() { // XEP-0175 §3, the first rule
		tag, agent = "", ""
	}
	full, err := c.server.accounts.Resource(st.User, tag, agent)
	if err != nil {
		return jid.JID{}, nil, err
	}
	s := c.open(full)
	by := c.means(st.User)
	w := route.Wanted{Limit: c.config.Limits.Sessions, Means: by, Asked: a.Bind.Asked}
	if by != nil {
		w.Device = by.Device
	}
	var enabled *negotiate.Enabled
	for el := range a.Bind.Asked {
		switch el.Name() {
		case negotiate.NameEnable:
			if enabled == nil {
				e := c.manage(s, negotiate.ParseEnable(el))
				s.EnableAcks(nil) // all that the session sends comes behind <success/>
				enabled, w.Confirms = &e, true
			}
		case nameInactive:
			s.SetInactive(true)
			w.Inactive = true
		}
	}
	answers, err := c.server.router.Bind(ctx, s, w)
	if err != nil {
		c.server.forget(s)
		return jid.JID{}, nil, err
	}
	if err := c.stillValid(st.User, by); err != nil {
		c.server.over(s)
		return jid.JID{}, nil, err
	}
	if enabled != nil {
		answers = append(answers, enabled)
		st.SM = enabled
	}
	c.take(s)
	return full, answers, nil
}

// tokens keeps the tokens of the client of a stream.
type tokens struct{ c *client }

// Use implements negotiate.Tokens. Tokens cannot be guessed: an address that tries
// it waits, but who guesses the password of an account does not keep its devices
// out.
func (t *tokens) Use(ctx context.Context, user jid.JID, u negotiate.TokenUse, proves func([]byte) bool) (bool, error) {
	if err := t.c.begin(ctx, account.ByToken, user.String()); err != nil {
		return false, err
	}
	t.c.agent = u.Agent
	return t.c.server.accounts.UseToken(ctx, user, u, proves)
}

// Issue implements negotiate.Tokens. A log-in that has succeeded does not fail for
// want of a token.
func (t *tokens) Issue(ctx context.Context, user jid.JID, agent negotiate.UserAgent, mechanism string) *negotiate.GivenToken {
	if t.c.proof != nil && t.c.proof.ByApp() { // it would outlive the app's password
		return nil
	}
	token, expiry, err := t.c.server.accounts.IssueToken(ctx, user, agent, mechanism)
	if err != nil {
		t.c.server.log.Warn("no token is given", "account", user.String(), "error", err)
		return nil
	}
	// What is revoked from now on finds it.
	if t.c.revoked(user, t.c.means(user)) {
		if err := t.Revoke(ctx, user, agent); err != nil {
			t.c.server.log.Warn("a token is given out to nobody", "account", user.String(), "error", err)
		}
		return nil
	}
	return &negotiate.GivenToken{Token: token, Expiry: expiry}
}

// Revoke implements negotiate.Tokens.
func (t *tokens) Revoke(ctx context.Context, user jid.JID, agent negotiate.UserAgent) error {
	_, err := t.c.server.accounts.RevokeTokens(ctx, user, t.c.server.accounts.Device(user, agent.ID))
	return err
}
