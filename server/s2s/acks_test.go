package s2s_test

import (
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"kith/xmpp/stream"
	"kith/xmpptest"
)

// hole is a connection through which, from some time on, nothing comes any more, and
// which takes everything.
type hole struct {
	net.Conn
	black *atomic.Bool
}

func (h hole) Write(p []byte) (int, error) {
	if h.black.Load() {
		return len(p), nil
	}
	return h.Conn.Write(p)
}

// TestBlackHole: XEP-0198: a peer that has vanished without a word is noticed, and what it
// did not acknowledge is sent again.
func TestBlackHole(t *testing.T) {
	for _, bidi := range []bool{true, false} {
		inWorld(t, fmt.Sprintf("s2s.bidi = %v\ns2s.queue_age = \"10m\"", bidi), func(w *world) {
			var black atomic.Bool
			var connections atomic.Int64
			w.net.Through = func(c *xmpptest.Conn) net.Conn {
				if connections.Add(1) == 1 {
					return hole{c, &black}
				}
				return c
			}
			other := xmpptest.New(w.t, xmpptest.Join(w.net), xmpptest.Config(fmt.Sprintf("hosts = [\"capulet.example\"]\ns2s.bidi = %v", bidi)))
			romeo, juliet := w.online(), other.MustBeOnline("juliet@capulet.example/balcony")[0]
			romeo.MustSend("<message to='juliet@capulet.example'><body>one</body></message>")
			juliet.Expect("<message ...><body>one</body>...</message>")
			if list := w.s.Inside().Federation().List(); !list[0].Acks {
				w.t.Fatalf("no acknowledgements: %+v", list)
			}
			w.s.Settle()
			black.Store(true)
			romeo.MustSend("<message to='juliet@capulet.example'><body>two</body></message>")
			juliet.ExpectNothing()
			w.s.Pass(2 * time.Minute)
			juliet.Expect("<message ...><body>two</body>...</message>")
			juliet.ExpectNothing()
			romeo.ExpectNothing()
		})
	}
}

// TestAcks: h counts every stanza that has come, whatever became of it, and no claim
// beyond what was sent is taken (XEP-0198 §4).
func TestAcks(t *testing.T) {
	const sm = " xmlns='urn:xmpp:sm:3'"
	for _, how := range ways {
		inWorld(t, "", func(w *world) {
			romeo := w.online()
			p := w.proved(how)
			p.send("<enable" + sm + "/>")
			if el := p.must(); el.Name().Local != "enabled" {
				w.t.Fatalf("%s: %s", how, el.Raw())
			}
			p.send(hark + "<message from='juliet@evil.example/x' to='romeo@verona.example'/>" +
				"<message from='juliet@evil.example/x' to='a@b@c'/><iq from='juliet@evil.example/x' to='romeo@montague.example'/>" +
				"<presence from='juliet@evil.example/x' to='nobody@montague.example'/>")
			w.s.Settle()
			p.send("<r" + sm + "/>")
			if el := p.must(); el.Name().Local != "a" || el.Attr("h") != "5" {
				w.t.Errorf("%s: answer %s, want h='5'", how, el.Raw())
			}
			romeo.Expect("<message ...><body>hark</body>...</message>")
			p.send("<enable" + sm + "/>")
			if el := p.must(); el.Name().Local != "failed" {
				w.t.Errorf("%s: enabled twice: %s", how, el.Raw())
			}
			p.send("<resume" + sm + " previd='x' h='0'/>")
			if el := p.must(); el.Name().Local != "failed" {
				w.t.Errorf("%s: resumed: %s", how, el.Raw())
			}
			p.send("<a" + sm + " h='1'/>")
			p.ends(how+": an impossible h", stream.ErrUndefinedCondition)
		})
	}
	inWorld(t, "", func(w *world) {
		p := w.call("evil.example", nil)
		p.send("<enable" + sm + "/>")
		if el := p.must(); el.Name().Local != "failed" {
			w.t.Errorf("enabled before authentication: %s", el.Raw())
		}
	})
}
