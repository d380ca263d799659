// Package xmpptest runs a server, its clients and the network between them in
// one process: for tests in Go, and for scenarios written in the words of the
// specifications (see Run).
//
// In a bubble of testing/synctest time is virtual, and that nothing is received
// is exact. Outside of one, what comes is waited for in real time.
package xmpptest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pelletier/go-toml/v2"

	"kith/server"
	"kith/server/account"
	"kith/server/account/accounttest"
	"kith/server/config"
	"kith/server/web"
	"kith/xmpp/jid"
	"kith/xmpp/sasl"
)

// Password is that of every account.
const Password = accounttest.Password

// Hosts are those of a test's server, unless it says otherwise.
var Hosts = []string{"montague.example", "capulet.example", "shakespeare.lit"}

// All accounts have one password: it is hashed once at each end.
var (
	memory sasl.Memory
)

// Option changes the server of a test.
type Option func(*options)

type options struct {
	toml       []string
	components []string
	url        string
	buffer     int
	database   func(t testing.TB) string // Databases

	network   *Network
	elsewhere []string // hosts of the second server
	second    bool     // it is that one
	hosts     []string // in the place of Hosts
}

// Config changes the configuration: TOML, in the form of kith.toml. Of several,
// the later ones win key by key.
func Config(toml string) Option {
	return func(o *options) { o.toml = append(o.toml, toml) }
}

// Storage keeps the server's data in another database than SQLite in the test's
// directory.
func Storage(url string) Option { return func(o *options) { o.url = url } }

// Databases gives each block that Run plays a database made for it. It is made
// outside of the block's bubble. Who waits for a socket or a file counts as busy in a
// bubble, so that all is as exact there as with SQLite.
func Databases(fresh func(t testing.TB) (url string)) Option {
	return func(o *options) { o.database = fresh }
}

// Buffer sets how many bytes a connection holds in each direction.
func Buffer(size int) Option { return func(o *options) { o.buffer = size } }

// Server is a server under test.
type Server struct {
	t      testing.TB
	bubble bool
	opts   options
	config *config.Config
	dir    string
	hosts  []string          // the certificate's
	shown  *x509.Certificate // or to be shown from the next reload on
	roots  *x509.CertPool
	log    *buffer

	mu      sync.Mutex                    // guards server and port against components that dial by themselves
	server  *server.Server                // nil while it is stopped
	running atomic.Pointer[server.Server] // the same, for the network
	other   *Server                       // of those who live elsewhere
	clients []*Client
	port    int
	secret  string           // of the components
	known   map[jid.JID]bool // accounts that were made
}

// New starts a server; it is closed when the test ends, with all clients. In a
// bubble it must be called by the bubble's test.
func New(t testing.TB, opts ...Option) *Server {
	t.Helper()
	o := options{buffer: bufferSize, hosts: Hosts}
	for _, opt := range opts {
		opt(&o)
	}
	if len(o.elsewhere) > 0 {
		o.hosts = slices.DeleteFunc(slices.Clone(o.hosts), func(h string) bool { return slices.Contains(o.elsewhere, h) })
		if o.network == nil {
			o.network = NewNetwork()
		}
	}
	s := newServer(t, o)
	s.settle()
	return s
}

func newServer(t testing.TB, o options) *Server {
	t.Helper()
	s := &Server{t: t, bubble: inBubble(), dir: t.TempDir(), known: make(map[jid.JID]bool), log: new(buffer), port: 50000, secret: Password, opts: o}
	if err := s.configure(); err != nil {
		t.Fatalf("configure: %v", err)
	}
	if err := s.load(); err != nil {
		t.Fatalf("configure: %v", err)
	}
	if err := s.furnish(); err != nil {
		t.Fatalf("make the database: %v", err)
	}
	t.Cleanup(func() {
		s.stop()
		if t.Failed() && s.log.Len() > 0 {
			t.Logf("the server's log:\n%s", s.log)
		}
	})
	if o.network != nil {
		o.network.add(s)
	}
	s.start()
	return s
}

// inBubble finds out by what only a bubble allows.
func inBubble() (in bool) {
	defer func() {
		if recover() != nil {
			in = false
		}
	}()
	synctest.Wait()
	return true
}

