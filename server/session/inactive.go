package session

import "strings"

// Wait says what becomes of an entry while the client is inactive (XEP-0352) or
// has no stream.
type Wait uint8

// What becomes of it.
const (
	Urgent   Wait = iota // it is sent at once
	Presence             // it waits; the sender's next presence takes its place
	State                // the same for chat states
	Whole                // it waits, and nothing takes its place
)

// inactive holds what an inactive client need not know yet. The session's mutex
// guards it.
type inactive struct {
	list  []Entry // without From: another has taken its place
	empty int     // how many of these
	at    map[place]int
	bytes int
}

type place struct {
	wait Wait
	from string
}

// SetInactive says that nobody looks at the client, or that somebody does again:
// then it learns what has waited (XEP-0352 §4.2). Flush sends it.
func (s *Session) SetInactive(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
	case !on:
		s.release("")
		s.inactive = nil
	case s.inactive == nil:
		s.inactive = &inactive{}
	}
}

// hold keeps an entry back, and reports whether it did. An urgent one takes with
// it what has come from the same sender before, so that the order between two is
// kept (RFC 6120 §10.1).
func (s *Session) hold(e *Entry) bool {
	h := s.inactive
	switch {
	case h == nil || e.Kind == 0 || e.From == "":
		return false
	case e.Wait == Urgent:
		s.release(bare(e.From))
		return false
	}
	p := place{e.Wait, e.From}
	if i, ok := h.at[p]; ok && e.Wait != Whole {
		h.bytes -= h.list[i].size()
		h.list[i] = Entry{}
		h.empty++
	}
	if h.at == nil {
		h.at = make(map[place]int)
	}
	h.at[p] = len(h.list)
	h.list = append(h.list, *e)
	h.bytes += e.size()
	if h.empty > 16 && h.empty > len(h.list)/2 {
		h.compact()
	}
	if h.bytes > s.limits.QueueBytes/2 {
		s.release("")
	}
	return true
}

// compact forgets the places that are empty.
func (h *inactive) compact() {
	list := h.list[:0]
	clear(h.at)
	for _, e := range h.list {
		if e.From != "" {
			h.at[place{e.Wait, e.From}] = len(list)
			list = append(list, e)
		}
	}
	clear(h.list[len(list):])
	h.list, h.empty = list, 0
}

// release queues what has waited, or of that what is from one account.
func (s *Session) release(from string) {
	h := s.inactive
	if h == nil || len(h.list) == 0 {
		return
	}
	found := false
	for i := range h.list {
		e := &h.list[i]
		if e.From != "" && (from == "" || bare(e.From) == from) {
			h.bytes -= e.size()
			s.put(*e)
			*e = Entry{}
			found = true
		}
	}
	if found {
		h.compact()
	}
}

// waiting are the entries that are held back, in their order.
func (h *inactive) waiting() (list []Entry) {
	if h == nil {
		return nil
	}
	for _, e := range h.list {
		if e.From != "" {
			list = append(list, e)
		}
	}
	return list
}

func bare(full string) string {
	j, _, _ := strings.Cut(full, "/")
	return j
}
