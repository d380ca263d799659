//go:build interop

package interop_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"kith/server/storage/storagetest"
)

var (
	crashCycles         = flag.Int("crash.cycles", 20, "times that Kith is killed; a peer is killed twice, to prove the test")
	crashPostgresCycles = flag.Int("crash.postgres.cycles", 8, "times that Kith is killed on PostgreSQL")
	crashRate           = flag.Int("crash.rate", 500, "messages a second, of all senders together")
	crashSeed           = flag.Uint64("crash.seed", 0, "seed of the moments of death (0: a new one)")
)

const (
	crashSenders = 4 // at once
	crashGentle  = 5 // each so many times the server is asked to end, if sessions outlive that
)

// unread is how long before the server is killed the recipient ceases to read.
const unread = 100 * time.Millisecond

// TestCrash: a message that was acknowledged (XEP-0198) is in the store after
// the server was killed while messages flowed, and in the archives of both sides
// (XEP-0313), in the order of its sender; it, and any other, at most once. Its
// recipient gets it: one that is absent, or has lost its connection, once; one
// that has it again if it had not acknowledged it, and then under the same id
// (XEP-0359). Where the server is not killed but stopped, who has lost the
// connection resumes and has all of it once.
func TestCrash(t *testing.T) {
	t.Parallel()
	seed := *crashSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-crash.seed=%d", seed)
	eachServer(t, func(t *testing.T, s *server) {
		cycles := *crashCycles
		if s.name != "kith" {
			cycles = min(cycles, 2)
		}
		crashes(t, s, seed, cycles)
	}, "mam")
	t.Run("kith on postgres", func(t *testing.T) {
		t.Parallel()
		crashes(t, startKithOn(t, storagetest.PostgresURL(t)), seed, *crashPostgresCycles)
	})
}

func crashes(t *testing.T, s *server, seed uint64, cycles int) {
	random := rand.New(rand.NewPCG(seed, 0))
	w := &crashWorld{server: s, seen: make(map[string]string)}
	for i := range crashSenders {
		register(t, s, "sender"+strconv.Itoa(i))
	}
	var acked, sent, again, back, waited, gentle int
	var slowest time.Duration
	for cycle := range cycles {
		life := 500*time.Millisecond + time.Duration(random.Int64N(int64(time.Second)))
		run := w.crash(t, cycle, life)
		acked += len(run.acked)
		sent += run.sent
		again += run.again
		back += run.late
		waited += run.waited
		if run.gentle {
			gentle++
		}
		slowest = max(slowest, run.down)
		if t.Failed() {
			t.Fatalf("in cycle %d, killed after %v (stopped: %v)", cycle, life, run.gentle)
		}
	}
	t.Logf("killed %d times, stopped %d times; %d messages sent, %d acknowledged; %d delivered after the crash, %d of them again; %d had waited for a lost connection; served again within %v",
		cycles-gentle, gentle, sent, acked, back, again, waited, slowest.Round(time.Millisecond))
	if acked == 0 {
		t.Error("no message was ever acknowledged")
	}
	if s.name == "kith" && waited == 0 {
		t.Error("no message ever waited for a lost connection")
	}
}

// flow is what became of one cycle's messages.
type flow struct {
	gentle bool // the server was stopped, not killed

	mu    sync.Mutex      // guards the rest
	acked map[string]bool // ids
	sent  int
	errs  []error

	waited      int           // messages delivered after the crash to who had lost the connection
	late, again int           // messages delivered after the crash, those among them that had been before
	down        time.Duration // from the new start until the server answers
}

// crashWorld is a server that crashes again and again.
type crashWorld struct {
	*server
	seen map[string]string // the last message of each sender's archive that was looked at
}

