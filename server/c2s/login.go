package c2s

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"runtime/debug"

	"golang.org/x/time/rate"

	"kith/server/account"
	"kith/server/factor"
	"kith/server/module"
	"kith/server/route"
	"kith/server/session"
	"kith/xmpp/jid"
	"kith/xmpp/negotiate"
	"kith/xmpp/sasl"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

// login negotiates the stream up to a bound session.
func (c *client) login(direct bool) (err error) {
	defer func() {
		if v := recover(); v != nil {
			c.server.log.Error("panic in a log-in", "stream", c.id, "panic", v, "stack", string(debug.Stack()))
			err = stream.ErrInternalServerError
			c.conn.Close(err)
		}
		if err != nil && c.session != nil { // bound, and lost before its reader began
			c.left(err)
			c.session = nil
		}
	}()
	l := &c.config.Limits
	ctx, cancel := context.WithTimeout(context.Background(), l.Login)
	defer cancel()
	c.giveUp.Store(&cancel)
	defer c.giveUp.Store(nil)
	if direct {
		if err := c.handshake(ctx); err != nil {
			c.conn.Close(err)
			return err
		}
	}
	st, err := negotiate.Serve(ctx, c.conn, negotiate.ServerOptions{
		Steps:       c.steps,
		Default:     c.config.Hosts[0],
		TLSRequired: !c.config.Local,
		Limits:      c.limits(),
	})
	c.id = st.ID
	if err != nil {
		return err
	}
	limits := c.limits()
	limits.Skip = l.Skip(l.Stanza)
	c.conn.SetLimits(limits)
	if l.StanzaRate > 0 {
		c.stanzas = rate.NewLimiter(rate.Limit(l.StanzaRate), l.StanzaBurst)
	}
	if l.ByteRate > 0 {
		c.bytes = rate.NewLimiter(rate.Limit(l.ByteRate), int(l.ByteBurst))
	}
	if st.Mechanism == sasl.External {
		c.expire()
	}
	c.session.Start()
	return nil
}

// limits of what a client may send once it has logged in.
func (c *client) limits() xmltree.Limits {
	l := &c.config.Limits
	return xmltree.Limits{Bytes: int(l.Stanza), Depth: l.Depth, Elements: l.Elements, Attrs: l.Attributes, Namespaces: l.Namespaces}
}

// handshake begins TLS on a connection to the direct port. Only so many are
// under way at once; the time of the others runs.
func (c *client) handshake(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.config.Limits.Handshake)
	defer cancel()
	release, err := c.server.handshakes.Enter(ctx)
	if err != nil {
		return err
	}
	defer release()
	return c.conn.StartTLS(ctx, c.server.tls(""))
}

// steps are the features of a host in the order in which they are offered.
func (c *client) steps(host jid.JID) []negotiate.Step {
	s := c.server
	h := s.router.Host(host.Domain())
	if h == nil {
		return nil
	}
	backend := c.sasl(host, false)
	steps := []negotiate.Step{
		negotiate.StartTLS{Config: s.tls(host.Domain()), Timeout: c.config.Limits.Handshake, Admit: s.handshakes.Enter},
		c.sasl2(h),
		backend,
		c.early(h),
		negotiate.Limits{
			Before: negotiate.MaxLimits{Bytes: int(c.config.Limits.StanzaBeforeLogin)},
			After:  negotiate.MaxLimits{Bytes: int(c.config.Limits.Stanza), Idle: c.config.Limits.PingAfter},
		},
		negotiate.SM{Resumer: c},
		negotiate.Session{},
		negotiate.Bind{Binder: c},
	}
	for _, f := range h.StreamFeatures() {
		steps = append(steps, negotiate.Notice{Feature: f})
	}
	return append(steps, negotiate.Version{})
}

// sasl is the log-in by RFC 6120; asks says that the client can be asked for a code
// afterwards.
func (c *client) sasl(host jid.JID, asks bool) negotiate.SASL {
	accounts := c.server.accounts.Backend(host)
	login := &factor.Login{Backend: accounts, Store: c.server.factors, Host: host, Asks: asks}
	return negotiate.SASL{Backend: guard{login, c, host}, Only: accounts.Mechanisms(), Refused: c.refused, Accepted: c.accepted, Certified: c.certified()}
}

