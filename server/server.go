// Package server is the server: it makes the parts, gives each what it needs,
// and runs them. It is the one room that knows all the others.
package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"kith/server/account"
	"kith/server/c2s"
	"kith/server/caps"
	"kith/server/cluster"
	"kith/server/component"
	"kith/server/config"
	"kith/server/delegation"
	"kith/server/factor"
	"kith/server/module"
	"kith/server/roster"
	"kith/server/route"
	"kith/server/s2s"
	"kith/server/storage"
	"kith/server/web"
	"kith/xmpp/jid"
)

// Server is a server that has its database open and its hosts ready.
type Server struct {
	config   atomic.Pointer[config.Config]
	identity atomic.Pointer[identity]
	version  string
	log      *slog.Logger
	db       *storage.DB
	accounts *account.Store
	caps     *caps.Cache
	managed  *delegation.Cache
	factors  *factor.Store
	cluster  *cluster.Local
	router   *route.Router
	clients  *c2s.Server
	people   people // guarded by reloading, once there are clients
	comps    *component.Server
	servers  *s2s.Server
	web      *web.Server
	jobs     jobs
	begun    time.Time
	closed   bool // there was no component at the start: their port is not open

	reloading sync.Mutex // guards what follows, and is held for a whole reload
	reloaded  func(*config.Config)
}

// New makes a server by its configuration. It opens the database, but no port.
func New(ctx context.Context, c *config.Config, version string, log *slog.Logger) (_ *Server, err error) {
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	s := &Server{version: version, log: log, managed: delegation.New(), begun: time.Now(), closed: len(c.Component) == 0, reloaded: func(*config.Config) {}}
	id, warnings, err := loadIdentity(c, time.Now())
	if err != nil {
		return nil, err
	}
	for _, w := range warnings {
		log.Warn(w)
	}
	s.config.Store(c)
	s.identity.Store(id)
	if s.db, err = storage.Open(ctx, c.StorageURL(), log); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.db.Close() //nolint:errcheck // the error that matters is the other
		}
	}()
	if err := s.migrate(ctx); err != nil {
		return nil, err
	}
	if s.accounts, err = account.Open(ctx, s.db, purges()...); err != nil {
		return nil, err
	}
	if s.factors, err = factor.Open(ctx, s.db, s.accounts); err != nil {
		return nil, err
	}
	if s.caps, err = caps.Open(ctx, s.db, log); err != nil {
		return nil, err
	}
	if s.people, err = newPeople(c); err != nil {
		return nil, err
	}
	s.accounts.SetPeople(s.people.of)
	s.router = route.New(s.accounts, log, parts()...)
	hosts, err := s.hosts(c)
	if err != nil {
		return nil, err
	}
	s.router.SetHosts(hosts)
	s.cluster = cluster.NewLocal(s.db, s.router, cluster.Options{Log: log})
	s.router.Start(s.cluster)
	s.accounts.OnChange(s.router.Changed)
	s.accounts.OnPassword(s.router.Rekeyed)
	s.accounts.OnWithdrawal(s.router.Withdrawn)
	s.accounts.OnDelete(s.part)
	s.clients = c2s.New(c, s.accounts, s.factors, s.router, s.cluster, s.speak, log)
	if err := s.clients.Restore(ctx, s.db); err != nil {
		return nil, err
	}
	secret, err := s.accounts.Secret(ctx, "dialback")
	if err != nil {
		return nil, err
	}
	s.servers = s2s.New(s2s.Parts{
		Config: c, Router: s.router, Secret: secret, Log: log,
		TLS:         func(domain string) *tls.Config { return s.identity.Load().ofServers(domain) },
		Certificate: func(domain string) *tls.Certificate { return s.identity.Load().shown(domain) },
		Roots:       func() *x509.CertPool { return s.identity.Load().roots },
	})
	s.comps = component.New(c, s.router, func() *tls.Config { return s.identity.Load().components }, log)
	s.connect()
	s.web = web.New(web.Parts{
		Config: s.config.Load, Version: version, Log: log, Begun: s.begun,
		DB: s.db, Accounts: s.accounts, Factors: s.factors, Router: s.router, Cluster: s.cluster, Clients: s.clients, Components: s.comps, Servers: s.servers,
		Reload: s.Reload,
	})
	s.jobs.start(hosts)
	return s, nil
}

// part ends the subscriptions of an account that is being deleted, so that who
// has its address next does not inherit them.
func (s *Server) part(ctx context.Context, id int64, j jid.JID) error {
	sts, err := roster.Part(ctx, s.db, id, j)
	if err != nil {
		return err
	}
	s.router.Take(sts...)
	return nil
}

// connect tells the router of who takes what is for other domains.
func (s *Server) connect() { s.router.SetRemotes(s.comps.Remotes(), s.servers) }

// speak returns what a stream to a host is encrypted with.
func (s *Server) speak(host string) *tls.Config { return s.identity.Load().of(host) }

// hosts makes the virtual hosts and attaches the modules to each.
func (s *Server) hosts(c *config.Config) ([]*module.Host, error) {
	list := Modules()
	names := make([]string, len(list))
	for i, d := range list {
		names[i] = d.Name
	}
	if err := c.CheckModules(names); err != nil {
		return nil, err
	}
	var hosts []*module.Host
	for _, domain := range c.Hosts {
		h := &module.Host{
			Domain: domain, DB: s.db, Accounts: s.accounts, Factors: s.factors, Caps: s.caps, Managed: s.managed, Router: s.router,
			Config: c, Version: s.version, Begun: s.begun, Log: s.log.With("host", domain.Domain()),
		}
		for _, d := range list {
			if !c.ModuleEnabled(d.Name) {
				continue
			}
			if err := d.Attach(h); err != nil {
				return nil, fmt.Errorf("host %s: %w", domain, err)
			}
		}
		hosts = append(hosts, h)
	}
	return hosts, nil
}