// configure writes the configuration that a person would have written, and a
// certificate for its hosts.
func (s *Server) configure() error {
	c := map[string]any{
		"hosts":  s.opts.hosts,
		"data":   filepath.Join(s.dir, "data"),
		"listen": map[string]any{"client": []string{}, "client_tls": []string{}, "server": []string{}, "server_tls": []string{}, "component": []string{}, "admin": []string{}},
		"s2s":    map[string]any{"enabled": s.opts.network != nil},
		"tls":    map[string]any{"certificate": filepath.Join(s.dir, "server.crt"), "key": filepath.Join(s.dir, "server.key")},
	}
	if s.opts.network != nil {
		c["s2s"] = map[string]any{"ca": filepath.Join(s.dir, "ca.crt")}
	}
	if s.opts.url != "" {
		c["storage"] = map[string]any{"url": s.opts.url}
	}
	if err := s.configureComponents(c); err != nil {
		return err
	}
	for _, text := range s.opts.toml {
		var more map[string]any
		if err := toml.Unmarshal([]byte(text), &more); err != nil {
			return fmt.Errorf("%w in\n%s", err, text)
		}
		merge(c, more)
	}
	hosts, err := names(c["hosts"])
	if err != nil {
		return err
	}
	if tables, ok := c["host"].(map[string]any); ok && s.opts.second { // what is said of the first server's hosts
		maps.DeleteFunc(tables, func(h string, _ any) bool { return !slices.Contains(hosts, h) })
	}
	if !slices.Equal(hosts, s.hosts) {
		if err := s.certify(hosts); err != nil {
			return err
		}
	}
	text, err := toml.Marshal(c)
	if err != nil {
		return err
	}
	return os.WriteFile(s.file(), text, 0o600)
}

func (s *Server) file() string { return filepath.Join(s.dir, "kith.toml") }

// load reads the configuration, as a start does.
func (s *Server) load() (err error) {
	s.config, err = config.Load(s.file())
	return err
}

func names(v any) ([]string, error) {
	switch v := v.(type) {
	case []string:
		return v, nil
	case []any:
		var out []string
		for _, n := range v {
			name, ok := n.(string)
			if !ok {
				return nil, fmt.Errorf("hosts: %v is no name", n)
			}
			out = append(out, name)
		}
		return out, nil
	}
	return nil, fmt.Errorf("hosts: %v is no list", v)
}

// merge puts what more says in the place of what c says, table by table.
func merge(c, more map[string]any) {
	for k, v := range more {
		if into, ok := c[k].(map[string]any); ok {
			if table, ok := v.(map[string]any); ok {
				merged := maps.Clone(into)
				merge(merged, table)
				v = merged
			}
		}
		c[k] = v
	}
}

func (s *Server) start() {
	s.t.Helper()
	log := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	srv, err := server.New(context.Background(), s.config, "test", log)
	if err != nil {
		s.t.Fatalf("start the server: %v", err)
	}
	if n := s.opts.network; n != nil {
		srv.Federation().SetNetwork(n.reach())
	}
	s.mu.Lock()
	s.server = srv
	s.mu.Unlock()
	s.running.Store(srv)
}

// stop closes the server and, after it, all clients.
func (s *Server) stop() {
	s.t.Helper()
	s.running.Store(nil)
	if s.server != nil {
		if err := s.server.Close(); err != nil {
			s.t.Errorf("close the server: %v", err)
		}
		s.mu.Lock()
		s.server = nil
		s.mu.Unlock()
	}
	for _, c := range s.clients {
		c.end()
	}
	s.clients = nil
}

// Restart stops the server as its administrator would and starts it again with
// the same data. All streams end.
func (s *Server) Restart() {
	s.t.Helper()
	s.stop()
	if err := s.load(); err != nil {
		s.t.Fatalf("configure: %v", err)
	}
	s.start()
}

// Reload has the running server take up a configuration that is changed as by
// Config, as its administrator would.
func (s *Server) Reload(toml string) (web.Report, error) {
	s.t.Helper()
	s.opts.toml = append(s.opts.toml, toml)
	if err := s.configure(); err != nil {
		s.t.Fatalf("configure: %v", err)
	}
	return s.server.Reload()
}

