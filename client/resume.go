package client

import (
	"slices"

	"kith/xmpp/jid"
	"kith/xmpp/negotiate"
)

// askAfter is how many stanzas are sent before the server is asked what it has.
const askAfter = 8

// Resumption is what a client needs to go on with the session of a stream that was
// lost (XEP-0198 §5), on another one: Config.Resume.
type Resumption struct {
	jid      jid.JID
	id       string
	sent     negotiate.Sent
	received negotiate.Received
	unacked  [][]byte
}

// resumable reports whether what is sent is kept until the server has it.
func (c *Client) resumable() bool { return c.managed() && c.state.SM.Resume }

// Resumption returns what is needed to resume the session, once the stream has
// ended; nil if that cannot be.
func (c *Client) Resumption() *Resumption {
	select {
	case <-c.done:
	default:
		return nil
	}
	if !c.resumable() || c.state.SM.ID == "" {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return &Resumption{
		jid: c.state.JID, id: c.state.SM.ID,
		sent: c.sent, received: c.received, unacked: slices.Clone(c.unacked),
	}
}

// Resumed reports whether the session is that of Config.Resume.
func (c *Client) Resumed() bool { return c.state.Gained.Resumed != nil }

// resume goes on where the other stream ended: what the server does not have is
// sent anew.
func (c *Client) resume() error {
	got, r := c.state.Gained.Resumed, c.config.Resume
	if got == nil || r == nil {
		return nil
	}
	c.state.SM = &negotiate.Enabled{ID: r.id, Resume: true}
	c.sent, c.received = r.sent, r.received
	n, err := c.sent.Ack(got.H)
	if err != nil {
		return err
	}
	c.unacked = slices.Clone(r.unacked[n:])
	if len(c.unacked) == 0 {
		return nil
	}
	return c.conn.WriteBatch(c.unacked)
}