// Serve serves one connection of a client; direct says that TLS begins at once.
// It returns at once.
func (s *Server) Serve(c net.Conn, direct bool) { s.clients.Take(c, direct) }

// ServeComponent serves one connection of an external component; direct says that
// TLS begins at once. It returns at once.
func (s *Server) ServeComponent(c net.Conn, direct bool) { s.comps.Take(c, direct) }

// Router is the server's router.
func (s *Server) Router() *route.Router { return s.router }

// Federation is what speaks with other servers.
func (s *Server) Federation() *s2s.Server { return s.servers }

// Accounts are the server's accounts.
func (s *Server) Accounts() *account.Store { return s.accounts }

// listener is a port and what is behind it.
type listener struct {
	net.Listener
	name  string
	serve func(net.Listener) error
}

// Run listens and serves until ctx ends, then stops: streams are closed, what is
// under way is finished. ready is called once all ports are open.
func (s *Server) Run(ctx context.Context, ready func()) error {
	ls, err := s.listen()
	if err != nil {
		return errors.Join(err, s.Close())
	}
	failed := make(chan error, len(ls))
	var wg sync.WaitGroup
	for _, l := range ls {
		wg.Go(func() {
			if err := l.serve(l.Listener); err != nil {
				failed <- err
			}
		})
	}
	watching, rest := context.WithCancel(ctx)
	wg.Go(func() { s.watchCertificates(watching) })
	resumed := make(chan struct{})
	go func() {
		defer close(resumed)
		if err := s.accounts.Resume(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("deleted accounts are not gone yet; the next start goes on", "error", err)
		}
	}()
	if ready != nil {
		ready()
	}
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	for _, l := range ls {
		err = errors.Join(err, l.Close())
	}
	<-resumed
	rest()
	err = errors.Join(err, s.Close())
	wg.Wait()
	return err
}

// stopWithin bounds a graceful stop.
const stopWithin = 15 * time.Second

// Close ends all streams, lets the lanes finish, and closes the database.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	// What other servers do not take any more goes back to clients that are still there;
	// what they have said in their last moments, to sessions that wait for theirs.
	s.servers.Drain(ctx)
	err := errors.Join(s.clients.Close(ctx), s.comps.Close(ctx))
	s.rest(ctx)
	s.servers.Drain(ctx)
	s.rest(ctx)
	s.clients.Store()
	s.servers.Stop()
	s.jobs.close()
	s.reloading.Lock()
	s.people.close()
	s.reloading.Unlock()
	err = errors.Join(err, s.web.Close(ctx), s.cluster.Close(ctx), s.servers.Close(ctx))
	return errors.Join(err, s.db.Close())
}

// Bounds of the wait for what the streams that have just ended give rise to.
const (
	restWithin = 2 * time.Second
	restPause  = 2 * time.Millisecond
)

// rest waits until the lanes have nothing to do: what they pass on may be for other
// servers, and what comes back from these for sessions.
func (s *Server) rest(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, restWithin)
	defer cancel()
	for !s.cluster.Idle() && ctx.Err() == nil {
		time.Sleep(restPause)
	}
}

// listen opens all ports, or none.
func (s *Server) listen() (ls []listener, err error) {
	defer func() {
		if err != nil {
			for _, l := range ls {
				l.Close()
			}
			ls = nil
		}
	}()
	open := func(name string, addrs []netip.AddrPort, serve func(net.Listener) error) {
		for _, a := range addrs {
			if err != nil {
				return
			}
			l, lerr := net.Listen("tcp", a.String())
			if lerr != nil {
				err = fmt.Errorf("listen for %s: %w; is another server running? [listen] in the configuration names the addresses", name, lerr)
				return
			}
			ls = append(ls, listener{l, name, serve})
		}
	}
	conf := s.config.Load()
	c := conf.Listen
	open("clients", c.Client, func(l net.Listener) error { return s.clients.Serve(l, false) })
	open("clients with TLS", c.ClientTLS, func(l net.Listener) error { return s.clients.Serve(l, true) })
	open("servers", c.Server, func(l net.Listener) error { return s.servers.Serve(l, false) })
	open("servers with TLS", c.ServerTLS, func(l net.Listener) error { return s.servers.Serve(l, true) })
	if !s.closed {
		open("components", c.Component, func(l net.Listener) error { return s.comps.Serve(l, false) })
		open("components with TLS", c.ComponentTLS, func(l net.Listener) error { return s.comps.Serve(l, true) })
	}
	open("administration", c.Admin, s.web.ServeAdmin)
	if err != nil {
		return ls, err
	}
	socket, err := web.ListenControl(conf.Data)
	if err != nil {
		return ls, err
	}
	return append(ls, listener{socket, "commands", s.web.ServeControl}), nil
}

// Fingerprint returns the SHA-256 of the first certificate that clients are
// shown, for a person to compare.
func (s *Server) Fingerprint() string { return fingerprint(s.config.Load()) }

// Data returns a path in the data directory.
func data(c *config.Config, name string) string { return filepath.Join(c.Data, name) }
