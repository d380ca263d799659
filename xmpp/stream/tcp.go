package stream

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

const (
	bufSize      = 16 << 10 // a TLS record's worth
	waitSize     = 64       // read while waiting, in memory that the connection has anyway
	closeTimeout = time.Second
	writeTimeout = 30 * time.Second
)

// buffers are lent out while bytes are read, gathered or pending.
var buffers = sync.Pool{New: func() any { return new([bufSize]byte) }}

// lock is a mutex that is a channel: who waits for a write that blocks is then
// seen to wait, by the scheduler of a test with virtual time.
type lock chan struct{}

func (l lock) Lock()   { l <- struct{}{} }
func (l lock) Unlock() { <-l }

func (l lock) TryLock() bool {
	select {
	case l <- struct{}{}:
		return true
	default:
		return false
	}
}

// Options say how a connection is to be used.
type Options struct {
	Server       bool           // the receiving entity's end
	Limits       xmltree.Limits // of the peer's elements, until SetLimits
	WriteTimeout time.Duration  // for a batch; 30 s if it is 0
}

// TCP is a Transport over a socket, or over a pipe in tests.
type TCP struct {
	opts Options
	sock *sock
	rw   io.ReadWriter // the sock, or the TLS connection over it
	tls  *tls.Conn     // nil if there is none

	// The reader's.
	dec     *xmltree.Decoder
	wait    [waitSize]byte
	buf     *[bufSize]byte // lent, while the decoder looks at it
	full    bool           // it was too small for what had come
	next    xmltree.Element
	nextErr error
	ready   bool // next and nextErr are the answer to the next ReadElement

	closing atomic.Bool
	closed  chan struct{} // closed when Close is done
	rmu     sync.Mutex    // guards the deadline of reads: behind Close it is nobody else's

	wmu       lock  // guards writing: a batch is written as one, and nothing behind the closing tag
	opened    bool  // our header is out
	errorSent bool  // a stream error is out
	failed    error // the write that failed: nothing can follow it
}

// NewTCP takes over a connection. Elements are read once the stream is open at
// both ends, see ReadHeader and Open.
func NewTCP(c net.Conn, o Options) *TCP {
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = writeTimeout
	}
	s := newSock(c)
	s.setKeep(true)
	return &TCP{opts: o, sock: s, rw: s, dec: xmltree.NewDecoder(o.Limits), wmu: make(lock, 1), closed: make(chan struct{})}
}

// NetConn returns the connection underneath.
func (c *TCP) NetConn() net.Conn { return c.sock.Conn }

// RemoteAddr returns the address of the peer.
func (c *TCP) RemoteAddr() net.Addr { return c.sock.RemoteAddr() }

// Counters returns how many bytes came in and went out, as they are on the
// wire.
func (c *TCP) Counters() (in, out uint64) { return c.sock.in.Load(), c.sock.out.Load() }

// SetLimits implements Transport. Only the reader may call it.
func (c *TCP) SetLimits(l xmltree.Limits) { c.dec.SetLimits(l) }

// SetReadDeadline bounds reads that wait; the zero time takes the bound away. It
// does nothing once Close has been called.
func (c *TCP) SetReadDeadline(t time.Time) error {
	c.rmu.Lock()
	defer c.rmu.Unlock()
	if c.closing.Load() {
		return nil
	}
	return c.sock.SetReadDeadline(t)
}

// ReadHeader implements Transport.
func (c *TCP) ReadHeader() (Header, error) {
	for {
		h, err := c.dec.Header()
		if !errors.Is(err, xmltree.ErrIncomplete) {
			c.releaseIfRead()
			return h, readError(err)
		}
		c.release()
		if err := c.fill(); err != nil {
			return Header{}, err
		}
	}
}

// ReadElement implements Conn.
func (c *TCP) ReadElement() (xmltree.Element, error) {
	if c.ready {
		el, err := c.next, c.nextErr
		c.next, c.nextErr, c.ready = xmltree.Element{}, nil, false
		return el, err
	}
	for {
		el, err := c.dec.Next()
		if err == nil {
			c.releaseIfRead()
			return c.element(el)
		}
		if !errors.Is(err, xmltree.ErrIncomplete) {
			c.release()
			return xmltree.Element{}, readError(err)
		}
		c.release()
		if err := c.fill(); err != nil {
			return xmltree.Element{}, err
		}
	}
}

