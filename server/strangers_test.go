package server_test

import (
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"kith/client"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xmltree"
	"kith/xmpptest"
)

// manyStrangers lets a server take far more connections before log-in than it
// would on its own.
var manyStrangers = xmpptest.Config("[limits]\nbefore_login = 20000\nbefore_login_per_ip = 20000\nlogin = '10m'\nstanza_rate = 0\nbyte_rate = 0")

// TestLeaksBeforeLogin opens and closes connections in each state before log-in
// (CVE-2026-43506): nothing of them may stay.
func TestLeaksBeforeLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t, manyStrangers)
		wave := func(n int) {
			for i := range n {
				s.Dial(false).Close()
				c, err := s.Open("stranger", "montague.example", false)
				if err != nil {
					t.Fatal(err)
				}
				switch i % 4 {
				case 0:
					c.Cut()
				case 1:
					c.MustSend("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
					synctest.Wait()
					c.Cut()
				case 2:
					c.MustSend("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>")
					c.Cut()
				case 3:
					c.Close()
				}
			}
			s.Pass(10 * time.Second)
		}
		measure := func() (heap int, goroutines int) {
			runtime.GC()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int(m.HeapAlloc), runtime.NumGoroutine()
		}
		wave(200)
		heap, goroutines := measure()
		const n = 2000
		wave(n)
		later, running := measure()
		if running > goroutines+5 {
			t.Errorf("%d goroutines after %d connections, %d before", running, n, goroutines)
		}
		if grown := later - heap; grown > n*500 {
			t.Errorf("%d bytes of heap stay of each of %d connections", grown/n, n)
		}
	})
}

// BenchmarkStrangers measures how long a message takes while ten thousand
// connections are open that never log in, half of them before TLS and half in
// the middle of it: the slowest of a hundred is to take what it takes without them.
func BenchmarkStrangers(b *testing.B) {
	for _, bb := range []struct {
		name string
		n    int
	}{{"none", 0}, {"10000", 10_000}} {
		b.Run(bb.name, func(b *testing.B) {
			s := xmpptest.New(b, manyStrangers, xmpptest.Config("[modules.mam]\nenabled = false"), xmpptest.Buffer(2<<10))
			romeo, juliet := logIn(b, s, "romeo@montague.example"), logIn(b, s, "juliet@capulet.example")
			for i := range bb.n {
				s.Dial(i%2 == 0)
			}
			message := stanza.New(stanza.Message, stanza.Chat, jid.JID{}, juliet.JID(), body("hark"))
			var took []time.Duration
			for b.Loop() {
				begun := time.Now()
				if err := romeo.Send(message); err != nil {
					b.Fatal(err)
				}
				if _, err := juliet.Next(b.Context()); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(begun))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
		})
	}
}

func logIn(b *testing.B, s *xmpptest.Server, account string) *client.Client {
	b.Helper()
	j := s.Account(jid.MustParse(account))
	c, err := client.NewOnConn(b.Context(), s.Dial(false), client.Config{JID: j, Password: xmpptest.Password, TLS: s.TLS(j.Domain())})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}

type body string

func (text body) AppendXML(w *xmltree.Writer) {
	w.Element(xmltree.Name{Space: ns.Client, Local: "body"}, string(text))
}
