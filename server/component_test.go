package server_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kith/server/component"
	"kith/server/module"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
	"kith/xmpptest"
)

const echo = "echo.montague.example"

// componentStats are the figures of the one component.
func componentStats(t *testing.T, s *xmpptest.Server) component.Stats {
	t.Helper()
	all := s.Inside().Components().Stats()
	if len(all) != 1 || all[0].Host != echo {
		t.Fatalf("components: %+v, want one, %s", all, echo)
	}
	return all[0]
}

// bodies are those of the messages that were received, with their senders.
func bodies(c *xmpptest.Client) (all []string) {
	for _, el := range c.Received() {
		if body := el.Child(xmltree.Name{Space: ns.Client, Local: "body"}); body.Exists() {
			from, _, _ := strings.Cut(el.Attr("from"), "@")
			all = append(all, from+body.Text())
		}
	}
	return all
}

// TestComponentFailover: of several connections each sender has one; when it
// fails, what it had goes to another, in order, and comes back to nobody.
func TestComponentFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t, xmpptest.Components(echo+" { connections = 2 }"), xmpptest.Buffer(4096))
		var names []string
		for i := range 12 {
			names = append(names, fmt.Sprintf("guest%c", 'a'+i))
		}
		var people []*xmpptest.Client
		for _, n := range names {
			people = append(people, s.MustBeOnline(n+"@"+host+"/ball")...)
		}
		pad := strings.Repeat(" ", 1000)
		say := func(n int) {
			for _, p := range people {
				p.MustSend(fmt.Sprintf("<message to='ghost@%s' type='chat'><body>%d</body><x xmlns='pad'>%s</x></message>", echo, n, pad))
			}
			s.Settle()
		}
		one, two := s.MustConnectComponent(echo), s.MustConnectComponent(echo)
		say(1)
		first, second := bodies(one), bodies(two)
		if len(first)+len(second) != len(names) || len(first) == 0 || len(second) == 0 {
			t.Fatalf("one got %v, two got %v; want all %d, each some", first, second, len(names))
		}
		one.Pause()
		for n := 2; n < 12; n++ {
			say(n)
		}
		got := bodies(two)
		if want := 10 * len(second); len(got) != want {
			t.Fatalf("two got %d while one does not read, want %d", len(got), want)
		}
		if st := componentStats(t, s); st.Connections != 2 || st.Queued == 0 || st.QueuedBytes < 1000*st.Queued {
			t.Errorf("figures while one does not read: %+v", st)
		}
		had := len(bodies(one))
		one.Cut()
		s.Settle()
		got = bodies(two)
		// What was on its way in the connection that failed is lost; nothing else is.
		if lost := 10*len(first) - had - len(got); lost < 0 || lost > 12 {
			t.Errorf("%d of one's %d were taken by it, %d by two afterwards", had, 10*len(first), len(got))
		}
		last := map[string]string{}
		for _, b := range got {
			who, n := b[:6], b[6:]
			if len(n) < len(last[who]) || len(n) == len(last[who]) && n <= last[who] {
				t.Errorf("%s: %s behind %s", who, n, last[who])
			}
			last[who] = n
		}
		say(12)
		if got := bodies(two); len(got) != len(names) {
			t.Errorf("two alone got %v, want all %d", got, len(names))
		}
		for _, p := range people {
			if got := p.Received(); len(got) != 0 {
				t.Errorf("%s got %s", p.Name, got[0].Raw())
			}
		}
		// Who is back gets its senders again.
		three := s.MustConnectComponent(echo)
		say(13)
		if got, rest := bodies(three), bodies(two); len(got)+len(rest) != len(names) || len(got) == 0 {
			t.Errorf("three got %v, two got %v; want all %d, each some", got, rest, len(names))
		}
	})
}

