//go:build interop

package interop_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"kith/gateway"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/command"
	"kith/xmpp/xep/disco"
	"kith/xmpp/xep/form"
	xregister "kith/xmpp/xep/register"
	"kith/xmpp/xmltree"
)

// TestGateway: a component made with package gateway, at each server: it talks,
// registers people, and has a command with a form.
func TestGateway(t *testing.T) {
	t.Parallel()
	eachComponentServer(t, func(t *testing.T, s *server) {
		g := gateway.New(gateway.Config{Domain: jid.MustParse(componentDomain), Secret: componentSecret, Addr: s.components,
			Identities: []disco.Identity{{Category: "gateway", Type: "irc"}}})
		members := &members{by: make(map[jid.JID]string)}
		setUp(g, members)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := g.Run(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("Run: %v", err)
			}
		})
		defer wg.Wait()
		defer cancel()
		romeo := echoes(t, s, "gateway/irc", "all ears")

		info := romeo.do(t, order{Do: "iq", To: componentDomain, Ask: "info"})
		for _, f := range []string{ns.Register, ns.Commands, ns.DiscoInfo} {
			if !slices.Contains(info.Features, f) {
				t.Errorf("features are %v, want %s", info.Features, f)
			}
		}
		if got := romeo.condition(t, order{Do: "iq", To: componentDomain, Ask: "version"}); got != "service-unavailable" {
			t.Errorf("what nobody answers is %s", got)
		}
		if got := romeo.condition(t, order{Do: "iq", To: componentDomain, Ask: "register", Name: "rom", Body: "wrong"}); got != "not-acceptable" {
			t.Errorf("registered with a wrong password: %s", got)
		}
		romeo.do(t, order{Do: "iq", To: componentDomain, Ask: "register", Name: "rom", Body: "hush"})
		romeo.inbox().await(t, "the gateway to ask for presence", func(e event) bool {
			return e.Event == "presence" && e.From == componentDomain && e.Type == stanza.Subscribe
		})
		romeo.do(t, order{Do: "roster"}) // who has not asked for it is not told of subscriptions (RFC 6121 §3.1.6)
		romeo.do(t, order{Do: "presence", To: componentDomain, Type: stanza.Subscribe})
		romeo.inbox().await(t, "the gateway to agree", func(e event) bool {
			return e.Event == "presence" && e.From == componentDomain && e.Type == stanza.Subscribed
		})
		if got := romeo.do(t, order{Do: "iq", To: componentDomain, Ask: "commands"}); !slices.Equal(got.Bodies, []string{"topic"}) {
			t.Errorf("commands are %v", got.Bodies)
		}
		if got := romeo.do(t, order{Do: "iq", To: componentDomain, Ask: "command", Name: "topic", Body: "love & war"}); !slices.Equal(got.Bodies, []string{"love & war it is, rom"}) {
			t.Errorf("the command says %q", got.Bodies)
		}
		romeo.do(t, order{Do: "presence", To: componentDomain}) // he is there
		romeo.inbox().await(t, "the gateway to be there", func(e event) bool {
			return e.Event == "presence" && e.From == componentDomain && e.Type == ""
		})
		romeo.do(t, order{Do: "iq", To: componentDomain, Ask: "register"})
		romeo.inbox().await(t, "the gateway to be gone", func(e event) bool {
			return e.Event == "presence" && e.From == componentDomain && e.Type == stanza.Unsubscribed
		})
		if got := romeo.condition(t, order{Do: "iq", To: componentDomain, Ask: "register"}); got != "item-not-found" {
			t.Errorf("forgotten twice: %s", got)
		}
	})
}

// setUp has a gateway echo messages, approve contacts, register members and set a
// topic.
func setUp(g *gateway.Component, m *members) {
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
	g.Registration(m)
	g.Attend(gateway.Attendance{
		Registered: func(_ context.Context, user jid.JID) bool { return m.name(user) != "" },
		LogIn:      func(context.Context, jid.JID) {},
		LogOut:     func(context.Context, jid.JID) {},
	})
	g.Command(gateway.Command{Node: "topic", Name: "Set the topic", Run: func(_ context.Context, s *gateway.Step) (*gateway.Reply, error) {
		if s.Form == nil {
			return &gateway.Reply{Form: form.New(form.Empty, "", form.Field{Var: "topic", Type: form.TextSingle, Label: "Topic"})}, nil
		}
		return &gateway.Reply{Notes: []command.Note{{Severity: command.Info, Text: s.Form.Value("topic") + " it is, " + m.name(s.User.Bare())}}}, nil
	}})
}

// members are a gateway's users.
type members struct {
	mu sync.Mutex // guards by
	by map[jid.JID]string
}

func (m *members) name(user jid.JID) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.by[user]
}

// Form implements gateway.Registrar.
func (m *members) Form(_ context.Context, user jid.JID) (*xregister.Query, error) {
	name := m.name(user)
	return &xregister.Query{Registered: name != "", Fields: []xregister.Field{{Name: xregister.Username, Value: name}, {Name: xregister.Password}}}, nil
}

// Register implements gateway.Registrar.
func (m *members) Register(_ context.Context, user jid.JID, told *xregister.Query) error {
	if told.Value(xregister.Password) != "hush" {
		return stanza.ErrNotAcceptable
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.by[user.Clone()] = told.Value(xregister.Username)
	return nil
}

// Unregister implements gateway.Registrar.
func (m *members) Unregister(_ context.Context, user jid.JID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.by[user] == "" {
		return stanza.ErrItemNotFound
	}
	delete(m.by, user)
	return nil
}

// tagged is an element with a text.
type tagged struct {
	name xmltree.Name
	text string
}

// AppendXML implements xmltree.Appender.
func (e tagged) AppendXML(w *xmltree.Writer) { w.Element(e.name, e.text) }
