package session

import (
	"slices"
	"time"

	"kith/xmpp/negotiate"
	"kith/xmpp/ns"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

// When the client is asked for an acknowledgement: after so many stanzas, or so
// long after the first that it was not asked about; sooner where that has a mark
// in the store, for who leaves without acknowledging it gets it again. One
// question is open at a time. XEP-0198 §4 leaves this to us; asking after each
// write would double the traffic of a quiet chat.
const (
	askAfter      = 8
	askWithin     = 2 * time.Second
	askOwedWithin = 200 * time.Millisecond
)

var request = xmltree.Marshal(negotiate.Request{}, ns.Client)

// outbound is what the client has yet to acknowledge. The session's mutex guards
// it.
type outbound struct {
	on      bool // <enabled/> is out
	count   negotiate.Sent
	unacked []Entry
	bytes   int
	open    bool      // a question is open
	asked   time.Time // since when
	timer   *time.Timer
	armed   bool // the timer will fire
	soon    bool // within askOwedWithin
}

// EnableAcks queues the answer to <enable/> and counts the stanzas sent behind it
// (XEP-0198 §3), which are kept until they are acknowledged. Without an answer,
// because it was part of another element, all that is not written yet counts.
func (s *Session) EnableAcks(answer []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acks = &outbound{on: answer == nil}
	if answer != nil && !s.closed {
		s.put(Entry{Tail: answer, enabled: true})
	}
}

// AcksEnabled reports whether EnableAcks was called.
func (s *Session) AcksEnabled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acks != nil
}

// sent counts an entry that is about to be written, and reports whether it keeps
// it.
func (o *outbound) sent(e *Entry) bool {
	if e.Kind == 0 || !o.on {
		o.on = o.on || e.enabled
		return false
	}
	o.count.Add(1)
	o.unacked = append(o.unacked, *e)
	o.bytes += e.size()
	return true
}

func (o *outbound) over(l Limits) bool {
	return o != nil && (o.bytes > l.UnackedBytes || len(o.unacked) > l.Unacked)
}

// ask reports whether to ask now; if not, it sees to it that it is done in time.
func (o *outbound) ask(s *Session) bool {
	switch {
	case o.open || len(o.unacked) == 0:
		return false
	case s.inactive != nil && len(s.queue) == 0:
		// The client is awake now. Asked later it would stay so for longer, or be
		// woken for nothing else (XEP-0286 §4).
	case len(o.unacked) < askAfter:
		o.arm(s)
		return false
	}
	o.open, o.asked = true, time.Now()
	o.stop()
	return true
}

// arm sets the timer, unless it is.
func (o *outbound) arm(s *Session) {
	soon := slices.ContainsFunc(o.unacked, func(e Entry) bool { return e.Owed })
	if o.armed && (o.soon || !soon) {
		return
	}
	within := askWithin
	if soon {
		within = askOwedWithin
	}
	if o.timer == nil {
		o.timer = time.AfterFunc(within, s.askNow)
	} else {
		o.timer.Reset(within)
	}
	o.armed, o.soon = true, soon
}

func (o *outbound) stop() {
	if o.timer != nil {
		o.timer.Stop()
		o.armed, o.soon = false, false
	}
}

// askNow asks because it is time to.
func (s *Session) askNow() {
	s.mu.Lock()
	o := s.acks
	o.armed, o.soon = false, false
	if s.closed || s.ending || o.open || len(o.unacked) == 0 {
		s.mu.Unlock()
		return
	}
	o.open, o.asked = true, time.Now()
	s.put(Entry{Tail: request})
	s.mu.Unlock()
	s.Flush(false)
}

// Acked takes the client's h (XEP-0198 §4) and returns the entries that it
// settles. The error is a *stream.Error: an impossible h, or one although
// XEP-0198 was not enabled.
func (s *Session) Acked(h uint32) (settled []Entry, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.acks
	if o == nil {
		return nil, stream.ErrUnsupportedStanzaType
	}
	if settled, err = o.settle(h); err != nil {
		return nil, err
	}
	o.open = false
	switch {
	case s.closed:
	case len(o.unacked) == 0:
		o.unacked = nil
		o.stop()
	default: // it acknowledged a part, perhaps without being asked
		o.arm(s)
	}
	return settled, nil
}

// settle takes the entries that h acknowledges from those that wait for it.
func (o *outbound) settle(h uint32) (settled []Entry, err error) {
	n, err := o.count.Ack(h)
	if err != nil {
		return nil, err
	}
	settled = o.unacked[:n:n]
	o.unacked = o.unacked[n:]
	for i := range settled {
		o.bytes -= settled[i].size()
	}
	return settled, nil
}

// Unsure reports whether there is something that the client may not have, as far
// as it acknowledges what it gets, and since when it owes the answer to a question
// for that; zero: it was not asked yet. Of a session that has ended it tells
// whether it left something.
func (s *Session) Unsure() (since time.Time, unsure bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.acks
	switch {
	case s.closed:
		return time.Time{}, s.rest
	case o == nil:
		return time.Time{}, false
	case o.open:
		since = o.asked
	}
	return since, len(o.unacked)+len(s.queue) > 0
}

// Ack queues our own acknowledgement of what is done. Flush sends it. Several
// goroutines do so: who queues first must not have counted last, for an h that
// goes back is an impossible one.
func (s *Session) Ack() {
	s.mu.Lock()
	if !s.closed {
		s.releaseWhole() // who asks is awake
		h, _ := s.In.H()
		s.put(Entry{Tail: xmltree.Marshal(negotiate.Ack{H: h}, ns.Client)})
	}
	s.mu.Unlock()
}