// TestComponentQueue: what waits for a component is bounded by its size, whether
// the component is away or does not read.
func TestComponentQueue(t *testing.T) {
	for _, connected := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := xmpptest.New(t, xmpptest.Components(echo), xmpptest.Buffer(4096))
			r := s.MustBeOnline("romeo@" + host + "/orchard")[0]
			var c *xmpptest.Client
			if connected {
				c = s.MustConnectComponent(echo)
				c.Pause()
			}
			body := strings.Repeat("a", 100_000)
			for i := range 14 {
				r.MustSend(fmt.Sprintf("<message to='ghost@%s' id='%d'><body>%s</body></message>", echo, i, body))
				s.Settle()
			}
			var refused []string
			for _, el := range r.Received() {
				st, err := stanza.Parse(el)
				if err != nil {
					t.Fatal(err)
				}
				if e := stanza.ErrorOf(st); e.Condition != "resource-constraint" || e.Type != stanza.Wait {
					t.Errorf("connected %v: %s, want resource-constraint", connected, el.Raw())
				}
				refused = append(refused, st.ID)
			}
			// 1 MiB is ten of them; one that reads nothing has been given one or so.
			if !slices.Contains([]int{2, 3, 4}, len(refused)) || !slices.IsSorted(refused) || refused[len(refused)-1] != "13" {
				t.Errorf("connected %v: refused %v, want the last few", connected, refused)
			}
			if st := componentStats(t, s); st.QueuedBytes > 1<<20 || st.Bounced != int64(len(refused)) {
				t.Errorf("connected %v: %+v", connected, st)
			}
			if connected { // it is given up after a while, and what it has not read waits for the next
				s.Pass(31 * time.Second)
				if st := componentStats(t, s); st.Connections != 0 {
					t.Errorf("who does not read is still connected after 31 s: %+v", st)
				}
				c.Resume()
			}
			s.Pass(2 * time.Minute)
			if st := componentStats(t, s); st.Queued != 0 || st.QueuedBytes != 0 || st.Bounced+st.Sent != 14 || st.Sent > 1 {
				t.Errorf("connected %v: after two minutes %+v, want nothing queued and all but what was written sent back", connected, st)
			}
		})
	}
}

// TestComponentCredit: a component that sends faster than the server can work is
// not read meanwhile, and goes on afterwards.
func TestComponentCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t, xmpptest.Components(echo), xmpptest.Config("limits.credit = 2"))
		r := s.MustBeOnline("romeo@" + host + "/orchard")[0]
		c := s.MustConnectComponent(echo)
		for i := range 500 {
			c.MustSend(fmt.Sprintf("<message from='ghost@%s' to='romeo@%s'><body>%d</body></message>", echo, host, i))
		}
		s.Settle()
		got := bodies(r)
		for i, b := range got {
			if want := fmt.Sprintf("ghost%d", i); b != want {
				t.Fatalf("message %d is %s, want %s", i, b, want)
			}
		}
		if len(got) != 500 {
			t.Errorf("%d messages, want 500", len(got))
		}
	})
}

// TestComponentOversize: a stanza that is too large is refused, and the stream
// goes on; the sender is looked at all the same.
func TestComponentOversize(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		c := s.MustConnectComponent(echo)
		large := func(from string) string {
			return repeat("<message id='1' from='"+from+"' to='benvolio@montague.example/witness'><body>", "a", 300_000, "</body></message>")
		}
		c.MustSend(large(echo) + "<iq from='" + echo + "' to='montague.example' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>")
		c.Expect("<message type='error' id='1' ...>...<error type='modify'><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>...</error></message>")
		c.Expect("<iq type='result' id='p' .../>")
		c.MustSend(large("romeo@montague.example"))
		c.ExpectError(stream.ErrInvalidFrom)
	}, xmpptest.Components(echo))
}

