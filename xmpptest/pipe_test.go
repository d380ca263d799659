package xmpptest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func pipes(size int) (a, b *Conn) {
	return Pipe(size, &net.TCPAddr{Port: 1}, &net.TCPAddr{Port: 2})
}

func TestPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipes(4)
		got := make(chan []byte)
		go func() {
			all, err := io.ReadAll(b)
			if err != nil {
				t.Errorf("read: %v", err)
			}
			got <- all
		}()
		if n, err := a.Write([]byte("more than it holds")); n != 18 || err != nil {
			t.Errorf("Write = %d, %v; want 18, nil", n, err)
		}
		if err := a.CloseWrite(); err != nil {
			t.Errorf("CloseWrite: %v", err)
		}
		if all := <-got; string(all) != "more than it holds" {
			t.Errorf("read %q", all)
		}
		// The other direction is still open.
		if _, err := b.Write([]byte("yes")); err != nil {
			t.Errorf("write back: %v", err)
		}
		p := make([]byte, 8)
		if n, err := a.Read(p); string(p[:n]) != "yes" || err != nil {
			t.Errorf("read back %q, %v", p[:n], err)
		}
	})
}

func TestPipeIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipes(10)
		if n, err := a.TryWrite(bytes.Repeat([]byte("x"), 25)); n != 10 || err != nil {
			t.Errorf("TryWrite = %d, %v; want 10, nil", n, err)
		}
		if n, err := a.TryWrite([]byte("x")); n != 0 || err != nil {
			t.Errorf("TryWrite when full = %d, %v; want 0, nil", n, err)
		}
		if n := b.Buffered(); n != 10 {
			t.Errorf("Buffered = %d, want 10", n)
		}
		begun := time.Now()
		a.SetWriteDeadline(begun.Add(30 * time.Second))
		if n, err := a.Write([]byte("y")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write when full = %d, %v; want 0, a deadline", n, err)
		}
		if d := time.Since(begun); d != 30*time.Second {
			t.Errorf("waited %v, want 30s", d)
		}
	})
}

func TestPipeDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipes(10)
		begun := time.Now()
		a.SetReadDeadline(begun.Add(time.Minute))
		time.AfterFunc(30*time.Second, func() { a.SetReadDeadline(begun.Add(45 * time.Second)) })
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read: %v, want a deadline", err)
		}
		if d := time.Since(begun); d != 45*time.Second {
			t.Errorf("waited %v, want 45s", d)
		}
		a.SetReadDeadline(time.Time{})
		b.Write([]byte("z"))
		if n, err := a.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("Read without deadline = %d, %v", n, err)
		}
	})
}

func TestPipeClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipes(10)
		a.Write([]byte("last"))
		waiting := make(chan error)
		go func() {
			_, err := a.Read(make([]byte, 1))
			waiting <- err
		}()
		synctest.Wait()
		a.Close()
		if err := <-waiting; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read that waits: %v, want net.ErrClosed", err)
		}
		all, err := io.ReadAll(b)
		if string(all) != "last" || err != nil {
			t.Errorf("the other end read %q, %v", all, err)
		}
		if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("Write to a closed end: %v, want EPIPE", err)
		}
		if _, err := a.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write of a closed end: %v, want net.ErrClosed", err)
		}
		if err := a.SetReadDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("SetReadDeadline of a closed end: %v, want net.ErrClosed", err)
		}
	})
}
