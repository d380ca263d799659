package s2s_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"kith/xmpp/negotiate"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpptest"
)

const hark = "<message from='juliet@evil.example/x' to='romeo@montague.example' type='chat' id='m'><body>hark</body></message>"

// proved are streams on which evil.example is proved, by each way there is.
func (w *world) proved(how string) *peer {
	w.t.Helper()
	switch how {
	case "EXTERNAL":
		p := w.call("evil.example", w.certificate(nil, "evil.example"))
		p.external("evil.example")
		return p
	case "dialback":
		w.net.Stranger("evil.example", (&authoritative{cert: w.certificate(nil, "evil.example"), verdict: says(negotiate.Valid)}).serve)
		p := w.call("evil.example", nil)
		p.send(resultFrom("evil.example"))
		if d, _, err := negotiate.ParseDialback(p.must()); err != nil || d.Verdict != negotiate.Valid {
			w.t.Fatalf("dialback: %+v, %v", d, err)
		}
		return p
	}
	panic(how)
}

var ways = []string{"EXTERNAL", "dialback"}

// TestSpoofedSender: a server speaks for the domains that it has proved on that stream,
// and to ours.
func TestSpoofedSender(t *testing.T) {
	for _, how := range ways {
		inWorld(t, "", func(w *world) {
			romeo := w.online()
			for _, kind := range []string{
				"<message %s type='chat' id='m'><body>x</body></message>", "<message %s type='error'><body/></message>",
				"<presence %s/>", "<presence %s type='subscribe'/>", "<presence %s type='subscribed'/>", "<presence %s type='probe'/>",
				"<iq %s type='get' id='i'><ping xmlns='urn:xmpp:ping'/></iq>", "<iq %s type='result' id='i'/>", "<iq %s type='error' id='i'/>",
			} {
				for _, tt := range []struct {
					attrs string
					want  *stream.Error
				}{
					{"from='juliet@capulet.example/x' to='romeo@montague.example'", stream.ErrInvalidFrom},
					{"from='romeo@montague.example/home' to='romeo@montague.example'", stream.ErrInvalidFrom},
					{"from='montague.example' to='romeo@montague.example'", stream.ErrInvalidFrom},
					{"from='juliet@sub.evil.example' to='romeo@montague.example'", stream.ErrInvalidFrom},
					{"from='juliet@example' to='romeo@montague.example'", stream.ErrInvalidFrom},
					{"from='juliet@notevil.example' to='romeo@montague.example'", stream.ErrInvalidFrom},
					{"to='romeo@montague.example'", stream.ErrImproperAddressing},
					{"from='juliet@evil.example'", stream.ErrImproperAddressing},
					{"from='juliet@capulet.example' to='@@'", stream.ErrInvalidFrom},
				} {
					text := fmt.Sprintf(kind, tt.attrs)
					p := w.proved(how)
					p.send(text)
					p.ends(how+" "+text, tt.want)
					romeo.ExpectNothing()
				}
			}
		})
	}
}

// TestSpoofedSenderBothWays: on a stream of ours that goes both ways a peer is the
// domain that we have come to, and no other.
func TestSpoofedSenderBothWays(t *testing.T) {
	for from, want := range map[string]bool{
		"juliet@capulet.example/balcony": true, "juliet@evil.example/x": false, "romeo@montague.example/x": false, "nurse@sub.capulet.example": false,
	} {
		inWorld(t, "", func(w *world) {
			w.net.Stranger("capulet.example", (&authoritative{cert: w.certificate(nil, "capulet.example"), verdict: says("valid"), bidi: true,
				then: "<message from='" + from + "' to='romeo@montague.example' type='chat'><body>who</body></message>"}).serve)
			romeo := w.online()
			romeo.MustSend("<message to='juliet@capulet.example' type='chat'><body>hark</body></message>")
			spoofed := int64(1)
			if want {
				spoofed = 0
				romeo.Expect("<message from='" + from + "' ...><body>who</body>...</message>")
			}
			romeo.ExpectNothing()
			if n := w.s.Inside().Federation().Stats().Spoofed; n != spoofed {
				w.t.Errorf("from %s: %d stanzas are counted as spoofed, want %d", from, n, spoofed)
			}
		})
	}
	t.Run("one way", func(t *testing.T) {
		inWorld(t, "s2s.bidi = false", func(w *world) {
			w.net.Stranger("capulet.example", (&authoritative{cert: w.certificate(nil, "capulet.example"), verdict: says("valid"), bidi: true,
				then: "<message from='juliet@capulet.example' to='romeo@montague.example' type='chat'><body>who</body></message>"}).serve)
			romeo := w.online()
			romeo.MustSend("<message to='juliet@capulet.example' type='chat'><body>hark</body></message>")
			romeo.ExpectNothing()
		})
	})
}

