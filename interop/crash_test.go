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

// crashSenders send at once.
const crashSenders = 4

// unread is how long before the server is killed the recipient ceases to read.
const unread = 100 * time.Millisecond

// TestCrash: a message that was acknowledged (XEP-0198) is in the store after
// the server was killed while messages flowed; it, and any other, at most once.
// Its recipient gets it: an absent one once, a present one again if it had not
// acknowledged it, and then under the same id (XEP-0359).
func TestCrash(t *testing.T) {
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
		crashes(t, startKithOn(t, storagetest.PostgresURL(t)), seed, *crashPostgresCycles)
	})
}

func crashes(t *testing.T, s *server, seed uint64, cycles int) {
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range crashSenders {
		register(t, s, "sender"+strconv.Itoa(i))
	}
	var acked, sent, again, back int
	var slowest time.Duration
	for cycle := range cycles {
		life := 500*time.Millisecond + time.Duration(random.Int64N(int64(time.Second)))
		run := crash(t, s, cycle, life)
		acked += len(run.acked)
		sent += run.sent
		again += run.again
		back += run.late
		slowest = max(slowest, run.down)
		if t.Failed() {
			t.Fatalf("in cycle %d, killed after %v", cycle, life)
		}
	}
	t.Logf("killed %d times; %d messages sent, %d acknowledged; %d delivered after the crash, %d of them again; served again within %v",
		cycles, sent, acked, back, again, slowest.Round(time.Millisecond))
	if acked == 0 {
		t.Error("no message was ever acknowledged")
	}
}

// flow is what became of one cycle's messages.
type flow struct {
	mu    sync.Mutex      // guards the rest
	acked map[string]bool // ids
	sent  int
	errs  []error

	late, again int           // messages delivered after the crash, those among them that had been before
	down        time.Duration // from the new start until the server answers
}

// crash lets messages flow to an absent and to a present account, kills the
// server, starts it again, and looks into the store.
func crash(t *testing.T, s *server, cycle int, life time.Duration) *flow {
	t.Helper()
	absent := &crashRecipient{user: fmt.Sprintf("absent%d", cycle)}
	present := &crashRecipient{user: fmt.Sprintf("present%d", cycle), pause: make(chan struct{})}
	recipients := []*crashRecipient{absent, present}
	for _, r := range recipients {
		register(t, s, r.user)
	}
	run := &flow{acked: make(map[string]bool)}
	var streams sync.WaitGroup
	present.open(t, s, life+*patience)
	streams.Go(func() { _ = present.receive("") }) // until the server is killed
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
	select {
	case <-time.After(life):
		s.proc.kill()
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
	run.check(t, stored)
	if s.name == "kith" {
		for _, r := range recipients {
			r.collect(t, s, run, stored)
		}
	}
	return run
}

// check compares the store with what was acknowledged.
func (f *flow) check(t *testing.T, stored map[string][]string) {
	t.Helper()
	lost := 0
	for id := range f.acked {
		if len(stored[id]) == 0 {
			lost++
			t.Logf("acknowledged and not stored: %s", id)
		}
	}
	for id, names := range stored {
		if len(names) > 1 {
			t.Errorf("stored %d times: %s, as %v", len(names), id, names)
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d acknowledged messages lost (%d sent)", lost, len(f.acked), f.sent)
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

// receive notes acknowledgements until the stream ends with the server.
func (s *crashSender) receive() {
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
