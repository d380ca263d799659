package xmpptest

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"kith/xmpp/ns"
	"kith/xmpp/sasl"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

// Socket opens a connection for streams of a host, by direct TLS or without TLS,
// and sends nothing on it.
func (s *Server) Socket(name, host string, overTLS bool) (*Client, error) {
	if home := s.home(host); home != s {
		return home.Socket(name, host, overTLS)
	}
	c := s.client(name)
	c.host = host
	c.conn = s.Dial(overTLS)
	c.tcp = stream.NewTCP(c.conn, stream.Options{})
	if overTLS {
		if err := c.handshake(); err != nil {
			c.conn.Close()
			s.forget(c)
			return nil, err
		}
	}
	c.read(true)
	return c, nil
}

// Open opens a connection and sends a stream header.
func (s *Server) Open(name, host string, overTLS bool) (*Client, error) {
	c, err := s.Socket(name, host, overTLS)
	if err != nil {
		return nil, err
	}
	return c, c.Header()
}

// Bindings are the channel bindings of the connection.
func (c *Client) Bindings() []sasl.Binding { return c.tcp.Bindings() }

func (c *Client) handshake() error {
	ctx, cancel := context.WithTimeout(context.Background(), loginWithin)
	defer cancel()
	return c.tcp.StartTLS(ctx, c.server.TLS(c.host))
}

// StartTLS does the handshake that follows <proceed/>.
func (c *Client) StartTLS() error {
	if c.isReading() {
		return errors.New("there was no <proceed/>")
	}
	c.done.Wait()
	if err := c.handshake(); err != nil {
		c.finish(err)
		return err
	}
	c.read(true)
	return nil
}

// Header sends a stream header to the host of the client.
func (c *Client) Header() error {
	if c.content != "" {
		return c.open(func() error { return c.tcp.Open(stream.Header{To: c.host, Content: c.content}) })
	}
	return c.open(func() error {
		return c.tcp.Open(stream.Header{To: c.host, Version: stream.Version, Lang: "en", Content: ns.Client})
	})
}

// open begins a stream: the first, or the next one where the server has ended
// the last (RFC 6120 §4.3.3).
func (c *Client) open(send func() error) error {
	if c.isReading() {
		return send()
	}
	c.done.Wait()
	if err := c.tcp.Restart(); err != nil {
		return err
	}
	if err := send(); err != nil {
		return err
	}
	c.read(true)
	return nil
}

// Authenticate logs in by PLAIN and begins the stream that follows. What came
// before <success/> is forgotten.
func (c *Client) Authenticate(user string) error {
	message := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + Password))
	err := stream.Write(c.tcp, appender(func(w *xmltree.Writer) {
		w.Open(xmltree.Name{Space: ns.SASL, Local: "auth"})
		w.Attr("mechanism", sasl.Plain)
		w.Text(message)
		w.Close()
	}))
	if err != nil {
		return err
	}
	for {
		el, ok := c.Next()
		switch {
		case !ok:
			return fmt.Errorf("no answer to <auth/>: %v", c.Err())
		case el.Is(nameSuccess):
			if err := c.Header(); err != nil {
				return err
			}
			_, ok := c.Next() // the header
			if !ok {
				return fmt.Errorf("no stream behind <success/>: %v", c.Err())
			}
			return nil
		case el.Name().Space == ns.SASL:
			return fmt.Errorf("log-in refused: %s", el.Raw())
		}
	}
}

type appender func(w *xmltree.Writer)

// AppendXML implements xmltree.Appender.
func (a appender) AppendXML(w *xmltree.Writer) { a(w) }

// read starts the reader of a stream that the library does not read: of its
// header, unless that was read, and of what follows, to where the server ends the
// stream to begin another.
func (c *Client) read(header bool) {
	c.mu.Lock()
	c.reading = true
	c.mu.Unlock()
	c.done.Go(func() {
		if header {
			h, err := c.tcp.ReadHeader()
			if err != nil {
				c.finish(err)
				return
			}
			c.push(headerElement(h))
		}
		for {
			el, err := c.tcp.ReadElement()
			over := el.Is(nameProceed) || el.Is(nameSuccess)
			if over { // before anybody sees it
				c.mu.Lock()
				c.reading = false
				c.mu.Unlock()
			}
			if el.Exists() {
				c.push(el)
			}
			if err != nil {
				c.finish(err)
			}
			if over || err != nil {
				return
			}
		}
	})
}

// listen reads on where a stream that the server ended was to be followed by
// another.
func (c *Client) listen() {
	c.mu.Lock()
	idle := !c.reading && !c.ended
	c.mu.Unlock()
	if idle {
		c.done.Wait()
		c.read(false)
	}
}

// headerElement is a stream header in the form of an empty element.
func headerElement(h stream.Header) xmltree.Element {
	el, err := xmltree.Build(appender(func(w *xmltree.Writer) {
		w.Open(h.Name)
		w.AttrOpt("from", h.From)
		w.AttrOpt("to", h.To)
		w.AttrOpt("id", h.ID)
		w.AttrOpt("version", h.Version)
		if h.Lang != "" {
			w.AttrNS(xmltree.Name{Space: ns.XML, Local: "lang"}, h.Lang)
		}
		w.Close()
	}))
	if err != nil {
		panic(err) // it was an element when it came
	}
	return el
}
