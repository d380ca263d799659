//go:build interop

package interop_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"kith/server/storage/storagetest"
)

// nsStanzas is that of the conditions of errors.
const nsStanzas = "urn:ietf:params:xml:ns:xmpp-stanzas"

// patient is how long the server keeps what it cannot store, before it tells the
// sender to try again later.
const patient = 10 * time.Second

// unanswered is how long the server waits for an answer of the database; so long
// may it keep others waiting, too, when the database falls silent.
const unanswered = 5 * time.Second

// outage is one way of taking the database away.
type outage struct {
	name       string
	begin, end func(testing.TB)
	lasts      time.Duration
	slowest    time.Duration // of reading and presence meanwhile
}

// TestOutage takes PostgreSQL away from a running server, for a moment and for
// longer than writers are kept waiting, dead and silent. What was acknowledged is
// in the store, all else came back with an error, nobody is disconnected, who
// writes nothing goes on, and all is well again without a restart. It is not parallel:
// a message whose two owners give up at different times ends its stream, and on a busy
// machine they do.
func TestOutage(t *testing.T) {
	database := storagetest.NewServer(t)
	outages(t, startKithOn(t, database.Database(t)), []outage{
		{"dead for a moment", database.Crash, database.Start, 3 * time.Second, 2 * time.Second},
		{"dead", database.Crash, database.Start, patient + 4*time.Second, 2 * time.Second},
		{"silent for a moment", database.Freeze, database.Thaw, 3 * time.Second, 4 * time.Second},
		// The wait for the first answer comes on top, and the wait for another try.
		{"silent", database.Freeze, database.Thaw, unanswered + patient + unanswered + 2*time.Second, unanswered + 2*time.Second},
	})
}

// TestOutageFull is the same for a full disk. With an archive a message has two
// owners, and where there is room for the row of one the stream ends: so without.
func TestOutageFull(t *testing.T) {
	url, disk := storagetest.NewServer(t).SmallDatabase(t, 32<<20)
	outages(t, startKithOn(t, url, "[modules.mam]", "enabled = false"), []outage{
		{"full", disk.Fill, disk.Clear, patient + 4*time.Second, 2 * time.Second},
	})
}

func outages(t *testing.T, s *server, list []outage) {
	for _, user := range []string{"writer", "nurse"} {
		register(t, s, user)
	}
	for _, o := range list {
		t.Run(o.name, func(t *testing.T) { o.run(t, s) })
	}
}

func (o outage) run(t *testing.T, s *server) {
	absent := "absent-" + strings.ReplaceAll(o.name, " ", "-")
	register(t, s, absent)
	w := newOutageWriter(t, s, absent)
	n := newNurse(t, s)
	w.await(t, "100 messages acknowledged", func() bool { return w.h > 100 })
	o.begin(t)
	begun := time.Now()
	// Time passes as in the world.
	time.Sleep(o.lasts)
	calls, slowest := n.reset()
	o.end(t)
	back := time.Now()
	w.mu.Lock()
	done := w.h
	w.mu.Unlock()
	w.await(t, "acknowledgements", func() bool { return w.h > done })
	recovery := time.Since(back)
	w.await(t, "100 more", func() bool { return w.h > done+100 })
	close(w.stop)
	w.await(t, "the last acknowledgement", func() bool { return w.ended && w.h == len(w.ids) })
	n.close(t)
	w.c.conn.Close()
	w.check(t, s.stored(t, s.jid(absent)), begun, o.lasts)
	if calls < int(o.lasts/time.Second) || slowest > o.slowest {
		t.Errorf("%d rounds of reading and presence during the outage, the slowest %v; want more, and none slower than %v", calls, slowest, o.slowest)
	}
	t.Logf("database away for %v: acknowledgements %v after it was back; %d rounds of reading and presence meanwhile, the slowest %v",
		back.Sub(begun).Round(time.Millisecond), recovery.Round(time.Millisecond), calls, slowest.Round(time.Millisecond))
	if recovery > 5*time.Second {
		t.Errorf("acknowledgements %v after the database was back, want at most 5s", recovery)
	}
}

// outageWriter sends to somebody absent all the time, with stream management.
type outageWriter struct {
	c    *stream
	to   string
	stop chan struct{}

	mu      sync.Mutex // guards what follows
	ids     []string   // of the messages sent, in order
	h       int        // how many of them are acknowledged
	refused map[string]time.Time
	ended   bool // it sends no more
	err     error
}

func newOutageWriter(t *testing.T, s *server, to string) *outageWriter {
	t.Helper()
	w := &outageWriter{c: login(t, s, "writer", "outage", false), to: s.jid(to), stop: make(chan struct{}), refused: make(map[string]time.Time)}
	w.c.conn.SetDeadline(time.Now().Add(5 * time.Minute))
	answer, err := w.c.ask(el(nsSM, "enable"))
	if err != nil || !answer.is(nsSM, "enabled") {
		t.Fatalf("enable stream management: %v %v", answer, err)
	}
	go w.send()
	go w.receive()
	return w
}

