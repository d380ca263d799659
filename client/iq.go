package client

import (
	"context"
	"errors"
	"fmt"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

var namePing = xmltree.Name{Space: ns.Ping, Local: "ping"}

// ErrNotMine is what Config.Answer returns for a request it does not know.
var ErrNotMine = errors.New("request is not known")

// waiter waits for the answer to a request.
type waiter struct {
	to    jid.JID
	reply chan *stanza.Stanza // closed if none can come any more
}

// SendIQ sends a request and returns the result, or the *stanza.Error that came
// instead. It gives the request an id if it has none.
func (c *Client) SendIQ(ctx context.Context, iq *stanza.Stanza) (*stanza.Stanza, error) {
	if iq.ID == "" {
		iq.ID = stream.NewID()
	}
	w := &waiter{to: iq.To, reply: make(chan *stanza.Stanza, 1)}
	if err := c.expect(iq.ID, w); err != nil {
		return nil, err
	}
	defer c.forget(iq.ID, w)
	if err := c.Send(iq); err != nil {
		return nil, err
	}
	select {
	case reply, ok := <-w.reply:
		switch {
		case !ok:
			return nil, c.reason()
		case reply.Type == stanza.TypeError:
			return nil, stanza.ErrorOf(reply)
		}
		return reply, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the answer of %q: %w", iq.To, ctx.Err())
	}
}

func (c *Client) expect(id string, w *waiter) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.waiting == nil:
		return stream.ErrClosed
	case c.waiting[id] != nil:
		return fmt.Errorf("id %q is in use", id)
	}
	c.waiting[id] = w
	return nil
}

func (c *Client) forget(id string, w *waiter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting[id] == w {
		delete(c.waiting, id)
	}
}

// iq handles answers that are waited for, and requests. It reports whether the
// element needs no one else.
func (c *Client) iq(el xmltree.Element) bool {
	iq, err := stanza.Parse(el)
	if err != nil {
		// Nobody can have asked for it, and the server should not have sent
		// it: those who look at everything may.
		return false
	}
	if iq.IsRequest() {
		return c.answer(iq)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.waiting[iq.ID]
	if w == nil || !c.from(iq.From, w.to) {
		return false
	}
	delete(c.waiting, iq.ID)
	w.reply <- iq
	return true
}

// from reports whether an answer is from the one who was asked: an id alone can
// be guessed. The server may answer for our account with or without an address
// (RFC 6120 §8.1.2.1).
func (c *Client) from(from, to jid.JID) bool {
	own := c.state.JID
	account := to.IsZero() || to == own.Bare()
	switch {
	case from == to:
		return true
	case account:
		return from.IsZero() || from == own.Bare() || from == own
	}
	return from.IsZero() && to == own.Host()
}

// answer answers a request.
func (c *Client) answer(iq *stanza.Stanza) bool {
	payload, err := xmltree.Appender(nil), ErrNotMine
	if c.config.Answer != nil {
		payload, err = c.config.Answer(iq)
	}
	if errors.Is(err, ErrNotMine) {
		payload, err = nil, stanza.ErrServiceUnavailable
		if iq.Type == stanza.Get && iq.Payload().Is(namePing) {
			err = nil
		}
	}
	reply := iq.Reply(payload)
	if err != nil {
		e := stanza.ErrInternalServerError
		errors.As(err, &e)
		reply = iq.ErrorReply(e)
	}
	// If it cannot be written, the next read says why.
	c.Send(reply) //nolint:errcheck // see above
	return true
}

// Ping asks an entity for a sign of life (XEP-0199); the zero JID is the
// server.
func (c *Client) Ping(ctx context.Context, to jid.JID) error {
	if to.IsZero() {
		to = c.state.Host
	}
	iq := stanza.New(stanza.IQ, stanza.Get, jid.JID{}, to, ping{})
	_, err := c.SendIQ(ctx, iq)
	return err
}

type ping struct{}

// AppendXML implements xmltree.Appender.
func (ping) AppendXML(w *xmltree.Writer) { w.Element(namePing, "") }

// SendPresence sends presence of a type ("" is available) to an entity, or with
// the zero JID to all who may see it.
func (c *Client) SendPresence(typ string, to jid.JID, children ...xmltree.Appender) error {
	return c.Send(stanza.New(stanza.Presence, typ, jid.JID{}, to, children...))
}
