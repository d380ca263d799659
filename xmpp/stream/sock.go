package stream

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// maxAside bounds what crypto/tls may write on its own account (answers to key
// updates, alerts) while the peer takes nothing.
const maxAside = 4 << 10

// lookahead is the size of the read buffer over connections that cannot be
// asked what they hold: pipes in tests.
const lookahead = 4 << 10

// errAside ends a connection whose peer makes us write and does not read.
var errAside = errors.New("peer asks for more TLS messages than it takes")

// TryWriter is what a connection that is no TCP socket implements to be written
// to without blocking: it takes as many bytes as it can at once.
type TryWriter interface {
	TryWrite(p []byte) (int, error)
}

// sock stands between crypto/tls and the socket. It can read what is there
// and no more, and it keeps what the kernel does not take.
type sock struct {
	net.Conn
	raw       syscall.RawConn // nil if there is no descriptor
	tryWriter TryWriter       // nil if there is a descriptor or no such thing
	in, out   atomic.Uint64

	reading sync.Mutex // held by a read that waits
	stopped bool       // no other may; guarded by reading

	// The reader's.
	quick  bool // return errEmpty rather than wait
	likely bool // the last read filled its buffer: there is more
	ahead  []byte
	spare  []byte
	rbuf   []byte // arguments and results of readFn
	rn     int
	rerr   error
	readFn func(fd uintptr) bool

	mu      sync.Mutex // guards what follows, and the order of what is written
	keep    bool       // what the kernel does not take becomes pending; before: wait
	batch   bool       // a batch is being written, by the one who may
	pending []byte
	held    *[bufSize]byte // the pooled memory of pending, if it is pooled
	wbuf    []byte         // arguments and results of writeFn
	wn      int
	werr    error
	writeFn func(fd uintptr) bool

	cert *tls.Certificate // the one we presented, see ServerTLS
}

// errEmpty is what a quick read returns when there is nothing. It is temporary,
// so that crypto/tls keeps what it has and goes on later.
var errEmpty net.Error = empty{}

type empty struct{}

func (empty) Error() string   { return "nothing to read now" }
func (empty) Timeout() bool   { return true }
func (empty) Temporary() bool { return true }

func newSock(c net.Conn) *sock {
	s := &sock{Conn: c}
	if tc, ok := c.(*net.TCPConn); ok && rawIO {
		if raw, err := tc.SyscallConn(); err == nil {
			s.raw = raw
			s.readFn, s.writeFn = s.readRaw, s.writeRaw
		}
	}
	if s.raw == nil {
		s.tryWriter, _ = c.(TryWriter)
	}
	return s
}

// Read implements net.Conn for crypto/tls.
func (s *sock) Read(p []byte) (n int, err error) {
	if s.quick {
		n, err = s.readNow(p)
	} else {
		n, err = s.readWaiting(p)
	}
	s.likely = n == len(p)
	s.in.Add(uint64(n))
	return n, err
}

func (s *sock) readWaiting(p []byte) (int, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	switch {
	case s.stopped:
		return 0, net.ErrClosed
	case s.raw != nil:
		return s.Conn.Read(p)
	}
	return s.readAhead(p)
}

// stopReading ends a read that waits, and has no other begin. When it returns the
// reader is out: it does not see that its deadline has passed if another is set
// before it runs.
func (s *sock) stopReading() {
	if s.Conn.SetReadDeadline(time.Unix(1, 0)) != nil {
		return // closed already, or closing ends the read
	}
	s.reading.Lock()
	s.stopped = true
	s.reading.Unlock()
}

