package limit

import (
	"fmt"
	"net"
	"testing"
	"time"
)

func TestSource(t *testing.T) {
	for _, c := range []struct{ addr, want string }{
		{"192.0.2.7:5222", "192.0.2.7"},
		{"[::ffff:192.0.2.7]:5222", "192.0.2.7"},
		{"[2001:db8:1:2:3:4:5:6]:1", "2001:db8:1:2::/64"},
		{"[2001:db8:1:2:ffff::1]:9", "2001:db8:1:2::/64"},
		{"[fe80::1%eth0]:9", "fe80::/64"},
	} {
		a, err := net.ResolveTCPAddr("tcp", c.addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := Source(a); got != c.want {
			t.Errorf("Source(%s) = %s, want %s", c.addr, got, c.want)
		}
	}
	c, _ := net.Pipe()
	if got := Source(c.RemoteAddr()); got != "pipe" {
		t.Errorf("Source(pipe) = %q, want its text", got)
	}
}

func TestSlots(t *testing.T) {
	s := NewSlots(3, 2)
	for i, c := range []struct {
		source string
		want   bool
	}{{"a", true}, {"a", true}, {"a", false}, {"b", true}, {"c", false}} {
		if got := s.Take(c.source); got != c.want {
			t.Errorf("%d: Take(%s) = %v, want %v", i, c.source, got, c.want)
		}
	}
	s.Free("a")
	if !s.Take("c") || s.Taken() != 3 {
		t.Errorf("a freed slot is not to be had; %d taken", s.Taken())
	}
	for _, k := range []string{"a", "b", "c"} {
		s.Free(k)
	}
	if len(s.by) != 0 {
		t.Errorf("sources are remembered that hold nothing: %v", s.by)
	}
}

func TestRate(t *testing.T) {
	r := NewRate(2, time.Minute)
	now := time.Unix(1000, 0)
	for i, want := range []bool{true, true, false} {
		if got := r.Allow("x", now); got != want {
			t.Errorf("event %d: %v, want %v", i, got, want)
		}
	}
	if !r.Allow("y", now) || !r.Allow("x", now.Add(time.Minute)) {
		t.Error("another source, or a later event, was refused")
	}
	if all := NewRate(0, time.Minute); !all.Allow("x", now) {
		t.Error("no limit refuses")
	}
	for i := range tableSize + 500 {
		r.Allow(fmt.Sprint(i), now)
	}
	if len(r.by) > tableSize {
		t.Errorf("%d entries, want at most %d", len(r.by), tableSize)
	}
}

// What a reload changes holds from then on; nobody is let off.
func TestLimitsChange(t *testing.T) {
	s := NewSlots(10, 2)
	for i, want := range []bool{true, true, false} {
		if got := s.Take("x"); got != want {
			t.Errorf("slot %d of two: %v, want %v", i, got, want)
		}
	}
	s.Resize(3, 3)
	if !s.Take("x") || s.Take("y") {
		t.Error("three slots in all: want a third one for x, and none for y")
	}
	s.Resize(1, 1)
	s.Free("x")
	s.Free("x")
	if s.Take("x") {
		t.Error("a slot is given while the only one is taken")
	}
	s.Free("x")
	if !s.Take("x") {
		t.Error("the only slot is free and not given")
	}

	b, now := NewBackoff(5, time.Second, time.Minute), time.Unix(1000, 0)
	b.Failed("x", now)
	b.Adjust(1, 10*time.Second, time.Minute)
	b.Failed("x", now)
	if got := waitOf(b, "x", now); got != 10*time.Second {
		t.Errorf("the second failure of one that is forgiven: wait %v, want 10s", got)
	}
	b.Adjust(5, time.Second, time.Minute)
	if got := waitOf(b, "x", now); got != 10*time.Second {
		t.Errorf("a wait that has begun is %v, want 10s", got)
	}
}
