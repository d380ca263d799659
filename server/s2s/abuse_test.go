package s2s_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"kith/xmpp/negotiate"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpptest"
)

// TestStrangersNames: what a server sends to names that it makes up costs no streams:
// neither in the names of strangers, nor one for each name below a component of ours.
func TestStrangersNames(t *testing.T) {
	for _, below := range []string{"third.example", "gate.montague.example"} {
		inWorld(t, "", func(w *world) {
			w.s.SetComponents("gate.montague.example")
			if _, err := w.s.Reload(""); err != nil {
				w.t.Fatal(err)
			}
			a := &authoritative{cert: w.certificate(nil, "evil.example"), verdict: says(negotiate.Valid)}
			p := w.proved("EXTERNAL")
			w.net.Stranger("evil.example", a.serve)
			for i := range 300 {
				p.send(strings.Replace(hark, "romeo@montague.example", fmt.Sprintf("x@n%d.%s", i, below), 1))
			}
			p.send("<message from='juliet@evil.example' to='x@large." + below + "'><body>" + strings.Repeat("x", 600<<10) + "</body></message>")
			w.s.Settle()
			st := w.s.Inside().Federation().Stats()
			if st.Received < 300 {
				w.t.Fatalf("%d of 300 stanzas were received", st.Received)
			}
			if n := a.count(); n > 64 || st.Links > 64 || below == "third.example" && n > 0 {
				w.t.Errorf("300 names below %s: %d connections, %d links", below, n, st.Links)
			}
			p.send(hark)
			if el, err := p.next(); !errors.Is(err, errNothing) {
				w.t.Errorf("the stream has ended: %s %v", el.Raw(), err)
			}
		})
	}
}

// TestDomainBecomesOurs: once a reload has made a domain one of ours, nobody else
// speaks for it on a stream that was there before.
func TestDomainBecomesOurs(t *testing.T) {
	for _, config := range []string{"hosts = [\"montague.example\", \"evil.example\"]", "hosts = [\"montague.example\", \"example\"]", ""} {
		reload := func(w *world) {
			if config == "" {
				w.s.SetComponents("evil.example")
			}
			if _, err := w.s.Reload(config); err != nil {
				w.t.Fatal(err)
			}
		}
		for _, how := range ways {
			inWorld(t, "", func(w *world) {
				p := w.proved(how)
				reload(w)
				p.ends(config, stream.ErrPolicyViolation)
			})
		}
		inWorld(t, "", func(w *world) { // a stream of ours, on which they speak, too
			w.net.Stranger("evil.example", (&authoritative{cert: w.certificate(nil, "evil.example"), verdict: says("valid"), bidi: true}).serve)
			romeo := w.online()
			romeo.MustSend("<message to='juliet@evil.example' type='chat'><body>hark</body></message>")
			w.s.Settle()
			reload(w)
			w.s.Pass(2 * time.Second)
			if n := w.s.Inside().Federation().Stats().Out; n != 0 {
				w.t.Errorf("%s: %d streams of ours, want none", config, n)
			}
		})
	}
}

// TestLateWaking: a reader that is woken for a verdict which it has given already goes
// on, as one that has no reason to.
func TestLateWaking(t *testing.T) {
	for _, how := range ways {
		inWorld(t, "", func(w *world) {
			romeo := w.online()
			p := w.proved(how)
			w.s.Settle()
			w.s.Inside().Federation().Nudge()
			w.s.Settle()
			p.send(hark)
			romeo.Expect("<message ...><body>hark</body>...</message>")
		})
	}
}

// TestVerifyingOthers: keys whose authoritative servers say nothing keep those of others
// waiting who come from the same address, and nobody else; nor is a stream good for
// any number of connections.
func TestVerifyingOthers(t *testing.T) {
	inWorld(t, "", func(w *world) {
		silent := &authoritative{mute: true}
		w.net.Stranger("good.example", (&authoritative{cert: w.certificate(nil, "good.example"), verdict: says("valid")}).serve)
		for i := range 80 {
			w.net.Stranger(fmt.Sprintf("d%d.example", i), silent.serve)
		}
		for i := range 10 {
			var all strings.Builder
			for j := range 8 {
				all.WriteString(resultFrom(fmt.Sprintf("d%d.example", 8*i+j)))
			}
			w.call("evil.example", nil).send(all.String())
		}
		w.s.Settle()
		begun := time.Now()
		ours, theirs := xmpptest.Pipe(64<<10, &net.TCPAddr{IP: net.IPv4(198, 51, 100, 1), Port: 40000}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 254), Port: 5270})
		w.s.Inside().Federation().Take(theirs, true)
		p := &peer{w: w, conn: stream.NewTCP(ours, stream.Options{})}
		if err := p.tls(nil); err != nil {
			w.t.Fatal(err)
		}
		p.header("good.example", "montague.example")
		p.send(resultFrom("good.example"))
		if d, _, err := negotiate.ParseDialback(p.must()); err != nil || d.Verdict != negotiate.Valid || time.Since(begun) > time.Second {
			w.t.Errorf("answer %+v, %v after %v", d, err, time.Since(begun))
		}
	})
	inWorld(t, "", func(w *world) {
		a := &authoritative{cert: w.certificate(nil, "worse.example"), verdict: says("invalid")}
		p := w.proved("EXTERNAL")
		w.net.Stranger("worse.example", a.serve)
		for range 200 {
			p.send(resultFrom("worse.example"))
			if d, _, err := negotiate.ParseDialback(p.must()); err != nil || d.Err == nil {
				w.t.Fatalf("answer %+v, %v", d, err)
			}
		}
		if n := a.count(); n > 64 {
			w.t.Errorf("%d connections for one stream", n)
		}
	})
}

