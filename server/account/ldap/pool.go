package ldap

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"

	"kith/server/config"
	"kith/xmpp/sasl"
)

const (
	// idleFor is how long a connection is kept that nobody uses.
	idleFor = time.Minute
	// awayFor is how long a directory that did not answer is not asked again: those
	// who log in meanwhile would wait for nothing.
	awayFor = 2 * time.Second
)

// errAway is told without asking.
var errAway = errors.New("the directory did not answer a moment ago")

// pool is a bounded number of connections.
type pool struct {
	conf  config.LDAP
	roots *x509.CertPool // nil: those of the system
	slots chan struct{}  // one for each connection in use

	mu     sync.Mutex // guards what follows
	idle   []*conn
	away   time.Time // until when it is not asked
	closed bool
}

// conn is a connection, and as whom it is bound.
type conn struct {
	*ldap.Conn
	as   identity
	used time.Time
}

// hangUp closes the connection. That it had been closed before is nobody's concern.
func (c *conn) hangUp() {
	c.Close() //nolint:errcheck // see above
}

type identity int

const (
	nobody  identity = iota // as it begins
	service                 // bind_dn
	another                 // somebody whose password was checked
)

func newPool(conf config.LDAP) (*pool, error) {
	p := &pool{conf: conf, slots: make(chan struct{}, conf.Connections)}
	if conf.CA != "" {
		pem, err := os.ReadFile(conf.CA)
		if err != nil {
			return nil, fmt.Errorf("load the authority of the directory: %w", err)
		}
		p.roots = x509.NewCertPool()
		if !p.roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("load the authority of the directory: %s holds no certificate as PEM", conf.CA)
		}
	}
	return p, nil
}

// with calls f with a connection. One that was kept may have been dropped by the
// directory meanwhile: then f is called again, with a new one.
func (p *pool) with(ctx context.Context, f func(*conn) error) error {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("wait for the directory: %w", ctx.Err())
	}
	defer func() { <-p.slots }()
	if c := p.take(); c != nil {
		err := f(c)
		if p.give(c, err); err == nil || answered(err) {
			return err
		}
	}
	c, err := p.dial(ctx)
	if err != nil {
		return fmt.Errorf("connect to the directory: %w", err)
	}
	err = f(c)
	p.give(c, err)
	return err
}

// answered reports whether an error is the directory's answer, and not the end of a
// connection.
func answered(err error) bool {
	if _, ok := errors.AsType[*sasl.Failure](err); ok {
		return true
	}
	e, ok := errors.AsType[*ldap.Error](err)
	return ok && e.ResultCode < ldap.ErrorNetwork && e.ResultCode != ldap.LDAPResultUnavailable
}

// take returns a connection that is kept, nil if there is none.
func (p *pool) take() *conn {
	p.mu.Lock()
	var c *conn
	var old []*conn
	for len(p.idle) > 0 && c == nil {
		last := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		if last.IsClosing() || time.Since(last.used) > idleFor {
			old = append(old, last)
		} else {
			c = last
		}
	}
	p.mu.Unlock()
	for _, o := range old {
		o.hangUp()
	}
	return c
}

// give keeps a connection for the next, unless something went wrong with it. That
// somebody is refused is nothing wrong.
func (p *pool) give(c *conn, err error) {
	_, refused := errors.AsType[*sasl.Failure](err)
	p.mu.Lock()
	keep := !p.closed && (err == nil || refused)
	if keep {
		c.used = time.Now()
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	if !keep {
		c.hangUp()
	}
}

func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, c := range idle {
		c.hangUp()
	}
}

// dial connects to the first of the URLs that answers.
func (p *pool) dial(ctx context.Context) (*conn, error) {
	p.mu.Lock()
	away := time.Now().Before(p.away)
	p.mu.Unlock()
	if away {
		return nil, errAway
	}
	var errs []error
	for _, text := range p.conf.URL {
		c, err := p.dialOne(ctx, text)
		if err == nil {
			return c, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", text, err))
	}
	if ctx.Err() == nil {
		p.mu.Lock()
		p.away = time.Now().Add(awayFor)
		p.mu.Unlock()
	}
	return nil, errors.Join(errs...)
}

func (p *pool) dialOne(ctx context.Context, text string) (*conn, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, err
	}
	secure := &tls.Config{ServerName: u.Hostname(), RootCAs: p.roots, MinVersion: tls.VersionTLS12}
	ctx, cancel := context.WithTimeout(ctx, p.conf.Timeout)
	defer cancel()
	port := u.Port()
	if port == "" {
		port = map[string]string{"ldaps": "636", "ldap": "389"}[u.Scheme]
	}
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return nil, err
	}
	if u.Scheme == "ldaps" {
		over := tls.Client(raw, secure)
		if err := over.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, err
		}
		raw = over
	}
	c := &conn{Conn: ldap.NewConn(raw, u.Scheme == "ldaps")}
	c.SetTimeout(p.conf.Timeout)
	c.Start()
	if u.Scheme == "ldap" && !config.Loopback(u) {
		// The library knows no deadline for the handshake.
		stop := context.AfterFunc(ctx, func() { raw.Close() })
		err := c.StartTLS(secure)
		if !stop() && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			c.hangUp()
			return nil, fmt.Errorf("begin TLS: %w", err)
		}
	}
	return c, nil
}

// serve has the connection speak for the server, not for who was checked before.
func (c *conn) serve(conf config.LDAP) error {
	switch {
	case conf.BindDN != "" && c.as != service:
		if err := c.Bind(conf.BindDN, conf.Password); err != nil {
			return fmt.Errorf("bind as %s: %w", conf.BindDN, err)
		}
		c.as = service
	case conf.BindDN == "" && c.as != nobody:
		if err := c.UnauthenticatedBind(""); err != nil { // RFC 4513 §5.1.1
			return fmt.Errorf("bind as nobody: %w", err)
		}
		c.as = nobody
	}
	return nil
}

// prove fails with a *sasl.Failure if the password is not that of an entry.
func (c *conn) prove(dn, password string) error {
	if dn == "" || password == "" { // RFC 4513 §5.1.2: it would be anybody's
		return refuse(errPassword)
	}
	c.as = another
	err := c.Bind(dn, password)
	switch {
	case err == nil:
		return nil
	// §4.2.2 of RFC 4511 and what servers say of names that cannot be bound.
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultInvalidCredentials, ldap.LDAPResultNoSuchObject,
		ldap.LDAPResultInappropriateAuthentication, ldap.LDAPResultInvalidDNSyntax):
		return refuse(fmt.Errorf("%w: %w", errPassword, err))
	}
	return fmt.Errorf("check a password: %w", err)
}
