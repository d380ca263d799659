package offline_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"kith/server/account"
	"kith/server/route"
	"kith/server/session"
)

// chat is what romeo sends to juliet's account.
func chat(id int) string {
	return fmt.Sprintf(`<message to='juliet@%s' type='chat' id='%d'><body>hark</body></message>`, capulet, id)
}

// state is a message that nobody keeps.
func state(id int) string {
	return fmt.Sprintf(`<message to='juliet@%s' type='chat' id='%d'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>`, capulet, id)
}

// RFC 6120 §10.1: what comes while offline messages are handed over follows them,
// kept or not.
func TestOrderBetweenPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.leave(600)
		romeo := h.connect("romeo/orchard", session.Limits{})
		juliet := h.connect("juliet/balcony", session.Limits{})
		juliet.conn.stick(true)
		juliet.send(`<presence/>`)
		time.Sleep(5 * time.Second) // the first page is on its way
		romeo.send(chat(600), state(601), fmt.Sprintf(`<message to='%s' id='602' type='headline'><body>news</body></message>`, juliet.JID), chat(603))
		juliet.conn.stick(false)
		time.Sleep(time.Minute)
		wantIDs(t, ids(juliet.received()), 0, 604)
		h.wantMarked(0)
		romeo.send(chat(604))
		wantIDs(t, ids(juliet.received()), 604, 605)
	})
}

// The same before the first page is read.
func TestOrderBeforeTheFirstPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.leave(30)
		romeo := h.connect("romeo/orchard", session.Limits{})
		juliet := h.connect("juliet/balcony", session.Limits{})
		// Between the two nobody waits for the reader.
		h.cluster.Send(account.Key(juliet.JID), juliet.leaving(`<presence/>`))
		h.cluster.Send(account.Key(romeo.JID), romeo.leaving(chat(30)), romeo.leaving(state(31)))
		wantIDs(t, ids(juliet.received()), 0, 32)
		h.wantMarked(0)
	})
}

// What a client that does not acknowledge is owed, the next session gets, in
// order too.
func TestOrderLostMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, fewUnacked)
		h.leave(25)
		romeo := h.connect("romeo/orchard", session.Limits{})
		balcony, chamber := h.connect("juliet/balcony", roomy), h.connect("juliet/chamber", roomy)
		balcony.acknowledges()
		balcony.send(`<presence/>`)
		romeo.send(chat(25), chat(26))
		time.Sleep(time.Minute)
		wantIDs(t, ids(balcony.received()), 0, 10) // a page
		h.wantMarked(27)
		balcony.end()
		h.wantMarked(27)
		chamber.send(`<presence/>`)
		time.Sleep(time.Minute)
		wantIDs(t, ids(chamber.received()), 0, 27)
		h.wantMarked(0)
	})
}

// The same while the other session is there, which has what came meanwhile.
func TestOrderTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, fewUnacked)
		h.leave(25)
		romeo := h.connect("romeo/orchard", session.Limits{})
		balcony, chamber := h.connect("juliet/balcony", roomy), h.connect("juliet/chamber", roomy)
		balcony.acknowledges()
		balcony.send(`<presence/>`)
		chamber.send(`<presence/>`)
		wantIDs(t, ids(balcony.received()), 0, 10)
		romeo.send(chat(100))
		wantIDs(t, ids(chamber.received()), 100, 101) // it gets no older ones: nothing to wait for
		balcony.end()
		time.Sleep(time.Minute)
		wantIDs(t, ids(chamber.received()), 0, 25)
		h.wantMarked(0)
	})
}

// A session that gets nothing any more gets what was on its way to it.
func TestOrderUnfitMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.leave(400)
		romeo := h.connect("romeo/orchard", session.Limits{})
		juliet := h.connect("juliet/balcony", session.Limits{})
		juliet.conn.stick(true)
		juliet.send(`<presence/>`)
		romeo.send(chat(250))
		juliet.send(`<presence><priority>-1</priority></presence>`)
		juliet.conn.stick(false)
		time.Sleep(time.Minute)
		wantIDs(t, ids(juliet.received()), 0, 251)
		h.wantMarked(150)
	})
}

