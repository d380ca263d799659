// Package c2s serves the streams of clients: from the accepted connection by way
// of log-in to the session and its end.
//
// One goroutine reads a stream. The log-in runs on a goroutine of its own, whose
// grown stack dies with it; the session is read by a fresh one. The reader hands
// over what it has read when it is about to wait, and waits when its credit is
// used up. Errors are logged here and nowhere below.
package c2s

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"sync/atomic"

	"kith/server/account"
	"kith/server/cluster"
	"kith/server/config"
	"kith/server/factor"
	"kith/server/limit"
	"kith/server/route"
	"kith/server/session"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

// Server serves clients.
type Server struct {
	config   atomic.Pointer[config.Config] // a stream keeps the one it begins with
	accounts *account.Store
	factors  *factor.Store
	router   *route.Router
	cluster  *cluster.Local
	tls      func(host string) *tls.Config
	log      *slog.Logger

	waiting    *limit.Slots   // connections before log-in
	handshakes limit.Gate     // TLS handshakes under way
	byName     *limit.Backoff // failed log-ins of an account
	bySource   *limit.Backoff // and of an address

	mu         sync.Mutex // guards what follows
	streams    map[*client]struct{}
	resumables map[string]*session.Session // by the id of XEP-0198
	closing    bool
	wg         sync.WaitGroup

	accepted, refused, loggedIn, failedLogins, broken, resumed atomic.Int64
	quiet                                                      quiet
	past                                                       past
}

// New returns a server that speaks TLS by conf, which returns what stream.ServerTLS
// has made for a host, or for "" while the host is not known.
func New(c *config.Config, accounts *account.Store, factors *factor.Store, r *route.Router, cl *cluster.Local, conf func(host string) *tls.Config, log *slog.Logger) *Server {
	l := c.Limits
	s := &Server{
		accounts: accounts, factors: factors, router: r, cluster: cl, log: log,
		tls:      conf,
		waiting:  limit.NewSlots(l.BeforeLogin, l.BeforeLoginPerIP),
		byName:   limit.NewBackoff(l.LoginFailures, l.LoginBackoff, l.LoginBackoffMax),
		bySource: limit.NewBackoff(4*l.LoginFailures, l.LoginBackoff, l.LoginBackoffMax),
		streams:  make(map[*client]struct{}),

		resumables: make(map[string]*session.Session),
	}
	s.Configure(c)
	return s
}

// Configure has the streams that begin from now on go by c.
func (s *Server) Configure(c *config.Config) {
	l := &c.Limits
	s.config.Store(c)
	s.handshakes.Resize(l.Handshakes)
	s.waiting.Resize(l.BeforeLogin, l.BeforeLoginPerIP)
	s.byName.Adjust(l.LoginFailures, l.LoginBackoff, l.LoginBackoffMax)
	s.bySource.Adjust(4*l.LoginFailures, l.LoginBackoff, l.LoginBackoffMax)
	s.accounts.LimitTemporary(l.Anonymous, l.AnonymousPerIP)
}

// Serve accepts connections until the listener is closed; direct says that TLS
// begins at once (XEP-0368).
func (s *Server) Serve(l net.Listener, direct bool) error {
	return limit.Accept(l, s.log, func(c net.Conn) { s.Take(c, direct) })
}

// Take serves one connection, on goroutines of its own.
func (s *Server) Take(c net.Conn, direct bool) {
	s.accepted.Add(1)
	source := limit.Source(c.RemoteAddr())
	if !s.waiting.Take(source) {
		s.refused.Add(1)
		c.Close()
		return
	}
	conf := s.config.Load()
	l := &conf.Limits
	conn := stream.NewTCP(c, stream.Options{Server: true, Limits: xmltree.Limits{
		Bytes: int(l.StanzaBeforeLogin), Depth: l.DepthBeforeLogin, Elements: l.Elements, Attrs: l.Attributes, Namespaces: l.Namespaces,
	}})
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		s.waiting.Free(source)
		c.Close()
		return
	}
	cl := &client{server: s, config: conf, conn: conn, source: source}
	s.streams[cl] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	go s.login(cl, direct)
}

// login brings a stream to a session and starts its reader.
func (s *Server) login(c *client, direct bool) {
	makeRoom()
	err := c.login(direct)
	s.waiting.Free(c.source)
	if err != nil {
		s.ended(c, err)
		return
	}
	s.loggedIn.Add(1)
	s.quiet.changed()
	go s.serve(c)
}

// makeRoom has the stack of a goroutine grow at once, while nothing is on it, to what
// a log-in needs. Doubled bit by bit it is copied with more on it each time. It goes
// with the log-in: a session is read by a goroutine of its own.
//
//go:noinline
func makeRoom() {
	var room [20 << 10]byte
	runtime.KeepAlive(&room)
}

// serve reads a session's stream to its end. A reader that has nothing to do is
// replaced by a fresh one: its stack has grown with what it handled, and a stack
// shrinks only when most of it is unused.
func (s *Server) serve(c *client) {
	err := c.read()
	if errors.Is(err, errRest) {
		c.worked = false
		go s.serve(c)
		return
	}
	c.conn.Close(err)
	c.submit()
	c.left(err)
	c.conn.Closed() // by another, who tells the client why
	s.ended(c, err)
}

func (s *Server) ended(c *client, err error) {
	s.mu.Lock()
	delete(s.streams, c)
	s.mu.Unlock()
	if c.expiry != nil {
		c.expiry.Stop()
	}
	c.over(drop)
	if c.session == nil {
		c.vanish()
	}
	s.report(c, err)
	s.wg.Done()
}

// Close ends all streams with system-shutdown (RFC 6120 §4.9.3.20) and waits until
// sessions that cannot be resumed have been handed back. The others are Store's.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	open := make([]*client, 0, len(s.streams))
	for c := range s.streams {
		open = append(open, c)
	}
	s.mu.Unlock()
	// Closing waits for the peer for up to a second: all at the same time, but
	// not with tens of thousands of stacks.
	slots := make(chan struct{}, 2048)
	for _, c := range open {
		slots <- struct{}{}
		s.wg.Go(func() {
			c.end(stream.ErrSystemShutdown)
			<-slots
		})
	}
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	s.quiet.stop()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close client streams: %w", ctx.Err())
	}
}

// Stats are figures since the start, and the streams of now.
type Stats struct {
	Streams      int   // open now
	Waiting      int   // of these, before log-in
	Accepted     int64 // connections
	Refused      int64 // connections beyond the limits
	LoggedIn     int64
	FailedLogins int64
	Broken       int64 // streams that ended with an error of the peer's making
	Resumed      int64 // sessions that went on with another stream
	Resumable    int   // sessions that may do so, those with a stream included
}

// Stats returns the figures.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	n, resumable := len(s.streams), len(s.resumables)
	s.mu.Unlock()
	return Stats{
		Streams: n, Waiting: s.waiting.Taken(), Accepted: s.accepted.Load(), Refused: s.refused.Load(),
		LoggedIn: s.loggedIn.Load(), FailedLogins: s.failedLogins.Load(), Broken: s.broken.Load(),
		Resumed: s.resumed.Load(), Resumable: resumable,
	}
}
