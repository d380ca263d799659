package stream

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kith/xmpp/ns"
)

// Close does not wait for a peer that is not there, even while a batch does.
func TestCloseDeadPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end, other := net.Pipe()
		defer other.Close()
		s := NewTCP(end, Options{Server: true})
		s.opened = true
		go s.WriteBatch([][]byte{message(0)})
		reader := make(chan error)
		go func() {
			_, err := s.ReadElement()
			reader <- err
		}()
		synctest.Wait()
		start := time.Now()
		s.Close(ErrSystemShutdown)
		if took := time.Since(start); took > closeTimeout {
			t.Errorf("Close took %v", took)
		}
		if err := <-reader; !errors.Is(err, ErrClosed) {
			t.Errorf("the reader got %v, want ErrClosed", err)
		}
	})
}

func TestCloseTellsWhy(t *testing.T) {
	for name, make := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c := make(t)
			open(t, s, c)
			if c.sock.raw != nil {
				// Unread input must not take the error with it.
				c.WriteBatch([][]byte{message(0), message(1)})
			}
			go s.Close(fmt.Errorf("wrapped: %w", ErrConflict.With("another came")))
			el, err := c.ReadElement()
			var peer *PeerError
			if !errors.As(err, &peer) || !errors.Is(err, ErrConflict) || peer.Err.Text != "another came" {
				t.Fatalf("ReadElement = %q, %v; want conflict", el.Raw(), err)
			}
			if !IsError(el) {
				t.Errorf("the element is %q", el.Raw())
			}
			if _, err := c.ReadElement(); err != io.EOF {
				t.Errorf("behind the error: %v, want io.EOF", err)
			}
			c.Close(err)
		})
	}
}

// lifted is a connection that takes nothing at once. Before the bound of its writes is
// taken away it calls lift, and after each that is set bound.
type lifted struct {
	net.Conn
	lift, bound func()
}

func (*lifted) TryWrite([]byte) (int, error) { return 0, nil }

func (l *lifted) SetWriteDeadline(t time.Time) error {
	if t.IsZero() {
		l.lift()
		return l.Conn.SetWriteDeadline(t)
	}
	err := l.Conn.SetWriteDeadline(t)
	l.bound()
	return err
}

// TestCloseWhileWriting: a batch that is out while Close begins does not take away the
// bound of what Close writes.
func TestCloseWhileWriting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end, other := net.Pipe()
		conn := &lifted{Conn: end, lift: func() {}, bound: func() {}}
		s := NewTCP(conn, Options{Server: true})
		s.opened = true
		closed, bound := make(chan struct{}), make(chan struct{})
		conn.lift = func() {
			conn.lift = func() {}
			conn.bound = func() { conn.bound = func() {}; close(bound) }
			go func() {
				s.Close(ErrSystemShutdown)
				close(closed)
			}()
			<-bound
		}
		go io.ReadFull(other, make([]byte, len(message(0)))) // and nothing behind it
		if err := s.WriteBatch([][]byte{message(0)}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		select {
		case <-closed:
		case <-time.After(time.Minute):
		}
		other.Close()
		if took := time.Since(start); took > closeTimeout {
			t.Errorf("Close took %v", took)
		}
		<-closed
	})
}

// TestCloseEndsRead: the reader is out at once, and does not wait with Close for the
// peer.
func TestCloseEndsRead(t *testing.T) {
	const times = 8
	var waited time.Duration
	for range times {
		s, c := kinds["tls over tcp"](t)
		open(t, s, c)
		begun, reader := time.Now(), make(chan error)
		go func() {
			_, err := s.ReadElement()
			reader <- err
		}()
		for s.sock.reading.TryLock() { // until it reads
			s.sock.reading.Unlock()
			runtime.Gosched()
		}
		go s.Close(ErrConflict)
		if err := <-reader; !errors.Is(err, ErrClosed) {
			t.Errorf("the reader got %v, want ErrClosed", err)
		}
		waited += time.Since(begun)
		c.sock.Conn.Close()
	}
	if waited > times*closeTimeout/2 {
		t.Errorf("%d readers waited for %v", times, waited)
	}
}

// An error before any header comes inside a stream (RFC 6120 §4.9.1.2).
func TestCloseBeforeHeader(t *testing.T) {
	end, other := net.Pipe()
	s := NewTCP(end, Options{Server: true})
	go s.Close(ErrResourceConstraint)
	b, _ := io.ReadAll(other)
	for _, want := range []string{"<?xml version='1.0'?><stream:stream from='' id='", "<resource-constraint xmlns='" + ns.Streams + "'/>", "</stream:stream>"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("sent %q, want %q in it", b, want)
		}
	}
}

func TestUnexpectedEnd(t *testing.T) {
	for name, make := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c := make(t)
			open(t, s, c)
			c.sock.Conn.Close()
			if _, err := s.ReadElement(); err == nil || err == io.EOF {
				t.Errorf("a connection without closing tag ends with %v", err)
			}
			s.Close(nil)
		})
	}
}
