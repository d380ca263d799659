package s2s_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kith/server/s2s"
	"kith/xmpp/negotiate"
	"kith/xmpp/resolve"
	"kith/xmpp/stanza"
	"kith/xmpptest"
)

const ourHosts = "hosts = [\"montague.example\", \"verona.example\"]\n"

// TestShare: XEP-0220 §2.6: what goes from several domains of ours, or to several of
// theirs that listen at the same place, goes over one stream, and back over it, too,
// where it goes both ways.
func TestShare(t *testing.T) {
	for _, bidi := range []bool{true, false} {
		config := fmt.Sprintf("s2s.bidi = %v\n", bidi)
		inWorld(t, ourHosts+config, func(w *world) {
			connections := 0
			w.net.Through = func(c *xmpptest.Conn) net.Conn { connections++; return c }
			other := xmpptest.New(w.t, xmpptest.Join(w.net), xmpptest.Config("hosts = [\"capulet.example\", \"mantua.example\"]\n"+config))
			ours := w.s.MustBeOnline("romeo@montague.example/home", "mercutio@verona.example/home")
			theirs := other.MustBeOnline("juliet@capulet.example/balcony", "friar@mantua.example/cell")
			say := func(from, to *xmpptest.Client) {
				w.t.Helper()
				from.MustSend("<message type='chat' to='" + to.JID().String() + "'><body>hark</body></message>")
				to.Expect("<message from='" + from.JID().String() + "' ...><body>hark</body>...</message>")
			}
			for _, a := range ours {
				for _, b := range theirs {
					say(a, b)
				}
			}
			if st := w.s.Inside().Federation().Stats(); connections != 1 || st.Out != 1 || st.Links != 4 {
				w.t.Errorf("bidi %v: %d connections, figures %+v; want 1, and 4 pairs on it", bidi, connections, st)
			}
			shared := 0
			for _, i := range w.s.Inside().Federation().List() {
				if i.State != "open" {
					w.t.Errorf("%+v is not open", i)
				}
				if i.Shared {
					shared++
				}
			}
			if shared != 3 {
				w.t.Errorf("%d pairs are said to share a stream, want 3", shared)
			}
			for _, a := range ours {
				for _, b := range theirs {
					say(b, a)
				}
			}
			want := 1
			if !bidi {
				want = 2
			}
			if connections != want {
				w.t.Errorf("bidi %v: %d connections, want %d", bidi, connections, want)
			}
			w.s.Pass(30 * time.Minute) // as one they are idle
			if st := w.s.Inside().Federation().Stats(); st.Links+st.Out != 0 {
				w.t.Errorf("idle for half an hour: %+v", st)
			}
		})
	}
}

// TestShareAtOnce: who wants to go where a stream is being begun waits for that.
func TestShareAtOnce(t *testing.T) {
	var hosts []string
	for i := range 20 {
		hosts = append(hosts, fmt.Sprintf("\"h%d.example\"", i))
	}
	inWorld(t, "hosts = ["+strings.Join(hosts, ", ")+"]\n", func(w *world) {
		connections := 0
		w.net.Through = func(c *xmpptest.Conn) net.Conn { connections++; return c }
		other := xmpptest.New(w.t, xmpptest.Join(w.net), xmpptest.Config("hosts = [\"capulet.example\"]"))
		juliet := other.MustBeOnline("juliet@capulet.example/balcony")[0]
		var all []*xmpptest.Client
		for i := range hosts {
			all = append(all, w.s.MustBeOnline(fmt.Sprintf("romeo@h%d.example/home", i))...)
		}
		for _, c := range all {
			if err := c.Send("<message to='juliet@capulet.example'><body>hark</body></message>"); err != nil {
				w.t.Fatal(err)
			}
		}
		w.s.Settle()
		if n := len(juliet.Received()); n != len(hosts) || connections != 1 {
			w.t.Errorf("%d messages came over %d connections, want %d over one", n, connections, len(hosts))
		}
	})
}

