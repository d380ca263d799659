//go:build interop

package interop_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"kith/gateway"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/disco"
	"kith/xmpp/xmltree"
)

// componentDomain is that of the tests' components.
const componentDomain = "other.localhost"

// TestSlixmppComponent: a component of slixmpp's, and a user of it.
func TestSlixmppComponent(t *testing.T) {
	t.Parallel()
	eachServerWith(t, setup{component: componentDomain}, func(t *testing.T, s *server) {
		python := slixmpp.command(t, s).Path
		host, port, err := net.SplitHostPort(s.components)
		if err != nil {
			t.Fatal(err)
		}
		spawn(t, exec.Command(python, filepath.Join("slixmpp", "echo.py"), componentDomain, componentSecret, host, port))
		echoes(t, s, "client/bot", "all ears")
	})
}

// TestGateway: the same with ours.
func TestGateway(t *testing.T) {
	t.Parallel()
	eachServerWith(t, setup{component: componentDomain}, func(t *testing.T, s *server) {
		g := gateway.New(gateway.Config{Domain: jid.MustParse(componentDomain), Secret: componentSecret, Addr: s.components,
			Identities: []disco.Identity{{Category: "gateway", Type: "irc"}}})
		body := xmltree.Name{Space: ns.Client, Local: "body"}
		g.HandleMessage(func(_ context.Context, st *stanza.Stanza) error {
			text := st.Child(body)
			if !text.Exists() {
				return nil
			}
			return g.Send(stanza.New(stanza.Message, st.Type, st.To, st.From, tagged{body, "you said " + text.Text()}))
		})
		g.HandlePresence(func(_ context.Context, st *stanza.Stanza) error {
			if st.Type != stanza.Subscribe {
				return nil
			}
			return g.Send(stanza.New(stanza.Presence, stanza.Subscribed, st.To, st.From),
				stanza.New(stanza.Presence, "", st.To, st.From, tagged{xmltree.Name{Space: ns.Client, Local: "status"}, "all ears"}))
		})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := g.Run(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("Run: %v", err)
			}
		})
		defer wg.Wait()
		defer cancel()
		echoes(t, s, "gateway/irc", "all ears")
	})
}

// tagged is an element with a text.
type tagged struct {
	name xmltree.Name
	text string
}

// AppendXML implements xmltree.Appender.
func (e tagged) AppendXML(w *xmltree.Writer) { w.Element(e.name, e.text) }

// echoes has a user find a component, talk to it and see its presence. What is for
// the component waits for it to connect.
func echoes(t *testing.T, s *server, identity, status string) {
	t.Helper()
	p := startPuppet(t, slixmpp, s)
	romeo := p.mustOpen(t, "romeo", "orchard", true)
	romeo.do(t, order{Do: "presence"})
	ghost := "ghost@" + componentDomain
	for i := range 20 {
		romeo.do(t, order{Do: "message", To: ghost, Type: "chat", Body: fmt.Sprint("boo ", i), Stanza: fmt.Sprint("m", i)})
		want := fmt.Sprint("you said boo ", i)
		romeo.inbox().await(t, want, func(e event) bool {
			return e.Event == "message" && e.From == ghost && e.Body == want
		})
	}
	info := romeo.do(t, order{Do: "iq", To: componentDomain, Ask: "info"})
	if !slices.Contains(info.Identities, identity) {
		t.Errorf("the component is %v, want %s", info.Identities, identity)
	}
	romeo.do(t, order{Do: "iq", To: componentDomain, Ask: "ping"})
	romeo.do(t, order{Do: "presence", To: ghost, Type: "subscribe"})
	romeo.inbox().await(t, "presence of "+ghost, func(e event) bool {
		return e.Event == "presence" && strings.HasPrefix(e.From, ghost) && e.Status == status
	})
}
