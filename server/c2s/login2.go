package c2s

import (
	"context"
	"slices"
	"time"

	"kith/server/module"
	"kith/server/route"
	"kith/xmpp/jid"
	"kith/xmpp/negotiate"
	"kith/xmpp/ns"
	"kith/xmpp/sasl"
	"kith/xmpp/xmltree"
)

// sasl2 is the log-in by XEP-0388, by the mechanisms of the one of RFC 6120.
func (c *client) sasl2(h *module.Host, mechanisms negotiate.SASL) negotiate.SASL2 {
	step := negotiate.SASL2{
		SASL:        mechanisms,
		Establisher: c,
		Features:    append(h.InlineFeatures(), ns.Acks),
	}
	// Of people from elsewhere we do not learn when they change their password, which
	// has to end their tokens; nor do we keep keys for them.
	if slices.Contains(mechanisms.Only, sasl.ScramSHA256) && !slices.Contains(mechanisms.Only, sasl.OAuthBearer) {
		step.Tokens = &tokens{c}
		step.Tasks = negotiate.Upgrades(c.server.accounts.Upgrader(h.Domain), sasl.SHA256, sasl.SHA512)
		step.Upgrades = []string{negotiate.UpgradeName(sasl.SHA256), negotiate.UpgradeName(sasl.SHA512)}
	}
	return step
}

var nameInactive = xmltree.Name{Space: ns.CSI, Local: "inactive"}

// Bind2 implements negotiate.Establisher (XEP-0386 §3.2). What the client has asked
// for holds before anybody knows of the session.
func (c *client) Bind2(ctx context.Context, st *negotiate.State, a *negotiate.Authenticate) (jid.JID, []xmltree.Appender, error) {
	c.server.byName.Succeeded(st.User.String())
	full, err := c.server.accounts.Resource(st.User, a.Bind.Tag, a.Agent.ID)
	if err != nil {
		return jid.JID{}, nil, err
	}
	s := c.open(full)
	w := route.Wanted{
		Limit: c.config.Limits.Sessions, Device: c.server.accounts.Device(st.User, a.Agent.ID),
		Asked: a.Bind.Asked,
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
	now := time.Now()
	t.c.tried, t.c.guessed = user.String(), false
	if err := wait(ctx, now, t.c.server.bySource.Wait(t.c.source, now)); err != nil {
		return false, err
	}
	return t.c.server.accounts.UseToken(ctx, user, u, proves)
}

// Issue implements negotiate.Tokens. A log-in that has succeeded does not fail for
// want of a token.
func (t *tokens) Issue(ctx context.Context, user jid.JID, agent negotiate.UserAgent, mechanism string) *negotiate.GivenToken {
	token, expiry, err := t.c.server.accounts.IssueToken(ctx, user, agent, mechanism)
	if err != nil {
		t.c.server.log.Warn("no token is given", "account", user.String(), "error", err)
		return nil
	}
	return &negotiate.GivenToken{Token: token, Expiry: expiry}
}

// Revoke implements negotiate.Tokens.
func (t *tokens) Revoke(ctx context.Context, user jid.JID, agent negotiate.UserAgent) error {
	_, err := t.c.server.accounts.RevokeTokens(ctx, user, t.c.server.accounts.Device(user, agent.ID))
	return err
}
