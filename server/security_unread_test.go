package server_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kith/xmpptest"
)

// TestCrowdNeverReads: two hundred clients are sent messages and read
// nothing. Their streams end, what waits for them is bounded, others do not
// notice, and each message is there when they come back.
func TestCrowdNeverReads(t *testing.T) {
	const messages, size = 12, 8 << 10
	clients := crowd(200, 12)
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t, xmpptest.Buffer(8<<10), xmpptest.Config(`
limits.stanza = "16KiB"
limits.session_queue = "32KiB"
limits.unacked = "32KiB"
limits.resume = "1m"
`))
		juliet := s.MustBeOnline("juliet@capulet.example/balcony")[0]
		romeo := s.MustBeOnline("romeo@montague.example/orchard")[0]
		var deaf []*xmpptest.Client
		for i := range clients {
			c := s.MustConnect(fmt.Sprintf("deaf%d@montague.example/r", i))
			if i%2 == 0 { // half of them can be resumed; the others only count
				c.MustSend("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
			} else {
				c.MustSend("<enable xmlns='urn:xmpp:sm:3'/>")
			}
			c.MustSend("<presence/>")
			s.Settle()
			c.Received()
			c.Pause()
			deaf = append(deaf, c)
		}
		before := heap()
		body := strings.Repeat("x", size)
		for n := range messages {
			for i := range clients {
				juliet.MustSend(fmt.Sprintf("<message to='deaf%d@montague.example' type='chat' id='%d'><body>%s</body></message>", i, n, body))
			}
			romeo.MustSend("<message to='juliet@capulet.example/balcony' type='chat' id='other'><body>meanwhile</body></message>")
			juliet.Expect("<message id='other' ...><body>meanwhile</body>...</message>")
			juliet.ExpectNothing()
		}
		// A queue, what is not acknowledged and a connection's buffers, for each; and
		// what the database and the test itself keep.
		if grown := heap() - before; grown > clients*3*(32<<10)+8<<20 {
			t.Errorf("%d kB are held for clients that do not read", grown>>10)
		} else {
			t.Logf("%d kB for each client that does not read", grown>>10/clients)
		}
		s.Pass(2 * time.Minute)
		for i, c := range deaf {
			c.Resume()
			s.Settle()
			if ended, _ := c.Ended(); !ended {
				t.Fatalf("the stream of client %d goes on", i)
			}
			c.Close()
		}
		for i := range clients {
			c := s.MustConnect(fmt.Sprintf("deaf%d@montague.example/r", i))
			c.MustSend("<presence/>")
			s.Settle()
			s.Pass(time.Minute) // page by page
			got := make(map[string]int)
			for _, el := range c.Received() {
				if el.Name().Local == "message" {
					got[el.Attr("id")]++
				}
			}
			for n := range messages {
				if got[fmt.Sprint(n)] != 1 {
					t.Fatalf("client %d got message %d %d times, want once: %v", i, n, got[fmt.Sprint(n)], got)
				}
			}
			c.Close()
		}
	})
}

func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
