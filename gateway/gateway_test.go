package gateway_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kith/gateway"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/command"
	"kith/xmpp/xep/disco"
	"kith/xmpp/xep/form"
	"kith/xmpp/xep/privilege"
	"kith/xmpp/xep/register"
	"kith/xmpp/xmltree"
	"kith/xmpptest"
)

const domain = "irc.montague.example"

// book is a Registrar in memory.
type book struct {
	mu sync.Mutex
	by map[jid.JID]string
}

func (b *book) Form(_ context.Context, user jid.JID) (*register.Query, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	name, ok := b.by[user]
	return &register.Query{Registered: ok, Instructions: "Which name do you go by?", Fields: []register.Field{{Name: register.Username, Value: name}}}, nil
}

func (b *book) Register(_ context.Context, user jid.JID, told *register.Query) error {
	if told.Value(register.Username) == "" {
		return stanza.ErrNotAcceptable
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.by[user.Clone()] = told.Value(register.Username)
	return nil
}

func (b *book) Unregister(_ context.Context, user jid.JID) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.by[user]; !ok {
		return stanza.ErrItemNotFound
	}
	delete(b.by, user)
	return nil
}

func (b *book) has(_ context.Context, user jid.JID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.by[user]
	return ok
}

// attached runs a test with a component that is attached to a server in a bubble.
func attached(t *testing.T, set func(g *gateway.Component), test func(t *testing.T, s *xmpptest.Server, g *gateway.Component)) {
	t.Helper()
	attachedAs(t, domain, set, test)
}

// attachedAs is attached with a table of the component's, see xmpptest.Components.
func attachedAs(t *testing.T, table string, set func(g *gateway.Component), test func(t *testing.T, s *xmpptest.Server, g *gateway.Component)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t, xmpptest.Components(table))
		g := gateway.New(gateway.Config{
			Domain: jid.MustParse(domain), Secret: xmpptest.Password,
			Identities: []disco.Identity{{Category: "gateway", Type: "irc", Name: "IRC"}},
			Dial:       func(context.Context) (net.Conn, error) { return s.DialComponent(), nil },
		})
		set(g)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := g.Run(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("Run: %v", err)
			}
		})
		defer wg.Wait()
		defer cancel()
		s.Settle()
		test(t, s, g)
	})
}

func reply(st *stanza.Stanza, body string) *stanza.Stanza {
	return stanza.New(stanza.Message, st.Type, st.To, st.From, text(body))
}

type text string

// AppendXML implements xmltree.Appender.
func (b text) AppendXML(w *xmltree.Writer) {
	w.Element(xmltree.Name{Space: ns.Client, Local: "body"}, string(b))
}

