package c2s

import (
	"context"
	"crypto/tls"
	"runtime/debug"
	"time"

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
	limits.Skip = max(8*limits.Bytes, minSkip)
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

// minSkip is the size up to which, at least, a stanza that is too large is bounced
// and the stream goes on. While somebody logs in there is no such grace.
const minSkip = 4 << 20

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
	release, err := c.server.admitHandshake(ctx)
	if err != nil {
		return err
	}
	defer release()
	return c.conn.StartTLS(ctx, c.server.tls(""))
}

func (s *Server) admitHandshake(ctx context.Context) (release func(), err error) {
	slots := *s.handshakes.Load()
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
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
		negotiate.StartTLS{Config: s.tls(host.Domain()), Timeout: c.config.Limits.Handshake, Admit: s.admitHandshake},
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
	return negotiate.SASL{Backend: guard{login, c, host}, Only: accounts.Mechanisms(), Refused: c.refused, Certified: c.certified()}
}

// Bind implements negotiate.Binder: the owner of the account learns of the
// session.
func (c *client) Bind(ctx context.Context, user jid.JID, resource string) (jid.JID, error) {
	c.proved(ctx, user)
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

// proved notes that the client has logged in. What was guessed of the password
// before is forgotten, unless it was by a token, which says nothing of the password:
// a device does not help who guesses.
func (c *client) proved(ctx context.Context, user jid.JID) {
	if c.guessed {
		c.server.byName.Succeeded(user.String())
	}
	if c.proof == nil {
		return
	}
	if err := c.proof.Used(ctx); err != nil {
		c.server.log.Warn("the use of an app password is not noted", "account", user.String(), "error", err)
	}
}

// attempt notes that the client tries to log in, by what, and to which account, if
// it has said so.
func (c *client) attempt(by account.Method, name string) {
	c.by, c.tried, c.guessed, c.proof, c.agent = by, name, by != account.ByToken, nil, negotiate.UserAgent{}
}

// means returns what the client has logged in by; nil: by the password, and it does
// not say what it is.
func (c *client) means(user jid.JID) *account.Means {
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
	if c.server.accounts.Revoked(user, c.begun, by.Accesses()...) {
		return stream.ErrReset.With("what you have logged in by was revoked meanwhile")
	}
	return nil
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

// refused counts a failed attempt to log in.
func (c *client) refused(_ context.Context, st *negotiate.State, f *sasl.Failure) {
	s := c.server
	if f.Condition != sasl.NotAuthorized {
		if f.Err != nil {
			s.log.Warn("log-in failed", "stream", st.ID, "remote", c.conn.RemoteAddr().String(), "account", c.tried, "error", f.Err)
		}
		return
	}
	s.failedLogins.Add(1)
	now := time.Now()
	if c.tried != "" && c.guessed {
		s.byName.Failed(c.tried, now)
	}
	s.bySource.Failed(c.source, now)
	s.log.Info("log-in refused", "stream", st.ID, "remote", c.conn.RemoteAddr().String(), "account", c.tried, "why", f.Err)
}

// guard makes those wait who fail to log in too often.
type guard struct {
	*factor.Login
	c    *client
	host jid.JID
}

// SCRAM implements sasl.Backend.
func (g guard) SCRAM(ctx context.Context, username, hash string) (sasl.Keys, error) {
	if err := g.pause(ctx, username); err != nil {
		return sasl.Keys{}, err
	}
	g.c.proof = g.Login
	return g.Login.SCRAM(ctx, username, hash)
}

// Plain implements sasl.Backend.
func (g guard) Plain(ctx context.Context, username, password string) error {
	if err := g.pause(ctx, username); err != nil {
		return err
	}
	g.c.proof = g.Login
	return g.Login.Plain(ctx, username, password)
}

// External implements sasl.ExternalBackend. There is nothing to be guessed.
func (g guard) External(ctx context.Context, username string) error {
	g.c.attempt(account.ByCertificate, username+"@"+g.host.Domain())
	g.c.begun = g.c.server.accounts.Moment()
	return g.Login.External(ctx, username)
}

// Token implements sasl.TokenBackend. Whose the token is shows when it is
// verified: before that only the address can have to wait.
func (g guard) Token(ctx context.Context, token string) (string, error) {
	g.c.attempt(account.ByGrant, "")
	now := time.Now()
	if err := wait(ctx, now, g.c.server.bySource.Wait(g.c.source, now)); err != nil {
		return "", err
	}
	g.c.begun = g.c.server.accounts.Moment()
	username, err := g.Login.Token(ctx, token)
	if err == nil {
		g.c.tried = username + "@" + g.host.Domain()
	}
	return username, err
}

// pause waits for as long as the account or the address has to.
func (g guard) pause(ctx context.Context, username string) error {
	return g.c.pause(ctx, username+"@"+g.host.Domain())
}

// pause waits for as long as the account or the address has to. Both wait alike
// whether the account exists or not.
func (c *client) pause(ctx context.Context, name string) error {
	s, now := c.server, time.Now()
	c.attempt(account.ByPassword, name)
	err := wait(ctx, now, max(s.byName.Wait(name, now), s.bySource.Wait(c.source, now)))
	c.begun = s.accounts.Moment()
	return err
}

func wait(ctx context.Context, now time.Time, d time.Duration) error {
	if d == 0 {
		return nil
	}
	if deadline, ok := ctx.Deadline(); ok && now.Add(d).After(deadline) {
		return &sasl.Failure{Condition: sasl.TemporaryAuthFailure, Text: "too many failed log-ins; try again later"}
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
