package xmpptest

import (
	"net"
	"sync/atomic"
	"testing"
	"time"
)

func TestWaits(t *testing.T) {
	for header, want := range map[string]bool{
		"goroutine 7 [chan receive]:":                         true,
		"goroutine 7 [chan receive, 3 minutes]:":              true,
		"goroutine 7 [select (no cases), 3 minutes]:":         true,
		"goroutine 7 [select, locked to thread]:":             true,
		"goroutine 7 [chan receive (durable), synctest 3]:":   true,
		"goroutine 7 gp=0xc000002380 m=nil [sync.Cond.Wait]:": true,
		"goroutine 7 [sleep]:":                                true,
		"goroutine 7 [IO wait]:":                              false,
		"goroutine 7 [running]:":                              false,
		"goroutine 7 [runnable]:":                             false,
		"goroutine 7 [syscall]:":                              false,
		"goroutine 7 [sync.Mutex.Lock]:":                      false,
		"goroutine 7 [syscall]:\nos/signal.signal_recv()":     true,
		"": false,
	} {
		if got := waits(header + "\nmain.f()\n"); got != want {
			t.Errorf("waits(%q) = %v, want %v", header, got, want)
		}
	}
}

// TestBusy: who works or waits for a socket is busy, who waits for another is not.
// It does not run beside other tests, which would be seen.
func TestBusy(t *testing.T) {
	waitIdle(t)
	a, b, err := sockets()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	heard, more := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(heard)
		if _, err := a.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
		<-more
	}()
	for range 100 {
		if busy() == "" {
			t.Fatal("nobody is busy while one waits for a socket")
		}
	}
	if _, err := b.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	waitIdle(t)
	select {
	case <-heard:
		t.Error("it has ended by itself")
	default:
	}
	close(more)
	<-heard
	var stop atomic.Bool
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for !stop.Load() {
		}
	}()
	if busy() == "" {
		t.Error("nobody is busy while one computes")
	}
	stop.Store(true)
	<-stopped
}

// sockets are the two ends of a connection on loopback.
func sockets() (a, b net.Conn, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		return nil, nil, err
	}
	if b, err = l.Accept(); err != nil {
		a.Close()
	}
	return a, b, err
}

// TestReal runs scenarios in real time: what is not received, and what would only
// come later, is as it is in a bubble.
func TestReal(t *testing.T) {
	Run(t, "testdata/*.xmpp", Real(nil))
}

func TestInReal(t *testing.T) {
	s, err := parseScenario("romeo is online\nafter 1s: romeo receives nothing\n" +
		"romeo > <a/>\nromeo < <a stamp='2000-01-01T00:00:01Z'>at 2000-01-01T00:00:00Z</a>\nafter 9m\nromeo receives nothing\nafter 1s: romeo vanishes")
	if err != nil {
		t.Fatal(err)
	}
	steps, skipped := inReal(s.blocks[0].steps)
	if len(steps) != 4 || skipped != 5 {
		t.Errorf("%d steps, then line %d is skipped; want 4 and 5", len(steps), skipped)
	}
	if got, want := steps[3].text, "<a stamp='...'>...</a>"; got != want {
		t.Errorf("expects %s, want %s", got, want)
	}
	if s.blocks[0].steps[3].text == steps[3].text {
		t.Error("the scenario itself was changed")
	}
	var total time.Duration
	for _, st := range steps {
		total += st.after
	}
	if total != time.Second {
		t.Errorf("waits for %v, want 1s", total)
	}
}
