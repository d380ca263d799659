//go:build interop

package interop_test

import (
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"
)

// wire is a port that leads to another one, until it is cut.
type wire struct {
	to   string
	port int
	in   *net.TCPListener // nil: refuses connections
	let  chan struct{}    // closed when no more connections are let in; nil: not cut since

	running sync.WaitGroup
	mu      sync.Mutex // guards what follows
	ends    map[net.Conn]bool
}

// layWire leads a new port to the address until the test ends.
func layWire(t *testing.T, to string) *wire {
	t.Helper()
	w := &wire{to: to, port: freePort(t), ends: make(map[net.Conn]bool)}
	w.mend(t)
	t.Cleanup(func() {
		w.cut()
		w.running.Wait()
	})
	return w
}

// mend lets connections in, after a cut.
func (w *wire) mend(t *testing.T) {
	t.Helper()
	if w.in == nil {
		in, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(w.port)))
		if err != nil {
			t.Fatal(err)
		}
		w.in = in.(*net.TCPListener)
	}
	if err := w.in.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	in, let := w.in, make(chan struct{})
	w.let = let
	w.running.Go(func() {
		defer close(let)
		for {
			near, err := in.Accept()
			if err != nil {
				return // cut
			}
			far, err := net.Dial("tcp", w.to)
			if err != nil {
				near.Close() // as if it had been refused
				continue
			}
			w.join(near, far)
		}
	})
}

// join passes on what comes at one end to the other, until one is closed.
func (w *wire) join(near, far net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range [][2]net.Conn{{near, far}, {far, near}} {
		w.ends[c[0]] = true
		w.running.Go(func() {
			_, _ = io.Copy(c[0], c[1]) // however it ends, both are
			near.Close()
			far.Close()
			w.mu.Lock()
			defer w.mu.Unlock()
			delete(w.ends, c[0])
		})
	}
}

// hold drops all connections without a word, and lets new ones wait.
func (w *wire) hold() {
	if w.in == nil {
		return
	}
	_ = w.in.SetDeadline(time.Unix(1, 0)) // it is open
	<-w.let
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.ends {
		c.Close()
	}
}

// cut drops all connections without a word, and refuses new ones.
func (w *wire) cut() {
	w.hold()
	if w.in != nil {
		w.in.Close()
	}
	w.in = nil
}
