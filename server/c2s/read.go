package c2s

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"kith/server/account"
	"kith/server/cluster"
	"kith/server/config"
	"kith/server/factor"
	"kith/server/session"
	"kith/xmpp/jid"
	"kith/xmpp/negotiate"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

// batch is how many stanzas are handed over at the most, so that a client that
// never pauses does not keep what it has sent from being handled.
const batch = 64

// client is one client's stream.
type client struct {
	server  *Server
	config  *config.Config // for as long as it lasts
	conn    *stream.TCP
	source  string // by which its address is counted
	session *session.Session
	asker   cluster.Asker
	id      string // of the stream, for the log

	// The reader's.
	key     cluster.Key
	items   []cluster.Item
	stanzas *rate.Limiter // nil: no limit
	bytes   *rate.Limiter
	pinged  bool
	worked  bool          // since the reader began
	idle    time.Duration // the deadline that is set, and when it was
	since   time.Time
	heard   uint64 // bytes that had come in then

	// For those who end the stream.
	inbound atomic.Pointer[session.Inbound]    // of the session
	giveUp  atomic.Pointer[context.CancelFunc] // ends what a log-in waits for; nil: none is under way

	until  time.Time   // the client's certificate holds, if it has logged in by one
	expiry *time.Timer // then; else nil

	attempt
	agent     negotiate.UserAgent // as it has said in the attempt
	begun     account.Moment      // of the attempt
	proof     *factor.Login       // the last by a password; nil if there was none
	temporary jid.JID             // the account that was made for who has none, until it has a session
	cause     error               // why the session ended its stream, nil if it did not
}

// end ends the stream. A reader that waits for credit learns it too, and a log-in that
// waits for its turn.
func (c *client) end(err error) {
	if in := c.inbound.Load(); in != nil {
		in.Free()
	}
	c.conn.Close(err)
	if f := c.giveUp.Load(); f != nil {
		(*f)()
	}
}

// read handles what the client sends until the stream ends. nil means that the
// client closed it.
func (c *client) read() (err error) {
	defer func() {
		if v := recover(); v != nil {
			c.server.log.Error("panic in a stream's reader", "stream", c.id, "panic", v, "stack", string(debug.Stack()))
			err = stream.ErrInternalServerError
		}
	}()
	for {
		if len(c.items) >= batch || !c.conn.Ready() {
			c.submit()
			if err := c.wait(); err != nil {
				return err
			}
		}
		el, err := c.conn.ReadElement()
		var large *xmltree.OversizeError
		switch {
		case errors.Is(err, io.EOF) && c.conn.Closing():
			return stream.ErrClosed // it answers our end of the stream with its own
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &large):
			if err := c.oversize(large); err != nil {
				return err
			}
			c.pinged, c.worked = false, true
			continue
		case isTimeout(err) && c.worked:
			return errRest
		case isTimeout(err) && c.spoke():
			c.pinged = false
			continue
		case isTimeout(err):
			if err := c.ping(); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		c.pinged, c.worked = false, true
		if err := c.element(el); err != nil {
			return err
		}
	}
}

// restAfter is how long a client is silent before its reader begins anew on a
// small stack.
const restAfter = 2 * time.Second

// errRest says that the reader may be replaced by a fresh one.
var errRest = errors.New("nothing to read for a while")

// wait makes the reader wait until it has credit, and sets the time after which
// the client's silence is looked into.
func (c *client) wait() error {
	in := c.session.In
	if in.Full() {
		in.Wait()
	}
	now := time.Now()
	idle := c.config.Limits.PingAfter
	switch {
	case c.pinged:
		idle = c.config.Limits.PingWait
	case c.worked:
		idle = restAfter
	}
	if idle == c.idle && now.Sub(c.since) < idle/8 {
		return nil // a deadline costs a timer: near enough is good enough
	}
	c.idle, c.since = idle, now
	c.heard, _ = c.conn.Counters()
	return c.conn.SetReadDeadline(now.Add(idle))
}

// spoke reports whether anything has come since the deadline was set: white
// space, too, is a sign of life (RFC 6120 §4.6.1).
func (c *client) spoke() bool {
	in, _ := c.conn.Counters()
	return in != c.heard
}

// submit hands what has been read to the owner of the account.
func (c *client) submit() {
	if len(c.items) == 0 {
		return
	}
	c.server.cluster.Send(c.key, c.items...)
	clear(c.items)
	c.items = c.items[:0]
	if cap(c.items) > 8 { // most clients send one at a time
		c.items = nil
	}
}

