package session_test

import (
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kith/server/session"
)

func wantH(t *testing.T, in *session.Inbound, what string, h uint32, all bool) {
	t.Helper()
	if got, gotAll := in.H(); got != h || gotAll != all {
		t.Errorf("%s: h=%d all=%v, want h=%d all=%v", what, got, gotAll, h, all)
	}
}

func tickets(in *session.Inbound, n int) []*session.Ticket {
	ts := make([]*session.Ticket, n)
	for i := range ts {
		ts[i] = new(session.Ticket)
		in.Take(ts[i], 100, time.Now())
	}
	return ts
}

func TestHIsTheLongestDonePrefix(t *testing.T) {
	advanced := 0
	in := session.NewInbound(10, 1<<20, func() { advanced++ })
	defer in.Stop()
	ts := tickets(in, 4)
	wantH(t, in, "nothing done", 0, false)
	ts[2].Done()
	ts[1].Done()
	wantH(t, in, "2 and 3 done", 0, false)
	ts[0].Done()
	wantH(t, in, "1 to 3 done", 3, false)
	ts[3].Done()
	wantH(t, in, "all done", 4, true)
	if advanced != 2 {
		t.Errorf("told %d times that h has grown, want 2", advanced)
	}
	ts = tickets(in, 1)
	wantH(t, in, "one more", 4, false)
	ts[0].Done()
	wantH(t, in, "that done", 5, true)
}

func TestTicketIsDoneWhenEveryHoldIsLetGo(t *testing.T) {
	in := session.NewInbound(10, 1<<20, nil)
	defer in.Stop()
	tk := tickets(in, 1)[0]
	tk.Hold()
	tk.Hold()
	tk.Done()
	tk.Done()
	wantH(t, in, "one hold left", 0, false)
	tk.Done()
	wantH(t, in, "none left", 1, true)
	if tk.Inbound() != in {
		t.Error("Inbound is another")
	}
	var none *session.Ticket
	none.Hold()
	none.Done()
	(&session.Ticket{}).Done()
	if none.Inbound() != nil || in.Late() != 0 {
		t.Error("a ticket of nobody counts")
	}
}

func TestLaterDonesAreCountedAndIgnored(t *testing.T) {
	in := session.NewInbound(2, 1<<20, nil)
	defer in.Stop()
	ts := tickets(in, 2)
	ts[0].Done()
	ts[0].Done()
	ts[0].Hold() // too late as well
	ts[0].Done()
	ts[0].Done()
	wantH(t, in, "only the first done", 1, false)
	if n := in.Late(); n != 3 {
		t.Errorf("%d late calls counted, want 3", n)
	}
	tickets(in, 1)
	if !in.Full() {
		t.Error("late calls gave credit")
	}
}

// Acked means on disk: what took too long gives its credit back, and h stops.
func TestDoneWithinThirtySeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var overdue atomic.Int32
		in := session.NewInbound(2, 1<<20, func() { t.Error("h is said to have grown") })
		in.OnOverdue(func() { overdue.Add(1) })
		first := tickets(in, 1)[0]
		time.Sleep(10 * time.Second)
		second := tickets(in, 1)[0]
		time.Sleep(20*time.Second - 1)
		synctest.Wait()
		if !in.Full() || overdue.Load() != 0 {
			t.Errorf("just before 30 s: full %v, told %d times", in.Full(), overdue.Load())
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		wantH(t, in, "after 30 s", 0, false)
		if in.Full() || overdue.Load() != 1 || in.Expired() != 1 {
			t.Errorf("full %v, told %d times, %d expired", in.Full(), overdue.Load(), in.Expired())
		}
		first.Hold() // somebody gets round to it
		first.Done()
		first.Done()
		if n := in.Late(); n != 2 {
			t.Errorf("%d late calls counted, want 2", n)
		}
		second.Done()
		wantH(t, in, "the second is done", 0, true)
		time.Sleep(time.Hour)
		tickets(in, 1)
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if in.Expired() != 2 {
			t.Errorf("%d expired, want 2: the timer is used again", in.Expired())
		}
		tickets(in, 1)
		in.Stop()
		time.Sleep(time.Hour)
		synctest.Wait()
		if in.Expired() != 2 {
			t.Errorf("%d expired, want 2: after Stop nothing does", in.Expired())
		}
	})
}

func TestReaderWaitsForCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, in := range []*session.Inbound{session.NewInbound(3, 1<<20, nil), session.NewInbound(100, 300, nil)} {
			in.Wait() // there is credit
			ts := tickets(in, 2)
			if in.Full() {
				t.Fatal("full with 2 of 3")
			}
			ts = append(ts, tickets(in, 1)...)
			if !in.Full() {
				t.Fatal("not full with 3 of 3")
			}
			var woken atomic.Bool
			go func() { in.Wait(); woken.Store(true) }()
			synctest.Wait()
			if woken.Load() {
				t.Fatal("Wait returned without credit")
			}
			ts[1].Done() // not the first: h stays, the credit comes back
			synctest.Wait()
			if !woken.Load() {
				t.Error("Wait did not return with credit")
			}
			tickets(in, 1)
			woken.Store(false)
			go func() { in.Wait(); woken.Store(true) }()
			synctest.Wait()
			if woken.Load() {
				t.Fatal("Wait returned without credit")
			}
			in.Free()
			synctest.Wait()
			if !woken.Load() {
				t.Error("Wait did not return when the stream is closed")
			}
			in.Stop()
		}
	})
}

func TestBreakFreezesH(t *testing.T) {
	told := 0
	in := session.NewInbound(10, 1<<20, func() { told++ })
	defer in.Stop()
	ts := tickets(in, 3)
	ts[0].Done()
	in.Break()
	ts[1].Done()
	ts[2].Done()
	wantH(t, in, "after Break", 1, true)
	if told != 1 || in.Full() {
		t.Errorf("told %d times, full %v", told, in.Full())
	}
}

// XEP-0198 §4: h wraps from 2^32-1 to 0.
func TestHWraps(t *testing.T) {
	in := session.NewInbound(10, 1<<20, nil)
	defer in.Stop()
	session.SetH(in, math.MaxUint32-1)
	for _, tk := range tickets(in, 4) {
		tk.Done()
	}
	wantH(t, in, "across 2^32", 2, true)
}

func TestCountFromHere(t *testing.T) {
	in := session.NewInbound(10, 1<<20, nil)
	defer in.Stop()
	before := tickets(in, 3)
	before[0].Done()
	in.CountFromHere()
	after := tickets(in, 2)
	after[0].Done()
	wantH(t, in, "those before are under way", 0, false)
	before[1].Done()
	before[2].Done()
	wantH(t, in, "those before are done", 1, false)
	after[1].Done()
	wantH(t, in, "all done", 2, true)
}

func TestDoneFromManyGoroutines(t *testing.T) {
	var told atomic.Int64
	in := session.NewInbound(64, 1<<20, func() { told.Add(1) })
	const all = 5000
	work := make(chan *session.Ticket, 64)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for tk := range work {
				tk.Hold()
				if rand.N(2) == 0 {
					wg.Go(tk.Done)
				} else {
					tk.Done()
				}
				tk.Done()
			}
		})
	}
	for range all {
		in.Wait()
		tk := new(session.Ticket)
		in.Take(tk, 10, time.Now())
		work <- tk
	}
	close(work)
	wg.Wait()
	wantH(t, in, "in the end", all, true)
	if in.Full() || in.Late() != 0 || told.Load() == 0 {
		t.Errorf("full %v, late %d, told %d times", in.Full(), in.Late(), told.Load())
	}
	in.Stop()
}
