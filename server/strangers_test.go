package server_test

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"kith/xmpptest"
)

// manyStrangers lets a server take far more connections before log-in than it
// would on its own.
var manyStrangers = xmpptest.Config("[limits]\nbefore_login = 20000\nbefore_login_per_ip = 20000\nlogin = '10m'")

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