// Bind implements negotiate.Binder: the owner of the account learns of the
// session.
func (c *client) Bind(ctx context.Context, user jid.JID, resource string) (jid.JID, error) {
	c.proved(ctx, user)
	if !c.temporary.IsZero() { // XEP-0175 §3, the first rule
		resource = rand.Text()
	}
	full, err := user.WithResource(resource)
	if err != nil {
		return jid.JID{}, stanza.ErrBadRequest
	}
	s := c.open(full.Clone())
	by := c.means(user)
	if _, err := c.server.router.Bind(ctx, s, route.Wanted{Limit: c.config.Limits.Sessions, Means: by}); err != nil {
		return jid.JID{}, err
	}
	if err := c.stillValid(user, by); err != nil {
		c.server.router.Ended(s)
		return jid.JID{}, err
	}
	c.take(s)
	return s.JID, nil
}

// proved notes by what the client has logged in.
func (c *client) proved(ctx context.Context, user jid.JID) {
	if c.proof == nil {
		return
	}
	if err := c.proof.Used(ctx); err != nil {
		c.server.log.Warn("the use of an app password is not noted", "account", user.String(), "error", err)
	}
}

// means returns what the client has logged in by; nil: by the password, and it does
// not say what it is, or by nothing.
func (c *client) means(user jid.JID) *account.Means {
	if c.by == 0 {
		return nil
	}
	m := account.Means{By: c.by, Device: c.server.accounts.Device(user, c.agent.ID), Software: c.agent.Software, Name: c.agent.Device}
	if c.proof != nil && c.proof.ByApp() {
		m.By, m.App = account.ByApp, c.proof.App()
	}
	if m == (account.Means{By: account.ByPassword}) {
		return nil
	}
	return &m
}

// stillValid fails if what the client has logged in by was revoked since it began.
// It is asked once the session can be found: what is revoked later ends it.
func (c *client) stillValid(user jid.JID, by *account.Means) error {
	if c.revoked(user, by) {
		return stream.ErrReset.With("what you have logged in by was revoked meanwhile")
	}
	return nil
}

func (c *client) revoked(user jid.JID, by *account.Means) bool {
	list := by.Accesses()
	if c.by&(account.ByPassword|account.ByToken) != 0 {
		list = append(list, account.Ours)
	}
	return c.server.accounts.Revoked(user, c.begun, list...)
}

// open makes a session on the stream, of which nobody knows yet.
func (c *client) open(full jid.JID) *session.Session {
	l := &c.config.Limits
	in := session.NewInbound(l.Credit, int(l.CreditBytes), nil)
	s := session.New(session.NewID(), full, c.conn, in, sessionLimits(l))
	s.Remote, s.Secure = c.conn.RemoteAddr().String(), c.secure()
	c.server.watch(s)
	return s
}

// secure returns the version of TLS, "" without.
func (c *client) secure() string {
	state := c.conn.TLS()
	if state == nil {
		return ""
	}
	return tls.VersionName(state.Version)
}

// early answers what a client may ask before it has logged in.
func (c *client) early(h *module.Host) negotiate.Register {
	var r negotiate.Register
	if len(h.Earlies()) == 0 {
		return r
	}
	for _, e := range h.Earlies() {
		if e.Feature != nil {
			r.Features = append(r.Features, e.Feature)
		}
		r.Names = append(r.Names, e.Name)
	}
	who := &module.Stranger{Source: c.source}
	r.Answer = func(ctx context.Context, _ *negotiate.State, iq *stanza.Stanza) (xmltree.Appender, error) {
		for _, e := range h.Earlies() {
			if iq.Payload().Is(e.Name) {
				return e.Answer(ctx, who, iq.Type, iq.Payload())
			}
		}
		return nil, stanza.ErrNotAllowed
	}
	return r
}