// crash lets messages flow to an account that is absent, one that is present, and
// one that loses its connection; kills the server, starts it again, and looks into
// the store, the archives, and what is delivered now.
func (w *crashWorld) crash(t *testing.T, cycle int, life time.Duration) *flow {
	t.Helper()
	s := w.server
	absent := &crashRecipient{user: fmt.Sprintf("absent%d", cycle)}
	present := &crashRecipient{user: fmt.Sprintf("present%d", cycle), pause: make(chan struct{})}
	lost := &crashRecipient{user: fmt.Sprintf("lost%d", cycle), resumes: true}
	recipients := []*crashRecipient{absent, present, lost}
	for _, r := range recipients {
		register(t, s, r.user)
	}
	run := &flow{acked: make(map[string]bool), gentle: s.restores && cycle%crashGentle == crashGentle-1}
	var streams sync.WaitGroup
	for _, r := range recipients[1:] {
		r.open(t, s, life+*patience)
		streams.Go(func() { _ = r.receive("") }) // until the connection is lost
	}
	time.AfterFunc(life/2, lost.cut)
	stop := make(chan struct{})
	for i := range crashSenders {
		c := login(t, s, "sender"+strconv.Itoa(i), "crash", false)
		c.conn.SetDeadline(time.Now().Add(life + *patience))
		answer, err := c.ask(el(nsSM, "enable"))
		if err != nil || !answer.is(nsSM, "enabled") {
			t.Fatalf("enable stream management: %v %v", answer, err)
		}
		sender := &crashSender{c: c, run: run, name: fmt.Sprintf("%d-%d", cycle, i)}
		for _, r := range recipients {
			sender.to = append(sender.to, s.jid(r.user))
		}
		streams.Go(func() { sender.send(stop) })
		streams.Go(sender.receive)
	}
	// What it does not read any more is on its way when the server is killed.
	time.AfterFunc(life-unread, func() { close(present.pause) })
	end := s.proc.kill
	if run.gentle {
		end = s.proc.stop
	}
	select {
	case <-time.After(life):
		end()
	case <-s.proc.done:
		t.Error("the server ended by itself")
	}
	close(stop)
	streams.Wait()
	for _, err := range run.errs {
		t.Error(err)
	}
	begun := time.Now()
	s.proc = s.start(t)
	run.down = time.Since(begun)
	stored := make(map[string][]string)
	for _, r := range recipients {
		for id, names := range s.stored(t, s.jid(r.user)) {
			stored[id] = append(stored[id], names...)
			r.owed = append(r.owed, id)
		}
	}
	run.check(t, "stored", stored)
	if s.name == "kith" {
		w.sendLast(t, recipients)
		for _, r := range recipients {
			r.collect(t, s, run, stored)
		}
	}
	w.archives(t, run, recipients, stored)
	return run
}

// check compares what is there, by the ids of the messages, with what was acknowledged.
func (f *flow) check(t *testing.T, there string, stored map[string][]string) {
	t.Helper()
	lost := 0
	for id := range f.acked {
		if len(stored[id]) == 0 {
			lost++
			t.Logf("acknowledged and not %s: %s", there, id)
		}
	}
	for id, names := range stored {
		if len(names) > 1 {
			t.Errorf("%s %d times: %s, as %v", there, len(names), id, names)
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d acknowledged messages are not %s (%d sent)", lost, len(f.acked), there, f.sent)
	}
}

// crashSender is one of those who send, with stream management.
type crashSender struct {
	c    *stream
	run  *flow
	name string
	to   []string

	mu  sync.Mutex // guards ids
	ids []string   // of the messages sent, in order: what <a h='…'/> counts
}

// send writes messages at the sender's part of the rate, to one account after
// the other, and asks for an acknowledgement with every eighth.
func (s *crashSender) send(stop <-chan struct{}) {
	pace := time.NewTicker(time.Second * crashSenders / time.Duration(*crashRate))
	defer pace.Stop()
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		case <-pace.C:
		}
		id := s.name + "-" + strconv.Itoa(n)
		elements := []element{el(nsClient, "message", "to", s.to[n%len(s.to)], "type", "chat", "id", id).
			with(el(nsClient, "body").text("message " + id))}
		if n%8 == 7 {
			elements = append(elements, el(nsSM, "r"))
		}
		s.mu.Lock()
		s.ids = append(s.ids, id)
		s.mu.Unlock()
		if s.c.write(elements...) != nil {
			return // the server is gone
		}
		s.run.mu.Lock()
		s.run.sent++
		s.run.mu.Unlock()
	}
}

// receive notes acknowledgements until the stream ends with the server, and with
// that the sending.
func (s *crashSender) receive() {
	defer s.c.conn.Close()
	for {
		e, err := s.c.read()
		if err != nil {
			return
		}
		switch {
		case e.is(nsSM, "a"):
			h, err := strconv.Atoi(e.attr("h"))
			s.mu.Lock()
			ids := s.ids
			s.mu.Unlock()
			s.run.mu.Lock()
			if err != nil || h > len(ids) {
				s.run.errs = append(s.run.errs, fmt.Errorf("%s: %v after %d messages", s.name, e, len(ids)))
			} else {
				for _, id := range ids[:h] {
					s.run.acked[id] = true
				}
			}
			s.run.mu.Unlock()
		case e.is(nsSM, "r"):
			// Nothing that a server sends here counts for anything.
			if err := s.c.write(el(nsSM, "a", "h", "0")); err != nil {
				return
			}
		default:
			s.run.mu.Lock()
			s.run.errs = append(s.run.errs, fmt.Errorf("%s received %v", s.name, e))
			s.run.mu.Unlock()
		}
	}
}