// readNow reads what has come in. Unless the last read suggests that there is
// more it does not even ask: a system call that finds nothing is not free.
func (s *sock) readNow(p []byte) (int, error) {
	if s.raw == nil {
		if len(s.ahead) == 0 {
			return 0, errEmpty
		}
		return s.readAhead(p)
	}
	if !s.likely || len(p) == 0 {
		return 0, errEmpty
	}
	s.rbuf, s.rn, s.rerr = p, 0, nil
	err := s.raw.Read(s.readFn)
	n, rerr := s.rn, s.rerr
	s.rbuf, s.rerr = nil, nil
	switch {
	// A deadline that has passed shows at the next read that waits; so does
	// the end of the stream, which a read that waits tells in its own words.
	case err != nil, rerr != nil, n == 0:
		return 0, errEmpty
	}
	return n, nil
}

func (s *sock) readAhead(p []byte) (int, error) {
	if len(s.ahead) == 0 {
		if s.spare == nil {
			s.spare = make([]byte, lookahead)
		}
		n, err := s.Conn.Read(s.spare)
		if n == 0 {
			return 0, err
		}
		s.ahead = s.spare[:n]
	}
	n := copy(p, s.ahead)
	s.ahead = s.ahead[n:]
	return n, nil
}

// Write implements net.Conn for crypto/tls.
func (s *sock) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out.Add(uint64(len(p)))
	if !s.keep {
		return s.Conn.Write(p)
	}
	n := 0
	if len(s.pending) == 0 {
		var err error
		if n, err = s.writeNow(p); err != nil {
			return n, err
		}
		if n == len(p) {
			return n, nil
		}
	}
	if !s.batch && len(s.pending)+len(p)-n > maxAside {
		return n, errAside
	}
	if s.pending == nil {
		s.held = buffers.Get().(*[bufSize]byte)
		s.pending = s.held[:0]
	}
	s.pending = append(s.pending, p[n:]...)
	return len(p), nil
}

// canKeep reports whether the connection can be written to without blocking.
func (s *sock) canKeep() bool { return s.raw != nil || s.tryWriter != nil }

// setKeep ends the time in which writes wait, which is that of the handshake.
func (s *sock) setKeep(keep bool) {
	s.mu.Lock()
	s.keep = keep && s.canKeep()
	s.mu.Unlock()
}

func (s *sock) setBatch(on bool) {
	s.mu.Lock()
	s.batch = on
	s.mu.Unlock()
}

// flushNow writes as much of the pending bytes as goes without blocking and
// reports whether that was all.
func (s *sock) flushNow() (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) == 0 {
		return true, nil
	}
	n, err := s.writeNow(s.pending)
	if err != nil {
		return false, err
	}
	s.pending = s.pending[n:]
	return s.giveBack(), nil
}

// drain writes the pending bytes; the caller has set a deadline.
func (s *sock) drain() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) == 0 {
		return nil
	}
	n, err := s.Conn.Write(s.pending)
	s.pending = s.pending[n:]
	s.giveBack()
	return err
}

// giveBack returns the memory of what is no longer pending.
func (s *sock) giveBack() bool {
	if len(s.pending) > 0 {
		return false
	}
	if s.held != nil {
		buffers.Put(s.held)
	}
	s.pending, s.held = nil, nil
	return true
}

// writeNow writes what the connection takes at once.
func (s *sock) writeNow(p []byte) (int, error) {
	if s.tryWriter != nil {
		return s.tryWriter.TryWrite(p)
	}
	s.wbuf, s.wn, s.werr = p, 0, nil
	err := s.raw.Write(s.writeFn)
	if err == nil {
		err = s.werr
	}
	s.wbuf, s.werr = nil, nil
	return s.wn, err
}

// SetWriteDeadline does nothing: crypto/tls calls it to say good-bye in its own
// time, and we have another.
func (s *sock) SetWriteDeadline(time.Time) error { return nil }

// deadline bounds blocking writes; a zero time takes the bound away.
func (s *sock) deadline(d time.Duration) error {
	if d <= 0 {
		return s.Conn.SetWriteDeadline(time.Time{})
	}
	return s.Conn.SetWriteDeadline(time.Now().Add(d))
}

func sysError(call string, err error) error { return os.NewSyscallError(call, err) }
