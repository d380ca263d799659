package server_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"kith/xmpp/stream"
	"kith/xmpptest"
)

// TestLoginDeadline: a client that does not get on with its log-in is thrown
// out, even if it goes on saying something.
func TestLoginDeadline(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		begun := time.Now()
		silent := s.Dial(false)
		quiet := reach(t, s, "before TLS")
		busy := reach(t, s, "before login")
		late := reach(t, s, "before bind")
		handshake := s.Dial(true)
		for range 29 {
			s.Pass(time.Second)
			busy.MustSend(" ")
		}
		s.Pass(999 * time.Millisecond)
		for _, c := range []*xmpptest.Client{quiet, busy, late} {
			if ended, err := c.Ended(); ended {
				t.Errorf("%s: ended after %v: %v", c.Name, time.Since(begun), err)
			}
		}
		s.Pass(time.Millisecond)
		for _, c := range []*xmpptest.Client{quiet, busy, late} {
			c.ExpectError(stream.ErrConnectionTimeout)
		}
		// Who has not even begun learns it in a stream (RFC 6120 §4.9.1.2).
		got, err := io.ReadAll(silent)
		if err != nil || !strings.Contains(string(got), "connection-timeout") {
			t.Errorf("a client that said nothing got %q, %v", got, err)
		}
		if got, err := io.ReadAll(handshake); len(got) > 0 || err != nil {
			t.Errorf("a client that did not begin its handshake got %q, %v", got, err)
		}
		silent.Close()
		handshake.Close()
	})
}

// TestConnectionsBeforeLogin: one address cannot use up the server.
func TestConnectionsBeforeLogin(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		var conns []*xmpptest.Conn
		for range 3 {
			conns = append(conns, s.DialFrom("198.51.100.7", false))
		}
		s.Settle()
		refused := s.DialFrom("198.51.100.7", false)
		if got, err := io.ReadAll(refused); len(got) > 0 || err != nil {
			t.Errorf("one connection too many got %q, %v; want its end", got, err)
		}
		// Others come in, those of the same IPv6 network as one.
		for i := range 3 {
			conns = append(conns, s.DialFrom(fmt.Sprintf("2001:db8::%x", i+1), false))
		}
		s.Settle()
		refused = s.DialFrom("2001:db8::ffff:1", false)
		if got, err := io.ReadAll(refused); len(got) > 0 || err != nil {
			t.Errorf("one connection too many of a /64 got %q, %v; want its end", got, err)
		}
		// In all, too.
		conns = append(conns, s.DialFrom("203.0.113.1", false))
		s.Settle()
		refused = s.DialFrom("203.0.113.2", false)
		if got, err := io.ReadAll(refused); len(got) > 0 || err != nil {
			t.Errorf("one connection too many in all got %q, %v; want its end", got, err)
		}
		// Who goes makes room.
		for _, c := range conns {
			c.Close()
		}
		s.Settle()
		s.MustConnect("tybalt@" + host)
	}, xmpptest.Config("limits.before_login_per_ip = 3\nlimits.before_login = 7"))
}

// TestHandshakeFlood: clients that do not get on with TLS hold up others for no
// longer than their own time.
func TestHandshakeFlood(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		var stalled []*xmpptest.Conn
		for range 4 {
			stalled = append(stalled, s.DialFrom("198.51.100.7", true))
		}
		begun := time.Now()
		s.Pass(8 * time.Second)
		s.MustConnect("tybalt@" + host)
		if d := time.Since(begun); d > 12*time.Second {
			t.Errorf("logged in after %v", d)
		}
		for _, c := range stalled {
			if got, err := io.ReadAll(c); len(got) > 0 || err != nil {
				t.Errorf("a stalled handshake got %q, %v", got, err)
			}
			c.Close()
		}
	}, xmpptest.Config("limits.handshakes = 4"))
}

// TestLimitsBeforeLogin: strangers get little.
func TestLimitsBeforeLogin(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		for _, state := range []string{"before TLS", "before login"} {
			// RFC 6120 §13.12: 10,000 bytes are taken.
			fill := 10_000 - len("<a></a>")
			for _, tt := range []struct {
				what, in string
				want     *stream.Error
			}{
				{"10,000 bytes", repeat("<a>", "b", fill, "</a>"), stream.ErrUnsupportedStanzaType},
				{"10,001 bytes", repeat("<a>", "b", fill+1, "</a>"), stream.ErrPolicyViolation},
				{"depth 8", repeat("", "<a>", 8, "") + repeat("", "</a>", 8, ""), stream.ErrUnsupportedStanzaType},
				{"depth 9", repeat("", "<a>", 9, "") + repeat("", "</a>", 9, ""), stream.ErrPolicyViolation},
				{"a hundred elements", repeat("", "<enable xmlns='urn:xmpp:sm:3'/>", 101, ""), stream.ErrPolicyViolation},
			} {
				c := reach(t, s, state)
				c.MustSend(tt.in)
				c.ExpectError(tt.want)
				c.Cut()
				if t.Failed() {
					t.Fatalf("%s, %s", state, tt.what)
				}
			}
		}
	})
}