// TestNothingIsRelayed: what a server sends through us to a third goes back.
func TestNothingIsRelayed(t *testing.T) {
	inWorld(t, "", func(w *world) {
		third := &authoritative{cert: w.certificate(nil, "third.example"), verdict: says(negotiate.Valid)}
		w.net.Stranger("third.example", third.serve)
		p := w.proved("dialback")
		p.send(strings.Replace(hark, "romeo@montague.example", "benvolio@third.example", 1))
		p.send(hark) // the stream goes on
		w.s.Settle()
		if n := third.count(); n != 0 {
			w.t.Errorf("%d connections to the third server, want none", n)
		}
		if ended, err := p.next(); !errors.Is(err, errNothing) {
			w.t.Errorf("the stream has ended: %s %v", ended.Raw(), err)
		}
	})
}

// TestBeforeAuthentication: nothing is taken from a server that has proved nothing.
func TestBeforeAuthentication(t *testing.T) {
	for _, text := range []string{hark, "<presence from='juliet@evil.example' to='romeo@montague.example'/>", "<iq from='evil.example' to='montague.example' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>"} {
		inWorld(t, "", func(w *world) {
			romeo := w.online()
			p := w.call("evil.example", nil)
			p.send(text)
			p.ends(text, stream.ErrNotAuthorized)
			romeo.ExpectNothing()
		})
	}
	t.Run("login deadline", func(t *testing.T) {
		inWorld(t, "", func(w *world) {
			begun := time.Now()
			w.call("evil.example", nil).ends("silence", stream.ErrConnectionTimeout)
			if took := time.Since(begun); took > 31*time.Second {
				w.t.Errorf("the stream ended after %v, want 30s", took)
			}
		})
	})
}

// TestUnsolicitedDialback: an answer proves something only where it was asked for, on
// the stream and for the domains that it was asked for.
func TestUnsolicitedDialback(t *testing.T) {
	const db = " xmlns:db='jabber:server:dialback'"
	for _, text := range []string{
		"<db:result" + db + " from='evil.example' to='montague.example' type='valid'/>",
		"<db:result" + db + " from='montague.example' to='evil.example' type='valid'/>",
		"<db:verify" + db + " from='evil.example' to='montague.example' id='ID' type='valid'/>",
		"<db:verify" + db + " from='capulet.example' to='montague.example' id='x' type='valid'>key</db:verify>",
		"<db:result" + db + " from='evil.example' to='montague.example' type='error'><error type='cancel'/></db:result>",
	} {
		inWorld(t, "", func(w *world) {
			romeo := w.online()
			p := w.call("evil.example", nil)
			p.send(strings.Replace(text, "ID", p.id, 1) + hark)
			p.ends(text, stream.ErrPolicyViolation)
			romeo.ExpectNothing()
		})
	}
	// The authoritative server of one domain answers for others, or for other streams.
	for name, answer := range map[string]func(q negotiate.Dialback) negotiate.Dialback{
		"other domain": func(q negotiate.Dialback) negotiate.Dialback {
			a := q.Answer("valid")
			a.From = at("capulet.example")
			return a
		},
		"other stream": func(q negotiate.Dialback) negotiate.Dialback { a := q.Answer("valid"); a.ID += "x"; return a },
		"of ours": func(q negotiate.Dialback) negotiate.Dialback {
			a := q.Answer("valid")
			a.To = at("capulet.example")
			return a
		},
		"a result": func(q negotiate.Dialback) negotiate.Dialback {
			a := q.Answer("valid")
			a.Verify, a.ID = false, ""
			return a
		},
	} {
		inWorld(t, "", func(w *world) {
			w.net.Stranger("evil.example", (&authoritative{cert: w.certificate(nil, "evil.example"),
				verdict: func(q negotiate.Dialback) []negotiate.Dialback { return []negotiate.Dialback{answer(q)} }}).serve)
			p := w.call("evil.example", nil)
			p.send(resultFrom("evil.example"))
			if d, _, err := negotiate.ParseDialback(p.must()); err != nil || d.Verdict != negotiate.Failing {
				w.t.Errorf("%s: answer %+v, %v; want an error", name, d, err)
			}
		})
	}
}

