// Package limit bounds what strangers can cost: how many of something one
// address may hold, how often it may try, how fast it may go on.
//
// All memory here is bounded: tables forget what no longer matters, and when one
// is full, the least recent entry.
package limit

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// Source returns the key by which an address is counted: an IPv4 address is one,
// an IPv6 /64 is one; an address that is neither, such as a pipe's, is its text.
func Source(a net.Addr) string {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return a.String()
	}
	ip := ap.Addr().Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	p, err := ip.Prefix(64)
	if err != nil {
		return ip.String()
	}
	return p.String()
}

// Slots bounds how many of something exist at once, in all and for each source.
type Slots struct {
	mu        sync.Mutex // guards what follows
	all, each int
	taken     int
	by        map[string]int
}

// NewSlots returns slots for all in all and each for one source.
func NewSlots(all, each int) *Slots {
	return &Slots{all: all, each: each, by: make(map[string]int)}
}

// Resize changes the bounds. What is taken beyond them stays taken.
func (s *Slots) Resize(all, each int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all, s.each = all, each
}

// Take takes a slot for a source; false if there is none.
func (s *Slots) Take(source string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken >= s.all || s.by[source] >= s.each {
		return false
	}
	s.taken++
	s.by[source]++
	return true
}

// Free gives a slot back.
func (s *Slots) Free(source string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
	if s.by[source]--; s.by[source] <= 0 {
		delete(s.by, source)
	}
}

// Taken is the number of slots in use.
func (s *Slots) Taken() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}

// tableSize bounds the entries of a Backoff or a Rate.
const tableSize = 50_000

// Rate allows n events per time for each source.
type Rate struct {
	n   int
	per time.Duration

	mu sync.Mutex // guards by
	by map[string]window
}

type window struct {
	n    int
	from time.Time
}

// NewRate returns a Rate; n = 0 allows everything.
func NewRate(n int, per time.Duration) *Rate {
	return &Rate{n: n, per: per, by: make(map[string]window)}
}

// Allow counts an event; false if the source has had its share.
func (r *Rate) Allow(source string, now time.Time) bool {
	if r.n == 0 {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.by[source]
	if now.Sub(w.from) >= r.per {
		w = window{from: now}
	}
	if w.n >= r.n {
		return false
	}
	w.n++
	if len(r.by) >= tableSize {
		r.forget(now)
	}
	r.by[source] = w
	return true
}

func (r *Rate) forget(now time.Time) {
	seen := 0
	for k, w := range r.by {
		if seen++; now.Sub(w.from) >= r.per || seen == 1000 {
			delete(r.by, k)
		}
		if seen == 1000 {
			return
		}
	}
}
