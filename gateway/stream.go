package gateway

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xep/privilege"
	"kith/xmpp/xmltree"
)

// loginWithin bounds connecting, and the handshake.
const loginWithin = 30 * time.Second

var nameHandshake = xmltree.Name{Space: ns.Client, Local: "handshake"}

// proof shows that we know the secret (XEP-0114 §3).
type proof string

// AppendXML implements xmltree.Appender.
func (p proof) AppendXML(w *xmltree.Writer) { w.Element(nameHandshake, string(p)) }

// Serve serves one connection to its end, or to that of ctx. It returns an error,
// io.EOF if the server has closed the stream in order.
func (g *Component) Serve(ctx context.Context, nc net.Conn) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn := stream.NewTCP(nc, stream.Options{Limits: g.config.Limits})
	stop := context.AfterFunc(ctx, func() { conn.Close(nil) })
	defer stop()
	err := g.encrypt(ctx, conn)
	if err == nil {
		err = g.handshake(conn)
	}
	if err != nil {
		conn.Close(err)
		return fmt.Errorf("log in as %s: %w", g.config.Domain, err)
	}
	g.mu.Lock()
	g.conn = conn
	clear(g.perms)
	g.mu.Unlock()
	g.log.Info("connected to the server", "remote", nc.RemoteAddr().String())
	if g.config.Connected != nil {
		g.wg.Go(func() { g.config.Connected(ctx) })
	}
	err = g.read(ctx, conn)
	g.mu.Lock()
	g.conn = nil
	lost := g.waiting
	g.waiting = make(map[string]*waiter)
	g.mu.Unlock()
	for _, w := range lost {
		close(w.reply)
	}
	conn.Close(err)
	return err
}

// encrypt begins TLS, if there is to be any.
func (g *Component) encrypt(ctx context.Context, conn *stream.TCP) error {
	if g.config.TLS == nil {
		return nil
	}
	conf := g.config.TLS.Clone()
	if conf.ServerName == "" {
		host, _, err := net.SplitHostPort(g.addr())
		if err != nil {
			return fmt.Errorf("host to verify: %w", err)
		}
		conf.ServerName = host
	}
	ctx, cancel := context.WithTimeout(ctx, loginWithin)
	defer cancel()
	return conn.StartTLS(ctx, conf)
}

// handshake does that of XEP-0114 §3.
func (g *Component) handshake(conn *stream.TCP) error {
	if err := conn.SetReadDeadline(time.Now().Add(loginWithin)); err != nil {
		return err
	}
	if err := conn.Open(stream.Header{To: g.config.Domain.String(), Content: ns.Accept}); err != nil {
		return err
	}
	h, err := conn.ReadHeader()
	if err != nil {
		return err
	}
	if h.Name.Space != ns.Stream || h.ID == "" {
		_, err := conn.ReadElement() // the server says why
		return errors.Join(stream.ErrBadFormat, err)
	}
	sum := sha1.Sum([]byte(h.ID + g.config.Secret))
	if err := stream.Write(conn, proof(hex.EncodeToString(sum[:]))); err != nil {
		return err
	}
	el, err := conn.ReadElement()
	switch {
	case err != nil:
		return err
	case !el.Is(nameHandshake):
		return stream.ErrBadFormat
	}
	return conn.SetReadDeadline(time.Time{})
}

// read handles what the server sends.
func (g *Component) read(ctx context.Context, conn *stream.TCP) error {
	for {
		el, err := conn.ReadElement()
		var large *xmltree.OversizeError
		switch {
		case errors.As(err, &large):
			el = large.Start
		case err != nil:
			return err
		}
		st, perr := stanza.Parse(el)
		switch {
		case st.Kind == 0: // none that we know
		case large != nil:
			g.bounce(st, stanza.ErrPolicyViolation)
		case perr != nil:
			g.log.Warn("the server has sent a stanza that cannot be read", "error", perr)
			g.bounce(st, perr)
		case g.answered(st), g.granted(st):
		default:
			g.enqueue(ctx, st)
		}
	}
}

// granted takes what the server says of privileges (XEP-0356 §4.2). Only a server
// can say it: the domain is one that the component is told of by the domain itself.
func (g *Component) granted(st *stanza.Stanza) bool {
	if st.Kind != stanza.Message || st.From != st.From.Host() || st.To != g.config.Domain {
		return false
	}
	perms, err := privilege.Parse(st.Child(privilege.Name))
	if err != nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.perms[st.From.Clone()] = perms
	return true
}

// waiter waits for the answer to a request.
type waiter struct {
	from, to jid.JID
	reply    chan *stanza.Stanza // closed if none can come any more
}

