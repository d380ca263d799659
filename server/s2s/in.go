package s2s

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kith/server/config"
	"kith/server/session"
	"kith/xmpp/jid"
	"kith/xmpp/negotiate"
	"kith/xmpp/ns"
	"kith/xmpp/sasl"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

// incoming is a stream that another server has begun.
type incoming struct {
	s      *Server
	conf   *config.Config
	conn   *stream.TCP
	source string
	st     *negotiate.State
	in     *session.Inbound
	direct bool
	ctx    context.Context // ends with the stream
	cancel context.CancelFunc
	done   chan struct{}
	sent   atomic.Int64
	got    atomic.Int64
	usage

	ledger ledger
	acks   receipts

	// The reader's.
	waits  bool   // it holds one of the places of those that have proved nothing
	shown  *proof // what the peer's certificate proves, once asked for
	looked bool   // for what its domain has published
	heard  uint64 // bytes, when the last element had come

	mu       sync.Mutex           // guards what follows
	host     string               // the domain of ours that it was opened to
	cert     string               // what is to be said of the peer\'s certificate
	proved   map[string]string    // domains that are the peer's, and how that is known
	pairs    map[pair]bool        // ours and theirs for which it is, and whether the peer knows; see back
	asked    map[pair]bool        // keys that are being verified
	failed   int                  // keys that were none
	verdicts []negotiate.Dialback // answers to be given
	vouched  string               // the domain that has published the peer's certificate
}

// Bounds of what one stream may want.
const (
	maxPairs = 64 // of domains
	maxAsked = 8  // keys that are verified at the same time
)

func newIncoming(s *Server, conf *config.Config, conn *stream.TCP, source string) *incoming {
	c := &incoming{
		s: s, conf: conf, conn: conn, source: source, waits: true, usage: usage{begun: time.Now()}, done: make(chan struct{}),
		proved: make(map[string]string), pairs: make(map[pair]bool), asked: make(map[pair]bool),
	}
	c.ledger.conn = conn
	c.acks.begin(s, conn, &conf.Limits)
	c.in = c.acks.in
	c.ctx, c.cancel = context.WithCancel(s.ctx)
	return c
}

// serve is the stream's goroutine.
func (c *incoming) serve(direct bool) {
	defer c.s.wg.Done()
	err := c.negotiate(direct)
	if err == nil {
		err = c.read()
		c.conn.Close(err)
	}
	c.cancel()
	c.in.Stop()
	c.ledger.stop()
	if c.waits {
		c.s.waiting.Free(c.source)
	}
	c.s.mu.Lock()
	delete(c.s.incoming, c)
	domains := c.domains()
	if err != nil && !errors.Is(err, stream.ErrClosed) {
		for _, d := range domains {
			c.s.note(d, err)
		}
	}
	c.s.mu.Unlock()
	attrs := []any{"remote", c.conn.RemoteAddr().String(), "domains", domains}
	if err != nil && !errors.Is(err, stream.ErrClosed) {
		attrs = append(attrs, "error", err)
	}
	c.s.log.Info("stream of another server ended", attrs...)
	close(c.done)
	c.conn.Closed()
}