// refusing is a server that takes one domain on the stream that it was begun for, and
// gives another answer for others.
func refusing(w *world, answer func(q negotiate.Dialback) []negotiate.Dialback) *authoritative {
	a := &authoritative{cert: w.certificate(nil, "evil.example")}
	first := make(map[string]bool)
	a.verdict = func(q negotiate.Dialback) []negotiate.Dialback {
		if from := q.From.Domain(); from == "montague.example" || first[from] {
			return says(negotiate.Valid)(q)
		}
		first[q.From.Domain()] = true
		return answer(q)
	}
	w.net.Stranger("evil.example", a.serve)
	return a
}

// TestShareRefused: a pair that a peer does not take on the stream of another one gets
// a stream of its own; nothing is sent for it before it is proved, and the other pair
// goes on meanwhile and afterwards.
func TestShareRefused(t *testing.T) {
	for name, answer := range map[string]func(q negotiate.Dialback) []negotiate.Dialback{
		"error": func(q negotiate.Dialback) []negotiate.Dialback {
			return []negotiate.Dialback{q.Refuse(stanza.ErrResourceConstraint)}
		},
		"invalid": says(negotiate.Invalid),
		"silence": func(negotiate.Dialback) []negotiate.Dialback { return nil },
	} {
		inWorld(t, ourHosts, func(w *world) {
			a := refusing(w, answer)
			c := w.s.MustBeOnline("romeo@montague.example/home", "mercutio@verona.example/home")
			send := func(i int, id string) {
				c[i].MustSend("<message to='x@evil.example' id='" + id + "'><body>x</body></message>")
			}
			send(0, "a")
			w.s.Settle()
			send(1, "b")
			send(0, "c")
			w.s.Settle()
			got := a.stanzas()
			if name != "silence" {
				got = append(got, "") // b went by itself
			}
			if !slices.Contains(got, "1: montague.example to evil.example: c") || slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "1: verona") }) {
				w.t.Errorf("%s: while it was asked for came %q", name, got)
			}
			w.s.Pass(40 * time.Second)
			send(1, "d")
			send(0, "e")
			w.s.Settle()
			got = append(got, a.stanzas()...)
			for _, want := range []string{"2: verona.example to evil.example: b", "2: verona.example to evil.example: d", "1: montague.example to evil.example: e"} {
				if !slices.Contains(got, want) {
					w.t.Errorf("%s: %q has not come, but %q", name, want, got)
				}
			}
			if n := a.count(); n != 2 {
				w.t.Errorf("%s: %d connections, want 2", name, n)
			}
			for _, c := range c {
				c.ExpectNothing()
			}
		})
	}
}

// TestShareUnsolicited: XEP-0220 §4: an answer is worth something only where it was
// asked for: on that stream, for that pair, once.
func TestShareUnsolicited(t *testing.T) {
	both := func(change func(a *negotiate.Dialback)) func(q negotiate.Dialback) []negotiate.Dialback {
		return func(q negotiate.Dialback) []negotiate.Dialback {
			a := q.Answer(negotiate.Valid)
			change(&a)
			return []negotiate.Dialback{a}
		}
	}
	for name, answer := range map[string]func(q negotiate.Dialback) []negotiate.Dialback{
		"other domain of ours":   both(func(a *negotiate.Dialback) { a.To = at("mantua.example") }),
		"other domain of theirs": both(func(a *negotiate.Dialback) { a.From = at("capulet.example") }),
		"exchanged":              both(func(a *negotiate.Dialback) { a.From, a.To = a.To, a.From }),
		"of a key":               both(func(a *negotiate.Dialback) { a.Verify, a.ID = true, "theirs" }),
		"twice": func(q negotiate.Dialback) []negotiate.Dialback {
			return []negotiate.Dialback{q.Answer("error"), q.Answer("valid")}
		},
	} {
		inWorld(t, ourHosts, func(w *world) {
			a := refusing(w, answer)
			c := w.s.MustBeOnline("romeo@montague.example/home", "mercutio@verona.example/home")
			for _, c := range c {
				c.MustSend("<message to='x@evil.example' id='a'><body>x</body></message>")
				w.s.Settle()
			}
			w.s.Pass(2 * time.Second)
			got := a.stanzas()
			if slices.Contains(got, "1: verona.example to evil.example: a") || !slices.Contains(got, "2: verona.example to evil.example: a") {
				w.t.Errorf("%s: %q came, want what is from verona.example on the second stream", name, got)
			}
			if n := w.s.Inside().Federation().Stats().Spoofed; n != 1 {
				w.t.Errorf("%s: %d are counted as spoofed, want 1", name, n)
			}
		})
	}
}