// TestDialback: XEP-0220 §2.2.1, §2.5.
func TestDialback(t *testing.T) {
	another := func(c *x509.Certificate) { c.DNSNames = []string{"x.example"} }
	for _, tt := range []struct {
		name, from, to string
		verdict        string
		config         string
		change         func(*x509.Certificate)
		want           string // verdict or condition
	}{
		{name: "valid", verdict: "valid", want: "valid"},
		{name: "invalid", verdict: "invalid", want: "forbidden"},
		{name: "host that is not ours", to: "verona.example", verdict: "valid", want: "item-not-found"},
		{name: "host of ours", from: "montague.example", verdict: "valid", want: "forbidden"},
		{name: "below a host of ours", from: "x.montague.example", verdict: "valid", want: "forbidden"},
		{name: "domain that does not exist", from: "nowhere.example", want: "remote-server-not-found"},
		{name: "denied", verdict: "valid", config: "s2s.deny = [\"evil.example\"]", want: "forbidden"},
		{name: "certificate of another", verdict: "valid", want: "not-authorized", change: another},
		{name: "expired certificate", verdict: "valid", want: "not-authorized", change: func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
		}},
		{name: "certificate of another, excepted", verdict: "valid", config: "s2s.dialback = [\"example\"]", want: "valid", change: another},
		{name: "certificate of another, others excepted", verdict: "valid", config: "s2s.dialback = [\"vil.example\"]", want: "not-authorized", change: another},
		{name: "certificate of another, allowed", verdict: "valid", config: "s2s.require_certificate = false", want: "valid", change: another},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, tt.config, func(w *world) {
				romeo := w.online()
				a := &authoritative{cert: w.certificate(tt.change, "evil.example"), verdict: says(tt.verdict)}
				w.net.Stranger("evil.example", a.serve)
				from, to := "evil.example", "montague.example"
				if tt.from != "" {
					from = tt.from
				}
				if tt.to != "" {
					to = tt.to
				}
				p := w.call("evil.example", nil)
				p.send(strings.Replace(resultFrom(from), "to='montague.example'", "to='"+to+"'", 1))
				d, _, err := negotiate.ParseDialback(p.must())
				got := d.Verdict
				if d.Err != nil {
					got = d.Err.Condition
				}
				if err != nil || got != tt.want || d.From.String() != to || d.To.String() != from {
					t.Fatalf("answer %+v, %v; want %s", d, err, tt.want)
				}
				if logged := strings.Contains(w.s.TakeLog(), "a key that is not its domain's"); logged != (tt.verdict == "invalid") {
					t.Errorf("logged: %t", logged)
				}
				if tt.want != "valid" {
					return
				}
				if len(a.asked) != 1 || a.asked[0].ID != p.id || a.asked[0].Key != "key" {
					t.Errorf("asked %+v, want the key of stream %s", a.asked, p.id)
				}
				p.send(hark)
				romeo.Expect("<message from='juliet@evil.example/x' ...>...</message>")
			})
		})
	}
}

// TestMultiplexing: XEP-0220 §2.6: several domains on one stream, each proved by itself.
func TestMultiplexing(t *testing.T) {
	inWorld(t, "", func(w *world) {
		romeo := w.online()
		for _, d := range []string{"evil.example", "worse.example"} {
			w.net.Stranger(d, (&authoritative{cert: w.certificate(nil, d), verdict: says("valid")}).serve)
		}
		w.net.Stranger("third.example", (&authoritative{cert: w.certificate(nil, "third.example"), verdict: says("invalid")}).serve)
		p := w.call("evil.example", nil)
		p.send(resultFrom("evil.example") + resultFrom("worse.example") + resultFrom("third.example"))
		got := map[string]string{}
		for range 3 {
			d, _, err := negotiate.ParseDialback(p.must())
			if err != nil {
				w.t.Fatal(err)
			}
			got[d.To.String()] = d.Verdict
		}
		if got["evil.example"] != "valid" || got["worse.example"] != "valid" || got["third.example"] != "error" {
			w.t.Errorf("verdicts %v", got)
		}
		p.send(hark + strings.Replace(hark, "evil.example", "worse.example", 1))
		romeo.Expect("<message from='juliet@evil.example/x' ...>...</message>")
		romeo.Expect("<message from='juliet@worse.example/x' ...>...</message>")
		p.send(strings.Replace(hark, "evil.example", "third.example", 1))
		p.ends("the third", stream.ErrInvalidFrom)
		romeo.ExpectNothing()
	})
	t.Run("too many", func(t *testing.T) {
		inWorld(t, "", func(w *world) {
			silent := &authoritative{mute: true}
			var all strings.Builder
			for i := range 200 {
				d := fmt.Sprintf("d%d.example", i)
				w.net.Stranger(d, silent.serve)
				all.WriteString(resultFrom(d))
			}
			p := w.call("evil.example", nil)
			p.send(all.String())
			refused := 0
			for refused < 192 {
				d, _, err := negotiate.ParseDialback(p.must())
				if err != nil || d.Err == nil || d.Err.Condition != stanza.ErrResourceConstraint.Condition {
					w.t.Fatalf("answer %+v, %v; want resource-constraint", d, err)
				}
				refused++
			}
			if n := silent.count(); n > 8 {
				w.t.Errorf("%d connections for one stream, want at most 8", n)
			}
		})
	})
}

