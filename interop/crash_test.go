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
)

var (
	crashCycles = flag.Int("crash.cycles", 20, "times that Kith is killed; a peer is killed twice, to prove the test")
	crashRate   = flag.Int("crash.rate", 500, "messages a second, of all senders together")
	crashSeed   = flag.Uint64("crash.seed", 0, "seed of the moments of death (0: a new one)")
)

// crashSenders send at once.
const crashSenders = 4

// TestCrash: a message that was acknowledged (XEP-0198) is in the store after
// the server was killed while messages flowed; it, and any other, at most once.
func TestCrash(t *testing.T) {
	seed := *crashSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-crash.seed=%d", seed)
	eachServer(t, func(t *testing.T, s *server) {
		random := rand.New(rand.NewPCG(seed, 0))
		cycles := *crashCycles
		if s.name != "kith" {
			cycles = min(cycles, 2)
		}
		for i := range crashSenders {
			register(t, s, "sender"+strconv.Itoa(i))
		}
		acked, sent := 0, 0
		for cycle := range cycles {
			life := 500*time.Millisecond + time.Duration(random.Int64N(int64(time.Second)))
			run := crash(t, s, cycle, life)
			acked += len(run.acked)
			sent += run.sent
			if t.Failed() {
				t.Fatalf("in cycle %d, killed after %v", cycle, life)
			}
		}
		t.Logf("killed %d times; %d messages sent, %d acknowledged", cycles, sent, acked)
		if acked == 0 {
			t.Error("no message was ever acknowledged")
		}
	}, "mam")
}

// flow is what became of one cycle's messages.
type flow struct {
	mu    sync.Mutex      // guards the rest
	acked map[string]bool // ids
	sent  int
	errs  []error
}

// crash lets messages flow to an absent and to a present account, kills the
// server, starts it again, and looks into the store.
func crash(t *testing.T, s *server, cycle int, life time.Duration) *flow {
	t.Helper()
	accounts := []string{fmt.Sprintf("absent%d", cycle), fmt.Sprintf("present%d", cycle)}
	register(t, s, accounts[0])
	present := login(t, s, accounts[1], "here", true)
	present.conn.SetDeadline(time.Now().Add(life + *patience))
	if err := present.write(el(nsClient, "presence")); err != nil {
		t.Fatal(err)
	}
	run := &flow{acked: make(map[string]bool)}
	var streams sync.WaitGroup
	streams.Go(func() {
		for { // until the server is killed
			if _, err := present.read(); err != nil {
				return
			}
		}
	})
	stop := make(chan struct{})
	for i := range crashSenders {
		c := login(t, s, "sender"+strconv.Itoa(i), "crash", false)
		c.conn.SetDeadline(time.Now().Add(life + *patience))
		answer, err := c.ask(el(nsSM, "enable"))
		if err != nil || !answer.is(nsSM, "enabled") {
			t.Fatalf("enable stream management: %v %v", answer, err)
		}
		sender := &crashSender{c: c, run: run, name: fmt.Sprintf("%d-%d", cycle, i)}
		for _, a := range accounts {
			sender.to = append(sender.to, s.jid(a))
		}
		streams.Go(func() { sender.send(stop) })
		streams.Go(sender.receive)
	}
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
	s.proc = s.start(t)
	run.check(t, s, accounts)
	return run
}

// check compares the store with what was acknowledged.
func (f *flow) check(t *testing.T, s *server, accounts []string) {
	t.Helper()
	found := make(map[string]int)
	for _, a := range accounts {
		for id, n := range s.stored(t, s.jid(a)) {
			found[id] += n
		}
	}
	lost := 0
	for id := range f.acked {
		if found[id] == 0 {
			lost++
			t.Logf("acknowledged and not stored: %s", id)
		}
	}
	for id, n := range found {
		if n > 1 {
			t.Errorf("stored %d times: %s", n, id)
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
