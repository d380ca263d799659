package session

import (
	"crypto/rand"
	"encoding/base32"
	"errors"
	"slices"
	"strings"
	"time"

	"kith/xmpp/jid"
)

// ErrGone says that there is no session to be resumed: it has ended, or another
// stream has just taken it.
var ErrGone = errors.New("the session has ended")

// resume is what a session needs to outlive its stream (XEP-0198 §5). The
// session's mutex guards it.
type resume struct {
	id     string
	within time.Duration // how long it waits for a stream
	gone   func()        // called, on a goroutine of its own, when nobody came
	away   bool          // it has no stream
	slack  Limits        // what the stream began with, beyond the session's limits
	over   bool          // gone was called, or End
	since  time.Time     // when the stream was lost
	timer  *time.Timer
	left   chan struct{} // closed when it is left by its stream; nil: nobody waits
	rested chan struct{} // closed when the last writer of the old stream is done
}

// NewResumeID returns an id by which a session can be resumed: 128 random bits,
// since whoever authenticates as the same account and knows it takes the session
// over.
func NewResumeID() string {
	var b [16]byte
	rand.Read(b[:])
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

// MakeResumable lets the session outlive its stream: it waits so long for another
// one. gone is called when none has come, or when the session is to end
// meanwhile; it has to End it.
func (s *Session) MakeResumable(id string, within time.Duration, gone func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resume = &resume{id: id, within: within, gone: gone}
}

// ResumeID returns the id by which the session can be resumed, "" if it cannot.
func (s *Session) ResumeID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.resume == nil {
		return ""
	}
	return s.resume.id
}

// Away reports since when the session has been without a stream; false if it has
// one.
func (s *Session) Away() (since time.Time, away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.resume == nil || !s.resume.away {
		return time.Time{}, false
	}
	return s.resume.since, true
}

// Detach takes the session from a stream that is closed; what is sent to it
// waits. False says that it must be ended instead.
func (s *Session) Detach() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.resume
	if r == nil || s.final || s.closed || r.away || r.over {
		return false
	}
	s.ending = true
	for s.writing { // its connection is closed: this is soon
		rested := make(chan struct{})
		r.rested = rested
		s.mu.Unlock()
		<-rested
		s.mu.Lock()
	}
	s.queue, s.queued = s.unsent(), 0
	for i := range s.queue {
		s.queued += s.queue[i].size()
	}
	s.flight, s.conn = nil, nil
	if s.inactive == nil { // it does not look either
		s.inactive = &inactive{}
	}
	s.answers.stop()
	s.acks.stop()
	r.away, r.since = true, time.Now()
	if r.timer == nil {
		r.timer = time.AfterFunc(r.within, s.expire)
	} else {
		r.timer.Reset(r.within)
	}
	r.leave()
	return true
}

// leave tells who waits for it that the stream has left the session.
func (r *resume) leave() {
	if r.left != nil {
		close(r.left)
		r.left = nil
	}
}

// end is called with the session's own end.
func (r *resume) end() {
	r.away, r.over = false, true
	if r.timer != nil {
		r.timer.Stop()
	}
	r.leave()
}

// expire ends a session that nobody has resumed in time.
func (s *Session) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.resume.away {
		s.over()
	}
}

// over ends a session that has no stream.
func (s *Session) over() {
	s.resume.end()
	go s.resume.gone()
}

// Leave has the stream of the session closed with err, if it has one, and returns
// a channel that is closed when the session is without it.
func (s *Session) Leave(err error) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := make(chan struct{})
	r := s.resume
	if r == nil || r.over || r.away {
		close(left)
		return left
	}
	if r.left != nil {
		return r.left
	}
	r.left = left
	if !s.ending && !s.closed {
		s.ending = true
		s.In.Free()
		go s.conn.Close(err)
	}
	return left
}

// Resume gives a session that was left by its stream another one. h is what the
// client says that it has (XEP-0198 §5): the entries that this settles are
// returned, and what it does not have follows behind the answer. Nothing is
// written before Start. The error is ErrGone, or a *stream.Error if h is
// impossible; the session then waits on.
func (s *Session) Resume(c Conn, h uint32, answer []byte) (settled []Entry, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.resume == nil || !s.resume.away || s.closed {
		return nil, ErrGone
	}
	o, r := s.acks, s.resume
	if settled, err = o.settle(h); err != nil {
		return nil, err
	}
	s.release("") // XEP-0352 §4.2: a stream begins active
	s.inactive = nil
	// XEP-0198 §5: what is not acknowledged is sent anew, and counts anew.
	waiting := slices.Concat(o.unacked, s.queue)
	s.queue, s.queued = nil, 0
	s.put(Entry{Tail: answer})
	for _, e := range waiting {
		s.put(e)
	}
	o.count.Rewind()
	o.unacked, o.bytes, o.open, o.on = nil, 0, false, true
	r.slack = Limits{QueueBytes: s.queued + s.behind.size(), Unacked: len(waiting)}
	r.away = false
	r.timer.Stop()
	s.conn = c
	s.ending, s.held, s.cause = false, true, nil
	s.In.Reopen()
	return settled, nil
}

// Stored is a session that has no stream, as it is kept while the server is not
// running.
type Stored struct {
	ID       ID
	JID      jid.JID
	ResumeID string
	Within   time.Duration
	H        uint32 // of what the client has sent
	Acked    uint32 // of what it was sent
	Unacked  []Entry
	Queue    []Entry
	Behind   []Entry // waits for older messages to be handed over, see Catching
}

// Store ends a session that has no stream and returns it for a later Restore.
func (s *Session) Store() (st Stored, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.resume == nil || !s.resume.away || s.closed {
		return Stored{}, false
	}
	h, _ := s.In.H()
	st = Stored{
		ID: s.ID, JID: s.JID, ResumeID: s.resume.id, Within: s.resume.within, H: h,
		Acked: s.acks.count.Acked(), Unacked: s.acks.unacked, Queue: append(s.queue, s.inactive.waiting()...), Behind: s.behind.waiting(),
	}
	s.end()
	return st, true
}

// Restore returns a session that was stored; it waits for its stream anew.
func Restore(st Stored, in *Inbound, l Limits, gone func()) *Session {
	s := New(st.ID, st.JID, nil, in, l)
	in.h = st.H
	s.ending, s.answers.on, s.inactive = true, true, &inactive{}
	s.acks = &outbound{on: true, unacked: st.Unacked}
	s.acks.count.StartAt(st.Acked)
	s.acks.count.Add(len(st.Unacked))
	for i := range st.Unacked {
		s.acks.bytes += st.Unacked[i].size()
	}
	for _, e := range st.Queue {
		s.put(e)
	}
	if len(st.Behind) > 0 {
		s.behind = newBehind()
		for _, e := range st.Behind {
			s.behind.add(e)
		}
	}
	s.resume = &resume{id: st.ResumeID, within: st.Within, gone: gone, away: true, since: time.Now()}
	s.resume.timer = time.AfterFunc(st.Within, s.expire)
	return s
}
