package s2s_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/negotiate"
	"kith/xmpp/stream"
	"kith/xmpptest"
)

// TestCertificatesFromNowOn: a reload that has others need certificates ends the streams
// of those that have been believed without one, whoever has begun them, and no others.
func TestCertificatesFromNowOn(t *testing.T) {
	reload := func(w *world, more ...string) {
		w.t.Helper()
		if _, err := w.s.Reload(strings.Join(append(more, "s2s.require_certificate = true"), "\n")); err != nil {
			w.t.Fatal(err)
		}
		w.s.Pass(2 * time.Second)
	}
	const lenient = "s2s.require_certificate = false"
	for _, how := range ways {
		inWorld(t, lenient, func(w *world) {
			p := w.proved(how)
			reload(w)
			if how == "dialback" {
				p.ends("proved by "+how, stream.ErrPolicyViolation)
				return
			}
			if el, err := p.next(); !errors.Is(err, errNothing) {
				w.t.Errorf("the stream has ended: %s %v", el.Raw(), err)
			}
		})
	}
	inWorld(t, lenient, func(w *world) { // one that needs none still
		p := w.proved("dialback")
		reload(w, "s2s.dialback = [\"evil.example\"]")
		if el, err := p.next(); !errors.Is(err, errNothing) {
			w.t.Errorf("excepted: the stream has ended: %s %v", el.Raw(), err)
		}
	})
	inWorld(t, lenient, func(w *world) { // while a key is being verified
		late := make(chan struct{})
		a := &authoritative{cert: w.certificate(nil, "x.example"), verdict: func(q negotiate.Dialback) []negotiate.Dialback {
			<-late
			return says(negotiate.Valid)(q)
		}}
		w.net.Stranger("evil.example", a.serve)
		p := w.call("evil.example", nil)
		p.send(resultFrom("evil.example"))
		w.s.Settle()
		reload(w)
		close(late)
		p.ends("verified meanwhile", stream.ErrPolicyViolation)
	})
	for _, good := range []bool{true, false} {
		for _, deny := range []bool{false, true} {
			inWorld(t, lenient, func(w *world) {
				cert := w.certificate(func(c *x509.Certificate) {
					if !good {
						c.DNSNames = []string{"x.example"}
					}
				}, "evil.example")
				a := &authoritative{cert: cert, verdict: says(negotiate.Valid)}
				w.net.Stranger("evil.example", a.serve)
				romeo := w.online()
				romeo.MustSend("<message to='x@evil.example' id='1'><body>x</body></message>")
				romeo.ExpectNothing()
				want := "remote-server-timeout"
				if deny {
					want = "not-allowed"
					if _, err := w.s.Reload("s2s.deny = [\"evil.example\"]"); err != nil {
						w.t.Fatal(err)
					}
					w.s.Pass(2 * time.Second)
				} else {
					reload(w)
				}
				kept := good && !deny
				if st := w.s.Inside().Federation().Stats(); (st.Out == 1) != kept {
					w.t.Errorf("certificate good: %v, denied: %v: %d streams", good, deny, st.Out)
				}
				romeo.MustSend("<message to='x@evil.example' id='2'><body>x</body></message>")
				w.s.Pass(2 * time.Second)
				if !kept {
					romeo.Expect(fmt.Sprintf(errorOf, want))
				}
				romeo.ExpectNothing()
			})
		}
	}
}

// TestOurCertificate: who begins a stream, or asks about a key, shows who it is: some
// listen to nobody whom they do not know. Where the certificate is refused it is tried
// without, which is remembered.
func TestOurCertificate(t *testing.T) {
	for ours, want := range map[string]int{"": 2, "wanted": 2, "refused": 3} {
		inWorld(t, "", func(w *world) {
			a := &authoritative{cert: w.certificate(nil, "evil.example"), verdict: says(negotiate.Valid), ours: ours}
			w.net.Stranger("evil.example", a.serve)
			for range 2 {
				p := w.call("evil.example", nil)
				p.send(resultFrom("evil.example"))
				if d, _, err := negotiate.ParseDialback(p.must()); err != nil || d.Verdict != negotiate.Valid {
					w.t.Errorf("our certificate %s: answer %+v, %v", ours, d, err)
				}
			}
			if n := a.count(); n != want {
				w.t.Errorf("our certificate %s: %d connections for two keys, want %d", ours, n, want)
			}
		})
		inWorld(t, "", func(w *world) {
			a := &authoritative{cert: w.certificate(nil, "evil.example"), verdict: says(negotiate.Valid), ours: ours}
			w.net.Stranger("evil.example", a.serve)
			romeo := w.online()
			romeo.MustSend("<message to='x@evil.example' id='m'><body>x</body></message>")
			romeo.ExpectNothing()
			if got := a.stanzas(); len(got) != 1 || a.count() != want-1 {
				w.t.Errorf("our certificate %s: it got %q over %d connections, want the message over %d", ours, got, a.count(), want-1)
			}
		})
	}
}