// TestComponentsBeforeHandshake: who does not know the secret cannot use up the
// server.
func TestComponentsBeforeHandshake(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		var conns []*xmpptest.Conn
		for range 3 {
			conns = append(conns, s.DialComponent())
		}
		s.Settle()
		if got, err := io.ReadAll(s.DialComponent()); len(got) > 0 || err != nil {
			t.Errorf("one connection too many got %q, %v; want its end", got, err)
		}
		s.Pass(30 * time.Second)
		for _, c := range conns { // they learn it in a stream (RFC 6120 §4.9.1.2)
			if got, err := io.ReadAll(c); !strings.Contains(string(got), "connection-timeout") || err != nil {
				t.Errorf("who said nothing for 30 s got %q, %v", got, err)
			}
			c.Close()
		}
		s.Settle()
		s.MustConnectComponent(echo)
	}, xmpptest.Components(echo), xmpptest.Config("limits.before_login_per_ip = 3"))
}

// TestComponentReload: components come and go and change while the server runs.
func TestComponentReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t, xmpptest.Components(echo))
		r := s.MustBeOnline("romeo@" + host + "/orchard")[0]
		c := s.MustConnectComponent(echo)
		report, err := s.Reload("registration.per_ip = 7")
		if err != nil || len(report.Changed) != 1 {
			t.Fatalf("reload: %+v, %v", report, err)
		}
		c.MustSend("<message from='" + echo + "' to='romeo@montague.example'><body>a</body></message>")
		r.Expect("<message from='" + echo + "' ...>...</message>")

		s.SetComponents(echo+" { queue_age = '0s' }", "irc.capulet.example")
		report, err = s.Reload("")
		if want := []string{"component irc.capulet.example: added", "component " + echo + ": changed"}; err != nil || !slices.Equal(report.Changed, want) {
			t.Errorf("reload: %q, %v; want %q", report.Changed, err, want)
		}
		irc := s.MustConnectComponent("irc.capulet.example")
		irc.MustSend("<message from='irc.capulet.example' to='" + echo + "'><body>a</body></message>")
		c.Expect("<message from='irc.capulet.example' ...>...</message>")
		r.MustSend("<iq to='capulet.example' type='get' id='d'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>")
		r.Expect("<iq type='result' ...><query xmlns='http://jabber.org/protocol/disco#items'><item jid='irc.capulet.example'/></query></iq>")

		s.SetComponents("irc.capulet.example")
		report, err = s.Reload("")
		if want := []string{"component " + echo + ": removed; its streams end"}; err != nil || !slices.Equal(report.Changed, want) {
			t.Errorf("reload: %q, %v; want %q", report.Changed, err, want)
		}
		c.ExpectError(stream.ErrHostGone)
		r.MustSend("<message to='" + echo + "' id='1'><body>a</body></message>")
		r.Expect("<message type='error' id='1' ...><error type='cancel'><remote-server-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")

		s.ChangeSecret("another")
		if report, err = s.Reload(""); err != nil || !slices.Equal(report.Changed, []string{"component irc.capulet.example: changed"}) {
			t.Errorf("reload: %q, %v", report.Changed, err)
		}
		irc.ExpectError(stream.ErrReset)
		if _, err := s.ConnectComponent("irc", "irc.capulet.example"); err == nil {
			t.Error("the secret from before the reload is still good")
		}
	})
}

// TestComponentNewHost: a component is told what it may do at a host that comes while
// it is connected.
func TestComponentNewHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t, xmpptest.Components(`irc.mantua.example { privileges = { roster = "get" } }`))
		c := s.MustConnectComponent("irc.mantua.example")
		c.ExpectNothing()
		if _, err := s.Reload("hosts = ['montague.example', 'mantua.example']"); err != nil {
			t.Fatal(err)
		}
		c.Expect("<message from='mantua.example' to='irc.mantua.example' ...><privilege xmlns='urn:xmpp:privilege:2'><perm access='roster' type='get' push='true'/></privilege></message>")
		c.ExpectNothing()
	})
}

