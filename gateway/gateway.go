// Package gateway is what all gateways to other networks share: the component's
// side of XEP-0114, with reconnection, and the answers to what people's clients
// ask of a gateway (XEP-0030, XEP-0050, XEP-0077, XEP-0100). It works with any
// server.
//
// A Component is set up, then Run. What a person sends is handled in order, on a
// goroutine that lasts as long as there is something of that person's to do;
// different people do not wait for each other. Handlers may block. Nothing that is
// read waits for a handler: who sends more than MaxWaiting stanzas ahead gets
// resource-constraint.
package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"time"

	crand "crypto/rand"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xep/disco"
	"kith/xmpp/xep/privilege"
	"kith/xmpp/xmltree"
)

// DefaultAddr is where servers listen for components.
const DefaultAddr = "127.0.0.1:5347"

// MaxWaiting is how many stanzas of one person may wait to be handled.
const MaxWaiting = 256

// Config says who a component is.
type Config struct {
	Domain jid.JID // its own
	Secret string  // shared with the server
	Addr   string  // of the server, host:port; "" is DefaultAddr
	// TLS, if it is not nil, is spoken from the first byte; ServerName is the host of
	// Addr if it is empty. Without, Addr has to be on this machine: whoever hears the
	// handshake can guess the secret, and read everything.
	TLS *tls.Config
	// Dial connects to the server in place of Addr, if it is not nil.
	Dial func(ctx context.Context) (net.Conn, error)
	// Identities are what it is (XEP-0030): for a gateway the category is "gateway",
	// the type that of the network.
	Identities []disco.Identity
	Log        *slog.Logger // nil: slog.Default
	// Limits of what the server may send; zero values are generous.
	Limits xmltree.Limits
	// Connected is called on a goroutine of its own each time the handshake is done;
	// nil: nobody wants to know. ctx ends with the connection.
	Connected func(ctx context.Context)
}

// Component is a component of a server.
type Component struct {
	config   Config
	log      *slog.Logger
	features []string
	iqs      map[request]IQFunc
	message  HandlerFunc
	presence HandlerFunc
	info     InfoFunc
	items    ItemsFunc
	commands commands

	mu      sync.Mutex // guards what follows, and is not held while writing
	conn    *stream.TCP
	lanes   map[jid.JID]*lane
	waiting map[string]*waiter
	perms   map[jid.JID]privilege.Perms
	wg      sync.WaitGroup // lanes
}

type request struct {
	typ  string
	name xmltree.Name
}

// HandlerFunc handles a message or a presence. An error is logged; a *stanza.Error
// is sent back, too.
type HandlerFunc func(ctx context.Context, st *stanza.Stanza) error

// IQFunc answers a request: with a result, whose payload may be nil, or with an
// error, of which a *stanza.Error is told to who has asked.
type IQFunc func(ctx context.Context, iq *stanza.Stanza) (xmltree.Appender, error)

// ErrNotConnected is returned by Send and Ask while there is no stream.
var ErrNotConnected = errors.New("not connected to the server")

// ErrNotEncrypted is why a server on another machine is not spoken to without TLS.
var ErrNotEncrypted = errors.New("the server is on another machine, and there is no TLS")

// New returns a component that answers disco and pings.
func New(c Config) *Component {
	g := &Component{
		config: c, log: c.Log,
		iqs: make(map[request]IQFunc), lanes: make(map[jid.JID]*lane),
		waiting: make(map[string]*waiter), perms: make(map[jid.JID]privilege.Perms),
	}
	if g.log == nil {
		g.log = slog.Default()
	}
	g.log = g.log.With("component", c.Domain.String())
	if g.config.Limits == (xmltree.Limits{}) {
		g.config.Limits = xmltree.Limits{Bytes: 1 << 20, Depth: 128, Elements: 16384, Attrs: 256, Namespaces: 1024, Skip: 16 << 20}
	}
	g.Feature(ns.DiscoInfo, ns.DiscoItems, ns.Ping)
	g.HandleIQ(stanza.Get, disco.NameInfo, g.answerInfo)
	g.HandleIQ(stanza.Get, disco.NameItems, g.answerItems)
	g.HandleIQ(stanza.Get, xmltree.Name{Space: ns.Ping, Local: "ping"}, func(context.Context, *stanza.Stanza) (xmltree.Appender, error) { return nil, nil })
	return g
}

// Domain is the component's own address.
func (g *Component) Domain() jid.JID { return g.config.Domain }

// HandleMessage has f handle messages, errors among them. It is called before Run,
// like all that sets a component up.
func (g *Component) HandleMessage(f HandlerFunc) { g.message = f }

// HandlePresence has f handle presence of all types, errors among them.
func (g *Component) HandlePresence(f HandlerFunc) { g.presence = f }

// HandleIQ has f answer requests of a type ("get" or "set") with a payload of that
// name, to whatever address of the component's. A later one takes the place of one
// before it.
func (g *Component) HandleIQ(typ string, name xmltree.Name, f IQFunc) { g.iqs[request{typ, name}] = f }

// Run connects, serves, and connects again, until ctx ends. It waits for the
// handlers.
func (g *Component) Run(ctx context.Context) error {
	defer g.wg.Wait()
	for wait := minRetry; ; {
		begun := time.Now()
		err := g.once(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Since(begun) > time.Minute { // it was well meanwhile
			wait = minRetry
		}
		pause := jitter(wait)
		g.log.Warn("not connected to the server", "error", err, "retry", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		wait = min(2*wait, maxRetry)
	}
}

const (
	minRetry = time.Second
	maxRetry = time.Minute
)

// jitter spreads those who all lost the same server: between half and all of d.
func jitter(d time.Duration) time.Duration {
	n, err := crand.Int(crand.Reader, big.NewInt(int64(d/2)))
	if err != nil {
		return d
	}
	return d/2 + time.Duration(n.Int64())
}

// once serves one connection to its end.
func (g *Component) once(ctx context.Context) error {
	nc, err := g.dial(ctx)
	if err != nil {
		return err
	}
	return g.Serve(ctx, nc)
}

func (g *Component) dial(ctx context.Context) (net.Conn, error) {
	if g.config.Dial != nil {
		return g.config.Dial(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, loginWithin)
	defer cancel()
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", g.addr())
	if err == nil && g.config.TLS == nil && !here(nc.RemoteAddr()) {
		nc.Close()
		return nil, ErrNotEncrypted
	}
	return nc, err
}

func (g *Component) addr() string {
	if g.config.Addr == "" {
		return DefaultAddr
	}
	return g.config.Addr
}

// here reports whether an address is one of this machine's loopback.
func here(a net.Addr) bool {
	ap, err := netip.ParseAddrPort(a.String())
	return err == nil && ap.Addr().Unmap().IsLoopback()
}

// Send sends stanzas. Their senders are addresses of the component's: a server
// ends the stream for any other.
func (g *Component) Send(sts ...*stanza.Stanza) error {
	g.mu.Lock()
	conn := g.conn
	g.mu.Unlock()
	if conn == nil {
		return ErrNotConnected
	}
	batch := make([][]byte, len(sts))
	for i, st := range sts {
		batch[i] = st.Whole()
	}
	return conn.WriteBatch(batch)
}

// Privileges returns what the component may do at a host (XEP-0356), as the server
// has told it on this connection.
func (g *Component) Privileges(host jid.JID) privilege.Perms {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.perms[host]
}