// element handles one first-level element.
func (c *client) element(el xmltree.Element) error {
	if el.Name().Space == ns.Acks {
		return c.acks(el)
	}
	if el.Name().Space == ns.CSI {
		return c.state(el)
	}
	c.slow(el.Len())
	l, err := c.server.router.Leaving(c.session, &c.asker, el, time.Now())
	if err != nil {
		return err
	}
	c.items = append(c.items, l)
	return nil
}

// state handles what a client says of itself (XEP-0352): what it has sent before
// is handled first.
func (c *client) state(el xmltree.Element) error {
	inactive := el.Name().Local == "inactive"
	if !inactive && el.Name().Local != "active" {
		return stream.ErrUnsupportedStanzaType
	}
	c.submit()
	c.session.SetInactive(inactive)
	c.server.router.Inactive(c.session, inactive)
	c.session.Flush(true)
	return nil
}

// oversize bounces a stanza that was too large to be kept; there is no other
// answer to an element that is no stanza than the end of the stream.
func (c *client) oversize(e *xmltree.OversizeError) error {
	if stanza.KindOf(e.Start) == 0 {
		return stream.ErrPolicyViolation.Because(e)
	}
	c.slow(e.Size)
	why := stanza.ErrPolicyViolation.With(fmt.Sprintf("The stanza is too large: it has %d bytes, at most %d are allowed.", e.Size, e.Limit))
	l, err := c.server.router.Unfit(c.session, &c.asker, e.Start, why, time.Now())
	if err != nil {
		return err
	}
	c.items = append(c.items, l)
	return nil
}

// slow makes the reader wait while the client is faster than it may be.
func (c *client) slow(size int) {
	now := time.Now()
	var wait time.Duration
	if c.stanzas != nil {
		wait = c.stanzas.ReserveN(now, 1).DelayFrom(now)
	}
	if c.bytes != nil {
		for burst := c.bytes.Burst(); size > 0; size -= burst {
			r := c.bytes.ReserveN(now, min(size, burst))
			wait = max(wait, r.DelayFrom(now))
		}
	}
	if wait > 0 {
		c.submit()
		time.Sleep(wait)
	}
}

// acks handles the elements of stream management (XEP-0198).
func (c *client) acks(el xmltree.Element) error {
	s := c.session
	switch el.Name() {
	case negotiate.NameRequest:
		c.submit()
		s.Asked()
	case negotiate.NameAck:
		h, err := negotiate.ParseAck(el)
		if err != nil {
			return err
		}
		settled, err := s.Acked(h)
		c.server.router.Acknowledged(s, settled)
		return err
	case negotiate.NameEnable:
		if s.AcksEnabled() { // XEP-0198 §3: once is enough
			c.put(negotiate.Failed{Condition: "unexpected-request"})
			return nil
		}
		c.submit()
		c.enable(negotiate.ParseEnable(el))
	case negotiate.NameResume: // XEP-0198 §5: not with a resource bound
		c.put(negotiate.Failed{Condition: "unexpected-request"})
	default:
		return stream.ErrUnsupportedStanzaType
	}
	return nil
}

// put sends an element that is no stanza.
func (c *client) put(a xmltree.Appender) {
	c.session.Send(session.Entry{Tail: xmltree.Marshal(a, ns.Client)})
	c.session.Flush(true)
}

type markup func(w *xmltree.Writer)

// AppendXML implements xmltree.Appender.
func (m markup) AppendXML(w *xmltree.Writer) { m(w) }

// ping asks a silent client for a sign of life; one that was asked is dead.
func (c *client) ping() error {
	if c.pinged {
		return stream.ErrConnectionTimeout
	}
	c.pinged = true
	if c.session.AcksEnabled() {
		c.put(negotiate.Request{})
		return nil
	}
	// XEP-0199 §4.1: any answer will do, an error too.
	ping := stanza.New(stanza.IQ, stanza.Get, c.session.JID.Host(), c.session.JID,
		markup(func(w *xmltree.Writer) { w.Element(xmltree.Name{Space: ns.Ping, Local: "ping"}, "") }))
	ping.ID = stream.NewID()
	c.session.Send(session.Entry{Kind: ping.Kind, To: ping.To.String(), Tail: ping.Tail()})
	c.session.Flush(false)
	return nil
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// report logs the end of a stream.
func (s *Server) report(c *client, err error) {
	attrs := []any{"stream", c.id, "remote", c.conn.RemoteAddr().String()}
	if c.session != nil {
		attrs = append(attrs, "jid", c.session.JID.String())
		if errors.Is(err, stream.ErrClosed) { // we did it
			err = c.cause
		}
	}
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, stream.ErrClosed) {
		s.broken.Add(1)
		attrs = append(attrs, "error", err)
	}
	s.log.Info("stream ended", attrs...)
}