// TestBackBehindVerdict: XEP-0288 §2.2: what waits for a server that comes to us goes over
// its stream once it has been told that it is believed, and not before.
func TestBackBehindVerdict(t *testing.T) {
	for range 10 {
		inWorld(t, "", func(w *world) {
			w.net.Stranger("evil.example", func(c net.Conn, _ bool) { c.Close() })
			w.online().MustSend("<message to='x@evil.example' id='m'><body>x</body></message>")
			w.s.Settle()
			w.net.Stranger("evil.example", (&authoritative{cert: w.certificate(nil, "evil.example"), verdict: says(negotiate.Valid)}).serve)
			p := w.call("evil.example", nil)
			p.send("<bidi xmlns='urn:xmpp:bidi'/>" + resultFrom("evil.example"))
			var got []string
			for range 2 {
				el := p.must()
				got = append(got, el.Name().Local+" "+el.Attr("type")+el.Attr("id"))
			}
			if got[0] != "result valid" || got[1] != "message m" {
				w.t.Errorf("came %q, want the verdict first", got)
			}
		})
	}
}

// counting is a connection that knows how often something was written to it.
type counting struct {
	net.Conn
	writes *atomic.Int64
}

func (c counting) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// TestPresenceToMany: RFC 6121 §4.2.2, §4.4.2, §4.5.2: each contact at another server
// gets one stanza for a change, whatever else was sent to him, and all of them go out
// together.
func TestPresenceToMany(t *testing.T) {
	const contacts = 40
	for _, bidi := range []bool{true, false} {
		inWorld(t, fmt.Sprintf("limits.ping_after = \"1h\"\ns2s.bidi = %v", bidi), func(w *world) {
			var writes atomic.Int64
			w.net.Through = func(c *xmpptest.Conn) net.Conn { return counting{c, &writes} }
			other := xmpptest.New(w.t, xmpptest.Join(w.net), xmpptest.Config(fmt.Sprintf("hosts = [\"capulet.example\"]\ns2s.bidi = %v", bidi)))
			romeo := w.online()
			for i := range contacts {
				friend := other.MustBeOnline(fmt.Sprintf("n%d@capulet.example/x", i))[0]
				friend.MustSend("<presence to='romeo@montague.example' type='subscribe'/>")
				w.s.Settle()
				romeo.MustSend("<presence to='" + friend.JID().Bare().String() + "' type='subscribed'/>")
				w.s.Settle()
				if i < 10 { // more devices cost nothing
					other.MustBeOnline(jid.MustParse(friend.JID().Bare().String()).String() + "/y")
				}
			}
			w.s.Settle()
			federation := w.s.Inside().Federation()
			before := federation.Stats().Sent
			expect := func(what string, want int64) {
				w.t.Helper()
				w.s.Settle()
				if n := federation.Stats().Sent - before; n != want {
					w.t.Errorf("bidi %v: %s: %d stanzas were sent, want %d", bidi, what, n, want)
				}
				before = federation.Stats().Sent
			}
			writes.Store(0)
			romeo.MustSend("<presence><show>away</show></presence>")
			expect("a change", contacts)
			if writes.Load() > 10 { // with acknowledgements, from both ends
				w.t.Errorf("bidi %v: they went out in %d pieces", bidi, writes.Load())
			}
			romeo.MustSend("<presence to='n1@capulet.example'><show>dnd</show></presence>")
			expect("to one", 1)
			romeo.MustSend("<presence type='unavailable'/>")
			expect("gone", contacts)
		})
	}
}
