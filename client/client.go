// Package client is the library by which a program is an XMPP client: it logs
// in, sends, receives, and matches answers to requests.
//
// One goroutine reads. What it reads waits in a bounded queue for Next, or is
// given to Config.Handler; while that is full or busy nothing is read, and the
// server is slowed down by TCP. Everything may be called from any goroutine.
package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"kith/xmpp/jid"
	"kith/xmpp/negotiate"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

// queueLength is how many elements wait for Next.
const queueLength = 256

// Client is one bound resource.
type Client struct {
	config Config
	conn   *stream.TCP
	state  *negotiate.State
	queue  chan xmltree.Element
	done   chan struct{} // closed when the reader has ended
	stop   chan struct{} // closed when the reader is to end
	once   sync.Once     // closes stop
	order  sync.Mutex    // held while writing what may have to be sent anew: it is kept in the order in which it is written

	mu       sync.Mutex         // guards what follows, and is not held while writing
	waiting  map[string]*waiter // requests under way, by id
	sent     negotiate.Sent
	unacked  [][]byte // stanzas, where the stream can be resumed
	asked    bool     // an answer to <r/> is on its way
	received negotiate.Received
	uncount  bool // raw bytes were sent: what the server acks cannot be checked
	err      error
}

// JID returns the full address that the server gave.
func (c *Client) JID() jid.JID { return c.state.JID }

// State returns what the negotiation has shown of the server and the stream.
func (c *Client) State() *negotiate.State { return c.state }

// Conn returns the connection; reading it is the client's own.
func (c *Client) Conn() *stream.TCP { return c.conn }

// Done is closed when the stream has ended and nothing more comes.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err returns why the stream has ended: io.EOF if the server closed it in
// order, a *stream.PeerError if it sent an error.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Next returns the next element that is not handled by the client itself, in
// the order in which they came. A stream error is returned as an element, too;
// behind the last element comes the error of Err.
func (c *Client) Next(ctx context.Context) (xmltree.Element, error) {
	select {
	case el, ok := <-c.queue:
		if !ok {
			return xmltree.Element{}, c.Err()
		}
		return el, nil
	case <-ctx.Done():
		return xmltree.Element{}, ctx.Err()
	}
}

// Close ends the stream and the connection and waits for the reader.
func (c *Client) Close() error {
	c.once.Do(func() { close(c.stop) })
	if c.managed() {
		// XEP-0198 §4: tell what was received before a graceful end. If the
		// connection is gone already nobody wants to know.
		c.ack() //nolint:errcheck // see above
	}
	err := c.conn.Close(nil)
	<-c.done
	return err
}

// read is the reader.
func (c *Client) read(early []xmltree.Element) {
	defer close(c.done)
	err := c.receive(early)
	c.mu.Lock()
	c.err = err
	waiting := c.waiting
	c.waiting = nil
	c.mu.Unlock()
	for _, w := range waiting {
		close(w.reply)
	}
	close(c.queue)
	// The error was the stream's or the connection's; Close tells the server
	// if it is its business.
	c.conn.Close(err)
}

func (c *Client) receive(early []xmltree.Element) error {
	for _, el := range early {
		if err := c.take(el); err != nil {
			return err
		}
	}
	for {
		el, err := c.conn.ReadElement()
		if err != nil {
			if el.Exists() {
				c.pass(el) //nolint:errcheck // err says why the stream ends
			}
			return err
		}
		if err := c.take(el); err != nil {
			return err
		}
	}
}

// take handles an element: what belongs to the stream here, the rest outside.
func (c *Client) take(el xmltree.Element) error {
	if c.config.Raw {
		return c.pass(el)
	}
	if c.managed() && el.Name().Space == ns.Acks {
		return c.acknowledge(el)
	}
	kind := stanza.KindOf(el)
	var err error
	if kind != stanza.IQ || !c.iq(el) {
		err = c.pass(el)
	}
	if kind != 0 {
		c.mu.Lock()
		c.received.Add(1)
		c.mu.Unlock()
	}
	return err
}

// pass hands an element to whoever uses the client.
func (c *Client) pass(el xmltree.Element) error {
	if c.config.Handler != nil {
		c.config.Handler(el)
		return nil
	}
	select {
	case c.queue <- el:
		return nil
	case <-c.stop:
		return stream.ErrClosed
	}
}

// managed reports whether stanzas are counted (XEP-0198).
func (c *Client) managed() bool { return c.state.SM != nil && !c.config.Raw }

// acknowledge takes part in XEP-0198.
func (c *Client) acknowledge(el xmltree.Element) error {
	switch el.Name() {
	case negotiate.NameRequest:
		return c.ack()
	case negotiate.NameAck:
		h, err := negotiate.ParseAck(el)
		if err != nil {
			return err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.uncount {
			return nil
		}
		n, err := c.sent.Ack(h)
		if c.asked = false; err == nil && c.resumable() {
			c.unacked = c.unacked[n:]
		}
		return err
	}
	return nil
}

func (c *Client) ack() error {
	c.mu.Lock()
	h := c.received.H()
	c.mu.Unlock()
	return stream.Write(c.conn, negotiate.Ack{H: h})
}

// Unacked returns how many stanzas the server has not acked.
func (c *Client) Unacked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent.Unacked()
}

// RequestAck asks the server to ack what was sent (XEP-0198).
func (c *Client) RequestAck() error { return stream.Write(c.conn, negotiate.Request{}) }

// Send writes stanzas or other elements as one batch. It waits until the
// socket has taken them.
func (c *Client) Send(elements ...xmltree.Appender) error {
	batch := make([][]byte, 0, len(elements)+1)
	var stanzas [][]byte
	for _, a := range elements {
		b := xmltree.Marshal(a, ns.Client)
		batch = append(batch, b)
		if isStanza(a) {
			stanzas = append(stanzas, b)
		}
	}
	if c.resumable() {
		c.order.Lock()
		defer c.order.Unlock()
	}
	c.mu.Lock()
	c.sent.Add(len(stanzas)) // before the peer can ack them
	if c.resumable() {
		c.unacked = append(c.unacked, stanzas...)
		if len(c.unacked) >= askAfter && !c.asked {
			c.asked = true
			batch = append(batch, xmltree.Marshal(negotiate.Request{}, ns.Client))
		}
	}
	c.mu.Unlock()
	return c.conn.WriteBatch(batch)
}

func isStanza(a xmltree.Appender) bool {
	switch a := a.(type) {
	case *stanza.Stanza:
		return true
	case xmltree.Element:
		return stanza.KindOf(a) != 0
	}
	return false
}

// SendRaw writes bytes as they are, whatever they are. What they hold is not
// counted for XEP-0198.
func (c *Client) SendRaw(b []byte) error {
	c.mu.Lock()
	c.uncount = true
	c.mu.Unlock()
	return c.conn.WriteBatch([][]byte{b})
}

// reason is the error of a stream that has ended, never nil.
func (c *Client) reason() error {
	if err := c.Err(); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("stream has ended: %w", err)
	}
	return stream.ErrClosed
}