// When the messages cannot be read, what waited behind them does not wait on.
func TestOrderReadFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.leave(400)
		romeo := h.connect("romeo/orchard", session.Limits{})
		juliet := h.connect("juliet/balcony", session.Limits{})
		juliet.conn.stick(true)
		juliet.send(`<presence/>`)
		romeo.send(chat(250))
		for _, sql := range []string{`ALTER TABLE offline RENAME TO away`, `CREATE VIEW offline AS SELECT owner, id, nowhere() FROM away`} {
			h.cluster.Send(account.Key(romeo.JID), write(sql))
		}
		synctest.Wait()
		juliet.conn.stick(false)
		time.Sleep(time.Minute)
		wantIDs(t, ids(juliet.received()), 0, 251)
		for _, sql := range []string{`DROP VIEW offline`, `ALTER TABLE away RENAME TO offline`} {
			h.cluster.Send(account.Key(romeo.JID), write(sql))
		}
		synctest.Wait()
		juliet.send(`<presence/>`)
		time.Sleep(time.Minute)
		if got := ids(juliet.received()); len(got) != 150 || got[0] != 250 || got[149] != 399 {
			t.Errorf("got %v when they can be read again, want 250 to 399", got)
		}
		h.wantMarked(0)
	})
}

// What waits counts as queued: a client that takes nothing is lost, and nothing
// with it.
func TestOrderBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, fewUnacked)
		h.leave(25)
		romeo := h.connect("romeo/orchard", session.Limits{})
		juliet := h.connect("juliet/balcony", session.Limits{QueueBytes: 20_000, UnackedBytes: 1 << 20, Unacked: 40})
		juliet.acknowledges()
		juliet.send(`<presence/>`)
		n := 25
		for ; n < 1000 && juliet.Cause() == nil; n++ {
			romeo.send(chat(n))
		}
		if juliet.Cause() == nil {
			t.Fatalf("%d messages wait", n)
		}
		wantIDs(t, ids(juliet.received()), 0, 10)
		juliet.end()
		h.wantMarked(n)
		juliet = h.connect("juliet/balcony", session.Limits{})
		juliet.send(`<presence/>`)
		time.Sleep(time.Minute)
		wantIDs(t, ids(juliet.received()), 0, n)
	})
}

// A session that waits over a restart goes on with them, in order.
func TestOrderStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, fewUnacked)
		h.leave(25)
		romeo := h.connect("romeo/orchard", session.Limits{})
		juliet := h.connect("juliet/balcony", roomy)
		juliet.acknowledges()
		juliet.MakeResumable("x", time.Hour, func() {})
		juliet.send(`<presence/>`)
		romeo.send(chat(25), chat(26))
		wantIDs(t, ids(juliet.received()), 0, 10)
		if !juliet.Detach() {
			t.Fatal("not detached")
		}
		h.restart(juliet)
		synctest.Wait()
		if _, err := juliet.Resume(juliet.conn, 11, nil); err != nil { // with the presence
			t.Fatal(err)
		}
		juliet.Start()
		time.Sleep(time.Minute)
		wantIDs(t, ids(juliet.received()), 10, 27)
	})
}

// restart stores a session that has no stream, and has another house restore it.
func (h *house) restart(d *device) {
	h.Helper()
	st, ok := d.Store()
	if !ok {
		h.Fatal("not stored")
	}
	h.router.Store(route.Stored{Session: st})
	synctest.Wait()
	if err := h.cluster.Close(context.Background()); err != nil {
		h.Fatal(err)
	}
	h.open()
	list, err := h.router.Stored(context.Background(), h.db)
	if err != nil || len(list) != 1 {
		h.Fatalf("stored are %v: %v", list, err)
	}
	d.Session = session.Restore(list[0].Session, session.NewInbound(1000, 1<<20, nil), roomy, func() {})
	d.conn = newConn()
	h.router.Restore(d.Session, list[0])
}