// TestHostIsFrozen: the host of a stream is that of its first header.
func TestHostIsFrozen(t *testing.T) {
	inWorld(t, "hosts = [\"montague.example\", \"verona.example\"]", func(w *world) {
		p := w.call("evil.example", w.certificate(nil, "evil.example"))
		p.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>")
		p.must()
		if err := p.conn.Restart(); err != nil {
			t.Fatal(err)
		}
		p.header("evil.example", "verona.example")
		if !stream.IsError(p.features) {
			p.ends("restart with another host", stream.ErrHostUnknown)
		}
	})
	inWorld(t, "", func(w *world) {
		p := w.call("evil.example", w.certificate(nil, "evil.example"))
		p.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>")
		p.must()
		if err := p.conn.Restart(); err != nil {
			t.Fatal(err)
		}
		p.header("worse.example", "montague.example")
		if !stream.IsError(p.features) || !errors.Is(stream.ParseError(p.features), stream.ErrInvalidFrom) {
			t.Errorf("restart with another from: %s", p.features.Raw())
		}
	})
}

// TestExternal: XEP-0178 §3: who has a certificate for his domain is let in, and nobody
// else.
func TestExternal(t *testing.T) {
	for _, tt := range []struct {
		name    string
		from    string
		change  func(*x509.Certificate)
		auth    string // the element's content
		offered bool
		want    string
	}{
		{"server usage only", "evil.example", nil, "=", true, "success"},
		{"both usages", "evil.example", func(c *x509.Certificate) { c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) }, "=", true, "success"},
		{"client usage only", "evil.example", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, "=", false, "not-authorized"},
		{"authorization identity", "evil.example", nil, "ZXZpbC5leGFtcGxl", true, "success"},
		{"another's", "evil.example", nil, "Y2FwdWxldC5leGFtcGxl", true, "invalid-authzid"},
		{"a user's", "evil.example", nil, "YUBldmlsLmV4YW1wbGU=", true, "invalid-authzid"},
		{"no base64", "evil.example", nil, "!", true, "incorrect-encoding"},
		{"wildcard", "sub.evil.example", func(c *x509.Certificate) { c.DNSNames = []string{"*.evil.example"} }, "=", true, "success"},
		{"wildcard for two labels", "a.b.evil.example", func(c *x509.Certificate) { c.DNSNames = []string{"*.evil.example"} }, "=", false, "not-authorized"},
		{"only a common name", "evil.example", func(c *x509.Certificate) { c.Subject.CommonName, c.DNSNames = "evil.example", nil }, "=", false, "not-authorized"},
		{"expired", "evil.example", func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Unix(1, 0), time.Now().Add(-time.Hour) }, "=", false, "not-authorized"},
		{"another domain", "capulet.example", nil, "=", false, "not-authorized"},
		{"a domain of ours", "montague.example", func(c *x509.Certificate) { c.DNSNames = []string{"montague.example"} }, "=", false, "not-authorized"},
		{"no from", "", nil, "=", false, "not-authorized"},
		{"ten thousand names", "evil.example", func(c *x509.Certificate) {
			for i := range 2000 {
				c.DNSNames = append(c.DNSNames, fmt.Sprintf("n%d.example", i))
			}
		}, "=", false, "not-authorized"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, "", func(w *world) {
				p := w.call(tt.from, w.certificate(tt.change, "evil.example"))
				if got := strings.Contains(string(p.features.Raw()), "EXTERNAL"); got != tt.offered {
					t.Errorf("EXTERNAL is offered: %v, want %v: %s", got, tt.offered, p.features.Raw())
				}
				p.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>" + tt.auth + "</auth>")
				if el := p.must(); !strings.Contains(string(el.Raw()), tt.want) {
					t.Errorf("answer %s, want %s", el.Raw(), tt.want)
				}
			})
		})
	}
	t.Run("nobody's authority", func(t *testing.T) {
		inWorld(t, "", func(w *world) {
			other := xmpptest.NewNetwork()
			cert, err := other.Certificate(nil, "evil.example")
			if err != nil {
				t.Fatal(err)
			}
			if p := w.call("evil.example", &cert); strings.Contains(string(p.features.Raw()), "EXTERNAL") {
				t.Errorf("EXTERNAL is offered: %s", p.features.Raw())
			}
		})
	})
}