// Forget takes the last change of a Reload back from the file; the server is not
// told.
func (s *Server) Forget() { s.opts.toml = s.opts.toml[:len(s.opts.toml)-1] }

// Renew puts a new certificate in the place of the server's, which takes it up at
// the next Reload. Both are among Roots from then on.
func (s *Server) Renew() *x509.Certificate {
	s.t.Helper()
	if err := s.certify(s.hosts); err != nil {
		s.t.Fatal(err)
	}
	return s.shown
}

// certify writes a certificate for hosts.
func (s *Server) certify(hosts []string) error {
	var by *authority
	if n := s.opts.network; n != nil {
		var err error
		if by, err = n.issuer(); err != nil {
			return err
		}
	}
	cert, root, err := certify(s.dir, hosts, by)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if s.roots != nil {
		roots = s.roots.Clone() // who has the old pool is not disturbed
	}
	roots.AddCert(root)
	s.hosts, s.shown, s.roots = hosts, cert, roots
	return nil
}

// Accounts are the server's.
func (s *Server) Accounts() *account.Store { return s.server.Accounts() }

// Roots are the authorities that the server's certificates are verified by.
func (s *Server) Roots() *x509.CertPool { return s.roots }

// TLS is the configuration of a client of a host.
func (s *Server) TLS(host string) *tls.Config {
	return &tls.Config{RootCAs: s.roots, ServerName: host, MinVersion: tls.VersionTLS12, NextProtos: []string{"xmpp-client"}}
}

// Account makes an account unless the test has made it already.
func (s *Server) Account(j jid.JID) jid.JID {
	s.t.Helper()
	if err := s.account(j); err != nil {
		s.t.Fatal(err)
	}
	return j.Bare()
}

// Admin makes an account that may administer the server.
func (s *Server) Admin(j jid.JID) {
	s.t.Helper()
	if err := s.make(j, true); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Server) account(j jid.JID) error { return s.make(j, false) }

func (s *Server) make(j jid.JID, admin bool) error {
	j = j.Bare()
	if home := s.home(j.Domain()); home != s {
		return home.make(j, admin)
	}
	if s.known[j] {
		return nil
	}
	keys, err := accounttest.Keys()
	if err != nil {
		return err
	}
	err = s.Accounts().CreateWith(context.Background(), j, keys, admin)
	if err != nil && !errors.Is(err, account.ErrExists) {
		return err
	}
	s.known[j] = true
	return nil
}

// Dial opens a connection to the server, on the port for direct TLS or on the
// other. All connections come from the same address.
func (s *Server) Dial(direct bool) *Conn { return s.DialFrom("192.0.2.1", direct) }

// DialFrom is Dial from another address.
func (s *Server) DialFrom(ip string, direct bool) *Conn {
	s.mu.Lock()
	s.port++
	s.mu.Unlock()
	to := 5222
	if direct {
		to = 5223
	}
	ours, theirs := Pipe(s.opts.buffer,
		&net.TCPAddr{IP: net.ParseIP(ip), Port: s.port}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 254), Port: to})
	s.server.Serve(theirs, direct)
	return ours
}

// Settle waits until the server and its clients have done all that they can
// without time passing. Outside of a bubble nobody knows when that is.
func (s *Server) Settle() {
	if s.bubble {
		synctest.Wait()
		return
	}
	time.Sleep(settleWithin)
}

// Pass lets time pass, and waits until all is done that was due by then.
func (s *Server) Pass(d time.Duration) {
	time.Sleep(d)
	s.Settle()
}

// settleWithin is what outside of a bubble counts as nothing to be done.
const settleWithin = 100 * time.Millisecond

// TakeLog returns what the server has logged since the last call.
func (s *Server) TakeLog() string { return s.log.take() }

// forget drops a client that has ended.
func (s *Server) forget(c *Client) {
	s.clients = slices.DeleteFunc(s.clients, func(other *Client) bool { return other == c })
}

// Log is what the server has logged until now.
func (s *Server) Log() string { return s.log.String() }

// buffer is a log that many write.
type buffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := b.b.String()
	b.b.Reset()
	return text
}

func (b *buffer) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Len()
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