// TestShareOnlyWithErrors: XEP-0220 §2.6.2: nobody is asked for more who may end the
// stream instead of refusing.
func TestShareOnlyWithErrors(t *testing.T) {
	for features, want := range map[string]int{
		"<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>": 1,
		"<dialback xmlns='urn:xmpp:features:dialback'/>":                    2,
		"<dialback xmlns='urn:x'><errors/></dialback>":                      2,
	} {
		inWorld(t, ourHosts, func(w *world) {
			a := &authoritative{cert: w.certificate(nil, "evil.example"), verdict: says(negotiate.Valid), features: features}
			w.net.Stranger("evil.example", a.serve)
			for i, c := range w.s.MustBeOnline("romeo@montague.example/home", "mercutio@verona.example/home") {
				c.MustSend(fmt.Sprintf("<message to='x@evil.example' id='%d'><body>x</body></message>", i))
				w.s.Settle()
			}
			if n, got := a.count(), a.stanzas(); n != want || len(got) != 2 {
				w.t.Errorf("%s: %d connections, want %d; it got %q", features, n, want, got)
			}
		})
	}
}

// zone is the network, with domains that listen where others do.
type zone struct {
	*xmpptest.Network
	same map[string]string
}

// SRV implements resolve.Resolver.
func (z zone) SRV(ctx context.Context, name string) (resolve.Answer[resolve.SRV], error) {
	service, domain, _ := strings.Cut(name, "._tcp.")
	if at := z.same[domain]; at != "" {
		name = service + "._tcp." + at
	}
	return z.Network.SRV(ctx, name)
}

// TestShareTarget: XEP-0220 §2.6.2: domains that listen at the same place share a
// stream. Where certificates are wanted, the one that was shown has to be for both; and
// the peer speaks for a domain only once that was asked for.
func TestShareTarget(t *testing.T) {
	const spoof = "<message from='x@worse.example' to='romeo@montague.example' type='chat'><body>who</body></message>"
	for _, tt := range []struct {
		config string
		names  []string
		signed bool // where they listen: their certificates may be published
		want   int  // connections
	}{
		{"", []string{"evil.example", "worse.example"}, false, 1},
		{"", []string{"evil.example"}, false, 2},
		{"s2s.require_certificate = false", nil, false, 1},
		{"s2s.require_certificate = false\ns2s.resolver = '127.0.0.1:53'\ns2s.dane = 'on'", nil, true, 2},
		{"s2s.require_certificate = false\ns2s.dane = 'off'", nil, true, 1},
	} {
		inWorld(t, tt.config, func(w *world) {
			if tt.signed {
				w.net.Signature = func(_, typ string) xmpptest.Signature {
					if typ == "SRV" {
						return xmpptest.Signed
					}
					return xmpptest.Unsigned
				}
			}
			a := &authoritative{cert: w.certificate(nil, tt.names...), verdict: says(negotiate.Valid), bidi: true}
			w.net.Stranger("evil.example", a.serve)
			w.s.Inside().Federation().SetNetwork(s2s.Network{Resolver: zone{w.net, map[string]string{"worse.example": "evil.example"}}, Connect: w.net.Connect})
			romeo := w.online()
			for _, d := range []string{"evil", "worse"} {
				romeo.MustSend("<message to='x@" + d + ".example' id='" + d + "'><body>x</body></message>")
				w.s.Pass(2 * time.Second)
			}
			if n := a.count(); n < 1 || (n == 1) != (tt.want == 1) {
				w.t.Errorf("certificate for %v: %d connections, want %d", tt.names, n, tt.want)
			}
			if tt.signed {
				return
			}
			if got := a.stanzas(); tt.want == 1 && !slices.Contains(got, "1: montague.example to worse.example: worse") || tt.want == 2 && len(got) != 1 {
				w.t.Errorf("certificate for %v: it got %q", tt.names, got)
			}
			if tt.want == 2 {
				if slices.ContainsFunc(a.asked, func(q negotiate.Dialback) bool { return q.To == at("worse.example") }) {
					w.t.Errorf("certificate for %v: it was asked for worse.example", tt.names)
				}
				romeo.Expect(fmt.Sprintf(errorOf, "remote-server-timeout"))
			}
		})
	}
	for _, asked := range []bool{false, true} { // does it speak for the other domain?
		inWorld(t, "", func(w *world) {
			a := &authoritative{cert: w.certificate(nil, "evil.example", "worse.example"), bidi: true}
			said := false
			a.verdict = func(q negotiate.Dialback) []negotiate.Dialback {
				said = q.To == at("worse.example")
				return says(negotiate.Valid)(q)
			}
			a.then = spoof
			if asked {
				a.then = ""
				a.verdict = func(q negotiate.Dialback) []negotiate.Dialback {
					if q.To == at("worse.example") {
						a.then, said = spoof, true
					}
					return says(negotiate.Valid)(q)
				}
			}
			w.net.Stranger("evil.example", a.serve)
			w.s.Inside().Federation().SetNetwork(s2s.Network{Resolver: zone{w.net, map[string]string{"worse.example": "evil.example"}}, Connect: w.net.Connect})
			romeo := w.online()
			romeo.MustSend("<message to='x@evil.example' id='m'><body>x</body></message>")
			w.s.Settle()
			if asked {
				romeo.MustSend("<message to='x@worse.example' id='m'><body>x</body></message>")
				romeo.Expect("<message from='x@worse.example' ...><body>who</body>...</message>")
			}
			romeo.ExpectNothing()
			if n := w.s.Inside().Federation().Stats().Spoofed; said != asked || (n == 0) != asked {
				w.t.Errorf("asked for %v (%v): %d stanzas are counted as spoofed", asked, said, n)
			}
		})
	}
}

