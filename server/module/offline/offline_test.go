package offline_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kith/server/account"
	"kith/server/cluster"
	"kith/server/session"
	"kith/xmpp/jid"
)

// leave has romeo send messages to juliet, who is not there.
func (h *house) leave(n int) {
	h.Helper()
	romeo := h.connect("romeo/orchard", session.Limits{})
	var messages []string
	for i := range n {
		messages = append(messages, fmt.Sprintf(`<message to='juliet@%s' type='chat' id='%d'><body>hark</body></message>`, capulet, i))
	}
	romeo.send(messages...)
	romeo.end()
}

// ids returns the ids of the messages among what was received, in their order.
func ids(received string) (out []int) {
	for line := range strings.Lines(received) {
		if _, rest, ok := strings.Cut(line, " id='"); ok && strings.HasPrefix(line, "<message") {
			var id int
			fmt.Sscanf(rest, "%d", &id)
			out = append(out, id)
		}
	}
	return out
}

// wantIDs reports an error unless the ids are those from begin up to end, once each and in order.
func wantIDs(t *testing.T, got []int, begin, end int) {
	t.Helper()
	if len(got) != end-begin {
		t.Errorf("got %d messages, want %d: %v", len(got), end-begin, got)
		return
	}
	for i, id := range got {
		if id != begin+i {
			t.Errorf("message %d of %d is %d, want %d", i, len(got), id, begin+i)
			return
		}
	}
}

func (h *house) wantMarked(marked int) {
	h.Helper()
	if got, _ := h.marked(); got != marked {
		h.Errorf("%d messages are marked, want %d", got, marked)
	}
}

func TestPagesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.leave(600)
		juliet := h.connect("juliet/balcony", session.Limits{})
		juliet.send(`<presence/>`)
		wantIDs(t, ids(juliet.received()), 0, 600)
		h.wantMarked(0)
	})
}

// A client that reads nothing gets one page, and the rest when it has taken that.
func TestSlowClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, fewUnacked)
		h.leave(25)
		juliet := h.connect("juliet/balcony", roomy)
		juliet.EnableAcks(nil)
		juliet.send(`<presence/>`)
		time.Sleep(time.Minute)
		wantIDs(t, ids(juliet.received()), 0, 10) // a page: a quarter of what may be unacknowledged
		h.wantMarked(15)
		if _, err := juliet.Acked(11); err != nil { // with the presence
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		// The next page, and since only that is unacknowledged, the last one.
		wantIDs(t, ids(juliet.received()), 10, 25)
		h.wantMarked(0)
	})
}

// Who was away for long gets everything at once, and nothing twice.
func TestMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		const n = 2503
		h.leave(n)
		romeo := h.connect("romeo/orchard", session.Limits{})
		juliet := h.connect("juliet/balcony", session.Limits{})
		juliet.send(`<presence/>`, `<presence><show>away</show></presence>`)
		romeo.send(chat(n))
		time.Sleep(time.Minute)
		wantIDs(t, ids(juliet.received()), 0, n+1)
		juliet.send(`<presence><show>dnd</show></presence>`)
		wantIDs(t, ids(juliet.received()), 0, 0)
		h.wantMarked(0)
	})
}

// XEP-0160 §2: a session of negative priority gets nothing, nor does one that is not available.
func TestUnfit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.leave(1)
		juliet := h.connect("juliet/balcony", session.Limits{})
		juliet.send(`<presence><priority>-1</priority></presence>`)
		juliet.send(`<presence type='unavailable'/>`)
		wantIDs(t, ids(juliet.received()), 0, 0)
		h.wantMarked(1)
		// As fast as that it is gone again: nothing is settled for a session that gets nothing.
		juliet.send(`<presence/>`, `<presence type='unavailable'/>`)
		wantIDs(t, ids(juliet.received()), 0, 0)
		h.wantMarked(1)
	})
}

// One session of the account gets them; when it is lost, the next one goes on.
func TestOneSessionThenTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, fewUnacked)
		h.leave(35)
		balcony, chamber := h.connect("juliet/balcony", roomy), h.connect("juliet/chamber", roomy)
		balcony.EnableAcks(nil)
		balcony.send(`<presence/>`)
		chamber.send(`<presence/>`)
		wantIDs(t, ids(balcony.received()), 0, 10)
		wantIDs(t, ids(chamber.received()), 0, 0)
		if _, err := balcony.Acked(12); err != nil { // what it got, with the presences
			t.Fatal(err)
		}
		balcony.end()
		wantIDs(t, ids(chamber.received()), 10, 35)
		h.wantMarked(0)
	})
}

