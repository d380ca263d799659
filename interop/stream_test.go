//go:build interop

package interop_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	nsClient   = "jabber:client"
	nsStreams  = "http://etherx.jabber.org/streams"
	nsTLS      = "urn:ietf:params:xml:ns:xmpp-tls"
	nsSASL     = "urn:ietf:params:xml:ns:xmpp-sasl"
	nsBind     = "urn:ietf:params:xml:ns:xmpp-bind"
	nsRegister = "jabber:iq:register"
	nsSM       = "urn:xmpp:sm:3"
	nsMAM      = "urn:xmpp:mam:2"
	nsRSM      = "http://jabber.org/protocol/rsm"
)

// element is any XML element. What is read keeps its namespace in XMLName;
// what is written gets it from there.
type element struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Children []element  `xml:",any"`
	Text     string     `xml:",chardata"`
}

// el builds an element; attrs are pairs of name and value.
func el(space, local string, attrs ...string) element {
	e := element{XMLName: xml.Name{Space: space, Local: local}}
	for i := 0; i+1 < len(attrs); i += 2 {
		e.Attrs = append(e.Attrs, xml.Attr{Name: xml.Name{Local: attrs[i]}, Value: attrs[i+1]})
	}
	return e
}

func (e element) with(children ...element) element {
	e.Children = append(slices.Clip(e.Children), children...)
	return e
}

func (e element) text(s string) element {
	e.Text = s
	return e
}

func (e element) is(space, local string) bool {
	return e.XMLName == xml.Name{Space: space, Local: local}
}

func (e element) attr(local string) string {
	for _, a := range e.Attrs {
		if a.Name.Space == "" && a.Name.Local == local {
			return a.Value
		}
	}
	return ""
}

// child is the first child of the name, or an element without a name.
func (e element) child(space, local string) element {
	for _, c := range e.Children {
		if c.is(space, local) {
			return c
		}
	}
	return element{}
}

func (e element) exists() bool { return e.XMLName.Local != "" }

func (e element) String() string {
	b, err := xml.Marshal(e)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// stream is a client's stream, plain enough to see everything: the tests' own,
// that shares no code with Kith.
type stream struct {
	s        *server
	conn     net.Conn
	dec      *xml.Decoder
	features element

	mu  sync.Mutex // guards writes
	buf bytes.Buffer
}

// dial opens a stream secured by STARTTLS with at most the TLS version given
// (0: the best).
func dial(s *server, version uint16) (*stream, error) {
	conn, err := net.DialTimeout("tcp", s.addr(), *patience)
	if err != nil {
		return nil, err
	}
	c := &stream{s: s, conn: conn}
	if err := c.secure(version); err != nil {
		conn.Close()
		return nil, fmt.Errorf("open stream to %s: %w", s.name, err)
	}
	return c, nil
}

func (c *stream) secure(version uint16) error {
	c.conn.SetDeadline(time.Now().Add(*patience))
	if err := c.open(); err != nil {
		return err
	}
	if !c.features.child(nsTLS, "starttls").exists() {
		return fmt.Errorf("no STARTTLS in %v", c.features)
	}
	answer, err := c.ask(el(nsTLS, "starttls"))
	if err != nil {
		return err
	}
	if !answer.is(nsTLS, "proceed") {
		return fmt.Errorf("to starttls: %v", answer)
	}
	config := &tls.Config{ServerName: c.s.domain, MaxVersion: version}
	if c.s.cert == nil {
		config.InsecureSkipVerify = true // the first look at a certificate nobody knows yet
	} else {
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AddCert(c.s.cert)
	}
	secured := tls.Client(c.conn, config)
	if err := secured.Handshake(); err != nil {
		return err
	}
	c.conn = secured
	return c.open()
}

// open sends a stream header and reads the server's header and features.
func (c *stream) open() error {
	c.dec = xml.NewDecoder(c.conn)
	header := xml.StartElement{Name: xml.Name{Local: "stream:stream"}, Attr: []xml.Attr{
		{Name: xml.Name{Local: "xmlns"}, Value: nsClient},
		{Name: xml.Name{Local: "xmlns:stream"}, Value: nsStreams},
		{Name: xml.Name{Local: "to"}, Value: c.s.domain},
		{Name: xml.Name{Local: "version"}, Value: "1.0"},
	}}
	var b bytes.Buffer
	enc := xml.NewEncoder(&b)
	if err := enc.EncodeToken(header); err != nil {
		return err
	}
	if err := enc.Flush(); err != nil {
		return err
	}
	if _, err := c.conn.Write(b.Bytes()); err != nil {
		return err
	}
	for {
		token, err := c.dec.Token()
		if err != nil {
			return err
		}
		if start, ok := token.(xml.StartElement); ok {
			if start.Name != (xml.Name{Space: nsStreams, Local: "stream"}) {
				return fmt.Errorf("not a stream header: %v", start.Name)
			}
			break
		}
	}
	features, err := c.read()
	if err != nil {
		return err
	}
	if !features.is(nsStreams, "features") {
		return fmt.Errorf("not features: %v", features)
	}
	c.features = features
	return nil
}

// read reads the next first-level element.
func (c *stream) read() (element, error) {
	for {
		token, err := c.dec.Token()
		if err != nil {
			return element{}, err
		}
		switch token := token.(type) {
		case xml.StartElement:
			var e element
			if err := c.dec.DecodeElement(&e, &token); err != nil {
				return element{}, err
			}
			if e.is(nsStreams, "error") {
				return element{}, fmt.Errorf("stream error: %v", e)
			}
			return e, nil
		case xml.EndElement:
			return element{}, errors.New("stream closed by the server")
		}
	}
}

// write sends elements in one write.
func (c *stream) write(elements ...element) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buf.Reset()
	enc := xml.NewEncoder(&c.buf)
	for _, e := range elements {
		if err := enc.Encode(e); err != nil {
			return err
		}
	}
	_, err := c.conn.Write(c.buf.Bytes())
	return err
}