// negotiate goes as far as to TLS and SASL. Dialback may come at any time, so it is
// read's.
func (c *incoming) negotiate(begin bool) (err error) {
	defer func() {
		if v := recover(); v != nil {
			c.s.log.Error("panic in a stream's negotiation", "remote", c.conn.RemoteAddr().String(), "panic", v, "stack", string(debug.Stack()))
			err = stream.ErrInternalServerError
			c.conn.Close(err)
		}
	}()
	ctx, cancel := context.WithTimeout(c.ctx, c.conf.Limits.Login)
	defer cancel()
	if c.direct = begin; begin {
		if err := c.handshake(ctx); err != nil {
			c.conn.Close(err)
			return err
		}
	}
	c.st, err = negotiate.Serve(ctx, c.conn, negotiate.ServerOptions{
		Steps:       c.steps,
		Default:     c.conf.Hosts[0],
		Content:     ns.Server,
		TLSRequired: true,
		Limits:      after(c.conf),
		Until:       func(st *negotiate.State) bool { return !st.User.IsZero() },
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.host = c.st.Host.Domain()
	c.mu.Unlock()
	if !c.st.User.IsZero() {
		c.prove(c.st.Host, c.st.User, sasl.External)
		c.settled()
		c.told(pair{c.st.Host.Domain(), c.st.User.Domain()})
	}
	return nil
}

func (c *incoming) handshake(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.conf.Limits.Handshake)
	defer cancel()
	release, err := c.s.handshakes.Enter(ctx)
	if err != nil {
		return err
	}
	defer release()
	return c.conn.StartTLS(ctx, c.s.parts.TLS(""))
}

// steps are the features for a domain of ours.
func (c *incoming) steps(host jid.JID) []negotiate.Step {
	if !c.s.router.Local(host.Domain()) {
		return nil
	}
	return []negotiate.Step{
		negotiate.StartTLS{Config: c.s.parts.TLS(host.Domain()), Timeout: c.conf.Limits.Handshake, Admit: c.s.handshakes.Enter},
		negotiate.Bidi{Use: c.conf.S2S.Bidi},
		negotiate.External{Certified: c.external},
		negotiate.Limits{
			Before: negotiate.MaxLimits{Bytes: int(c.conf.Limits.StanzaBeforeLogin)},
			After:  announced(c.conf),
		},
		negotiate.PeerSM{},
		negotiate.ByDialback{Offered: true},
	}
}

// acceptable reports whether there may be streams of a domain: it is allowed, and
// neither one of ours nor below one.
func (s *Server) acceptable(domain string) bool {
	for at := domain; at != ""; _, at, _ = strings.Cut(at, ".") {
		if s.router.Local(at) {
			return false
		}
	}
	return s.permitted(domain) == nil
}

// certified returns nil if the peer has shown a certificate for a domain.
func (c *incoming) certified(domain jid.JID) error {
	if c.isVouched(domain.Domain()) {
		return nil
	}
	if c.shown == nil {
		p := examine(c.conn.TLS(), c.s.parts.Roots(), time.Now())
		c.shown = &p
	}
	if c.shown.err == nil && time.Now().After(c.shown.until) {
		return errors.New("certificate has expired meanwhile")
	}
	return c.shown.of(domain)
}

// prove notes that a domain is the peer's, for a domain of ours.
func (c *incoming) prove(ours, theirs jid.JID, how string) {
	c.touch()
	cert := judgement{dane: c.isVouched(theirs.Domain()), err: c.certified(theirs)}.String()
	c.mu.Lock()
	c.cert = cert
	if c.proved[theirs.Domain()] == "" {
		c.proved[theirs.Domain()] = how
	}
	p := pair{ours.Domain(), theirs.Domain()}
	told, again := c.pairs[p]
	c.pairs[p] = told
	c.mu.Unlock()
	if again {
		return
	}
	if !c.allowed() { // since a moment ago: who ends such streams may not have seen it
		c.s.wg.Go(func() { c.end(stream.ErrPolicyViolation) })
		return
	}
	c.s.log.Info("stream of another server", "remote", c.conn.RemoteAddr().String(), "from", theirs.String(), "to", ours.String(), "by", how,
		"bidi", c.st.Bidi, "certificate", cert)
}

// told notes that the peer knows that it is believed: from then on it takes stanzas
// on a stream that goes both ways, and not before.
func (c *incoming) told(p pair) {
	c.mu.Lock()
	_, proved := c.pairs[p]
	if proved {
		c.pairs[p] = true
	}
	c.mu.Unlock()
	if proved && c.st.Bidi {
		c.s.rouse(p)
	}
}

// settled gives the place back that the stream had while it had proved nothing.
func (c *incoming) settled() {
	if c.waits {
		c.waits = false
		c.s.waiting.Free(c.source)
		c.conn.SetLimits(after(c.conf))
	}
}

// domains are those that the peer has proved to be its own.
func (c *incoming) domains() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.proved))
}

