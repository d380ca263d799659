package session

import "kith/xmpp/stanza"

// behind holds what comes while older messages are handed over to the client, so
// that it does not overtake them (RFC 6120 §10.1). It counts as queued: what does
// not fit ends the stream. The session's mutex guards it.
type behind struct {
	list  []Entry
	of    map[string]struct{} // accounts of whom something is or was in it
	bytes int
}

func newBehind() *behind { return &behind{of: make(map[string]struct{})} }

func (b *behind) add(e Entry) {
	b.of[bare(e.From)] = struct{}{}
	b.list = append(b.list, e)
	b.bytes += e.size()
}

func (b *behind) size() int {
	if b == nil {
		return 0
	}
	return b.bytes
}

func (b *behind) waiting() []Entry {
	if b == nil {
		return nil
	}
	return b.list
}

// Catching says that older messages are being handed over. Until Follow has said
// that nothing is left, what names its sender (Entry.From) waits: messages, and
// what their senders send behind them. All else is sent as ever.
func (s *Session) Catching() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed && s.behind == nil {
		s.behind = newBehind()
	}
}

// Follow queues what has waited, at most so many entries, and no more bytes than
// that unless the first alone has them. more says that others are left; if there
// are none, nothing waits any more. Flush sends it.
func (s *Session) Follow(most, bytes int) (more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.behind
	if b == nil {
		return false
	}
	n := 0
	for n < len(b.list) && n < most && (n == 0 || b.list[n].size() <= bytes) {
		bytes -= b.list[n].size()
		b.bytes -= b.list[n].size()
		s.put(b.list[n])
		n++
	}
	if b.list = emptied(b.list, n); len(b.list) > 0 {
		return true
	}
	s.behind = nil
	return false
}

// lineUp queues an entry, or has it wait behind older messages.
func (s *Session) lineUp(e Entry) {
	b := s.behind
	if b == nil || e.From == "" {
		s.put(e)
		return
	}
	if _, waits := b.of[bare(e.From)]; e.Kind != stanza.Message && !waits {
		s.put(e)
		return
	}
	b.add(e)
}
