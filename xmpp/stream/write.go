package stream

import (
	"time"

	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

// WriteBatch implements Conn. It waits until the socket has taken everything,
// at most for the time set by Options.
func (c *TCP) WriteBatch(batch [][]byte) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	return c.write(batch, true)
}

// TryWriteBatch writes without waiting. If it is not done without an error, the
// socket did not take everything: the rest is kept, and Drain must be called
// (by a goroutine that may wait) before the next batch. ErrWouldBlock says
// that nothing was written and nothing is kept: the batch is for a goroutine
// that may wait.
func (c *TCP) TryWriteBatch(batch [][]byte) (done bool, err error) {
	if !c.sock.canKeep() {
		return false, ErrWouldBlock
	}
	if !c.wmu.TryLock() {
		return false, ErrWouldBlock
	}
	defer c.wmu.Unlock()
	switch done, err := c.flush(); {
	case err != nil:
		return false, err
	case !done:
		return false, ErrWouldBlock
	}
	if err := c.write(batch, false); err != nil {
		return false, err
	}
	return c.flush()
}

// Drain waits until the socket has taken what a TryWriteBatch left over.
func (c *TCP) Drain() error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if c.failed != nil {
		return c.failed
	}
	return c.fail(c.drain())
}

// fail keeps the first error of writing: the stream cannot go on behind a gap.
func (c *TCP) fail(err error) error {
	if err != nil && c.failed == nil {
		c.failed = err
	}
	return err
}

// flush writes what is pending as far as the socket takes it at once.
func (c *TCP) flush() (bool, error) {
	if c.failed != nil {
		return false, c.failed
	}
	done, err := c.sock.flushNow()
	return done, c.fail(err)
}

// write gathers the batch in pieces of one TLS record and writes them.
func (c *TCP) write(batch [][]byte, wait bool) error {
	switch {
	case c.failed != nil:
		return c.failed
	case c.closing.Load():
		return ErrClosed
	}
	if wait {
		if err := c.drain(); err != nil {
			return c.fail(err)
		}
	}
	return c.fail(c.gather(batch, wait))
}

func (c *TCP) gather(batch [][]byte, wait bool) error {
	if !c.sock.canKeep() {
		if err := c.setDeadline(); err != nil {
			return err
		}
	}
	c.sock.setBatch(true)
	defer c.sock.setBatch(false)
	if len(batch) == 1 {
		return c.put(batch[0], wait)
	}
	buf := buffers.Get().(*[bufSize]byte)
	defer buffers.Put(buf)
	n := 0
	for _, b := range batch {
		for len(b) > 0 {
			m := copy(buf[n:], b)
			n, b = n+m, b[m:]
			if n < bufSize {
				continue
			}
			if err := c.put(buf[:], wait); err != nil {
				return err
			}
			n = 0
		}
	}
	if n == 0 {
		return nil
	}
	return c.put(buf[:n], wait)
}

// put writes plain text; with wait, it is out when put returns.
func (c *TCP) put(p []byte, wait bool) error {
	if _, err := c.rw.Write(p); err != nil {
		return err
	}
	if wait {
		return c.drain()
	}
	return nil
}

// drain waits for the socket. A deadline costs a timer, so there is one only
// where there is something to wait for.
func (c *TCP) drain() error {
	if done, err := c.sock.flushNow(); done || err != nil {
		return err
	}
	if err := c.setDeadline(); err != nil {
		return err
	}
	if err := c.sock.drain(); err != nil {
		return err
	}
	if c.closing.Load() {
		return nil
	}
	return c.sock.deadline(0)
}

// setDeadline bounds a write. Once Close has been called it does not lengthen
// the time that Close allows.
func (c *TCP) setDeadline() error {
	if err := c.sock.deadline(c.opts.WriteTimeout); err != nil {
		return err
	}
	if c.closing.Load() {
		return c.sock.deadline(closeTimeout)
	}
	return nil
}

// Close implements Conn.
func (c *TCP) Close(err error) error {
	if !c.closing.CompareAndSwap(false, true) {
		return nil
	}
	defer close(c.closed)
	e := ErrorFor(err)
	end := time.Now().Add(closeTimeout)
	// Whoever is writing gets no more time than we do. Where the connection
	// takes no deadline it is closed already.
	if c.sock.Conn.SetWriteDeadline(end) == nil {
		c.wmu.Lock()
		c.sock.Conn.SetWriteDeadline(end) //nolint:errcheck // once more: who was writing may have taken it away
		c.farewell(e)
		c.wmu.Unlock()
		c.rmu.Lock()
		c.sock.stopReading()
		c.rmu.Unlock()
		if e != nil || err == nil {
			c.linger(end)
		}
	}
	return c.sock.Close()
}

// Closed implements Conn.
func (c *TCP) Closed() {
	if c.closing.Load() {
		<-c.closed
	}
}

// Closing reports whether Close has been called: what the peer then ends its
// stream with is the answer to that.
func (c *TCP) Closing() bool { return c.closing.Load() }

// farewell sends the stream error and the closing tag. That it fails must not
// keep anyone from closing the connection, and there is nobody left to tell.
func (c *TCP) farewell(e *Error) {
	if c.failed != nil {
		return
	}
	var b []byte
	if !c.opened && e != nil && c.opts.Server {
		// RFC 6120 §4.9.1.2: even an error about the header comes in a stream.
		b = appendHeader(b, Header{ID: NewID(), Version: Version, Lang: "en"}, true)
		c.opened = true
	}
	if e != nil && c.opened && !c.errorSent {
		b = append(b, xmltree.Marshal(e, ns.Client)...)
	}
	if c.opened {
		b = append(b, "</stream:stream>"...)
	}
	c.errorSent = true
	if c.drainBy() != nil {
		return
	}
	if len(b) > 0 {
		if _, err := c.rw.Write(b); err != nil {
			return
		}
	}
	if c.tls != nil {
		// RFC 6120 §4.4: a close_notify, against truncation.
		c.tls.CloseWrite() //nolint:errcheck // the connection ends all the same
	}
	c.drainBy() //nolint:errcheck // the connection ends all the same
}

// drainBy writes what is pending under the deadline that is set already.
func (c *TCP) drainBy() error {
	if done, err := c.sock.flushNow(); done || err != nil {
		return err
	}
	return c.sock.drain()
}

// linger waits until the peer has had time to read the error: a socket closed
// with unread input resets the connection, and what was sent is lost.
func (c *TCP) linger(end time.Time) {
	half, ok := c.sock.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || c.sock.SetReadDeadline(end) != nil {
		return
	}
	buf := buffers.Get().(*[bufSize]byte)
	defer buffers.Put(buf)
	for {
		if _, err := c.sock.Conn.Read(buf[:]); err != nil {
			return
		}
	}
}
