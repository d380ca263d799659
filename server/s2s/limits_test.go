package s2s_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"kith/xmpp/negotiate"
	"kith/xmpptest"
)

// TestPeersLimits: XEP-0478 §4: what is larger than the other server takes comes back
// and is not sent; the stream goes on. Who has begun a stream announces its limits, too
// (§3.2).
func TestPeersLimits(t *testing.T) {
	inWorld(t, "limits.stanza_server = \"20KiB\"", func(w *world) {
		other := xmpptest.New(w.t, xmpptest.Join(w.net), xmpptest.Config("hosts = [\"capulet.example\"]\nlimits.stanza_server = \"12KiB\""))
		romeo, juliet := w.online(), other.MustBeOnline("juliet@capulet.example/balcony")[0]
		send := func(from, to *xmpptest.Client, size int) {
			from.MustSend(fmt.Sprintf("<message to='%s' id='%d'><body>%s</body></message>", to.JID(), size, strings.Repeat("x", size<<10)))
		}
		refused := "<message type='error' id='%d' ...><error type='modify'><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>...</error></message>"
		for range 2 {
			send(romeo, juliet, 11)
			juliet.Expect("<message id='11' ...>...</message>")
			send(romeo, juliet, 13)
			send(romeo, juliet, 1)
			romeo.Expect(fmt.Sprintf(refused, 13))
			juliet.Expect("<message id='1' ...>...</message>")
			send(juliet, romeo, 19)
			romeo.Expect("<message id='19' ...>...</message>")
			send(juliet, romeo, 21)
			send(juliet, romeo, 1)
			juliet.Expect(fmt.Sprintf(refused, 21))
			romeo.Expect("<message id='1' ...>...</message>")
		}
		// An answer that cannot be given is an error for who has asked.
		juliet.MustSend("<iq type='set' id='v'><vCard xmlns='vcard-temp'><NOTE>" + strings.Repeat("x", 30<<10) + "</NOTE></vCard></iq>")
		juliet.Expect("<iq type='result' id='v' .../>")
		romeo.MustSend("<iq type='get' id='v' to='juliet@capulet.example'><vCard xmlns='vcard-temp'/></iq>")
		romeo.Expect("<iq type='error' id='v' from='juliet@capulet.example' ...><error type='modify'><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>...</error></iq>")
		a, b := w.s.Inside().Federation(), other.Inside().Federation()
		if x, y := a.Stats(), b.Stats(); x.Out+x.In != 1 || y.Out+y.In != 1 || x.Failed+y.Failed != 0 {
			w.t.Errorf("figures %+v and %+v, want one stream", x, y)
		}
		if n := other.Inside().Router().Stats().Bounced; n > 2 {
			w.t.Errorf("%d stanzas were sent back that were sent too large", n)
		}
	})
}

// TestLimitsBeforeDialback: what is announced before dialback is for who has proved
// nothing, and nothing more is announced behind it.
func TestLimitsBeforeDialback(t *testing.T) {
	inWorld(t, "", func(w *world) {
		a := &authoritative{cert: w.certificate(nil, "evil.example"), verdict: says(negotiate.Valid),
			features: "<dialback xmlns='urn:xmpp:features:dialback'/><limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>10000</max-bytes></limits>"}
		w.net.Stranger("evil.example", a.serve)
		romeo := w.online()
		romeo.MustSend("<message to='x@evil.example' id='m'><body>" + strings.Repeat("x", 50<<10) + "</body></message>")
		romeo.ExpectNothing()
		if got := a.stanzas(); len(got) != 1 {
			w.t.Errorf("it got %q, want the message", got)
		}
	})
}

// TestLargeAtOnce: what comes over a stream that goes both ways may be as large as we have
// announced from the moment on at which it is authenticated.
func TestLargeAtOnce(t *testing.T) {
	inWorld(t, "", func(w *world) {
		a := &authoritative{cert: w.certificate(nil, "evil.example"), verdict: says(negotiate.Valid), bidi: true,
			features: "<dialback xmlns='urn:xmpp:features:dialback'/><sm xmlns='urn:xmpp:sm:3'/>",
			then: "<message from='x@evil.example' to='romeo@montague.example' type='chat' id='1'><body>" + strings.Repeat("x", 50<<10) +
				"</body></message><enabled xmlns='urn:xmpp:sm:3'/>"}
		w.net.Stranger("evil.example", a.serve)
		romeo := w.online()
		romeo.MustSend("<message to='x@evil.example' id='m'><body>x</body></message>")
		romeo.Expect("<message id='1' from='x@evil.example' ...>...</message>")
		romeo.ExpectNothing()
		if got := a.stanzas(); len(got) != 1 {
			w.t.Errorf("it got %q, want the message", got)
		}
	})
}

// TestSignsOfLife: XEP-0478 §3.1: a stream that we keep is kept by a peer, too, that
// waits for less.
func TestSignsOfLife(t *testing.T) {
	for _, bidi := range []bool{true, false} {
		inWorld(t, fmt.Sprintf("s2s.idle = \"1h\"\nlimits.ping_after = \"2h\"\ns2s.bidi = %v", bidi), func(w *world) {
			other := xmpptest.New(w.t, xmpptest.Join(w.net), xmpptest.Config(fmt.Sprintf("hosts = [\"capulet.example\"]\ns2s.idle = \"1m\"\nlimits.ping_after = \"2h\"\ns2s.bidi = %v", bidi)))
			romeo, juliet := w.online(), other.MustBeOnline("juliet@capulet.example/balcony")[0]
			romeo.MustSend("<message to='juliet@capulet.example'><body>one</body></message>")
			juliet.Expect("<message ...><body>one</body>...</message>")
			list := w.s.Inside().Federation().List()
			w.s.Pass(40 * time.Minute)
			now := w.s.Inside().Federation().List()
			if bidi { // it has begun to use the stream itself, and ends what it does not need
				if len(now) > 1 {
					w.t.Errorf("streams %+v", now)
				}
				return
			}
			if len(now) != 1 || now[0].State != "open" || !now[0].Since.Equal(list[0].Since) {
				w.t.Errorf("after 40 minutes %+v, want %+v", now, list)
			}
			w.s.Pass(90 * time.Minute)
			if st := w.s.Inside().Federation().Stats(); st.Out != 0 {
				w.t.Errorf("what is not used is kept for ever: %+v", st)
			}
		})
	}
}