// TestTextOfErrors: of what a peer says when it ends a stream little is kept.
func TestTextOfErrors(t *testing.T) {
	inWorld(t, "", func(w *world) {
		p := w.proved("EXTERNAL")
		p.send("<stream:error><undefined-condition xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>" +
			"<text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>" + strings.Repeat("é", 100<<10) + "</text></stream:error>")
		w.s.Pass(2 * time.Second)
		list := w.s.Inside().Federation().List()
		if len(list) != 1 || list[0].Error == "" || len(list[0].Error) > 1000 {
			w.t.Errorf("%d entries, the first with an error of %d bytes", len(list), len(list[0].Error))
		}
	})
}

// TestBusyTheOtherWay: a stream is idle when nothing goes over it either way.
func TestBusyTheOtherWay(t *testing.T) {
	inWorld(t, "s2s.idle = \"1m\"\nlimits.ping_after = \"1h\"", func(w *world) {
		other := xmpptest.New(w.t, xmpptest.Join(w.net), xmpptest.Config("hosts = [\"capulet.example\"]\ns2s.idle = \"1m\"\nlimits.ping_after = \"1h\""))
		romeo, juliet := w.online(), other.MustBeOnline("juliet@capulet.example/balcony")[0]
		romeo.MustSend("<message to='juliet@capulet.example'><body>one</body></message>")
		juliet.Expect("<message ...><body>one</body>...</message>")
		begun := w.s.Inside().Federation().List()[0].Since
		for range 12 {
			w.s.Pass(20 * time.Second)
			juliet.MustSend("<message to='romeo@montague.example'><body>more</body></message>")
			romeo.Expect("<message ...><body>more</body>...</message>")
		}
		if list := w.s.Inside().Federation().List(); len(list) != 1 || !list[0].Since.Equal(begun) {
			w.t.Errorf("the stream of %s was not kept: %+v", begun, list)
		}
		w.s.Pass(3 * time.Minute)
		if st := w.s.Inside().Federation().Stats(); st.In+st.Out != 0 {
			w.t.Errorf("idle for minutes: %+v", st)
		}
	})
}

// brittle is a connection that breaks when so much was sent.
type brittle struct {
	net.Conn
	left int
}

func (b *brittle) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		b.Conn.Close()
		return 0, net.ErrClosed
	}
	return b.Conn.Write(p)
}

// TestStreamsThatBreak: streams that begin well and take nothing are not begun again
// and again without a pause.
func TestStreamsThatBreak(t *testing.T) {
	for _, bidi := range []bool{true, false} {
		inWorld(t, fmt.Sprintf("limits.ping_after = \"1h\"\ns2s.queue_age = \"10m\"\ns2s.bidi = %v", bidi), func(w *world) {
			calls := 0
			w.net.Through = func(c *xmpptest.Conn) net.Conn { calls++; return &brittle{c, 20 << 10} }
			xmpptest.New(w.t, xmpptest.Join(w.net), xmpptest.Config(fmt.Sprintf("hosts = [\"capulet.example\"]\ns2s.bidi = %v", bidi)))
			romeo := w.online()
			romeo.MustSend("<message to='juliet@capulet.example' id='m'><body>" + strings.Repeat("x", 40<<10) + "</body></message>")
			w.s.Pass(9 * time.Minute)
			if calls > 15 {
				w.t.Errorf("%d connections in nine minutes, want few", calls)
			}
			w.s.Pass(6 * time.Minute)
			romeo.Expect(fmt.Sprintf(errorOf, stanza.ErrRemoteServerTimeout.Condition))
		})
	}
}

// TestOursMeanwhile: what waits for a domain goes back when the domain becomes ours, and
// nobody connects to where it was.
func TestOursMeanwhile(t *testing.T) {
	for _, config := range []string{"hosts = [\"montague.example\", \"evil.example\"]", "hosts = [\"montague.example\", \"example\"]", ""} {
		inWorld(t, "", func(w *world) {
			w.net.Stranger("evil.example", func(c net.Conn, _ bool) { c.Close() })
			romeo := w.online()
			romeo.MustSend("<message to='x@evil.example' id='m'><body>x</body></message>")
			w.s.Pass(10 * time.Second)
			a := &authoritative{cert: w.certificate(nil, "evil.example"), verdict: says(negotiate.Valid)}
			w.net.Stranger("evil.example", a.serve)
			if config == "" {
				w.s.SetComponents("evil.example")
			}
			if _, err := w.s.Reload(config); err != nil {
				w.t.Fatal(err)
			}
			w.s.Pass(5 * time.Second)
			romeo.Expect(fmt.Sprintf(errorOf, stanza.ErrRemoteServerNotFound.Condition))
			if n := a.count(); n > 0 {
				w.t.Errorf("%q: %d connections to where the domain was", config, n)
			}
		})
	}
}

// TestDeniedMeanwhile: what waits for a domain goes back when the domain is denied.
func TestDeniedMeanwhile(t *testing.T) {
	inWorld(t, "", func(w *world) {
		w.net.Stranger("evil.example", func(c net.Conn, _ bool) { c.Close() })
		romeo := w.online()
		romeo.MustSend("<message to='x@evil.example' id='m'><body>x</body></message>")
		w.s.Pass(10 * time.Second)
		romeo.ExpectNothing()
		if _, err := w.s.Reload("s2s.deny = [\"evil.example\"]"); err != nil {
			w.t.Fatal(err)
		}
		romeo.Expect(fmt.Sprintf(errorOf, stanza.ErrNotAllowed.Condition))
	})
}