// TestImpossibleH: who acknowledges what was not sent is thrown out (XEP-0198).
func TestImpossibleH(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		for h, want := range map[string]*stream.Error{
			"1": stream.ErrUndefinedCondition, "2147483648": stream.ErrUndefinedCondition, "4294967295": stream.ErrUndefinedCondition,
			"4294967296": stream.ErrInvalidXML, "18446744073709551616": stream.ErrInvalidXML, "-1": stream.ErrInvalidXML,
			"": stream.ErrInvalidXML, "x": stream.ErrInvalidXML, "1e3": stream.ErrInvalidXML, " 0": stream.ErrInvalidXML,
		} {
			c := s.MustConnect("mercutio@" + host)
			c.MustSend("<enable xmlns='urn:xmpp:sm:3'/>")
			c.Expect("<enabled xmlns='urn:xmpp:sm:3'/>")
			c.MustSend("<a xmlns='urn:xmpp:sm:3' h='" + h + "'/>")
			s.Settle()
			if ended, err := c.Ended(); !ended || !errors.Is(err, want) {
				t.Errorf("h='%s': ended: %v, %v; want %v", h, ended, err, want)
			}
			c.Cut()
		}
	})
}

// flood sends n messages of about 1 KiB each to somebody.
func flood(t *testing.T, from *xmpptest.Client, to string, n int) {
	t.Helper()
	body := strings.Repeat("x", 1000)
	for i := range n {
		from.MustSend(fmt.Sprintf("<message type='chat' id='%d' to='%s'><body>%s</body></message>", i, to, body))
	}
}

// TestClientThatNeverAcks: what it has not acknowledged is bounded, and not
// lost.
func TestClientThatNeverAcks(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		c := s.MustBeOnline("mercutio@"+host+"/deaf", "tybalt@"+host+"/loud")
		deaf, loud := c[0], c[1]
		deaf.MustSend("<enable xmlns='urn:xmpp:sm:3'/>")
		deaf.Expect("<enabled xmlns='urn:xmpp:sm:3'/>")
		flood(t, loud, "mercutio@"+host+"/deaf", 50)
		s.Settle()
		if ended, err := deaf.Ended(); ended {
			t.Fatalf("50 stanzas not acknowledged: ended, %v", err)
		}
		flood(t, loud, "mercutio@"+host+"/deaf", 60)
		s.Settle()
		flood(t, loud, "mercutio@"+host+"/deaf", 1) // what is sent in one go is looked at behind it
		if ended, _ := deaf.Ended(); !ended {
			t.Error("111 stanzas not acknowledged: the stream goes on")
		}
		loud.ExpectNothing()
		again := s.MustConnect("mercutio@" + host + "/again")
		again.MustSend("<presence/>")
		s.Pass(10 * time.Second)
		if n := len(again.Received()); n < 112 { // its presence, and all messages
			t.Errorf("the next session got %d stanzas, want 112", n)
		}
	}, xmpptest.Config("limits.unacked_stanzas = 100"))
}

// TestSlowReader: who does not read costs a bounded queue, and nobody else's
// time.
func TestSlowReader(t *testing.T) {
	for name, acks := range map[string]bool{"plain": false, "acks": true} {
		t.Run(name, func(t *testing.T) {
			secure(t, func(t *testing.T, s *xmpptest.Server) {
				c := s.MustBeOnline("mercutio@"+host+"/slow", "tybalt@"+host+"/loud", "benvolio@"+host+"/third")
				slow, loud, third := c[0], c[1], c[2]
				if acks {
					slow.MustSend("<enable xmlns='urn:xmpp:sm:3'/>")
					slow.Expect("<enabled xmlns='urn:xmpp:sm:3'/>")
				}
				slow.Pause()
				begun := time.Now()
				flood(t, loud, "mercutio@"+host+"/slow", 200)
				loud.MustSend("<message to='benvolio@montague.example/third' id='t'/>")
				third.Expect("<message id='t' ...>...</message>")
				if d := time.Since(begun); d > 0 {
					t.Errorf("a third one waited %v for a slow reader", d)
				}
				// 16 KiB in the connection, 256 KiB in the queue: 500 KiB are too much.
				flood(t, loud, "mercutio@"+host+"/slow", 300)
				s.Pass(2 * time.Second)
				again := s.MustConnect("mercutio@" + host + "/again")
				again.MustSend("<presence/>")
				s.Pass(2 * time.Second)
				slow.Resume()
				if ended, _ := slow.Ended(); !ended {
					t.Error("the slow reader's stream goes on")
				}
				if len(again.Received()) < 2 {
					t.Error("nothing of what the slow reader did not take went to the next session")
				}
				if ended, err := loud.Ended(); ended {
					t.Errorf("the sender's stream has ended: %v", err)
				}
			}, xmpptest.Buffer(16<<10), xmpptest.Config("limits.session_queue = '256KiB'"))
		})
	}
}

// TestTrickle: one byte at a time is no way to stay before log-in, nor to hold
// up anybody after it.
func TestTrickle(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		c := reach(t, s, "bound")
		for _, b := range []byte("<message to='benvolio@montague.example/witness' id='x'><body>hark</body></message>") {
			c.MustSend(string(b))
			s.Pass(time.Second)
		}
		c.MustSend(ping)
		c.Expect("<iq type='result' id='p' .../>")
	})
}

// TestForgedFrom: nobody speaks in another's name.
func TestForgedFrom(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		for _, from := range []string{
			"benvolio@montague.example", "benvolio@montague.example/witness", "montague.example", "capulet.example", "verona.example",
			"mercutio@capulet.example", "mercutio@montague.example/other",
		} {
			for _, kind := range []string{"message", "presence", "iq"} {
				c := s.MustConnect("mercutio@" + host + "/x")
				c.MustSend("<" + kind + " type='error' id='1' from='" + from + "' to='benvolio@montague.example/witness'><a xmlns='a'/></" + kind + ">")
				c.ExpectError(stream.ErrInvalidFrom)
				c.Cut()
			}
		}
	})
}
