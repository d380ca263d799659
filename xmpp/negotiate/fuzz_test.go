package negotiate

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"strings"
	"testing"

	"kith/xmpp/jid"
	"kith/xmpp/sasl"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

// transport is a Transport in memory: what the peer has said is there from the
// beginning, and TLS is a word.
type transport struct {
	dec    *xmltree.Decoder
	rest   []byte
	out    bytes.Buffer
	secure bool
	closed error
	ended  bool
}

func (c *transport) feed() bool {
	if len(c.rest) == 0 {
		return false
	}
	n := min(len(c.rest), 64)
	c.dec.Feed(c.rest[:n])
	c.rest = c.rest[n:]
	return true
}

func (c *transport) ReadHeader() (stream.Header, error) {
	for {
		h, err := c.dec.Header()
		if err != xmltree.ErrIncomplete {
			return h, err
		}
		if !c.feed() {
			return h, io.ErrUnexpectedEOF
		}
	}
}

func (c *transport) ReadElement() (xmltree.Element, error) {
	for {
		el, err := c.dec.Next()
		if err != xmltree.ErrIncomplete {
			return el, err
		}
		if !c.feed() {
			return el, io.ErrUnexpectedEOF
		}
	}
}

func (c *transport) WriteBatch(batch [][]byte) error {
	if c.ended {
		return stream.ErrClosed
	}
	for _, b := range batch {
		c.out.Write(b)
	}
	return nil
}

func (c *transport) Open(h stream.Header, more ...xmltree.Appender) error {
	c.out.WriteString("[header]")
	return stream.Write(c, more...)
}

func (*transport) Closed() {}

func (c *transport) Close(err error) error {
	if !c.ended {
		c.ended, c.closed = true, err
	}
	return nil
}

func (c *transport) Restart() error {
	c.dec.Reset() // what was fed is dropped, the rest is the peer's next word
	return nil
}

func (c *transport) StartTLS(context.Context, *tls.Config) error {
	c.secure = true
	return nil
}

func (c *transport) Secure() bool               { return c.secure }
func (c *transport) Bindings() []sasl.Binding   { return nil }
func (c *transport) SetLimits(l xmltree.Limits) { c.dec.SetLimits(l) }

// Whatever a client says in whatever state, it is answered, or the stream ends;
// each of its elements gets the server a step further.
func FuzzServerNegotiation(f *testing.F) {
	login := plain("juliet", "r0m30myr0m30")
	for _, s := range []string{
		hello + "<starttls xmlns='" + tlsNS + "'/>",
		hello + "<message/>", hello + "<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>",
		hello + login, hello + "<auth xmlns='" + saslNS + "' mechanism='SCRAM-SHA-1'>biwsbj1qdWxpZXQscj1hYmNkZWZnaGlqa2xtbm9wcQ==</auth><response xmlns='" + saslNS + "'>Yw==</response>",
		hello + "<abort xmlns='" + saslNS + "'/>", hello + "</stream:stream>", hello + "<stream:error/>",
		bind(""), bind("<resource>x</resource>"), "<enable xmlns='urn:xmpp:sm:3'/>", "<resume xmlns='urn:xmpp:sm:3'/>", "<iq/>", "<iq type='set'><bind/></iq>",
		hello + authenticate2("romeo", "secret", "<bind xmlns='urn:xmpp:bind:0'><tag>x</tag><enable xmlns='urn:xmpp:sm:3'/></bind>"),
		hello + authenticate2("romeo", "secret", "<resume xmlns='urn:xmpp:sm:3' h='1' previd='x'/><user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/><request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>") + bind(""),
		hello + authenticate2("juliet", "r0m30myr0m30", "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-256</upgrade>") +
			"<next xmlns='" + sasl2NS + "' task='NIGHT'/><task-data xmlns='" + sasl2NS + "'><answer xmlns='urn:example:sphinx'>star</answer></task-data>",
		hello + "<authenticate xmlns='" + sasl2NS + "' mechanism='HT-SHA-256-NONE'><initial-response>cm9tZW8AAAAA</initial-response><user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/><fast xmlns='urn:xmpp:fast:0' count='7' invalidate='1'/></authenticate>",
		hello + "<abort xmlns='" + sasl2NS + "'/><response xmlns='" + sasl2NS + "'/>",
	} {
		for state := range byte(3) {
			f.Add(state, s)
		}
	}
	a := &accounts{passwords: map[string]string{"juliet": "r0m30myr0m30"}}
	f.Fuzz(func(t *testing.T, state byte, text string) {
		c := &transport{dec: xmltree.NewDecoder(xmltree.Limits{Bytes: 10000, Depth: 8}), rest: []byte(text), secure: state%3 > 0}
		o := a.options(&tls.Config{}, state&4 == 0)
		s := &server{opts: o, st: &State{Conn: c, tlsRequired: o.TLSRequired}}
		if state%3 == 2 {
			// An authenticated client, whose header is read.
			s.st.User = jid.MustParse("juliet@montague.example")
			s.st.Host = jid.MustParse("montague.example")
			s.steps = o.Steps(s.st.Host)
			c.rest = append([]byte(hello), text...)
		}
		err := s.run(context.Background())
		got := c.out.String()
		if err == nil {
			if s.st.JID.IsZero() || !strings.Contains(got, "<jid>") && !strings.Contains(got, "<bound ") {
				t.Errorf("said %q\ngot %s\nand the negotiation is complete", text, got)
			}
			return
		}
		// What is told to the client is its own fault, unless the store is down.
		if e := stream.ErrorFor(err); e != nil && errors.Is(e, stream.ErrInternalServerError) && !strings.Contains(text, "broken") {
			t.Errorf("said %q\ngot %s\nand %v", text, got, err)
		}
		if s.st.tlsRequired && !c.secure && (strings.Contains(got, "<success") || strings.Contains(got, "mechanism>")) {
			t.Errorf("said %q\ngot %s\nwithout TLS", text, got)
		}
		if state%3 != 2 && s.st.User.IsZero() && strings.Contains(got, "xmpp-bind") {
			t.Errorf("said %q\ngot %s\nwithout authentication", text, got)
		}
	})
}
