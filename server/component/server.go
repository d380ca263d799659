// Package component serves external components (XEP-0114): the streams on which
// programs of their own speak for a domain.
//
// A component has a link, which is what the router hands its stanzas to. While
// the component is connected they go to one of its streams, chosen by their
// sender, so that what two addresses say to each other stays in order; while it
// is not, they wait, for so many bytes and so long, and are sent back then.
//
// Each stream has a goroutine that reads and one that writes. The reader waits
// when its credit is used up. A lock of this package is never held while the
// router, the network or the log is called.
package component

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"kith/server/config"
	"kith/server/limit"
	"kith/server/route"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
)

// Server serves components.
type Server struct {
	router *route.Router
	log    *slog.Logger
	tls    func() *tls.Config
	config atomic.Pointer[config.Config] // a stream keeps the one it begins with

	waiting    *limit.Slots   // connections before the handshake of XEP-0114
	handshakes limit.Gate     // TLS handshakes under way
	failed     *limit.Backoff // wrong secrets, by address; nobody's of this machine

	mu      sync.Mutex // guards what follows
	links   map[string]*link
	streams map[*conn]struct{}
	closing bool
	wg      sync.WaitGroup
}

// New returns a server for the components of a configuration. It speaks TLS by
// conf, which returns what stream.ServerTLS has made.
func New(c *config.Config, r *route.Router, conf func() *tls.Config, log *slog.Logger) *Server {
	l := &c.Limits
	s := &Server{
		router: r, log: log, tls: conf,
		waiting: limit.NewSlots(l.BeforeLogin, l.BeforeLoginPerIP),
		failed:  limit.NewBackoff(l.LoginFailures, l.LoginBackoff, l.LoginBackoffMax),
		links:   make(map[string]*link), streams: make(map[*conn]struct{}),
	}
	s.Configure(c)
	return s
}

// Configure takes up a configuration. The streams of a component that is no
// longer in it, or has got another secret, end.
func (s *Server) Configure(c *config.Config) {
	limits := &c.Limits
	old := s.config.Swap(c)
	s.handshakes.Resize(limits.Handshakes)
	s.waiting.Resize(limits.BeforeLogin, limits.BeforeLoginPerIP)
	s.failed.Adjust(limits.LoginFailures, limits.LoginBackoff, limits.LoginBackoffMax)
	hosts := old != nil && !slices.Equal(old.Hosts, c.Hosts)
	s.mu.Lock()
	gone := maps.Clone(s.links)
	var ends []func()
	for i := range c.Component {
		conf := &c.Component[i]
		name := conf.Host.Domain()
		l := gone[name]
		delete(gone, name)
		if l == nil {
			s.links[name] = newLink(s, conf)
			continue
		}
		ends = append(ends, l.configure(conf, hosts))
	}
	for name, l := range gone {
		delete(s.links, name)
		ends = append(ends, l.remove)
	}
	s.mu.Unlock()
	for _, end := range ends {
		end()
	}
}

// Remotes are the links by their components' domains, for the router.
func (s *Server) Remotes() map[string]route.Remote {
	s.mu.Lock()
	defer s.mu.Unlock()
	by := make(map[string]route.Remote, len(s.links))
	for name, l := range s.links {
		by[name] = l
	}
	return by
}

// link returns that of a component, nil if there is none of that domain.
func (s *Server) link(domain string) *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.links[domain]
}

// Serve accepts connections until the listener is closed; direct says that TLS
// begins at once.
func (s *Server) Serve(l net.Listener, direct bool) error {
	return limit.Accept(l, s.log, func(nc net.Conn) { s.Take(nc, direct) })
}

// Take serves one connection, on goroutines of its own.
func (s *Server) Take(nc net.Conn, direct bool) {
	source := limit.Source(nc.RemoteAddr())
	if !s.waiting.Take(source) {
		nc.Close()
		return
	}
	c := newConn(s, nc, s.config.Load())
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		s.waiting.Free(source)
		nc.Close()
		return
	}
	s.streams[c] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.wg.Done()
		err := c.login(direct)
		s.waiting.Free(source)
		if err == nil {
			s.log.Info("component connected", "component", c.link.name, "stream", c.id, "remote", nc.RemoteAddr().String())
			err = c.serve()
		}
		s.mu.Lock()
		delete(s.streams, c)
		s.mu.Unlock()
		c.report(err)
	}()
}

// Close ends all streams with system-shutdown (RFC 6120 §4.9.3.20). What waits
// for components is sent back.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	open := slices.Collect(maps.Keys(s.streams))
	links := slices.Collect(maps.Values(s.links))
	s.mu.Unlock()
	for _, c := range open {
		s.wg.Go(func() { c.end(stream.ErrSystemShutdown) })
	}
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("close streams of components: %w", ctx.Err())
	}
	for _, l := range links {
		l.close(stanza.ErrRemoteServerTimeout)
	}
	return nil
}

// Stats are the figures of one component.
type Stats struct {
	Host        string
	Connections int   // now
	Queued      int   // stanzas that wait to be written to it now
	QueuedBytes int   // and their size
	Sent        int64 // stanzas written to it since the start
	Received    int64 // and read from it
	Bounced     int64 // and sent back, because it was not there or did not read
}

// Stats returns the figures of all components, in the order of their names.
func (s *Server) Stats() []Stats {
	s.mu.Lock()
	links := slices.SortedFunc(maps.Values(s.links), func(a, b *link) int { return strings.Compare(a.name, b.name) })
	s.mu.Unlock()
	all := make([]Stats, len(links))
	for i, l := range links {
		all[i] = l.stats()
	}
	return all
}