func (c *TCP) element(el xmltree.Element) (xmltree.Element, error) {
	if IsError(el) {
		return el, &PeerError{ParseError(el)}
	}
	return el, nil
}

// Ready reports whether ReadElement would return at once, without asking the
// network: while it does, whoever gathers what was read may go on.
// Only the reader may call it.
func (c *TCP) Ready() bool {
	for !c.ready {
		el, err := c.dec.Next()
		switch {
		case err == nil:
			c.releaseIfRead()
			c.next, c.nextErr = c.element(el)
			c.ready = true
		case !errors.Is(err, xmltree.ErrIncomplete):
			c.release()
			c.nextErr, c.ready = readError(err), true
		default:
			c.release()
			if !c.full || c.more(0) == 0 {
				c.release()
				return false
			}
		}
	}
	return true
}

// fill waits for bytes and feeds them to the decoder. While it waits, no
// buffer is held.
func (c *TCP) fill() error {
	for {
		if c.closing.Load() {
			return ErrClosed
		}
		n, err := c.rw.Read(c.wait[:])
		if n > 0 {
			// RFC 6120 §4.6.1: white space between elements only shows that
			// the peer is there.
			if n < waitSize && c.dec.Buffered() == 0 && len(bytes.TrimLeft(c.wait[:n], " \t\r\n")) == 0 {
				continue
			}
			c.more(n)
			return nil
		}
		if err != nil {
			return c.ioError(err)
		}
	}
}

// more borrows a buffer for the n bytes that have been read and for all others
// that are there, and feeds them to the decoder. It does not wait. It returns
// how many that were in all.
func (c *TCP) more(n int) int {
	c.buf = buffers.Get().(*[bufSize]byte)
	copy(c.buf[:], c.wait[:n])
	c.sock.quick = true
	for n < bufSize {
		m, err := c.rw.Read(c.buf[n:])
		n += m
		// What has gone wrong shows again at the next read that waits.
		if err != nil || m == 0 {
			break
		}
	}
	c.sock.quick = false
	c.full = n == bufSize
	if n > 0 {
		c.dec.Feed(c.buf[:n])
	}
	return n
}

// release returns the buffer: the decoder has taken what it needs of it.
func (c *TCP) release() {
	if c.buf != nil {
		buffers.Put(c.buf)
		c.buf = nil
	}
}

// releaseIfRead returns the buffer when the decoder has read it to its end, so
// that it is not held by whoever does something else between two reads.
func (c *TCP) releaseIfRead() {
	if c.dec.Buffered() == 0 {
		c.release()
	}
}

// buffered reports whether anything was received that nobody has read.
func (c *TCP) buffered() bool {
	return c.ready || c.dec.Buffered() > 0 || len(c.sock.ahead) > 0
}

// Restart implements Transport.
func (c *TCP) Restart() error {
	// Where nobody else can have put it there, white space is forgiven: some
	// peers end each element with a new line.
	if c.tls != nil {
		c.Ready()
	}
	if c.buffered() {
		return ErrBuffered
	}
	c.release()
	c.dec.Reset()
	c.wmu.Lock()
	c.opened = false
	c.wmu.Unlock()
	return nil
}

// readError says in the words of RFC 6120 what is wrong with the XML.
func readError(err error) error {
	var s *xmltree.SyntaxError
	if errors.As(err, &s) {
		return syntaxError(s)
	}
	return err
}

// ioError is the error of a read: the peer did not close its stream.
func (c *TCP) ioError(err error) error {
	switch {
	case c.closing.Load():
		return ErrClosed
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrClosedPipe):
		return io.ErrUnexpectedEOF
	}
	return err
}

// Open implements Transport.
func (c *TCP) Open(h Header, more ...xmltree.Appender) error {
	buf := buffers.Get().(*[bufSize]byte)
	defer buffers.Put(buf)
	b := appendHeader(buf[:0], h, c.opts.Server)
	ended := false
	var w xmltree.Writer
	for _, a := range more {
		_, isError := a.(*Error)
		ended = ended || isError
		w.Reset(b, ns.Client)
		w.Append(a)
		b = w.Bytes()
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.opened, c.errorSent = true, ended
	return c.write([][]byte{b}, true)
}
