package server_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
	"kith/xmpptest"
)

// resumable connects a client, has it enable a stream that can be resumed, and
// returns the id.
func resumable(t *testing.T, s *xmpptest.Server, j string) (*xmpptest.Client, string) {
	t.Helper()
	c := s.MustConnect(j)
	c.MustSend("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
	el, ok := c.Next()
	if !ok || el.Name().Local != "enabled" {
		t.Fatalf("got %s, want <enabled/>", el.Raw())
	}
	return c, strings.Clone(el.Attr("id"))
}

// attempt opens a stream and asks to resume a session; it returns the answer.
func attempt(t *testing.T, s *xmpptest.Server, name, host, id string, h int) (*xmpptest.Client, xmltree.Element) {
	t.Helper()
	c, err := s.Open(name, host, true)
	if err != nil {
		t.Fatal(err)
	}
	s.Settle()
	c.Received()
	if err := c.Authenticate(name); err != nil {
		t.Fatal(err)
	}
	s.Settle()
	c.Received()
	c.MustSend(fmt.Sprintf("<resume xmlns='urn:xmpp:sm:3' h='%d' previd='%s'/>", h, id))
	el, _ := c.Next()
	return c, el
}

// TestResumptionsRace: of several streams that want the same session the last to
// be served has it, the others end, and nothing is lost or doubled.
func TestResumptionsRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		juliet := s.MustConnect("juliet@capulet.example/balcony")
		romeo, id := resumable(t, s, "romeo@montague.example/orchard")
		const streams = 8
		cs := make([]*xmpptest.Client, streams)
		for i := range cs {
			c, err := s.Open("romeo", "montague.example", true)
			if err != nil {
				t.Fatal(err)
			}
			s.Settle()
			c.Received()
			if err := c.Authenticate("romeo"); err != nil {
				t.Fatal(err)
			}
			cs[i] = c
		}
		s.Settle()
		var wg sync.WaitGroup
		for _, c := range cs {
			c.Received()
			wg.Go(func() { c.MustSend("<resume xmlns='urn:xmpp:sm:3' h='0' previd='" + id + "'/>") })
		}
		wg.Wait()
		s.Pass(wait)
		juliet.MustSend("<message to='romeo@montague.example/orchard' type='chat' id='1'><body>hark</body></message>")
		s.Settle()
		alive, got := 0, 0
		for _, c := range slices.Concat(cs, []*xmpptest.Client{romeo}) {
			failed := false
			for _, el := range c.Received() {
				if el.Name().Local == "message" {
					got++
				}
				failed = failed || el.Name().Local == "failed"
			}
			if ended, _ := c.Ended(); !ended && !failed {
				alive++
			}
		}
		if alive != 1 || got != 1 {
			t.Errorf("%d streams have the session, and the message came %d times; want one and once", alive, got)
		}
	})
}

// wait is longer than any step of a resumption may take.
const wait = 10 * time.Second

// TestAwaySessionIsBounded: what waits for a client that is away has a bound; at
// that the session ends, and its messages wait in the store.
func TestAwaySessionIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t, xmpptest.Config(`
limits.session_queue = "256KiB"
limits.unacked = "256KiB"
`))
		juliet := s.MustConnect("juliet@capulet.example/balcony")
		romeo, id := resumable(t, s, "romeo@montague.example/orchard")
		romeo.MustSend("<presence/>")
		s.Settle()
		romeo.Cut()
		s.Settle()
		body := strings.Repeat("x", 32<<10)
		const messages = 40
		for i := range messages {
			juliet.MustSend(fmt.Sprintf("<message to='romeo@montague.example' type='chat' id='%d'><body>%s</body></message>", i, body))
			s.Settle()
		}
		juliet.ExpectNothing()
		again, answer := attempt(t, s, "romeo", "montague.example", id, 0)
		if !answer.Is(xmltree.Name{Space: ns.Acks, Local: "failed"}) {
			t.Fatalf("got %s, want <failed/>: the session had more than it may", answer.Raw())
		}
		again.Close()
		back := s.MustConnect("romeo@montague.example/orchard")
		back.MustSend("<presence/>")
		s.Pass(wait)
		seen := make(map[string]int)
		var order []string
		for _, el := range back.Received() {
			if el.Name().Local == "message" {
				seen[el.Attr("id")]++
				order = append(order, el.Attr("id"))
			}
		}
		for i := range messages {
			if seen[fmt.Sprint(i)] != 1 {
				t.Errorf("message %d came %d times, want once (order %v)", i, seen[fmt.Sprint(i)], order)
			}
		}
	})
}