// TestShareDeniedMeanwhile: a domain that is denied while its server looks into whether
// it takes a pair does not come in by that stream.
func TestShareDeniedMeanwhile(t *testing.T) {
	for _, config := range []string{"s2s.deny = [\"worse.example\"]", "hosts = [\"montague.example\", \"worse.example\"]"} {
		inWorld(t, "", func(w *world) {
			late := make(chan struct{})
			a := &authoritative{cert: w.certificate(nil, "evil.example", "worse.example"), bidi: true}
			a.verdict = func(q negotiate.Dialback) []negotiate.Dialback {
				if q.To == at("worse.example") {
					a.then = "<message from='x@worse.example' to='romeo@montague.example' type='chat'><body>who</body></message>"
					<-late
				}
				return says(negotiate.Valid)(q)
			}
			w.net.Stranger("evil.example", a.serve)
			w.s.Inside().Federation().SetNetwork(s2s.Network{Resolver: zone{w.net, map[string]string{"worse.example": "evil.example"}}, Connect: w.net.Connect})
			romeo := w.online()
			for _, d := range []string{"evil", "worse"} {
				romeo.MustSend("<message to='x@" + d + ".example' id='" + d + "'><body>x</body></message>")
				w.s.Settle()
			}
			if _, err := w.s.Reload(config); err != nil {
				w.t.Fatal(err)
			}
			close(late)
			w.s.Pass(2 * time.Second)
			for _, el := range romeo.Received() {
				if el.Attr("type") != "error" {
					w.t.Errorf("%s: %s came", config, el.Raw())
				}
			}
			if st := w.s.Inside().Federation().Stats(); st.Out != 0 || a.count() != 1 {
				w.t.Errorf("%s: the stream goes on, or another one was begun: %+v, %d connections", config, st, a.count())
			}
		})
	}
}

// counted is the network; it counts what it is asked for.
type counted struct {
	*xmpptest.Network
	questions *atomic.Int64
}

// SRV implements resolve.Resolver.
func (c counted) SRV(ctx context.Context, name string) (resolve.Answer[resolve.SRV], error) {
	c.questions.Add(1)
	return c.Network.SRV(ctx, name)
}

