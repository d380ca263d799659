package s2s_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpptest"
)

const errorOf = "<message type='error' ...><error ...><%s xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>...</error></message>"

// TestQueueIsBounded: what waits for a server that does not answer is bounded in bytes
// and in time, and goes back.
func TestQueueIsBounded(t *testing.T) {
	inWorld(t, "s2s.queue = \"20KiB\"", func(w *world) {
		silent := &authoritative{mute: true}
		w.net.Stranger("silent.example", silent.serve)
		romeo := w.online()
		body := strings.Repeat("x", 1000)
		for i := range 40 {
			romeo.MustSend(fmt.Sprintf("<message to='x@silent.example' id='m%d'><body>%s</body></message>", i, body))
		}
		w.s.Settle()
		full := len(romeo.Received())
		if full < 15 || full > 30 {
			w.t.Errorf("%d of 40 stanzas of 1 kB came back at once, want about half", full)
		}
		w.s.Pass(2 * time.Minute)
		if n := len(romeo.Received()); n != 40-full {
			w.t.Errorf("%d stanzas came back later, want %d", n, 40-full)
		}
		if n := w.s.Inside().Federation().Stats(); n.Links != 0 || n.Queued != 0 {
			w.t.Errorf("figures afterwards: %+v, want nothing queued", n)
		}
	})
}

// TestTooOldWhileDialing: what may not wait any longer goes back, though it is not known
// yet whether there will be a stream.
func TestTooOldWhileDialing(t *testing.T) {
	inWorld(t, "s2s.queue_age = \"5s\"", func(w *world) {
		w.net.Stranger("silent.example", (&authoritative{mute: true}).serve)
		romeo := w.online()
		romeo.MustSend("<message to='x@silent.example' id='m'><body>x</body></message>")
		w.s.Pass(4 * time.Second)
		romeo.ExpectNothing()
		w.s.Pass(2 * time.Second)
		romeo.Expect(fmt.Sprintf(errorOf, "remote-server-timeout"))
	})
}

// TestCircuitBreaker: a domain that has failed for a while is not tried for each stanza;
// one that is there again is found.
func TestCircuitBreaker(t *testing.T) {
	inWorld(t, "limits.ping_after = \"1h\"", func(w *world) {
		calls := 0
		w.net.Stranger("flaky.example", func(c net.Conn, _ bool) { calls++; c.Close() })
		romeo := w.online()
		for i := range 600 { // ten minutes, a stanza a second
			romeo.MustSend(fmt.Sprintf("<message to='x@flaky.example' id='m%d'><body>x</body></message>", i))
			w.s.Pass(time.Second)
		}
		if calls > 40 {
			w.t.Errorf("%d connections in ten minutes, want few", calls)
		}
		w.s.Pass(2 * time.Minute)
		if n := len(romeo.Received()); n != 600 {
			w.t.Errorf("%d of 600 stanzas came back", n)
		}
		w.s.Pass(6 * time.Minute)
		a := &authoritative{cert: w.certificate(nil, "flaky.example"), verdict: says("valid")}
		w.net.Stranger("flaky.example", a.serve)
		romeo.MustSend("<message to='x@flaky.example' id='last'><body>x</body></message>")
		romeo.ExpectNothing()
		if n := w.s.Inside().Federation().Stats().Sent; n != 1 {
			w.t.Errorf("%d stanzas sent, want 1", n)
		}
	})
}

// TestBounceLoop: two servers send each other errors for what neither takes, once.
func TestBounceLoop(t *testing.T) {
	inWorld(t, "", func(w *world) {
		other := xmpptest.New(w.t, xmpptest.Join(w.net), xmpptest.Config("hosts = [\"capulet.example\"]"))
		romeo := w.online()
		for _, kind := range []string{"<message %s/>", "<iq %s/>", "<presence %s/>"} {
			for _, typ := range []string{"error", "result", "get", "subscribe", "probe", "chat", "unavailable"} {
				romeo.MustSend(fmt.Sprintf(kind, "to='nobody@capulet.example/x' id='1' type='"+typ+"'"))
				w.s.Settle()
			}
		}
		w.s.Pass(time.Minute)
		a, b := w.s.Inside().Federation().Stats(), other.Inside().Federation().Stats()
		if a.Sent > 21 || b.Sent > a.Sent {
			w.t.Errorf("21 stanzas gave %d one way and %d the other", a.Sent, b.Sent)
		}
	})
}