// A session that has ended when the page is ready gets nothing, and nothing is lost.
func TestEndedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		romeo := h.connect("romeo/orchard", session.Limits{})
		romeo.send(fmt.Sprintf(`<message to='juliet@%s' id='0'><body>for ever</body></message>`, capulet),
			fmt.Sprintf(`<message to='juliet@%s' id='1'><body>for now</body><no-permanent-store xmlns='urn:xmpp:hints'/></message>`, capulet))
		juliet := h.connect("juliet/balcony", session.Limits{})
		juliet.End() // and its owner does not know yet
		time.Sleep(time.Hour)
		juliet.send(`<presence/>`)
		h.router.Ended(juliet.Session)
		synctest.Wait()
		h.wantMarked(2)
		juliet = h.connect("juliet/balcony", session.Limits{})
		juliet.send(`<presence/>`)
		got := juliet.received()
		wantIDs(t, ids(got), 0, 2)
		if n := strings.Count(got, "<delay"); n != 2 {
			t.Errorf("%d notes of delay for two messages:\n%s", n, got)
		}
		if n := strings.Count(got, "stamp='2000-01-01T00:00:00Z'"); n != 2 {
			t.Errorf("%d messages tell when they came, want 2:\n%s", n, got)
		}
		if _, kept := h.marked(); kept != 1 {
			t.Errorf("%d messages are kept, want the one that is archived", kept)
		}
	})
}

// What a stranger writes in our name does not get through (XEP-0203 §5, XEP-0359 §3).
func TestForged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		romeo := h.connect("romeo/orchard", session.Limits{})
		romeo.send(`<message to='juliet@capulet.example' id='0'><body>hark</body>` +
			`<delay xmlns='urn:xmpp:delay' from='capulet.example' stamp='1999-01-01T00:00:00Z'/>` +
			`<delay xmlns='urn:xmpp:delay' from='CAPULET.example' stamp='1999-01-01T00:00:00Z'/>` +
			`<stanza-id xmlns='urn:xmpp:sid:0' id='x' by='juliet@capulet.example'/>` +
			`<stanza-id xmlns='urn:xmpp:sid:0' id='x' by='Juliet@Capulet.example/a'/>` +
			`<stanza-id xmlns='urn:xmpp:sid:0' id='x' by='capulet.example'/>` +
			`<stanza-id xmlns='urn:xmpp:sid:0' id='room' by='coven@chat.shakespeare.lit'/></message>`)
		juliet := h.connect("juliet/balcony", session.Limits{})
		juliet.send(`<presence/>`)
		got := juliet.received()
		if strings.Contains(got, "1999") || strings.Contains(got, "id='x'") || strings.Count(got, "<delay") != 1 {
			t.Errorf("a forged note got through:\n%s", got)
		}
		if !strings.Contains(got, "id='room'") {
			t.Errorf("an honest id did not get through:\n%s", got)
		}
	})
}

// A stored message that cannot be read is skipped, once.
func TestPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.leave(3)
		key := account.Key(jid.MustParse("juliet@" + capulet))
		h.cluster.Send(key, write(`UPDATE message SET stanza = $1 WHERE id = (SELECT min(id) FROM message WHERE NOT outgoing)`, []byte("<mess")))
		juliet := h.connect("juliet/balcony", session.Limits{})
		juliet.send(`<presence/>`)
		wantIDs(t, ids(juliet.received()), 1, 3)
		h.wantMarked(0)
	})
}

// item writes a row in a lane.
type item struct {
	sql  string
	args []any
}

func write(sql string, args ...any) item { return item{sql, args} }

func (i item) Handle(t *cluster.Turn, _ cluster.Actor) { t.Write(i.sql, i.args...) }

func (item) Fail(*cluster.Turn, error) {}

// When the commit fails, presence is handled again, and does the same again.
func TestCommitFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.leave(3)
		chamber := h.connect("juliet/chamber", session.Limits{})
		chamber.send(`<presence><priority>-1</priority></presence>`)
		chamber.received()
		balcony := h.connect("juliet/balcony", session.Limits{})
		items := []cluster.Item{write(`INSERT INTO nowhere (x) VALUES ($1)`, 1)}
		for _, s := range []string{`<presence/>`, `<presence><show>away</show></presence>`} {
			items = append(items, balcony.leaving(s))
		}
		h.cluster.Send(account.Key(balcony.JID), items...)
		got := balcony.received()
		wantIDs(t, ids(got), 0, 3)
		if n := strings.Count(got, "<presence"); n != 3 {
			t.Errorf("got %d presences, want both of its own and that of the other resource:\n%s", n, got)
		}
		if n := strings.Count(chamber.received(), "<presence"); n != 2 {
			t.Errorf("the other resource got %d presences, want 2", n)
		}
		h.wantMarked(0)
		h.cluster.Send(account.Key(balcony.JID), write(`INSERT INTO nowhere (x) VALUES ($1)`, 1), balcony.leaving(`<presence type='unavailable'/>`))
		if n := strings.Count(chamber.received(), "unavailable"); n != 1 {
			t.Errorf("the other resource was told %d times that one is unavailable, want once", n)
		}
	})
}
