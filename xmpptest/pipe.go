package xmpptest

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// bufferSize is what one direction of a pipe holds: about as much as the two
// sockets of a connection on loopback.
const bufferSize = 64 << 10

// Pipe returns the two ends of a connection in memory. Each direction holds up
// to size bytes that were written and not read yet; a writer waits for room, in
// a way that the scheduler of synctest sees, up to its deadline.
func Pipe(size int, client, server net.Addr) (*Conn, *Conn) {
	up, down := newHalf(size), newHalf(size)
	return &Conn{in: down, out: up, local: client, remote: server},
		&Conn{in: up, out: down, local: server, remote: client}
}

// Conn is one end of a Pipe. It behaves like a TCP connection, as far as streams
// can tell: it can be closed for writing only, and written to without blocking.
type Conn struct {
	in, out       *half
	local, remote net.Addr
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) { return c.in.read(p) }

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) { return c.out.write(p, true) }

// TryWrite writes as much as there is room for.
func (c *Conn) TryWrite(p []byte) (int, error) { return c.out.write(p, false) }

// CloseWrite ends what we write; the other end reads the rest, then io.EOF.
func (c *Conn) CloseWrite() error { return c.out.finish() }

// Close implements net.Conn. What the other end has not read yet it still can.
func (c *Conn) Close() error {
	// Writing ends first: a reader who learns of it must not say good-bye yet.
	c.out.finish()
	c.out.shut()
	c.in.abandon()
	return nil
}

// Buffered is how many bytes the other end has written and we have not read.
func (c *Conn) Buffered() int { return c.in.len() }

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.in.setReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.out.setWriteDeadline(t) }

// half is one direction of a pipe.
type half struct {
	mu       sync.Mutex // guards what follows
	cond     sync.Cond  // something has changed
	buf      []byte
	size     int
	finished bool // nothing more is written: the reader gets io.EOF
	gone     bool // the reader is closed
	shutDown bool // the writer is closed

	reading, writing deadline
}

func newHalf(size int) *half {
	h := &half{size: size}
	h.cond.L = &h.mu
	return h
}

// deadline is a time at which who waits is woken.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

// set is called with the lock held.
func (d *deadline) set(h *half, t time.Time) {
	d.at = t
	if d.timer != nil {
		d.timer.Stop()
	}
	// A deadline in the past needs no timer, only the broadcast below. It must
	// not have one either: in a synctest bubble two goroutines that start such a
	// timer at once crash the race detector.
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		if d.timer == nil {
			d.timer = time.AfterFunc(wait, h.wake)
		} else {
			d.timer.Reset(wait)
		}
	}
	h.cond.Broadcast()
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}

func (h *half) wake() {
	h.mu.Lock()
	h.cond.Broadcast()
	h.mu.Unlock()
}

func (h *half) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.buf)
}

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.gone:
			return 0, net.ErrClosed
		case h.reading.passed():
			return 0, os.ErrDeadlineExceeded
		case len(h.buf) > 0:
			n := copy(p, h.buf)
			if h.buf = h.buf[n:]; len(h.buf) == 0 {
				h.buf = nil
			}
			h.cond.Broadcast()
			return n, nil
		case h.finished:
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		}
		h.cond.Wait()
	}
}

func (h *half) write(p []byte, wait bool) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.shutDown:
			return n, net.ErrClosed
		case h.finished, h.gone:
			return n, syscall.EPIPE
		case h.writing.passed():
			return n, os.ErrDeadlineExceeded
		}
		if m := min(len(p), h.size-len(h.buf)); m > 0 {
			h.buf = append(h.buf, p[:m]...)
			n, p = n+m, p[m:]
			h.cond.Broadcast()
		}
		if len(p) == 0 || !wait {
			return n, nil
		}
		h.cond.Wait()
	}
}

// finish ends what is written.
func (h *half) finish() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.shutDown {
		return net.ErrClosed
	}
	h.finished = true
	h.cond.Broadcast()
	return nil
}

// shut is the writer's close.
func (h *half) shut() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.shutDown = true
	h.writing.stop()
	h.cond.Broadcast()
}

// abandon is the reader's close: nobody reads any more.
func (h *half) abandon() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gone, h.buf = true, nil
	h.reading.stop()
	h.cond.Broadcast()
}

func (h *half) setReadDeadline(t time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone {
		return net.ErrClosed
	}
	h.reading.set(h, t)
	return nil
}

func (h *half) setWriteDeadline(t time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.shutDown {
		return net.ErrClosed
	}
	h.writing.set(h, t)
	return nil
}