// TestComponentFirst: the port opens with the first component, at a start.
func TestComponentFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		s.SetComponents(echo)
		report, err := s.Reload("listen.component = ['127.0.0.1:5347']")
		if err != nil || !slices.ContainsFunc(report.Restart, func(l string) bool { return strings.HasPrefix(l, "listen.component: ") }) {
			t.Errorf("reload: %+v, %v; want a word on listen.component", report, err)
		}
	})
}

// TestComponentForgeries: what only the server may say is not believed when a
// component says it.
func TestComponentForgeries(t *testing.T) {
	forged := []struct{ what, element string }{
		{"stanza-id", "<stanza-id xmlns='urn:xmpp:sid:0' id='forged' by='romeo@montague.example'/>"},
		{"stanza-id twice", "<stanza-id xmlns='urn:xmpp:sid:0' id='x' by='" + echo + "'/><stanza-id xmlns='urn:xmpp:sid:0' id='forged' by='romeo@montague.example'/>"},
		{"stanza-id of a device", "<stanza-id xmlns='urn:xmpp:sid:0' id='forged' by='romeo@montague.example/orchard'/>"},
		{"delay by the host", "<delay xmlns='urn:xmpp:delay' from='montague.example' stamp='2000-01-01T00:00:00Z'>forged</delay>"},
	}
	wrapped := []struct{ what, element string }{
		{"carbon", "<received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='nurse@capulet.example' to='romeo@montague.example'><body>forged</body></message></forwarded></received>"},
		{"archive", "<result xmlns='urn:xmpp:mam:2' id='1'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='nurse@capulet.example' to='romeo@montague.example'><body>forged</body></message></forwarded></result>"},
	}
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		r := s.MustBeOnline("romeo@montague.example/orchard")[0]
		c := s.MustConnectComponent(echo)
		for _, f := range forged {
			for _, to := range []string{"romeo@montague.example", "romeo@montague.example/orchard"} {
				c.MustSend("<message from='ghost@" + echo + "' to='" + to + "' type='chat'><body>hark</body>" + f.element + "</message>")
				s.Settle()
				got := r.Received()
				if len(got) != 1 || strings.Contains(string(got[0].Raw()), "forged") {
					t.Errorf("%s to %s: got %v", f.what, to, got)
				}
			}
		}
		// Clients believe wrappers of their own account only: their sender stays what it is.
		for _, f := range wrapped {
			c.MustSend("<message from='ghost@" + echo + "' to='romeo@montague.example/orchard'>" + f.element + "</message>")
			s.Settle()
			for _, el := range r.Received() {
				if el.Attr("from") != "ghost@"+echo {
					t.Errorf("%s: got %s", f.what, el.Raw())
				}
			}
			c.MustSend("<message from='romeo@montague.example' to='romeo@montague.example/orchard'>" + f.element + "</message>")
			c.ExpectError(stream.ErrInvalidFrom)
			c = s.MustConnectComponent(echo)
		}
	}, xmpptest.Components(echo))
}

// TestComponentRequests sends every request that the host has an answer for, as a
// component, which has no account here, and to an account that does not know it.
// None may end in a panic, and what only own users may ask is not answered.
func TestComponentRequests(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		s.Admin(jid.MustParse("tybalt@" + host))
		s.MustBeOnline("tybalt@"+host+"/duel", "mercutio@"+host+"/duel")
		c := s.MustConnectComponent(echo)
		n := 0
		for _, h := range s.Inside().Hosts() {
			if h.Domain.Domain() != host {
				continue
			}
			for _, q := range h.Requests() {
				for _, to := range map[module.Target][]string{
					module.ToServer:  {host},
					module.ToAccount: {"tybalt@" + host, "mercutio@" + host, "nobody@" + host},
				}[q.Target] {
					for _, from := range []string{echo, "ghost@" + echo + "/wall", "tybalt@" + echo} {
						for _, inner := range requests(q.Name) {
							n++
							id := fmt.Sprint("q", n)
							text := fmt.Sprintf("<iq from='%s' to='%s' type='%s' id='%s'>%s</iq>", from, to, q.Type, id, inner)
							c.MustSend(text)
							s.Settle()
							checkAnswer(t, c, q, text, to)
						}
					}
				}
			}
		}
		if n < 100 {
			t.Errorf("%d requests only", n)
		}
		if log := s.TakeLog(); strings.Contains(log, "panic") {
			t.Errorf("a panic:\n%s", log)
		}
	}, xmpptest.Components(echo))
}