func TestServe(t *testing.T) {
	attached(t, func(g *gateway.Component) {
		g.HandleMessage(func(ctx context.Context, st *stanza.Stanza) error {
			body := st.Child(xmltree.Name{Space: ns.Client, Local: "body"}).Text()
			switch body {
			case "slow":
				<-time.After(time.Minute)
			case "panic":
				panic("as told")
			case "no":
				return stanza.ErrNotAllowed
			case "ask":
				got, err := g.Ask(ctx, stanza.New(stanza.IQ, stanza.Get, st.To, st.From, text("?")))
				if err != nil {
					return err
				}
				body = got.Payload().Text()
			}
			return g.Send(reply(st, body))
		})
		g.Command(gateway.Command{Node: "greet", Name: "Greet", Allowed: func(user jid.JID) bool { return user.Local() == "romeo" },
			Run: func(_ context.Context, s *gateway.Step) (*gateway.Reply, error) {
				if s.Form == nil {
					s.Data = "hail "
					return &gateway.Reply{Form: form.New(form.Empty, "", form.Field{Var: "name", Type: form.TextSingle})}, nil
				}
				return &gateway.Reply{Notes: []command.Note{{Severity: command.Info, Text: s.Data.(string) + s.Form.Value("name")}}}, nil
			}})
	}, func(t *testing.T, s *xmpptest.Server, g *gateway.Component) {
		cs := s.MustBeOnline("romeo@montague.example/orchard", "juliet@capulet.example/balcony")
		r, j := cs[0], cs[1]
		say := func(c *xmpptest.Client, body string) {
			t.Helper()
			c.MustSend("<message to='#verona@" + domain + "' type='chat' id='m'><body>" + body + "</body></message>")
		}
		got := func(c *xmpptest.Client, body string) {
			t.Helper()
			c.Expect("<message from='#verona@" + domain + "' type='chat' ...><body>" + body + "</body>...</message>")
		}
		say(r, "hark")
		got(r, "hark")
		// One who is slow keeps nobody else waiting, and his own stay in order.
		say(r, "slow")
		say(r, "behind")
		say(j, "hark")
		got(j, "hark")
		r.ExpectNothing()
		s.Pass(time.Minute)
		got(r, "slow")
		got(r, "behind")

		for body, condition := range map[string]string{"panic": "internal-server-error", "no": "not-allowed"} {
			say(r, body)
			r.Expect("<message type='error' id='m' ...><error ...><" + condition + " xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")
		}

		// A handler asks who has written to it; another's answer is none.
		say(r, "ask")
		ask := r.Expect("<iq type='get' from='#verona@" + domain + "' ...>...</iq>")
		j.MustSend("<iq type='result' to='#verona@" + domain + "' id='" + ask.Attr("id") + "'><x xmlns='u'>forged</x></iq>")
		s.Settle()
		r.MustSend("<iq type='result' to='#verona@" + domain + "' id='" + ask.Attr("id") + "'><x xmlns='u'>mine</x></iq>")
		got(r, "mine")

		// More than MaxWaiting ahead is refused, and nothing of that is lost silently.
		say(r, "slow")
		s.Settle()
		for range gateway.MaxWaiting + 3 {
			say(r, "x")
		}
		s.Settle()
		if n := len(r.Received()); n != 3 {
			t.Errorf("%d refused, want 3", n)
		}
		s.Pass(time.Minute)
		if n := len(r.Received()); n != gateway.MaxWaiting+1 {
			t.Errorf("%d answered, want %d", n, gateway.MaxWaiting+1)
		}

		disco := func(c *xmpptest.Client, what, node, want string) {
			t.Helper()
			c.MustSend(fmt.Sprintf("<iq to='%s' type='get' id='d'><query xmlns='http://jabber.org/protocol/disco#%s'%s/></iq>", domain, what, node))
			c.Expect(want)
		}
		disco(r, "info", "", "<iq type='result' ...><query xmlns='http://jabber.org/protocol/disco#info'><identity category='gateway' type='irc' name='IRC'/><feature var='http://jabber.org/protocol/commands'/><feature var='http://jabber.org/protocol/disco#info'/><feature var='http://jabber.org/protocol/disco#items'/><feature var='urn:xmpp:ping'/></query></iq>")
		disco(r, "info", " node='x'", "<iq type='error' ...><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
		disco(r, "items", " node='http://jabber.org/protocol/commands'", "<iq type='result' ...><query xmlns='http://jabber.org/protocol/disco#items' node='http://jabber.org/protocol/commands'><item jid='"+domain+"' node='greet' name='Greet'/></query></iq>")
		disco(j, "items", " node='http://jabber.org/protocol/commands'", "<iq type='result' ...><query xmlns='http://jabber.org/protocol/disco#items' node='http://jabber.org/protocol/commands'/></iq>")

		// XEP-0050: in two steps, which only who has begun can go on with.
		run := func(c *xmpptest.Client, attrs, content, want string) xmltree.Element {
			t.Helper()
			c.MustSend("<iq to='" + domain + "' type='set' id='c'><command xmlns='http://jabber.org/protocol/commands' node='greet'" + attrs + ">" + content + "</command></iq>")
			return c.Expect(want)
		}
		run(j, "", "", "<iq type='error' ...><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
		begun := run(r, "", "", "<iq type='result' ...><command xmlns='http://jabber.org/protocol/commands' node='greet' status='executing' sessionid='...'><actions execute='complete'><complete/></actions>...</command></iq>")
		id := " sessionid='" + begun.First().Attr("sessionid") + "'"
		filled := "<x xmlns='jabber:x:data' type='submit'><field var='name'><value>Juliet</value></field></x>"
		other := s.MustConnect("romeo@montague.example/garden")
		run(other, id, filled, "<iq type='error' ...><error type='modify'><bad-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><bad-sessionid xmlns='http://jabber.org/protocol/commands'/></error></iq>")
		run(r, id, filled, "<iq type='result' ...><command xmlns='http://jabber.org/protocol/commands' node='greet' status='completed' sessionid='...'><note type='info'>hail Juliet</note></command></iq>")
		run(r, id, filled, "<iq type='error' ...>...</iq>")
		begun = run(r, "", "", "<iq type='result' ...>...</iq>")
		run(r, " action='cancel' sessionid='"+begun.First().Attr("sessionid")+"'", "", "<iq type='result' ...><command xmlns='http://jabber.org/protocol/commands' node='greet' status='canceled' sessionid='...'/></iq>")
		begun = run(r, "", "", "<iq type='result' ...>...</iq>")
		s.Pass(16 * time.Minute)
		r = s.MustConnect("romeo@montague.example/orchard") // pinged, and not heard of
		run(r, " sessionid='"+begun.First().Attr("sessionid")+"'", filled, "<iq type='error' ...><error type='cancel'><not-allowed xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><session-expired xmlns='http://jabber.org/protocol/commands'/></error></iq>")
	})
}

// TestRegister: XEP-0077 as XEP-0100 §4.1 to §4.5 has it.
func TestRegister(t *testing.T) {
	b := &book{by: make(map[jid.JID]string)}
	var log []string
	attached(t, func(g *gateway.Component) {
		g.Registration(b)
		g.Attend(gateway.Attendance{
			Registered: b.has,
			LogIn:      func(_ context.Context, user jid.JID) { log = append(log, "in "+user.Local()) },
			LogOut:     func(_ context.Context, user jid.JID) { log = append(log, "out "+user.Local()) },
		})
	}, func(t *testing.T, s *xmpptest.Server, _ *gateway.Component) {
		r := s.MustBeOnline("romeo@montague.example/orchard")[0]
		r.MustSend("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
		r.Expect("<iq type='result' id='r' ...>...</iq>")
		ask := func(typ, content, want string) {
			t.Helper()
			r.MustSend("<iq to='" + domain + "' type='" + typ + "' id='r'><query xmlns='jabber:iq:register'>" + content + "</query></iq>")
			r.Expect(want)
		}
		r.MustSend("<presence to='" + domain + "'/>") // nobody there knows him
		ask("get", "", "<iq type='result' ...><query xmlns='jabber:iq:register'><instructions>Which name do you go by?</instructions><username/></query></iq>")
		ask("set", "<username/>", "<iq type='error' ...><error type='modify'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
		ask("set", "<remove/>", "<iq type='error' ...><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
		r.MustSend("<iq to='" + domain + "' type='set' id='r'><query xmlns='jabber:iq:register'><username>rom</username></query></iq>")
		r.Expect("<presence type='subscribe' from='" + domain + "' .../>")
		r.Expect("<iq type='result' id='r' .../>")
		ask("get", "", "<iq type='result' ...><query xmlns='jabber:iq:register'><registered/><instructions>...</instructions><username>rom</username></query></iq>")
		// XEP-0100 §4.1.1: each sees the other's presence from now on.
		r.MustSend("<presence to='" + domain + "' type='subscribed'/><presence to='" + domain + "' type='subscribe'/>")
		s.Settle()
		var types []string
		for _, el := range r.Received() {
			if el.Name().Local == "presence" {
				types = append(types, el.Attr("type"))
			}
		}
		if !slices.Contains(types, "subscribed") || !slices.Contains(types, "") {
			t.Errorf("got presence of types %q, want it available and subscribed", types)
		}
		g := s.MustBeOnline("romeo@montague.example/garden")[0]
		r.Close()
		s.Settle()
		if want := "in romeo"; strings.Join(log, ", ") != want {
			t.Errorf("log %v, want %s", log, want)
		}
		g.Close()
		s.Settle()
		if want := "in romeo, out romeo"; strings.Join(log, ", ") != want {
			t.Errorf("log %v, want %s", log, want)
		}
	})
}

// TestPrivileges: what the server grants (XEP-0356) is known, and what another
// component says of itself is not taken for the server's word.
func TestPrivileges(t *testing.T) {
	attachedAs(t, domain+` { privileges = { roster = "get", iq = { "jabber:iq:version" = "both" } } }`, func(*gateway.Component) {},
		func(t *testing.T, s *xmpptest.Server, g *gateway.Component) {
			want := privilege.Perms{{Access: "roster", Type: "get", Push: "true"},
				{Access: "iq", Spaces: []privilege.Space{{NS: "jabber:iq:version", Type: "both"}}}}
			if got := g.Privileges(jid.MustParse("montague.example")); !reflect.DeepEqual(got, want) {
				t.Errorf("granted %+v, want %+v", got, want)
			}
			r := s.MustBeOnline("romeo@montague.example/orchard")[0]
			r.MustSend("<message to='" + domain + "'><privilege xmlns='urn:xmpp:privilege:2'><perm access='message' type='outgoing'/></privilege></message>")
			s.Settle()
			for _, host := range []string{"montague.example", "romeo@montague.example"} {
				for _, p := range g.Privileges(jid.MustParse(host)) {
					if p.Access == "message" {
						t.Errorf("believes a user that it may send for %s", host)
					}
				}
			}
		})
}

// TestReconnect: the component is there again after the server was away, and
// refuses to believe that it is connected meanwhile.
func TestReconnect(t *testing.T) {
	attached(t, func(g *gateway.Component) {
		g.HandleMessage(func(_ context.Context, st *stanza.Stanza) error { return g.Send(reply(st, "again")) })
	}, func(t *testing.T, s *xmpptest.Server, g *gateway.Component) {
		s.Restart()
		if err := g.Send(stanza.New(stanza.Message, "", g.Domain(), g.Domain())); !errors.Is(err, gateway.ErrNotConnected) {
			t.Errorf("Send while the server is away: %v", err)
		}
		s.Pass(2 * time.Second)
		r := s.MustBeOnline("romeo@montague.example/orchard")[0]
		r.MustSend("<message to='a@" + domain + "' type='chat'><body>hark</body></message>")
		r.Expect("<message from='a@" + domain + "' type='chat' ...><body>again</body>...</message>")
	})
}

// TestTLS: from another machine a component speaks TLS from the first byte, with a
// server that it knows; without TLS it is not listened to there.
func TestTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t, xmpptest.Components(domain))
		for _, tt := range []struct {
			name string
			conf *tls.Config
			want bool
		}{
			{"the server's name", &tls.Config{RootCAs: s.Roots(), ServerName: "montague.example"}, true},
			{"another name", &tls.Config{RootCAs: s.Roots(), ServerName: "verona.example"}, false},
			{"another authority", &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "montague.example"}, false},
			{"an address", &tls.Config{RootCAs: s.Roots()}, false}, // 127.0.0.1, by default
			{"no TLS", nil, false},
		} {
			connected := make(chan struct{}, 1)
			g := gateway.New(gateway.Config{Domain: jid.MustParse(domain), Secret: xmpptest.Password, TLS: tt.conf,
				Connected: func(context.Context) { connected <- struct{}{} }})
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			var err error
			wg.Go(func() { err = g.Serve(ctx, s.DialComponentTLS()) })
			s.Settle()
			got := len(connected) == 1
			cancel()
			wg.Wait()
			if got != tt.want || err == nil {
				t.Errorf("%s: connected is %v (%v), want %v", tt.name, got, err, tt.want)
			}
		}
	})
}

// TestWrongSecret: it is told why, and tried again with longer and longer pauses.
func TestWrongSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t, xmpptest.Components(domain))
		tries := 0
		g := gateway.New(gateway.Config{Domain: jid.MustParse(domain), Secret: "wrong",
			Dial: func(context.Context) (net.Conn, error) { tries++; return s.DialComponent(), nil }})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		if err := g.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run: %v", err)
		}
		if tries < 6 || tries > 20 {
			t.Errorf("%d tries in five minutes", tries)
		}
	})
}
