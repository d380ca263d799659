package server_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"kith/server/route"
	"kith/server/session"
	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpp/stream"
	"kith/xmpptest"
)

func TestSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		cs := s.MustBeOnline("romeo@montague.example/orchard", "juliet@capulet.example/balcony", "juliet@capulet.example/chamber", "nurse@shakespeare.lit/kitchen")
		romeo, balcony, chamber := cs[0], cs[1], cs[2]
		romeo.MustSend("<presence><show>dnd</show><priority>7</priority></presence>")
		balcony.MustSend("<enable xmlns='urn:xmpp:sm:3'/>")
		balcony.MustSend("<presence type='unavailable'/>")
		chamber.MustSend("<inactive xmlns='urn:xmpp:csi:0'/>")
		s.Settle()
		s.Drain()
		r := s.Inside().Router()
		list := func(of string) string {
			t.Helper()
			var j jid.JID
			if of != "" {
				j = jid.MustParse(of)
			}
			got, err := r.Sessions(t.Context(), j)
			if err != nil {
				t.Fatal(err)
			}
			var text string
			for _, i := range got {
				if i.Remote == "" || i.TLS != "TLS 1.3" || !i.Since.Equal(time.Now()) {
					t.Errorf("session %+v: want an address, TLS 1.3 and %s", i, time.Now())
				}
				text += fmt.Sprintf("%s %q %d %v %v; ", i.JID, i.Show, i.Priority, i.Acks, i.Inactive)
			}
			return text
		}
		const (
			orchard = `romeo@montague.example/orchard "dnd" 7 false false; `
			hers    = `juliet@capulet.example/balcony "" 0 true false; juliet@capulet.example/chamber "available" 0 false true; `
			kitchen = `nurse@shakespeare.lit/kitchen "available" 0 false false; `
		)
		for of, want := range map[string]string{
			"":                               hers + kitchen + orchard,
			"capulet.example":                hers,
			"juliet@capulet.example":         hers,
			"romeo@montague.example/orchard": orchard,
			"romeo@montague.example/balcony": "",
			"tybalt@capulet.example":         "",
			"verona.example":                 "",
		} {
			if got := list(of); got != want {
				t.Errorf("sessions of %q: %s, want %s", of, got, want)
			}
		}

		closing := func(of string, want int) {
			t.Helper()
			n, err := r.CloseSessions(t.Context(), jid.MustParse(of), stream.ErrUndefinedCondition)
			if n != want || err != nil {
				t.Errorf("%d sessions of %s closed, %v; want %d", n, of, err, want)
			}
			s.Settle()
		}
		closing("juliet@capulet.example/chamber", 1)
		chamber.ExpectError(stream.ErrUndefinedCondition)
		closing("juliet@capulet.example/chamber", 0)
		closing("tybalt@capulet.example", 0)
		if ended, _ := balcony.Ended(); ended {
			t.Error("her other session has ended, too")
		}
		closing("juliet@capulet.example", 1)
		balcony.ExpectError(stream.ErrUndefinedCondition)
		if got, want := list(""), kitchen+orchard; got != want {
			t.Errorf("sessions: %s, want %s", got, want)
		}
	})
}

// nowhere is the connection of a session to which nobody writes.
type nowhere struct{}

func (nowhere) TryWriteBatch([][]byte) (bool, error) { return true, nil }
func (nowhere) WriteBatch([][]byte) error            { return nil }
func (nowhere) Drain() error                         { return nil }
func (nowhere) Close(error) error                    { return nil }

// TestCrowdOfSessions lists ten thousand sessions. Meanwhile others get an answer as
// soon as ever, for the list takes its turn in the lanes page by page.
func TestCrowdOfSessions(t *testing.T) {
	n := crowd(10_000, 500)
	s := xmpptest.New(t)
	r := s.Inside().Router()
	j := func(i int) jid.JID { return jid.MustParse(fmt.Sprintf("guest%05d@montague.example/ball", i)) }
	err := s.Inside().DB().Write(t.Context(), func(tx *storage.Tx) error {
		for i := range n {
			if _, err := tx.Exec(`INSERT INTO account (jid, created, disabled, admin) VALUES ($1, $2, $3, $4)`,
				j(i).Bare().String(), 0, false, false); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		in := session.NewInbound(1, 1, nil)
		if _, err := r.Bind(t.Context(), session.New(session.NewID(), j(i), nowhere{}, in, session.Limits{}), route.Wanted{Limit: 1}); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan struct{})
	var list []route.SessionInfo
	begun := time.Now()
	go func() {
		defer close(done)
		list, err = r.Sessions(context.Background(), jid.JID{})
	}()
	var slowest time.Duration
	asked := 0
	for running := true; running; asked++ {
		select {
		case <-done:
			running = false
		default:
		}
		at := time.Now()
		if one, err := r.Sessions(t.Context(), j(asked%n)); err != nil || len(one) != 1 {
			t.Fatalf("one session meanwhile: %v, %v", one, err)
		}
		slowest = max(slowest, time.Since(at))
	}
	if err != nil || len(list) != n {
		t.Fatalf("%d sessions, %v; want %d", len(list), err, n)
	}
	for i, got := range list {
		if got.JID != j(i) {
			t.Fatalf("session %d is %s, want %s", i, got.JID, j(i))
		}
	}
	t.Logf("%d sessions in %v; meanwhile %d questions, the slowest took %v", n, time.Since(begun), asked, slowest)
	if slowest > time.Second {
		t.Errorf("others waited for %v", slowest)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Sessions(cancelled, jid.JID{}); !errors.Is(err, context.Canceled) {
		t.Errorf("who has gone gets %v, want the end of the context", err)
	}
}

// TestHostStats: a message is counted once, at the host it is for; one that goes
// nowhere at its sender's. A reload does not begin anew.
func TestHostStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		s.Account(jid.MustParse("tybalt@capulet.example"))
		romeo := s.MustBeOnline("romeo@montague.example/orchard", "juliet@capulet.example/balcony", "juliet@capulet.example/chamber")[0]
		for _, to := range []string{
			"juliet@capulet.example", "juliet@capulet.example/balcony", // delivered, the first to two sessions
			"tybalt@capulet.example",                     // kept
			"nobody@capulet.example",                     // sent back
			"friar@lawrence.example", "montague.example", // sent back by his own
		} {
			romeo.MustSend("<message type='chat' to='" + to + "'><body>here's much to do with hate</body></message>")
		}
		s.Settle()
		check := func(when string) {
			t.Helper()
			want := []route.HostStats{
				{Host: "montague.example", Sessions: 1, Bounced: 2},
				{Host: "capulet.example", Sessions: 2, Delivered: 2, Kept: 1, Bounced: 1},
				{Host: "shakespeare.lit"},
			}
			got := s.Inside().Router().HostStats()
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("%s: %+v, want %+v", when, got[i], want[i])
				}
			}
		}
		check("sent")
		if _, err := s.Reload("[modules.ping]\nenabled = false"); err != nil {
			t.Fatal(err)
		}
		check("reloaded")
	})
}