// allowed reports whether the configuration of now has the stream go on. Where it wants
// certificates those who have proved themselves without one have to do so anew; so do
// those who have by DANE where that is not believed any more.
func (c *incoming) allowed() bool {
	conf := c.s.config.Load()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.vouched != "" && !conf.S2S.Trusted() {
		return false
	}
	for d, how := range c.proved {
		anew := needsCertificate(conf, d) && !needsCertificate(c.conf, d) && how == negotiate.DialbackMechanism
		if anew || !c.s.acceptable(d) {
			return false
		}
	}
	return true
}

func (c *incoming) has(domain string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.proved[domain] != ""
}

func (c *incoming) knows(p pair) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.pairs[p]
	return ok
}

// read handles what comes until the stream ends.
func (c *incoming) read() (err error) {
	defer func() {
		if v := recover(); v != nil {
			c.s.log.Error("panic in a stream's reader", "remote", c.conn.RemoteAddr().String(), "panic", v, "stack", string(debug.Stack()))
			err = stream.ErrInternalServerError
		}
	}()
	take := intake{s: c.s, in: c.in, proved: c.has, known: c.knows}
	for _, el := range c.st.Early {
		if err := c.element(&take, el); err != nil {
			return err
		}
	}
	c.st.Early = nil
	for {
		if c.in.Full() {
			c.in.Wait()
		}
		if err := c.conn.SetReadDeadline(c.deadline()); err != nil {
			return err
		}
		// Behind the deadline: who gives a verdict sets one that has passed.
		if err := c.judge(); err != nil {
			return err
		}
		el, err := c.conn.ReadElement()
		switch {
		case errors.Is(err, io.EOF) && c.conn.Closing():
			return stream.ErrClosed
		case errors.Is(err, io.EOF):
			return nil
		case take.oversize(err):
			continue
		case isTimeout(err):
			if time.Now().Before(c.deadline()) || c.shows() {
				continue // a verdict, or a sign of life
			}
			return stream.ErrConnectionTimeout
		case err != nil:
			return err
		}
		if err := c.element(&take, el); err != nil {
			return err
		}
	}
}

// deadline is when a peer has to go on whose stream nothing goes either way.
func (c *incoming) deadline() time.Time {
	if c.waits {
		return c.begun.Add(c.conf.Limits.Login)
	}
	return c.used().Add(2 * c.conf.S2S.Idle) // it is the other's to end it sooner
}

// shows reports whether the peer has shown since the last element that it is there:
// white space is traffic, too (RFC 6120 §4.6.1, XEP-0478 §3.1).
func (c *incoming) shows() bool {
	heard, _ := c.conn.Counters()
	if c.waits || heard == c.heard {
		return false
	}
	c.heard = heard
	c.touch()
	return true
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// element handles one first-level element.
func (c *incoming) element(take *intake, el xmltree.Element) error {
	c.touch()
	c.heard, _ = c.conn.Counters()
	switch el.Name().Space {
	case ns.Dialback:
		d, ok, err := negotiate.ParseDialback(el)
		if !ok {
			return stream.ErrUnsupportedStanzaType
		}
		if err != nil {
			return err
		}
		return c.dialback(d)
	case ns.Acks:
		return c.s.management(el, &c.ledger, &c.acks, !c.waits)
	case ns.Client:
		if stanza.KindOf(el) != 0 && c.waits { // RFC 6120 §4.3.5
			return stream.ErrNotAuthorized
		}
		c.got.Add(1)
		return take.stanza(el)
	}
	return stream.ErrUnsupportedStanzaType
}

// end ends the stream, from any goroutine.
func (c *incoming) end(err error) {
	c.in.Free()
	c.cancel()
	c.conn.Close(err)
}
