package server_test

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"time"

	"kith/server/component"
	"kith/xmpp/ns"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
	"kith/xmpptest"
)

// shown is the handshake of XEP-0114.
type shown string

// AppendXML implements xmltree.Appender.
func (h shown) AppendXML(w *xmltree.Writer) {
	w.Element(xmltree.Name{Space: ns.Client, Local: "handshake"}, string(h))
}

// shake does the handshake of a component from another machine, and closes the
// stream. The error is the server's.
func shake(t *testing.T, s *xmpptest.Server, name, secret string) error {
	t.Helper()
	c := stream.NewTCP(s.DialComponentTLS(), stream.Options{})
	defer c.Close(nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.StartTLS(ctx, &tls.Config{RootCAs: s.Roots(), ServerName: name}); err != nil {
		return err
	}
	if err := c.Open(stream.Header{To: echo, Content: ns.Accept}); err != nil {
		return err
	}
	h, err := c.ReadHeader()
	if err != nil {
		return err
	}
	if err := stream.Write(c, shown(component.Handshake(h.ID, secret))); err != nil {
		return err
	}
	_, err = c.ReadElement()
	s.Settle()
	return err
}

// TestComponentTLS: on the port for other machines TLS comes first.
func TestComponentTLS(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		if err := shake(t, s, host, xmpptest.Password); err != nil {
			t.Errorf("over TLS: %v", err)
		}
		c := s.DialComponentTLS()
		defer c.Close()
		if _, err := c.Write([]byte("<stream:stream xmlns='" + ns.Accept + "' xmlns:stream='" + ns.Stream + "' to='" + echo + "'>")); err != nil {
			t.Fatal(err)
		}
		s.Settle()
		got := make([]byte, 4096)
		if n, _ := c.Read(got); strings.Contains(string(got[:n]), "<") { //nolint:errcheck // what matters is what was said
			t.Errorf("without TLS: it says %q", got[:n])
		}
		slow := s.DialComponentTLS()
		defer slow.Close()
		s.Pass(11 * time.Second) // limits.handshake
		if n, err := slow.Read(got); err == nil {
			t.Errorf("who says nothing hears %q", got[:n])
		}
	}, xmpptest.Components(echo))
}

// TestComponentGuessing: who guesses the secret from another machine is not listened
// to for longer and longer, even if it is right at last.
func TestComponentGuessing(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		guess := func(secret string, right bool) {
			t.Helper()
			if err := shake(t, s, host, secret); right != (err == nil) || !right && !errors.Is(err, stream.ErrNotAuthorized) {
				t.Errorf("%q: %v", secret, err)
			}
		}
		for range 3 {
			guess("a guess", false)
		}
		guess(xmpptest.Password, false)
		s.MustConnectComponent(echo).Close() // the component of this machine is not concerned
		s.Pass(11 * time.Second)
		guess(xmpptest.Password, true)
	}, xmpptest.Components(echo), xmpptest.Config("limits = {login_failures = 2, login_backoff = \"10s\"}"))
}
