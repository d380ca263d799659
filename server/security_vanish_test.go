package server_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"kith/xmpptest"
)

// TestCrowdVanishes: clients that are gone without a word are found out by a ping, who
// saw them sees them go, and what was sent to them meanwhile is there when they
// come back.
func TestCrowdVanishes(t *testing.T) {
	clients := crowd(500, 40)
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t, xmpptest.Config("limits.ping_after = '5m'\nlimits.ping_wait = '1m'"))
		watcher := s.MustBeOnline("benvolio@" + host + "/watcher")[0]
		jid := func(i int) string { return fmt.Sprintf("lost%d@%s", i, host) }
		var lost []*xmpptest.Client
		for i := range clients {
			c := s.MustConnect(jid(i) + "/there")
			// Without it, what the connection took counts as received: it is in the
			// archive only.
			c.MustSend("<enable xmlns='urn:xmpp:sm:3'/>")
			c.MustSend("<presence/>")
			c.MustSend("<presence to='benvolio@" + host + "/watcher'/>")
			lost = append(lost, c)
		}
		s.Drain()
		for _, c := range lost { // it takes what it is sent, and never says anything
			c.Pause()
		}
		vanished := time.Now()
		for i := range clients {
			watcher.MustSend(fmt.Sprintf("<message type='chat' id='m%d' to='%s'><body>where are you?</body></message>", i, jid(i)))
		}
		gone := 0
		var first, last time.Duration
		for range 13 {
			s.Pass(30 * time.Second)
			watcher.MustSend(" ")
			for _, el := range watcher.Received() {
				if el.Name().Local != "presence" || el.Attr("type") != "unavailable" {
					t.Fatalf("the watcher got %s", el.Raw())
				}
				if last = time.Since(vanished); gone == 0 {
					first = last
				}
				gone++
			}
		}
		if gone != clients || first < 5*time.Minute || last > 6*time.Minute+30*time.Second {
			t.Errorf("%d of %d seen to go, from %v to %v after they vanished", gone, clients, first, last)
		}
		for _, c := range lost {
			c.Cut()
		}
		for i := range clients {
			again := s.MustConnect(jid(i) + "/again")
			again.MustSend("<presence/>")
			s.Settle()
			messages := 0
			for _, el := range again.Received() {
				if el.Name().Local == "message" && el.Attr("id") == fmt.Sprintf("m%d", i) {
					messages++
				}
			}
			if messages != 1 {
				t.Fatalf("%s got its message %d times at the next log-in", jid(i), messages)
			}
			again.Close()
		}
	})
}