// TestOthersAreNotDelayed: one domain's trouble is no other's.
func TestOthersAreNotDelayed(t *testing.T) {
	inWorld(t, "", func(w *world) {
		other := xmpptest.New(w.t, xmpptest.Join(w.net), xmpptest.Config("hosts = [\"capulet.example\"]"))
		romeo, juliet := w.online(), other.MustBeOnline("juliet@capulet.example/balcony")[0]
		for i := range 100 {
			d := fmt.Sprintf("silent%d.example", i)
			w.net.Stranger(d, (&authoritative{mute: true}).serve)
			romeo.MustSend("<message to='x@" + d + "'><body>x</body></message>")
		}
		begun := time.Now()
		romeo.MustSend("<message to='juliet@capulet.example'><body>hark</body></message>")
		juliet.Expect("<message ...><body>hark</body>...</message>")
		if took := time.Since(begun); took > 0 {
			w.t.Errorf("it took %v", took)
		}
	})
}

// TestStalledReader: a server that does not read what it is sent holds its own queue and
// nothing else, and is given up.
func TestStalledReader(t *testing.T) {
	inWorld(t, "", func(w *world) {
		n := 0
		w.net.Through = func(c *xmpptest.Conn) net.Conn { n++; return c }
		p := w.proved("EXTERNAL")
		romeo := w.online()
		// It asks much and reads no answer.
		ask := "<iq from='juliet@evil.example/x' to='montague.example' type='get' id='1'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
		go func() {
			for range 5000 {
				if p.conn.WriteBatch([][]byte{[]byte(ask)}) != nil {
					return
				}
			}
		}()
		w.s.Pass(3 * time.Minute)
		st := w.s.Inside().Federation().Stats()
		if st.Received == 0 || st.Queued > 5000 {
			w.t.Errorf("figures: %+v", st)
		}
		romeo.MustSend("<iq type='get' id='p' to='montague.example'><ping xmlns='urn:xmpp:ping'/></iq>")
		romeo.Expect("<iq type='result' id='p' .../>")
		p.conn.Close(nil)
	})
}

// TestXML: what is not XML as it should be ends the stream, before and behind
// authentication; what is too large, too deep or too wide likewise, or it is one stanza
// that goes back.
func TestXML(t *testing.T) {
	open := "<message from='juliet@evil.example/x' to='romeo@montague.example' id='m'>"
	for name, tt := range map[string]struct {
		text string
		want *stream.Error
	}{
		"entity":            {open + "<body>&lol;</body></message>", stream.ErrRestrictedXML},
		"comment":           {open + "<!-- x --></message>", stream.ErrRestrictedXML},
		"instruction":       {open + "<?x y?></message>", stream.ErrRestrictedXML},
		"doctype":           {"<!DOCTYPE x [<!ENTITY lol 'lol'>]>", stream.ErrRestrictedXML},
		"not well-formed":   {open + "</body></message>", stream.ErrNotWellFormed},
		"no UTF-8":          {open + "<body>\xff</body></message>", stream.ErrNotWellFormed},
		"attribute twice":   {"<message id='1' id='2'/>", stream.ErrNotWellFormed},
		"undeclared prefix": {open + "<x:y/></message>", stream.ErrNotWellFormed},
		"stream in stanza":  {open + "<stream:features/></message>", stream.ErrInvalidNamespace},
		"depth":             {open + strings.Repeat("<a>", 70), stream.ErrPolicyViolation},
		"elements":          {open + strings.Repeat("<a/>", 5000), stream.ErrPolicyViolation},
		"no stanza":         {"<foo xmlns='urn:x'/>", stream.ErrUnsupportedStanzaType},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, "", func(w *world) {
				p := w.call("evil.example", nil)
				p.conn.WriteBatch([][]byte{[]byte(tt.text)}) //nolint:errcheck // it may be refused while it is sent
				p.ends("before authentication", tt.want)
				p = w.proved("EXTERNAL")
				p.conn.WriteBatch([][]byte{[]byte(tt.text)}) //nolint:errcheck // it may be refused while it is sent
				p.ends("behind it", tt.want)
			})
		})
	}
	t.Run("size", func(t *testing.T) {
		inWorld(t, "", func(w *world) {
			romeo := w.online()
			p := w.call("evil.example", nil)
			p.conn.WriteBatch([][]byte{[]byte(open + strings.Repeat("x", 11_000))}) //nolint:errcheck // it may be refused while it is sent
			p.ends("11 kB before authentication", stream.ErrPolicyViolation)
			for _, how := range ways {
				p := w.proved(how)
				received := w.s.Inside().Federation().Stats().Received
				p.send(strings.Replace(open, "romeo", "nobody", 1) + "<body>" + strings.Repeat("x", 500<<10) + "</body></message>")
				w.s.Settle()
				if n := w.s.Inside().Federation().Stats().Received; n != received+1 {
					w.t.Errorf("%s: 500 KiB were not taken", how)
				}
				go func() {
					p.conn.WriteBatch([][]byte{[]byte(open + "<body>" + strings.Repeat("x", 600<<10) + "</body></message>" + hark)}) //nolint:errcheck // then nothing is received
				}()
				romeo.Expect("<message id='m' ...><body>hark</body>...</message>")
				if el, err := p.next(); !errors.Is(err, errNothing) {
					w.t.Errorf("%s: the stream has ended: %s %v", how, el.Raw(), err)
				}
				if n := w.s.Inside().Router().Stats().Bounced; n == 0 {
					w.t.Errorf("%s: what was too large has not come back", how)
				}
			}
		})
	})
}