// Ask sends a request and returns the result, or the *stanza.Error that came
// instead. It gives the request an id of its own.
func (g *Component) Ask(ctx context.Context, iq *stanza.Stanza) (*stanza.Stanza, error) {
	iq = iq.Copy()
	iq.ID = stream.NewID()
	iq.Changed()
	w := &waiter{from: iq.From, to: iq.To, reply: make(chan *stanza.Stanza, 1)}
	g.mu.Lock()
	g.waiting[iq.ID] = w
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		delete(g.waiting, iq.ID)
		g.mu.Unlock()
	}()
	if err := g.Send(iq); err != nil {
		return nil, err
	}
	select {
	case reply, ok := <-w.reply:
		switch {
		case !ok:
			return nil, ErrNotConnected
		case reply.Type == stanza.TypeError:
			return nil, stanza.ErrorOf(reply)
		}
		return reply, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the answer of %q: %w", iq.To, ctx.Err())
	}
}

// answered gives an answer to who waits for it: by its id and by who it is from,
// for an id alone can be guessed.
func (g *Component) answered(st *stanza.Stanza) bool {
	if st.Kind != stanza.IQ || st.IsRequest() {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if w := g.waiting[st.ID]; w != nil && st.From == w.to && st.To == w.from {
		delete(g.waiting, st.ID)
		w.reply <- st
	}
	return true
}

// lane is what one person has sent and is not handled yet.
type lane struct{ queue []*stanza.Stanza }

// enqueue puts a stanza behind those of the same sender.
func (g *Component) enqueue(ctx context.Context, st *stanza.Stanza) {
	who := st.From.Bare().Clone()
	g.mu.Lock()
	l := g.lanes[who]
	if l != nil && len(l.queue) >= MaxWaiting {
		g.mu.Unlock()
		g.bounce(st, stanza.ErrResourceConstraint)
		return
	}
	if l == nil {
		l = new(lane)
		g.lanes[who] = l
		g.wg.Go(func() { g.work(ctx, who, l) })
	}
	l.queue = append(l.queue, st)
	g.mu.Unlock()
}

// work handles what a person has sent until there is nothing left.
func (g *Component) work(ctx context.Context, who jid.JID, l *lane) {
	for {
		g.mu.Lock()
		if len(l.queue) == 0 {
			delete(g.lanes, who)
			g.mu.Unlock()
			return
		}
		st := l.queue[0]
		l.queue = l.queue[1:]
		g.mu.Unlock()
		g.handle(ctx, st)
	}
}

// handle has a handler handle a stanza.
func (g *Component) handle(ctx context.Context, st *stanza.Stanza) {
	defer func() {
		if v := recover(); v != nil {
			g.log.Error("panic in a handler", "panic", v, "stack", string(debug.Stack()))
			g.bounce(st, stanza.ErrInternalServerError)
		}
	}()
	var err error
	switch {
	case st.Kind == stanza.IQ:
		g.answer(ctx, st)
		return
	case st.Kind == stanza.Message && g.message != nil:
		err = g.message(ctx, st)
	case st.Kind == stanza.Presence && g.presence != nil:
		err = g.presence(ctx, st)
	case st.Kind == stanza.Message:
		err = stanza.ErrServiceUnavailable
	}
	if err != nil {
		g.bounce(st, err)
	}
}

// answer answers a request; one that nobody understands by RFC 6120 §8.4.
func (g *Component) answer(ctx context.Context, iq *stanza.Stanza) {
	f := g.iqs[request{iq.Type, iq.Payload().Name()}]
	if f == nil {
		g.bounce(iq, stanza.ErrServiceUnavailable)
		return
	}
	payload, err := f(ctx, iq)
	if err != nil {
		g.bounce(iq, err)
		return
	}
	g.put(iq.Reply(payload))
}

// bounce sends a stanza back, unless it must not be answered (RFC 6120 §8.3.1).
func (g *Component) bounce(st *stanza.Stanza, why error) {
	e := stanza.ErrInternalServerError
	if !errors.As(why, &e) {
		g.log.Error("stanza not handled", "kind", st.Kind.String(), "error", why)
	}
	if st.MayBounce() && !st.From.IsZero() && !st.To.IsZero() {
		g.put(st.ErrorReply(e))
	}
}

// put sends an answer. If the stream has ended meanwhile nobody waits for it.
func (g *Component) put(st *stanza.Stanza) {
	if err := g.Send(st); err != nil && !errors.Is(err, ErrNotConnected) && !errors.Is(err, stream.ErrClosed) && !errors.Is(err, io.ErrClosedPipe) {
		g.log.Warn("answer not sent", "error", err)
	}
}