// ask writes an element and reads the next one.
func (c *stream) ask(e element) (element, error) {
	if err := c.write(e); err != nil {
		return element{}, err
	}
	return c.read()
}

// mechanisms are the SASL mechanisms offered.
func (c *stream) mechanisms() []string {
	var names []string
	for _, m := range c.features.child(nsSASL, "mechanisms").Children {
		names = append(names, m.Text)
	}
	return names
}

// register makes an account (XEP-0077).
func (c *stream) register(user, password string) error {
	query := el(nsRegister, "query").with(
		el(nsRegister, "username").text(user), el(nsRegister, "password").text(password))
	answer, err := c.ask(el(nsClient, "iq", "type", "set", "id", "register").with(query))
	if err != nil {
		return err
	}
	if answer.attr("type") != "result" {
		return fmt.Errorf("register %s: %v", user, answer)
	}
	return nil
}

// exchange runs a SASL mechanism: first is its initial response, next answers
// each challenge and the data that come with success.
func (c *stream) exchange(mechanism string, first []byte, next func([]byte) ([]byte, error)) error {
	e := el(nsSASL, "auth", "mechanism", mechanism).text(base64.StdEncoding.EncodeToString(first))
	for {
		answer, err := c.ask(e)
		if err != nil {
			return err
		}
		data, err := base64.StdEncoding.DecodeString(strings.TrimSpace(answer.Text))
		if err != nil {
			return fmt.Errorf("in %v: %w", answer, err)
		}
		switch answer.XMLName.Local {
		case "success":
			if len(data) > 0 {
				if _, err := next(data); err != nil {
					return err
				}
			}
			return c.open()
		case "challenge":
			response, err := next(data)
			if err != nil {
				return err
			}
			e = el(nsSASL, "response").text(base64.StdEncoding.EncodeToString(response))
		default:
			return fmt.Errorf("%s: %v", mechanism, answer)
		}
	}
}

// plain logs in with the password, over TLS.
func (c *stream) plain(user, password string) error {
	return c.exchange("PLAIN", []byte("\x00"+user+"\x00"+password), func([]byte) ([]byte, error) {
		return nil, errors.New("PLAIN has no challenge")
	})
}

// bind binds a resource and returns the full JID.
func (c *stream) bind(resource string) (string, error) {
	request := el(nsBind, "bind").with(el(nsBind, "resource").text(resource))
	answer, err := c.ask(el(nsClient, "iq", "type", "set", "id", "bind").with(request))
	if err != nil {
		return "", err
	}
	address := answer.child(nsBind, "bind").child(nsBind, "jid").Text
	if address == "" {
		return "", fmt.Errorf("bind: %v", answer)
	}
	return address, nil
}

// login is a stream of the user, made an account first if asked for.
func login(t *testing.T, s *server, user, resource string, register bool) *stream {
	t.Helper()
	c, err := dial(s, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.conn.Close() })
	if register {
		err = c.register(user, passwordOf(user))
	}
	if err == nil {
		err = c.plain(user, passwordOf(user))
	}
	if err == nil {
		_, err = c.bind(resource)
	}
	if err != nil {
		t.Fatalf("log in as %s: %v", user, err)
	}
	return c
}

// passwordOf is the password that a test's account has.
func passwordOf(user string) string { return "pass, =word of " + user }

// shownCertificate is the certificate that the server shows.
func shownCertificate(t *testing.T, s *server) *x509.Certificate {
	t.Helper()
	c, err := dial(s, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.conn.Close()
	return c.conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
}

// register makes an account with the password of its name.
func register(t *testing.T, s *server, user string) {
	t.Helper()
	c, err := dial(s, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.conn.Close()
	if err := c.register(user, passwordOf(user)); err != nil {
		t.Fatal(err)
	}
}