// TestFloodOfConnections: those that have proved nothing are bounded, for an address.
func TestFloodOfConnections(t *testing.T) {
	inWorld(t, "limits.before_login_per_ip = 10", func(w *world) {
		for range 30 {
			w.s.DialServer(false)
		}
		w.s.Settle()
		if st := w.s.Inside().Federation().Stats(); st.Accepted != 30 || st.Refused != 20 {
			w.t.Errorf("%d accepted, %d refused; want 30, 20", st.Accepted, st.Refused)
		}
		w.s.Pass(31 * time.Second)
		w.proved("EXTERNAL")
	})
}

// TestPolicies: who is spoken with, and that a reload applies.
func TestPolicies(t *testing.T) {
	for _, tt := range []struct {
		config string
		want   string // condition; "": it is sent
	}{
		{"", ""},
		{"s2s.deny = [\"evil.example\"]", stanza.ErrNotAllowed.Condition},
		{"s2s.deny = [\"example\"]", stanza.ErrNotAllowed.Condition},
		{"s2s.deny = [\"vil.example\"]", ""},
		{"s2s.allow = [\"capulet.example\"]", stanza.ErrNotAllowed.Condition},
		{"s2s.allow = [\"evil.example\"]", ""},
		{"s2s.allow = [\"evil.example\"]\ns2s.deny = [\"evil.example\"]", stanza.ErrNotAllowed.Condition},
		{"s2s.enabled = false", stanza.ErrRemoteServerNotFound.Condition},
	} {
		inWorld(t, "", func(w *world) {
			w.net.Stranger("evil.example", (&authoritative{cert: w.certificate(nil, "evil.example"), verdict: says("valid")}).serve)
			romeo := w.online()
			p := w.proved("EXTERNAL")
			romeo.MustSend("<message to='x@evil.example' id='0'><body>x</body></message>")
			romeo.ExpectNothing()
			if _, err := w.s.Reload(tt.config); err != nil {
				w.t.Fatal(err)
			}
			w.s.Pass(2 * time.Second)
			romeo.MustSend("<message to='x@evil.example' id='1'><body>x</body></message>")
			if tt.want == "" {
				romeo.ExpectNothing()
				p.send(hark)
				romeo.Expect("<message ...><body>hark</body>...</message>")
				return
			}
			romeo.Expect(fmt.Sprintf(errorOf, tt.want))
			p.ends(tt.config, stream.ErrPolicyViolation)
			if strings.Contains(tt.config, "enabled") {
				return
			}
			q := w.call("evil.example", w.certificate(nil, "evil.example"))
			if strings.Contains(string(q.features.Raw()), "EXTERNAL") {
				w.t.Errorf("%s: EXTERNAL is offered", tt.config)
			}
		})
	}
}

// TestCertificateOfOthers: whom we connect to needs a certificate for the domain, unless
// the configuration says otherwise.
func TestCertificateOfOthers(t *testing.T) {
	for _, config := range []string{"", "s2s.require_certificate = false"} {
		for name, names := range map[string][]string{
			"right": {"evil.example"}, "wildcard": {"*.example"}, "wrong": {"capulet.example"}, "target": {"stranger.evil.example"}, "none": nil,
		} {
			inWorld(t, config, func(w *world) {
				w.net.Stranger("evil.example", (&authoritative{cert: w.certificate(nil, names...), verdict: says("valid")}).serve)
				romeo := w.online()
				romeo.MustSend("<message to='x@evil.example' id='m'><body>x</body></message>")
				w.s.Pass(3 * time.Second)
				if name == "right" || config != "" {
					romeo.ExpectNothing()
					return
				}
				romeo.Expect(fmt.Sprintf(errorOf, "remote-server-timeout"))
			})
		}
	}
}

// TestPrivateTargets: a stranger's name does not lead into our network.
func TestPrivateTargets(t *testing.T) {
	for _, domain := range []string{"127.0.0.1", "[::1]", "10.1.2.3", "192.168.0.1", "169.254.169.254"} {
		inWorld(t, "", func(w *world) {
			romeo := w.online()
			romeo.MustSend("<message to='x@" + domain + "' id='m'><body>x</body></message>")
			w.s.Settle()
			romeo.Expect(fmt.Sprintf(errorOf, "remote-server-not-found"))
			p := w.call(domain, nil)
			p.send(resultFrom(domain))
			if el := p.must(); !strings.Contains(string(el.Raw()), "remote-server-not-found") {
				w.t.Errorf("key of %s: %s", domain, el.Raw())
			}
		})
	}
}