// TestShareLooksSeldom: while a domain is not tried, what is queued for it has nobody
// look where it listens.
func TestShareLooksSeldom(t *testing.T) {
	inWorld(t, "s2s.require_certificate = false", func(w *world) {
		w.net.Stranger("evil.example", (&authoritative{cert: w.certificate(nil), verdict: says(negotiate.Valid)}).serve)
		w.net.Stranger("flaky.example", func(c net.Conn, _ bool) { c.Close() })
		var questions atomic.Int64
		w.s.Inside().Federation().SetNetwork(s2s.Network{Resolver: counted{w.net, &questions}, Connect: w.net.Connect})
		romeo := w.online()
		romeo.MustSend("<message to='x@evil.example'><body>x</body></message>")
		w.s.Settle()
		questions.Store(0)
		for i := range 100 {
			romeo.MustSend(fmt.Sprintf("<message to='x@flaky.example' id='%d'><body>x</body></message>", i))
			w.s.Pass(50 * time.Millisecond)
		}
		if n := questions.Load(); n > 20 {
			w.t.Errorf("%d questions in five seconds, in which it was tried three times", n)
		}
	})
}

// TestShareExpired: a certificate that has expired since the stream began proves no other
// domain.
func TestShareExpired(t *testing.T) {
	for after, want := range map[time.Duration]int{30 * time.Minute: 1, 2 * time.Hour: 2} {
		inWorld(t, "limits.ping_after = \"4h\"\ns2s.idle = \"4h\"", func(w *world) {
			a := &authoritative{verdict: says(negotiate.Valid), cert: w.certificate(func(c *x509.Certificate) {
				c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
			}, "evil.example", "worse.example")}
			w.net.Stranger("evil.example", a.serve)
			w.s.Inside().Federation().SetNetwork(s2s.Network{Resolver: zone{w.net, map[string]string{"worse.example": "evil.example"}}, Connect: w.net.Connect})
			romeo := w.online()
			romeo.MustSend("<message to='x@evil.example' id='m'><body>x</body></message>")
			w.s.Pass(after)
			romeo.MustSend("<message to='x@worse.example' id='m'><body>x</body></message>")
			w.s.Pass(time.Second)
			if n := min(a.count(), 2); n != want {
				w.t.Errorf("after %v: %d connections, want %d", after, n, want)
			}
			if asked := slices.ContainsFunc(a.asked, func(q negotiate.Dialback) bool { return q.To == at("worse.example") }); asked != (want == 1) {
				w.t.Errorf("after %v: asked for the other domain: %v", after, asked)
			}
		})
	}
}

// TestSharePolicies: that one domain is not wanted any more is no other's business.
func TestSharePolicies(t *testing.T) {
	inWorld(t, "", func(w *world) {
		other := xmpptest.New(w.t, xmpptest.Join(w.net), xmpptest.Config("hosts = [\"capulet.example\", \"mantua.example\"]"))
		romeo, juliet := w.online(), other.MustBeOnline("juliet@capulet.example/balcony")[0]
		friar := other.MustBeOnline("friar@mantua.example/cell")[0]
		send := func() {
			romeo.MustSend("<message to='juliet@capulet.example' id='j'><body>hark</body></message>")
			juliet.Expect("<message id='j' ...><body>hark</body>...</message>")
			romeo.MustSend("<message to='friar@mantua.example' id='f'><body>hark</body></message>")
		}
		send()
		friar.Expect("<message id='f' ...><body>hark</body>...</message>")
		if _, err := w.s.Reload("s2s.deny = [\"mantua.example\"]"); err != nil {
			w.t.Fatal(err)
		}
		w.s.Pass(3 * time.Second)
		if st := w.s.Inside().Federation().Stats(); st.Out != 0 {
			w.t.Errorf("a denied domain has a stream: %+v", st)
		}
		send()
		romeo.Expect(fmt.Sprintf(errorOf, stanza.ErrNotAllowed.Condition))
		friar.ExpectNothing()
		friar.MustSend("<message to='romeo@montague.example'><body>who</body></message>")
		romeo.ExpectNothing()
	})
}