// send writes 50 messages a second, and asks for an acknowledgement with each.
func (w *outageWriter) send() {
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	for n := 0; ; n++ {
		select {
		case <-w.stop:
			w.mu.Lock()
			w.ended = true
			w.mu.Unlock()
			w.fail(w.c.write(el(nsSM, "r")))
			return
		case <-pace.C:
		}
		id := "outage " + strconv.Itoa(n)
		w.mu.Lock()
		w.ids = append(w.ids, id)
		w.mu.Unlock()
		err := w.c.write(el(nsClient, "message", "to", w.to, "type", "chat", "id", id).
			with(el(nsClient, "body").text("message "+id)), el(nsSM, "r"))
		if err != nil {
			w.fail(err)
			return
		}
	}
}

func (w *outageWriter) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
}

func (w *outageWriter) receive() {
	for {
		e, err := w.c.read()
		w.mu.Lock()
		switch {
		case err != nil:
			if w.err == nil {
				w.err = err
			}
			w.mu.Unlock()
			return
		case e.is(nsSM, "a"):
			h, err := strconv.Atoi(e.attr("h"))
			if err != nil || h < w.h || h > len(w.ids) {
				w.err = fmt.Errorf("%v after %d of %d", e, w.h, len(w.ids))
			}
			w.h = h
		case e.is(nsClient, "message") && e.child(nsClient, "error").child(nsStanzas, "resource-constraint").exists():
			w.refused[e.attr("id")] = time.Now()
		case e.is(nsSM, "r"):
		default:
			w.err = fmt.Errorf("received %v", e)
		}
		w.mu.Unlock()
	}
}

func (w *outageWriter) await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(*patience + 2*patient); ; time.Sleep(time.Millisecond) {
		w.mu.Lock()
		over, err, h, sent := done(), w.err, w.h, len(w.ids)
		w.mu.Unlock()
		if err != nil {
			t.Fatalf("while waiting for %s: %v", what, err)
		}
		if over {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("waited for %s in vain: %d of %d messages acknowledged", what, h, sent)
		}
	}
}

// check compares the store with what was acknowledged and refused.
func (w *outageWriter) check(t *testing.T, stored map[string][]string, begun time.Time, lasts time.Duration) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	twice, unwanted := 0, 0
	for _, id := range w.ids[:w.h] {
		when, refused := w.refused[id]
		switch n := len(stored[id]); {
		case n == 0 && !refused:
			t.Errorf("acknowledged and neither stored nor refused: %s", id)
		case n > 1:
			twice++
		case n == 1 && refused:
			unwanted++
		}
		if after := when.Sub(begun); refused && after < patient-time.Second {
			t.Errorf("%s was refused %v after the database was lost, want no sooner than %v", id, after, patient)
		}
	}
	first := time.Duration(0)
	for _, when := range w.refused {
		if after := when.Sub(begun); first == 0 || after < first {
			first = after
		}
	}
	if refused := len(w.refused) > 0; refused != (lasts > patient) {
		t.Errorf("%d messages refused in an outage of %v", len(w.refused), lasts)
	}
	t.Logf("%d messages acknowledged, %d of them with the error resource-constraint, the first %v after the database was lost; %d refused and stored, %d stored twice",
		w.h, len(w.refused), first.Round(time.Millisecond), unwanted, twice)
}

// nurse reads and sends presence all the time.
type nurse struct {
	c    *stream
	stop chan struct{}
	done chan struct{}

	mu      sync.Mutex // guards what follows
	rounds  int
	slowest time.Duration
	err     error
}

func newNurse(t *testing.T, s *server) *nurse {
	t.Helper()
	n := &nurse{c: login(t, s, "nurse", "outage", false), stop: make(chan struct{}), done: make(chan struct{})}
	n.c.conn.SetDeadline(time.Now().Add(5 * time.Minute))
	go func() {
		defer close(n.done)
		for i := 0; ; i++ {
			begun := time.Now()
			err := n.round(strconv.Itoa(i))
			n.mu.Lock()
			n.rounds++
			n.slowest = max(n.slowest, time.Since(begun))
			n.err = err
			n.mu.Unlock()
			if err != nil {
				return
			}
			select {
			case <-n.stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	return n
}

// round asks for the roster, pings the server and changes the presence.
func (n *nurse) round(id string) error {
	err := n.c.write(
		el(nsClient, "iq", "type", "get", "id", "roster "+id).with(el("jabber:iq:roster", "query")),
		el(nsClient, "iq", "type", "get", "id", "ping "+id, "to", n.c.s.domain).with(el("urn:xmpp:ping", "ping")),
		el(nsClient, "presence", "id", "presence "+id).with(el(nsClient, "status").text(id)))
	if err != nil {
		return err
	}
	for left := 3; left > 0; {
		e, err := n.c.read()
		if err != nil {
			return err
		}
		if e.attr("type") == "error" {
			return fmt.Errorf("received %v", e)
		}
		if strings.HasSuffix(e.attr("id"), " "+id) {
			left--
		}
	}
	return nil
}

// reset returns how many rounds there were since the last time, and the slowest.
func (n *nurse) reset() (rounds int, slowest time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	rounds, slowest = n.rounds, n.slowest
	n.rounds, n.slowest = 0, 0
	return rounds, slowest
}

func (n *nurse) close(t *testing.T) {
	t.Helper()
	close(n.stop)
	<-n.done
	n.c.conn.Close()
	if n.err != nil {
		t.Errorf("reading and presence: %v", n.err)
	}
}
