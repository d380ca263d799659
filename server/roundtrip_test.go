package server_test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"kith/client"
	"kith/xmpp/jid"
	"kith/xmpp/negotiate"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpptest"
)

// oneWay is how long what is written takes to the other end.
const oneWay = 50 * time.Millisecond

// far puts distance between a client and the server: what either writes arrives
// later, however much it is.
func far(near *xmpptest.Conn) net.Conn {
	end, other := xmpptest.Pipe(1<<20, near.LocalAddr(), near.RemoteAddr())
	go carry(near, other)
	go carry(other, near)
	return end
}

// carry takes bytes from one connection to another.
func carry(from, to *xmpptest.Conn) {
	type piece struct {
		b  []byte
		at time.Time
	}
	road := make(chan piece, 1000)
	go func() {
		defer close(road)
		for {
			b := make([]byte, 32<<10)
			n, err := from.Read(b)
			if n > 0 {
				road <- piece{b[:n], time.Now().Add(oneWay)}
			}
			if err != nil {
				return
			}
		}
	}()
	defer to.Close()
	defer from.Close()
	for p := range road {
		if left := time.Until(p.at); left > 0 {
			<-time.After(left)
		}
		if _, err := to.Write(p.b); err != nil {
			for range road { //nolint:revive // until the reader has ended, too
			}
			return
		}
	}
}

// TestRoundTrips: how many times a client that has lost its stream waits for the
// server until it has its messages again; the handshake of TLS is one more. With a
// token, and knowing the features, it is once.
func TestRoundTrips(t *testing.T) {
	for name, test := range map[string]struct {
		how  func(c *client.Config, w *wallet)
		want int
	}{
		// The header, two of SCRAM, a header again, then resumption.
		"by a token, ahead of the features":  {func(c *client.Config, _ *wallet) {}, 1},
		"by a token, behind the features":    {func(_ *client.Config, w *wallet) { w.forgetVersion() }, 2},
		"by the password":                    {func(c *client.Config, _ *wallet) { c.Tokens = nil }, 3},
		"the features are not those of then": {func(_ *client.Config, w *wallet) { w.mistakeVersion() }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := xmpptest.New(t)
				s.Account(mercutio)
				juliet := s.MustConnect("benvolio@" + host)
				w := &wallet{}
				c := client.Config{
					JID: mercutio, Password: xmpptest.Password, DirectTLS: true, TLS: s.TLS(host), Tokens: w,
					Agent: negotiate.UserAgent{ID: phone}, Bind2: true, Management: true, Resumable: true, Carbons: true,
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				raw := s.Dial(true)
				first, err := client.NewOnConn(ctx, raw, c)
				if err != nil {
					t.Fatal(err)
				}
				if err := first.Send(stanza.New(stanza.Presence, "", jid.JID{}, jid.JID{})); err != nil {
					t.Fatal(err)
				}
				s.Settle()
				raw.Close() // in a tunnel
				<-first.Done()
				juliet.MustSend("<message to='mercutio@" + host + "' type='chat' id='m'><body>where are you</body></message>")
				s.Settle()

				c.Resume = first.Resumption()
				test.how(&c, w)
				begun := time.Now()
				second, err := client.NewOnConn(ctx, far(s.Dial(true)), c)
				if err != nil {
					t.Fatal(err)
				}
				if !second.Resumed() || second.JID() != first.JID() {
					t.Errorf("resumed: %v, as %s, was %s", second.Resumed(), second.JID(), first.JID())
				}
				for {
					el, err := second.Next(ctx)
					if err != nil {
						t.Fatal(err)
					}
					if el.Attr("id") == "m" && el.Name().Space == ns.Client {
						break
					}
				}
				if took := time.Since(begun); took != time.Duration(1+test.want)*2*oneWay {
					t.Errorf("%v, which is %.1f round trips behind the handshake, want %d", took, float64(took)/float64(2*oneWay)-1, test.want)
				}
				second.Close()
				s.Pass(time.Second)
			})
		})
	}
}

func (w *wallet) forgetVersion() { w.setVersion("") }

func (w *wallet) mistakeVersion() { w.setVersion("of yore") }

func (w *wallet) setVersion(v string) {
	saved, _ := w.Load(mercutio)
	saved.Version = v
	w.Save(mercutio, saved)
}