// TestSlowClientIsDetached: a client that reads nothing loses its stream, not what
// it was sent.
func TestSlowClientIsDetached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t, xmpptest.Buffer(16<<10), xmpptest.Config(`
limits.session_queue = "256KiB"
limits.unacked = "256KiB"
`))
		juliet := s.MustConnect("juliet@capulet.example/balcony")
		romeo, id := resumable(t, s, "romeo@montague.example/orchard")
		romeo.MustSend("<presence/>")
		s.Settle()
		romeo.Received()
		romeo.Pause()
		body := strings.Repeat("x", 16<<10)
		const messages = 24
		for i := range messages {
			juliet.MustSend(fmt.Sprintf("<message to='romeo@montague.example' type='chat' id='%d'><body>%s</body></message>", i, body))
			s.Settle()
		}
		s.Pass(wait)
		romeo.Resume()
		s.Settle()
		if ended, _ := romeo.Ended(); !ended {
			t.Fatal("the stream of a client that does not read goes on")
		}
		again, answer := attempt(t, s, "romeo", "montague.example", id, 1) // the presence
		if !answer.Is(xmltree.Name{Space: ns.Acks, Local: "resumed"}) {
			t.Fatalf("got %s, want <resumed/>", answer.Raw())
		}
		s.Settle()
		var order []string
		for _, el := range again.Received() {
			if el.Name().Local == "message" {
				order = append(order, el.Attr("id"))
			}
		}
		if len(order) != messages {
			t.Errorf("got %d messages, want %d: %v", len(order), messages, order)
		}
		for i, id := range order {
			if id != fmt.Sprint(i) {
				t.Fatalf("out of order: %v", order)
			}
		}
	})
}

// TestAwaySessionsMakeRoom: a client that never resumes does not lock its account
// out.
func TestAwaySessionsMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t, xmpptest.Config("limits.sessions = 3"))
		stays := s.MustConnect("romeo@montague.example/stays")
		for i := range 10 {
			c, _ := resumable(t, s, fmt.Sprintf("romeo@montague.example/%d", i))
			c.Cut()
			s.Settle()
		}
		stays.MustSend("<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>")
		stays.Expect("<iq type='result' id='1' .../>")
		two := s.MustConnect("romeo@montague.example/two")
		s.MustConnect("romeo@montague.example/three")
		if _, err := s.Connect(two.JID().Bare()); err == nil {
			t.Error("a fourth session with a stream was let in")
		}
	})
}

// TestStoredSessionOfDeletedAccount: what was stored of a session goes with its
// account.
func TestStoredSessionOfDeletedAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		romeo, id := resumable(t, s, "romeo@montague.example/orchard")
		if err := s.Accounts().Delete(t.Context(), romeo.JID().Bare()); err != nil {
			t.Fatal(err)
		}
		s.Settle()
		if err := romeo.Err(); err == nil {
			t.Fatal("the session of a deleted account goes on")
		}
		s.Restart()
		if err := s.Accounts().Create(t.Context(), romeo.JID().Bare(), xmpptest.Password, false); err != nil {
			t.Fatal(err)
		}
		_, answer := attempt(t, s, "romeo", "montague.example", id, 0)
		if !answer.Is(xmltree.Name{Space: ns.Acks, Local: "failed"}) {
			t.Fatalf("got %s, want <failed/>", answer.Raw())
		}
	})
}

// TestIDsAfterARestart: what a detached session had as a copy is not taken for a
// message that comes after the restart, though the clock has not moved and the
// message is gone that had the last id.
func TestIDsAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		phone, id := resumable(t, s, "juliet@capulet.example/phone")
		phone.MustSend("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq><presence><priority>-1</priority></presence>")
		desk, _ := resumable(t, s, "juliet@capulet.example/desk")
		desk.MustSend("<presence/>")
		s.MustConnect("romeo@montague.example/orchard").MustSend(
			"<message to='juliet@capulet.example/desk' type='chat' id='copied'><body>x</body><no-permanent-store xmlns='urn:xmpp:hints'/></message>")
		s.Settle()
		desk.MustSend(fmt.Sprintf("<a xmlns='urn:xmpp:sm:3' h='%d'/>", stanzas(desk.Received())))
		s.Settle()
		h := stanzas(phone.Received())
		if n := s.Count("SELECT count(*) FROM message"); n != 0 {
			t.Fatalf("%d messages are left, want none", n)
		}
		s.Restart()
		s.MustConnect("romeo@montague.example/orchard").MustSend(
			"<message to='juliet@capulet.example/phone' type='chat' id='after'><body>y</body></message>")
		s.Settle()
		again, answer := attempt(t, s, "juliet", "capulet.example", id, h)
		if answer.Name().Local != "resumed" {
			t.Fatalf("got %s", answer.Raw())
		}
		again.Expect("<message id='after' ...><body>y</body>...</message>")
	})
}

// stanzas counts what a client that acknowledges has to (XEP-0198 §4).
func stanzas(list []xmltree.Element) (n int) {
	for _, el := range list {
		if el.Name().Space == ns.Client {
			n++
		}
	}
	return n
}
