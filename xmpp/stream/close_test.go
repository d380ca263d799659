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
