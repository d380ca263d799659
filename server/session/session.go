// Package session is the socket side of a bound resource: its outbound queue,
// the acknowledgements of XEP-0198 in both directions, and the credit of what it
// sends.
//
// A Session belongs to the node that holds the socket. Only the owner of the
// account sends stanzas to it. Its mutex is held for a few assignments, never
// while something is written. Nothing here waits for the client: a queue that is
// full ends the stream.
//
// A session can outlive its stream. One that the client may resume is detached
// when the stream is lost, collects what is sent to it, and goes on with the
// next stream. When it ends for good, what the client did not get goes back to
// the owner.
package session

import (
	"crypto/rand"
	"encoding/base32"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
)

// ID names a session for as long as there are servers: 80 random bits.
type ID string

// NewID returns an ID that nobody has.
func NewID() ID {
	var b [10]byte
	rand.Read(b[:])
	return ID(strings.ToLower(base32.StdEncoding.EncodeToString(b[:])))
}

// Entry is a stanza for a client: its head is made when it is written, its tail
// is shared with other recipients.
type Entry struct {
	Kind    stanza.Kind // 0: Tail is a whole element that is no stanza
	enabled bool        // stanzas behind it are counted (XEP-0198)
	Owed    bool        // a mark in the store stays until the client acknowledges it
	Transit bool        // it is stored for its delivery only
	Copy    bool        // it has no value but for this session
	Waiting             // what becomes of it while the client is inactive
	To      string
	From    string // the sender, if the client is inactive or gets older messages
	Tail    []byte
	Store   int64 // the archive id of a message that is kept, else 0
	// Shared counts the sessions that were given the message and have not handed it
	// back; nil: this one alone, or others by the mark. It belongs to the owner.
	Shared *int `json:"-"`
}

func (e *Entry) size() int { return len(e.To) + len(e.Tail) + 16 }

func (e *Entry) append(b []byte) []byte {
	if e.Kind != 0 {
		b = stanza.AppendHead(b, e.Kind, e.To)
	}
	return append(b, e.Tail...)
}

// Conn is what a session needs of its stream.
type Conn interface {
	// TryWriteBatch writes without waiting. stream.ErrWouldBlock says that it
	// wrote nothing; otherwise false means that some of it is pending and Drain
	// must be called before the next write.
	TryWriteBatch(b [][]byte) (done bool, err error)
	// WriteBatch and Drain wait, up to the stream's deadline.
	WriteBatch(b [][]byte) error
	Drain() error
	// Close ends the stream, with a stream error unless err is nil.
	Close(err error) error
}

// Limits of one session.
type Limits struct {
	QueueBytes   int // of what waits to be written
	UnackedBytes int // of what the client has not acknowledged (XEP-0198)
	Unacked      int // stanzas not acknowledged
}

// ErrSlow ends a session whose client does not read what it is sent, or does not
// acknowledge it.
var ErrSlow = errors.New("client does not take what it is sent")

// Session is a bound resource.
type Session struct {
	ID     ID
	JID    jid.JID
	Remote string // address of the client, for the log and lists
	Secure string // TLS version, "" without
	Begun  time.Time
	In     *Inbound

	limits Limits

	mu      sync.Mutex // guards what follows
	conn    Conn       // changes only while nobody writes
	queue   []Entry
	queued  int       // bytes
	flight  []Entry   // written just now, and in no other list
	held    bool      // the stream is not negotiated yet; nothing is written
	writing bool      // somebody writes, or will
	ending  bool      // the stream is being closed, or gone; nothing more is written
	final   bool      // what ended the stream ends the session too
	cause   error     // why we ended the stream, nil if we did not
	closed  bool      // End was called
	rest    bool      // and returned something
	acks    *outbound // nil: the client did not enable XEP-0198
	answers answers

	inactive *inactive // nil: somebody looks at the client
	behind   *behind   // nil: no older messages are being handed over
	resume   *resume   // nil: the client may not resume it

	batch [1][]byte // what is being written; belongs to the one who writes
}

// New returns a session on a stream. Nothing is written to it before Start.
func New(id ID, j jid.JID, c Conn, in *Inbound, l Limits) *Session {
	s := &Session{ID: id, JID: j, In: in, conn: c, limits: l, Begun: time.Now(), held: true}
	if in.advanced == nil {
		in.advanced = s.advanced
	}
	return s
}

// Start says that the stream is negotiated: what has been queued is written now,
// and the rest as it comes.
func (s *Session) Start() {
	s.mu.Lock()
	s.held = false
	s.mu.Unlock()
	s.Flush(false)
}

// Send queues a stanza; Flush sends it. It never blocks. False means that the
// session has ended and the owner must find another way.
func (s *Session) Send(e Entry) bool {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return false
	}
	if s.hold(&e) {
		s.mu.Unlock()
		return true
	}
	s.lineUp(e)
	full := s.full()
	s.mu.Unlock()
	if full {
		s.Close(ErrSlow)
	}
	return true
}

// full reports whether the client has taken so little that its stream must end,
// or the session if it has none.
func (s *Session) full() bool {
	l, queued := s.limits, s.queued+s.behind.size()
	switch r := s.resume; {
	case r != nil && r.away:
		return queued+s.acks.bytes > l.QueueBytes+l.UnackedBytes
	case s.ending:
		return false
	case r != nil: // what waited for this stream came on top
		l.QueueBytes += r.slack.QueueBytes
		l.UnackedBytes += r.slack.QueueBytes
		l.Unacked += r.slack.Unacked
	}
	return queued > l.QueueBytes || s.acks.over(l)
}

func (s *Session) put(e Entry) {
	s.queue = append(s.queue, e)
	s.queued += e.size()
}