// requests are payloads of that name: empty, and with what makes handlers look
// further.
func requests(n xmltree.Name) []string {
	open := func(attrs, content string) string {
		return fmt.Sprintf("<%s xmlns='%s'%s>%s</%[1]s>", n.Local, n.Space, attrs, content)
	}
	form := "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>" + n.Space + "</value></field></x>"
	out := []string{
		open("", ""), open("", form),
		open("", "<username>tybalt</username><password>x</password>"), open("", "<remove/>"),
		open("", "<item jid='ghost@echo.montague.example'/>"),
		open(" node='http://jabber.org/protocol/commands'", ""), open(" node='config'", ""),
	}
	if n.Space == "http://jabber.org/protocol/commands" {
		for _, node := range []string{"add-user", "delete-user", "get-user-password", "get-registered-users-num", "get-online-users-list", "change-user-password"} {
			out = append(out, open(" node='http://jabber.org/protocol/admin#"+node+"' action='execute'", ""))
		}
	}
	return out
}

// public is what anybody may ask, with the reason.
var public = map[string]string{
	"get {http://jabber.org/protocol/disco#info}query server":  "XEP-0030 §3: what the host can do",
	"get {http://jabber.org/protocol/disco#items}query server": "XEP-0030 §4: its services",
	"get {urn:xmpp:ping}ping server":                           "XEP-0199 §4.4: servers ask each other",
	"get {urn:xmpp:ping}ping account":                          "XEP-0199 §4.2: to a bare address the server answers",
	"get {urn:xmpp:time}time server":                           "XEP-0202 §3: the host's clock",
	"get {jabber:iq:version}query server":                      "XEP-0092 §3: the program",
	"get {jabber:iq:last}query server":                         "XEP-0012 §5: how long the host is up",
	"get {vcard-temp}vCard account":                            "XEP-0054 §3.3: a vCard is public",
	"get {vcard-temp}vCard server":                             "XEP-0054 §3.3",
}

func checkAnswer(t *testing.T, c *xmpptest.Client, q module.Request, sent, to string) {
	t.Helper()
	got := c.Received()
	if len(got) != 1 {
		t.Errorf("sent %s\ngot  %d elements, want an answer; %v", sent, len(got), c.Err())
		return
	}
	st, err := stanza.Parse(got[0])
	if err != nil || st.Type != stanza.Result && st.Type != stanza.TypeError {
		t.Errorf("sent %s\ngot  %s", sent, got[0].Raw())
		return
	}
	where := "server"
	if q.Target == module.ToAccount {
		where = "account"
	}
	key := fmt.Sprintf("%s {%s}%s %s", q.Type, q.Name.Space, q.Name.Local, where)
	condition := stanza.ErrorOf(st).Condition
	switch {
	case st.Type == stanza.Result && public[key] == "":
		t.Errorf("%s\nsent %s\ngot  %s\nwant an error: it is not public", key, sent, got[0].Raw())
	case st.Type == stanza.Result && strings.HasPrefix(to, "nobody@"):
		t.Errorf("%s\nsent %s\ngot  %s\nwant what somebody gets who asks for an account that exists", key, sent, got[0].Raw())
	case condition == "internal-server-error":
		t.Errorf("%s\nsent %s\ngot  %s", key, sent, got[0].Raw())
	}
}
