package xmpptest

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"kith/client"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/sasl"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

var (
	nameProceed = xmltree.Name{Space: ns.TLS, Local: "proceed"}
	nameSuccess = xmltree.Name{Space: ns.SASL, Local: "success"}
)

// Client is the client's end of a stream. It answers nothing on its own, and
// keeps what it receives until somebody asks.
type Client struct {
	server  *Server
	Name    string
	host    string
	content string // namespace of what a stream carries, "" for a client's
	conn    *Conn
	tcp     *stream.TCP
	logged  *client.Client // nil: not logged in by the library
	done    sync.WaitGroup // the reader
	over    bool           // the scenario knows of the end

	mu      sync.Mutex // guards what follows
	changed sync.Cond
	queue   []xmltree.Element
	paused  bool
	reading bool
	ended   bool
	err     error // why
}

func (s *Server) client(name string) *Client {
	c := &Client{server: s, Name: name}
	c.changed.L = &c.mu
	s.clients = append(s.clients, c)
	return c
}

// loginWithin bounds a log-in.
const loginWithin = time.Minute

// Connect logs in and binds the resource of a full JID, or one that the server
// chooses. The account is made if need be.
func (s *Server) Connect(j jid.JID) (*Client, error) {
	if home := s.home(j.Domain()); home != s {
		return home.Connect(j)
	}
	if err := s.account(j); err != nil {
		return nil, err
	}
	c := s.client(j.String())
	c.conn = s.Dial(true)
	ctx, cancel := context.WithTimeout(context.Background(), loginWithin)
	defer cancel()
	cl, err := client.NewOnConn(ctx, c.conn, client.Config{
		JID: j, Password: Password, Memory: &memory, DirectTLS: true, TLS: s.TLS(j.Domain()),
		Mechanisms: []string{sasl.ScramSHA256Plus}, Raw: true, Handler: c.push,
	})
	if err != nil {
		s.forget(c)
		c.conn.Close()
		return nil, err
	}
	c.logged, c.tcp, c.reading = cl, cl.Conn(), true
	c.done.Go(func() {
		<-cl.Done()
		c.finish(cl.Err())
	})
	return c, nil
}

// MustConnect is Connect with the address as a string; it fails the test.
func (s *Server) MustConnect(j string) *Client {
	s.t.Helper()
	c, err := s.Connect(jid.MustParse(j))
	if err != nil {
		s.t.Fatalf("connect %s: %v", j, err)
	}
	return c
}

// MustBeOnline connects clients and sends their initial presence, in this order.
// What that gives is forgotten.
func (s *Server) MustBeOnline(jids ...string) []*Client {
	s.t.Helper()
	var out []*Client
	for _, j := range jids {
		c := s.MustConnect(j)
		if err := c.available(); err != nil {
			s.t.Fatalf("presence of %s: %v", j, err)
		}
		s.Settle()
		out = append(out, c)
	}
	s.Drain()
	return out
}

func (c *Client) available() error {
	if c.logged == nil { // a component
		return nil
	}
	return c.logged.Send(stanza.New(stanza.Presence, "", jid.JID{}, jid.JID{}))
}

// Drain forgets what all clients have received and nobody has asked for.
func (s *Server) Drain() {
	s.Settle()
	for _, c := range s.clients {
		c.Received()
	}
	if s.other != nil {
		s.other.Drain()
	}
}

// JID is the address that was bound, zero if there is none.
func (c *Client) JID() jid.JID {
	if c.logged == nil {
		return jid.JID{}
	}
	return c.logged.JID()
}

// Conn is our end of the connection.
func (c *Client) Conn() *Conn { return c.conn }

// Certificate is what the server has shown of itself; nil without TLS.
func (c *Client) Certificate() *x509.Certificate {
	state := c.tcp.TLS()
	if state == nil {
		return nil
	}
	return state.PeerCertificates[0]
}

// Send sends text as it is.
func (c *Client) Send(text string) error {
	if isHeader(text) {
		return c.open(func() error { return c.sendRaw(text) })
	}
	return c.sendRaw(text)
}

func (c *Client) sendRaw(text string) error { return c.tcp.WriteBatch([][]byte{[]byte(text)}) }

// MustSend is Send; it fails the test.
func (c *Client) MustSend(text string) {
	c.server.t.Helper()
	if err := c.Send(text); err != nil {
		c.server.t.Fatalf("%s sends %s: %v", c.Name, text, err)
	}
}

func (c *Client) push(el xmltree.Element) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, el)
	c.changed.Broadcast()
	for c.paused {
		c.changed.Wait()
	}
}