// Flush sends what is queued. It does so at once if it is alone and the socket
// takes it without blocking, else on a goroutine that ends when the queue is
// empty.
func (s *Session) Flush(alone bool) {
	s.mu.Lock()
	if s.writing || s.idle() {
		s.mu.Unlock()
		return
	}
	s.writing = true
	if !alone {
		s.mu.Unlock()
		go s.write()
		return
	}
	buf := s.fill()
	s.mu.Unlock()
	done, err := s.conn.TryWriteBatch(s.batch[:])
	switch {
	case errors.Is(err, stream.ErrWouldBlock):
		go s.writeFrom(buf)
		return
	case err != nil:
		s.broke(err)
	case !done:
		go s.drain()
	default:
		if next := s.next(); next != nil {
			go s.writeFrom(next)
		}
	}
	release(buf)
}

// idle reports whether there is nothing to write.
func (s *Session) idle() bool { return s.closed || s.ending || s.held || len(s.queue) == 0 }

// next returns what is to be written after a write that went well; if that is
// nothing, somebody else may write.
func (s *Session) next() *[]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flight = emptied(s.flight, len(s.flight))
	if s.idle() {
		s.rested()
		return nil
	}
	return s.fill()
}

// rested says that nobody writes any more.
func (s *Session) rested() {
	s.writing = false
	s.batch[0] = nil
	if s.resume != nil && s.resume.rested != nil {
		close(s.resume.rested)
		s.resume.rested = nil
	}
}

// broke ends the writing, and the stream, for an error.
func (s *Session) broke(err error) {
	s.Close(err)
	s.mu.Lock()
	s.rested()
	s.mu.Unlock()
}

// drain waits until pending bytes are gone, then goes on writing.
func (s *Session) drain() {
	if err := s.conn.Drain(); err != nil {
		s.broke(err)
		return
	}
	s.write()
}

// write sends what is queued until nothing is.
func (s *Session) write() {
	if buf := s.next(); buf != nil {
		s.writeFrom(buf)
	}
}

// writeFrom sends a buffer that is filled already, then what is queued.
func (s *Session) writeFrom(buf *[]byte) {
	for buf != nil {
		err := s.conn.WriteBatch(s.batch[:])
		release(buf)
		if err != nil {
			s.broke(err)
			return
		}
		buf = s.next()
	}
}

// Close ends the stream, telling the client err. It does not wait for that. The
// stream's reader then ends the session, or detaches it: a *stream.Error, which
// is said to the client, is the end for good.
func (s *Session) Close(err error) {
	var said *stream.Error
	s.mu.Lock()
	s.final = s.final || errors.As(err, &said)
	if s.resume != nil && s.resume.away {
		s.over()
		s.mu.Unlock()
		return
	}
	first := !s.ending && !s.closed
	if first {
		s.cause = err
	}
	s.ending = true
	conn := s.conn
	s.mu.Unlock()
	if first {
		s.In.Free()
		go conn.Close(err)
	}
}

// Cause returns why we have ended the stream; nil if we have not.
func (s *Session) Cause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}

// maxWrite bounds what one write takes, so that a long queue does not make one
// huge buffer.
const maxWrite = 64 << 10

// fill moves queued entries into a buffer for the socket, and to where they are
// found again if the client does not get them.
func (s *Session) fill() *[]byte {
	p := buffers.Get().(*[]byte)
	b := (*p)[:0]
	n := 0
	for n < len(s.queue) && len(b) < maxWrite {
		e := &s.queue[n]
		b = e.append(b)
		s.queued -= e.size()
		if kept := s.acks != nil && s.acks.sent(e); !kept && e.Kind != 0 {
			s.flight = append(s.flight, *e)
		}
		n++
	}
	s.queue = emptied(s.queue, n)
	if s.acks != nil && s.acks.ask(s) {
		b = append(b, request...)
	}
	*p = b
	s.batch[0] = b
	return p
}

// keep is how many entries an empty list keeps room for.
const keep = 8

// emptied returns a list without its first n entries.
func emptied(list []Entry, n int) []Entry {
	clear(list[:n])
	switch {
	case n < len(list):
		return list[n:]
	case cap(list) > keep:
		return nil
	}
	return list[:0]
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

func release(p *[]byte) {
	if cap(*p) <= 2*maxWrite {
		buffers.Put(p)
	}
}

// End ends the session and returns what the client did not get for sure: what it
// has not acknowledged or was being written, then what was not sent. It returns
// something only once.
func (s *Session) End() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	var rest []Entry
	if s.acks != nil {
		rest = slices.Clone(s.acks.unacked)
	}
	rest = append(rest, s.unsent()...)
	rest = append(rest, s.behind.waiting()...)
	rest = append(rest, s.inactive.waiting()...)
	s.rest = len(rest) > 0
	s.end()
	return rest
}

// unsent are the stanzas that were being written, which XEP-0198 did not count,
// and those that wait.
func (s *Session) unsent() []Entry {
	rest := slices.Clone(s.flight)
	for _, e := range s.queue {
		if e.Kind != 0 {
			rest = append(rest, e)
		}
	}
	return rest
}

func (s *Session) end() {
	s.closed = true
	s.queue, s.queued, s.flight, s.inactive, s.behind = nil, 0, nil, nil, nil
	if s.acks != nil {
		s.acks.stop()
		s.acks.unacked, s.acks.bytes = nil, 0
	}
	s.answers.stop()
	if s.resume != nil {
		s.resume.end()
	}
	s.In.Stop()
}

// Ended reports whether End was called.
func (s *Session) Ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Queued returns the bytes that wait to be written and the stanzas that wait to
// be acknowledged.
func (s *Session) Queued() (bytes, unacked int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.acks != nil {
		unacked = len(s.acks.unacked)
	}
	return s.queued, unacked
}
