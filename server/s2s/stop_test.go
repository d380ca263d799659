package s2s_test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kith/server/account"
	"kith/server/cluster"
	"kith/xmpp/negotiate"
	"kith/xmpp/xmltree"
	"kith/xmpptest"
)

const sentBack = "<message type='error' id='%s' ...><error type='wait'><remote-server-timeout xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>...</error></message>"

// TestStopSendsBack: what nobody has taken when the server stops goes back: to who is
// there at once, to a session that waits for its client after the start.
func TestStopSendsBack(t *testing.T) {
	for _, away := range []bool{false, true} {
		inWorld(t, "", func(w *world) {
			w.net.Stranger("silent.example", (&authoritative{mute: true}).serve)
			romeo := w.s.MustConnect("romeo@montague.example/home")
			romeo.MustSend("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
			el, _ := romeo.Next()
			id := strings.Clone(el.Attr("id"))
			mercutio := w.s.MustBeOnline("mercutio@montague.example/home")[0]
			romeo.MustSend("<presence/>")
			romeo.Expect("<presence .../>")
			w.s.Settle()
			for i, c := range []*xmpptest.Client{romeo, mercutio} {
				c.MustSend(fmt.Sprintf("<message to='x@silent.example' id='m%d'><body>hark</body></message>", i))
				w.s.Settle()
				for _, el := range c.Received() {
					if el.Name().Local == "message" {
						w.t.Fatalf("it came back before the stop: %s", el.Raw())
					}
				}
			}
			if away {
				romeo.Cut()
				w.s.Settle()
			}
			begun := time.Now()
			w.s.Restart()
			if took := time.Since(begun); took > 10*time.Second {
				w.t.Errorf("the stop took %v", took)
			}
			mercutio.Expect(fmt.Sprintf(sentBack, "m1"))
			again := resume(w, "romeo", id)
			errors := 0
			for _, el := range append(romeo.Received(), again...) {
				if el.Name().Local == "message" && el.Attr("type") == "error" && el.Attr("id") == "m0" {
					errors++
				}
			}
			// What was sent and not acknowledged is sent again (XEP-0198 §5).
			if want := map[bool]int{true: 1, false: 2}[away]; errors != want {
				w.t.Errorf("away %v: the error came %d times, want %d", away, errors, want)
			}
		})
	}
}

// busy keeps a lane so for a while.
type busy struct{}

func (busy) Handle(*cluster.Turn, cluster.Actor) { <-time.After(1500 * time.Millisecond) }
func (busy) Fail(*cluster.Turn, error)           {}

// TestStopWaitsForLanes: what comes out of the lanes when the streams have ended is
// acknowledged to a session that goes on after the start; so it goes back, too.
func TestStopWaitsForLanes(t *testing.T) {
	inWorld(t, "", func(w *world) {
		w.net.Stranger("silent.example", (&authoritative{mute: true}).serve)
		romeo := w.s.MustConnect("romeo@montague.example/home")
		romeo.MustSend("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
		el, _ := romeo.Next()
		id := strings.Clone(el.Attr("id"))
		w.s.Settle()
		go w.s.Inside().Router().Send(account.Key(at("romeo@montague.example")), busy{})
		w.s.Settle()
		romeo.MustSend("<message to='x@silent.example' id='m'><body>hark</body></message>")
		w.s.Settle()
		w.s.Restart()
		all := resume(w, "romeo", id)
		back := slices.ContainsFunc(all, func(el xmltree.Element) bool { return el.Attr("type") == "error" && el.Attr("id") == "m" })
		if h := all[0].Attr("h"); h != "1" || !back {
			w.t.Errorf("%s stanzas are acknowledged, that it came back: %v; want 1, true", h, back)
		}
	})
}

// resume goes on with a session and returns what comes.
func resume(w *world, name, id string) []xmltree.Element {
	w.t.Helper()
	c, err := w.s.Open(name, "montague.example", true)
	if err != nil {
		w.t.Fatal(err)
	}
	w.s.Settle()
	if err := c.Authenticate(name); err != nil {
		w.t.Fatal(err)
	}
	w.s.Settle()
	c.Received()
	c.MustSend("<resume xmlns='urn:xmpp:sm:3' h='0' previd='" + id + "'/>")
	w.s.Settle()
	all := c.Received()
	if len(all) == 0 || all[0].Name().Local != "resumed" {
		w.t.Fatalf("not resumed: %v", all)
	}
	return all
}

// TestStopUnacknowledged: what was written to a stream and not acknowledged goes back.
func TestStopUnacknowledged(t *testing.T) {
	for _, bidi := range []bool{true, false} {
		inWorld(t, fmt.Sprintf("s2s.bidi = %v", bidi), func(w *world) {
			var black atomic.Bool
			w.net.Through = func(c *xmpptest.Conn) net.Conn { return hole{c, &black} }
			other := xmpptest.New(w.t, xmpptest.Join(w.net), xmpptest.Config(fmt.Sprintf("hosts = [\"capulet.example\"]\ns2s.bidi = %v", bidi)))
			romeo, juliet := w.online(), other.MustBeOnline("juliet@capulet.example/balcony")[0]
			romeo.MustSend("<message to='juliet@capulet.example' id='1'><body>one</body></message>")
			juliet.Expect("<message ...><body>one</body>...</message>")
			w.s.Settle()
			black.Store(true)
			romeo.MustSend("<message to='juliet@capulet.example' id='2'><body>two</body></message>")
			romeo.ExpectNothing()
			w.s.Restart()
			romeo.Expect(fmt.Sprintf(sentBack, "2"))
			juliet.ExpectNothing()
		})
	}
}

// TestStopTellsOthers: a stop is quick where others answer, and they learn who is gone.
func TestStopTellsOthers(t *testing.T) {
	for _, bidi := range []bool{true, false} {
		inWorld(t, fmt.Sprintf("s2s.bidi = %v", bidi), func(w *world) {
			other := xmpptest.New(w.t, xmpptest.Join(w.net), xmpptest.Config(fmt.Sprintf("hosts = [\"capulet.example\"]\ns2s.bidi = %v", bidi)))
			romeo, juliet := w.online(), other.MustBeOnline("juliet@capulet.example/balcony")[0]
			romeo.MustSend("<presence to='juliet@capulet.example'/>")
			juliet.Expect("<presence from='romeo@montague.example/home' .../>")
			const many = 2000
			for i := range many {
				if err := romeo.Send(fmt.Sprintf("<message to='juliet@capulet.example' id='%d'><body>hark</body></message>", i)); err != nil {
					w.t.Fatal(err)
				}
			}
			w.s.Settle()
			begun := time.Now()
			w.s.Restart()
			if took := time.Since(begun); took > 1500*time.Millisecond {
				w.t.Errorf("the stop took %v", took)
			}
			w.s.Settle()
			messages, gone := 0, 0
			for _, el := range juliet.Received() {
				switch {
				case el.Name().Local == "message":
					messages++
				case el.Attr("type") == "unavailable":
					gone++
				}
			}
			if messages != many || gone != 1 {
				w.t.Errorf("%d messages and %d times gone, want %d and once", messages, gone, many)
			}
		})
	}
}

// TestStopShared: two domains on one stream: one that is not finished does not take the
// stream from the other.
func TestStopShared(t *testing.T) {
	inWorld(t, ourHosts, func(w *world) {
		a := &authoritative{cert: w.certificate(nil, "evil.example"), verdict: says(negotiate.Valid)}
		w.net.Stranger("evil.example", a.serve)
		c := w.s.MustBeOnline("romeo@montague.example/home", "mercutio@verona.example/home")
		for i, c := range c {
			c.MustSend(fmt.Sprintf("<presence to='x@evil.example' id='%d'/>", i))
			w.s.Settle()
		}
		a.stanzas()
		w.s.Restart()
		if got := a.stanzas(); len(got) != 2 || a.count() != 1 {
			w.t.Errorf("at the stop came %q over %d connections, want who is gone, over one", got, a.count())
		}
	})
}