// finish notes the end of the stream. Whoever is told of it closes, too.
func (c *Client) finish(err error) {
	c.mu.Lock()
	if !c.ended {
		c.ended, c.err, c.reading = true, err, false
	}
	c.changed.Broadcast()
	c.mu.Unlock()
	c.tcp.Close(nil)
}

func (c *Client) isReading() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reading
}

// Pause keeps the client from reading more than one further element.
func (c *Client) Pause() {
	c.mu.Lock()
	c.paused = true
	c.mu.Unlock()
}

// Resume ends a Pause.
func (c *Client) Resume() {
	c.mu.Lock()
	c.paused = false
	c.changed.Broadcast()
	c.mu.Unlock()
}

// receiveWithin is how long what is to come is waited for outside of a bubble.
const receiveWithin = 5 * time.Second

// Next is the next element that was received, stream headers and stream errors
// among them; false if nothing has come.
func (c *Client) Next() (xmltree.Element, bool) {
	if c.server.bubble {
		c.server.Settle()
	} else {
		c.await(receiveWithin)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		return xmltree.Element{}, false
	}
	el := c.queue[0]
	c.queue = c.queue[1:]
	return el, true
}

// await waits in real time until there is an element or the end.
func (c *Client) await(within time.Duration) {
	end := time.Now().Add(within)
	timer := time.AfterFunc(within, func() {
		c.mu.Lock()
		c.changed.Broadcast()
		c.mu.Unlock()
	})
	defer timer.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) == 0 && !c.ended && time.Now().Before(end) {
		c.changed.Wait()
	}
}

// waiting is what has come and nobody has asked for.
func (c *Client) waiting() []xmltree.Element {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.queue)
}

// take removes an element of those that wait.
func (c *Client) take(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = slices.Delete(slices.Clone(c.queue), i, i+1)
}

// Received is all that has come and nobody has asked for yet.
func (c *Client) Received() []xmltree.Element {
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.queue
	c.queue = nil
	return got
}

// Expect fails the test unless the next element is as the pattern says, see Run.
func (c *Client) Expect(pattern string) xmltree.Element {
	c.server.t.Helper()
	want, err := parsePattern(pattern)
	if err != nil {
		c.server.t.Fatalf("%s: %v", pattern, err)
	}
	el, ok := c.Next()
	if !ok {
		c.server.t.Fatalf("%s got nothing (%v), want %s", c.Name, c.Err(), pattern)
	}
	if diff := want.match(el, make(vars)); diff != nil {
		c.server.t.Fatalf("%s\ngot:  %s\nwant: %s\n%v", c.Name, el.Raw(), pattern, diff)
	}
	return el
}

// ExpectNothing fails the test if anything has come.
func (c *Client) ExpectNothing() {
	c.server.t.Helper()
	c.server.Settle()
	for _, el := range c.Received() {
		c.server.t.Errorf("%s got %s, want nothing", c.Name, el.Raw())
	}
}

// Ended tells whether the stream has ended, and how: io.EOF if the server closed
// it in order, a *stream.PeerError if it sent an error.
func (c *Client) Ended() (bool, error) {
	if c.server.bubble {
		c.server.Settle()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended, c.err
}

// Err is why the stream has ended, nil if it has not.
func (c *Client) Err() error {
	_, err := c.Ended()
	return err
}

// ExpectError waits for the end of the stream and fails the test unless it ends
// with a stream error of that condition.
func (c *Client) ExpectError(want *stream.Error) {
	c.server.t.Helper()
	for {
		if _, ok := c.Next(); !ok {
			break
		}
	}
	if ended, err := c.Ended(); !ended || !errors.Is(err, want) {
		c.server.t.Errorf("%s: stream ended: %v, with %v; want %v", c.Name, ended, err, want)
	}
}

// Close ends the stream in order.
func (c *Client) Close() {
	c.Resume()
	if c.logged != nil {
		// Whoever closes does not care if the other end was faster.
		c.logged.Close()
	} else {
		c.tcp.Close(nil)
	}
	c.end()
	c.server.forget(c)
}

// Cut cuts the connection: the server hears nothing any more, not even the end
// of the stream.
func (c *Client) Cut() {
	c.end()
	c.server.forget(c)
}

// end closes the connection and waits for the reader.
func (c *Client) end() {
	c.Resume()
	c.conn.Close()
	if c.tcp != nil {
		c.tcp.Close(io.ErrUnexpectedEOF)
	}
	c.done.Wait()
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
}
