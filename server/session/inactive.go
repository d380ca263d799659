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
	Event                // it waits; the sender's next of the same topic takes its place
	Whole                // it waits for whatever wakes the client, and nothing takes its place
)

// Waiting is what a session needs to know of an entry while the client is inactive.
type Waiting struct {
	Wait  Wait
	Topic string // of an Event; of a State, whose it is, if not the sender's
	Over  bool   // what its sender was doing is over: a State that waits is forgotten
}

// inactive holds what an inactive client need not know yet. The session's mutex
// guards it.
type inactive struct {
	list  []Entry // without From: another has taken its place
	empty int     // how many of these
	whole int     // how many are Whole
	at    map[place]int
	bytes int
}

type place struct {
	wait  Wait
	from  string
	topic string
}

func (e *Entry) place() place { return place{e.Wait, e.From, e.Topic} }

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
// kept (RFC 6120 §10.1), and what only waits for the client to be woken: the cost
// is in waking it, not in the bytes (XEP-0286 §4).
func (s *Session) hold(e *Entry) bool {
	h := s.inactive
	if h == nil || e.Kind == 0 {
		return false
	}
	if e.From == "" {
		s.releaseWhole()
		return false
	}
	if e.Over {
		h.forget(place{State, e.From, e.Topic})
	}
	p := e.place()
	switch e.Wait {
	case Urgent:
		s.release(bare(e.From))
		s.releaseWhole()
		return false
	case Whole:
		h.whole++
	default:
		h.forget(p)
	}
	if h.at == nil {
		h.at = make(map[place]int)
	}
	if e.Wait != Whole {
		h.at[p] = len(h.list)
	}
	h.list = append(h.list, *e)
	h.bytes += e.size()
	if h.bytes > s.limits.QueueBytes/2 {
		s.release("")
	}
	return true
}

// forget takes back the entry at a place, if there is one.
func (h *inactive) forget(p place) {
	i, ok := h.at[p]
	if !ok {
		return
	}
	delete(h.at, p)
	h.bytes -= h.list[i].size()
	h.list[i] = Entry{}
	h.empty++
	if h.empty > 16 && h.empty > len(h.list)/2 {
		h.compact()
	}
}

// compact forgets the places that are empty.
func (h *inactive) compact() {
	list := h.list[:0]
	clear(h.at)
	for _, e := range h.list {
		if e.From != "" {
			if e.Wait != Whole {
				h.at[e.place()] = len(list)
			}
			list = append(list, e)
		}
	}
	clear(h.list[len(list):])
	h.list, h.empty = list, 0
}

// release queues what has waited, or of that what is from one account.
func (s *Session) release(from string) {
	s.releaseIf(func(_ int, e *Entry) bool { return from == "" || bare(e.From) == from })
}

// releaseWhole queues what is only to be sent with something else, behind what
// its senders have sent before.
func (s *Session) releaseWhole() {
	h := s.inactive
	if h == nil || h.whole == 0 {
		return
	}
	last := make(map[string]int)
	for i := range h.list {
		if e := &h.list[i]; e.Wait == Whole {
			last[bare(e.From)] = i
		}
	}
	s.releaseIf(func(i int, e *Entry) bool {
		until, ok := last[bare(e.From)]
		return ok && i <= until
	})
}

func (s *Session) releaseIf(which func(i int, e *Entry) bool) {
	h := s.inactive
	if h == nil {
		return
	}
	found := false
	for i := range h.list {
		e := &h.list[i]
		if e.From == "" || !which(i, e) {
			continue
		}
		if e.Wait == Whole {
			h.whole--
		}
		h.bytes -= e.size()
		s.lineUp(*e)
		*e = Entry{}
		found = true
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
