package component

import (
	"context"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"kith/server/config"
	"kith/server/limit"
	"kith/server/session"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

// conn is one stream of a component.
type conn struct {
	server *Server
	config *config.Config // for as long as it lasts
	tcp    *stream.TCP
	id     string
	in     *session.Inbound
	seed   maphash.Seed // by which senders choose among the streams

	link  *link // nil before the handshake
	queue queue // guarded by link.mu

	wake    chan struct{} // there is something to write
	done    chan struct{} // closed when the writer has to end
	written sync.WaitGroup
}

func newConn(s *Server, nc net.Conn, c *config.Config) *conn {
	l := &c.Limits
	return &conn{
		server: s, config: c,
		tcp: stream.NewTCP(nc, stream.Options{Server: true, Limits: xmltree.Limits{
			Bytes: int(l.StanzaBeforeLogin), Depth: l.DepthBeforeLogin, Elements: l.Elements, Attrs: l.Attributes, Namespaces: l.Namespaces,
		}}),
		in:   session.NewInbound(l.Credit, int(l.CreditBytes), nil),
		seed: maphash.MakeSeed(),
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
}

// nameHandshake is an element of the content namespace (XEP-0114 §3).
var nameHandshake = xmltree.Name{Space: ns.Client, Local: "handshake"}

// handshake is our answer to one that is right.
type handshake struct{}

// AppendXML implements xmltree.Appender.
func (handshake) AppendXML(w *xmltree.Writer) { w.Element(nameHandshake, "") }

// login begins TLS if direct, does the handshake (XEP-0114 §3) and joins the link.
// After an error the connection is closed.
func (c *conn) login(direct bool) (err error) {
	defer func() {
		if v := recover(); v != nil {
			c.server.log.Error("panic in a component's handshake", "stream", c.id, "panic", v, "stack", string(debug.Stack()))
			err = stream.ErrInternalServerError
		}
		if err != nil {
			c.tcp.Close(err)
		}
	}()
	if direct {
		if err := c.encrypt(); err != nil {
			return err
		}
	}
	if err := c.tcp.SetReadDeadline(time.Now().Add(c.config.Limits.Login)); err != nil {
		return err
	}
	l, err := c.header()
	if err != nil {
		return err
	}
	el, err := c.tcp.ReadElement()
	switch {
	case err != nil:
		return err
	case !el.Is(nameHandshake): // RFC 6120 §4.9.3.12: first things first
		return stream.ErrNotAuthorized
	}
	secret := l.secret()
	if !c.proved(el, secret) {
		c.server.log.Warn("a component's handshake was wrong", "component", l.name, "stream", c.id, "remote", c.tcp.RemoteAddr().String())
		return stream.ErrNotAuthorized
	}
	return c.enter(l, secret)
}

// encrypt begins TLS. Only so many handshakes are under way at once; the time of
// the others runs.
func (c *conn) encrypt() error {
	ctx, cancel := context.WithTimeout(context.Background(), c.config.Limits.Handshake)
	defer cancel()
	leave, err := c.server.handshakes.Enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return c.tcp.StartTLS(ctx, c.server.tls())
}

// proved reports whether a handshake shows that the component knows the secret. Who
// guesses from another machine has to wait longer and longer, and is not listened
// to meanwhile.
func (c *conn) proved(el xmltree.Element, secret string) bool {
	right := subtle.ConstantTimeCompare([]byte(el.Text()), []byte(Handshake(c.id, secret))) == 1
	from := c.tcp.RemoteAddr()
	if ap, err := netip.ParseAddrPort(from.String()); err != nil || ap.Addr().Unmap().IsLoopback() {
		return right
	}
	failed, source := c.server.failed, limit.Source(from)
	ctx, cancel := context.WithTimeout(context.Background(), 0)
	defer cancel()
	if failed.Begin(ctx, source) != nil { // he would have to wait
		return false
	}
	if right {
		failed.Succeed(source)
	} else {
		failed.Fail(source, time.Now())
	}
	return right
}

// enter joins the link of a component that has shown its secret.
func (c *conn) enter(l *link, secret string) error {
	if !l.reserve() {
		return stream.ErrConflict
	}
	if err := stream.Write(c.tcp, handshake{}); err != nil {
		l.cancel()
		return err
	}
	limits := &c.config.Limits
	c.tcp.SetLimits(xmltree.Limits{
		Bytes: int(limits.Stanza), Depth: limits.Depth, Elements: limits.Elements, Attrs: limits.Attributes,
		Namespaces: limits.Namespaces, Skip: limits.Skip(limits.Stanza),
	})
	if err := c.tcp.SetReadDeadline(time.Time{}); err != nil {
		l.cancel()
		return err
	}
	c.link = l
	if !l.join(c, secret) {
		return stream.ErrReset
	}
	return nil
}

// Handshake returns what a component shows to prove that it knows the secret, in
// the stream of that id (XEP-0114 §3).
func Handshake(id, secret string) string {
	sum := sha1.Sum([]byte(id + secret))
	return hex.EncodeToString(sum[:])
}

func (l *link) secret() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conf.Secret
}

// header reads the component's stream header and answers it: with an error, too
// (RFC 6120 §4.9.1.2).
func (c *conn) header() (*link, error) {
	h, err := c.tcp.ReadHeader()
	var l *link
	if err == nil {
		l, err = c.addressee(h)
	}
	c.id = stream.NewID()
	answer := stream.Header{ID: c.id, Content: ns.Accept}
	if e := stream.ErrorFor(err); e != nil {
		return nil, errors.Join(err, c.tcp.Open(answer, e))
	}
	if err != nil {
		return nil, err
	}
	answer.From = l.name
	return l, c.tcp.Open(answer)
}

// addressee returns the component that a header is of: it is named in to (XEP-0114
// §3).
func (c *conn) addressee(h stream.Header) (*link, error) {
	switch {
	case h.Name.Space != ns.Stream:
		return nil, stream.ErrInvalidNamespace
	case h.Name.Local != "stream":
		return nil, stream.ErrBadFormat
	case h.Content != ns.Accept:
		return nil, stream.ErrInvalidNamespace
	case h.To == "":
		return nil, stream.ErrHostUnknown.With("no component is named")
	}
	to, err := jid.Parse(h.To)
	if err != nil {
		return nil, stream.ErrImproperAddressing.Because(err)
	}
	l := c.server.link(to.Domain())
	switch {
	case l == nil || to != to.Host():
		return nil, stream.ErrHostUnknown
	case l.full():
		return nil, stream.ErrConflict
	}
	return l, nil
}

// end ends the stream. A reader that waits for credit learns it too.
func (c *conn) end(err error) {
	c.in.Free()
	c.tcp.Close(err)
}

// serve handles the stream to its end.
func (c *conn) serve() error {
	c.written.Go(c.write)
	err := c.read()
	c.end(err)
	close(c.done)
	c.written.Wait()
	c.link.leave(c)
	c.in.Stop()
	c.tcp.Closed()
	return err
}

// wakeUp tells the writer that there is something.
func (c *conn) wakeUp() {
	select {
	case c.wake <- struct{}{}:
	default: // it knows
	}
}

// write writes what the link has for the stream.
func (c *conn) write() {
	var parts [][]byte
	for {
		batch := c.link.take(c)
		if len(batch) == 0 {
			select {
			case <-c.wake:
				continue
			case <-c.done:
				return
			}
		}
		parts = parts[:0]
		for _, it := range batch {
			parts = append(parts, it.bytes)
		}
		err := c.tcp.WriteBatch(parts)
		clear(parts)
		if err != nil {
			c.link.putBack(c, batch)
			c.end(err) // the reader ends, and with it the stream
			return
		}
		c.link.sent.Add(int64(len(batch)))
	}
}

// read handles what the component sends until the stream ends. nil means that the
// component closed it.
func (c *conn) read() (err error) {
	defer func() {
		if v := recover(); v != nil {
			c.server.log.Error("panic in a component's stream", "stream", c.id, "panic", v, "stack", string(debug.Stack()))
			err = stream.ErrInternalServerError
		}
	}()
	for {
		if c.in.Full() {
			c.in.Wait()
		}
		el, err := c.tcp.ReadElement()
		var large *xmltree.OversizeError
		switch {
		case errors.As(err, &large):
			if stanza.KindOf(large.Start) == 0 {
				return stream.ErrPolicyViolation.Because(large)
			}
			why := stanza.ErrPolicyViolation.With(fmt.Sprintf("The stanza is too large: it has %d bytes, at most %d are allowed.", large.Size, large.Limit))
			err = c.stanza(large.Start, why)
		case errors.Is(err, io.EOF) && c.tcp.Closing():
			return stream.ErrClosed // it answers our end of the stream with its own
		case errors.Is(err, io.EOF):
			return nil
		case err == nil:
			err = c.stanza(el, nil)
		}
		if err != nil {
			return err
		}
	}
}

// stanza passes on what the component sends, or bounces it with why if that is not
// nil.
func (c *conn) stanza(el xmltree.Element, why error) error {
	st := new(stanza.Stanza)
	err := st.Read(el)
	if st.Kind == 0 {
		return stream.ErrUnsupportedStanzaType
	}
	// XEP-0114 §3: both addresses are there, and the sender's is the component's.
	if el.Attr("from") == "" || el.Attr("to") == "" {
		return stream.ErrImproperAddressing // RFC 6120 §4.9.3.7
	}
	from, ferr := jid.Parse(el.Attr("from"))
	if ferr != nil {
		return stream.ErrImproperAddressing.Because(ferr)
	}
	if !c.link.speaks(from.Domain()) {
		return stream.ErrInvalidFrom // RFC 6120 §4.9.3.9
	}
	c.link.received.Add(1)
	st.From = from
	if st.To.IsZero() { // it is malformed: one of a gateway's many users has mistyped it
		st.To = c.config.Hosts[0]
	}
	if why == nil {
		why = err
	}
	if why != nil {
		c.server.router.Bounce(st, why)
		return nil
	}
	ticket := new(session.Ticket)
	c.in.Take(ticket, el.Len(), time.Now())
	c.server.router.Accept(st, ticket.Done)
	return nil
}

func (l *link) speaks(domain string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conf.Speaks(domain)
}

// report logs the end of a stream.
func (c *conn) report(err error) {
	attrs := []any{"stream", c.id, "remote", c.tcp.RemoteAddr().String()}
	if c.link != nil {
		attrs = append(attrs, "component", c.link.name)
	}
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, stream.ErrClosed) {
		attrs = append(attrs, "error", err)
	}
	c.server.log.Info("component's stream ended", attrs...)
}
