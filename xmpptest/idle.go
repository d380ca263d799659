package xmpptest

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
	"time"
)

// idleWithin is how long the program may be busy before that is a defect.
const idleWithin = 30 * time.Second

// waitIdle waits until every goroutine of the program waits for another, or for
// time to pass: what synctest.Wait does in a bubble, for a server that talks to
// the outside. Who waits for a socket or a file counts as busy, since the answer
// may be there; so it is exact where nothing else runs in the program, and where
// nobody listens on a socket.
func waitIdle(t testing.TB) {
	t.Helper()
	for end := time.Now().Add(idleWithin); ; time.Sleep(50 * time.Microsecond) {
		who := busy()
		if who == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the program does not come to rest; busy:\n%s", who)
		}
	}
}

// busy returns the stack of a goroutine, not the caller's, that is not waiting.
func busy() string {
	buf := make([]byte, 256<<10)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	_, rest, _ := bytes.Cut(buf, []byte("\n\n")) // the caller is the first
	for len(rest) > 0 {
		var g []byte
		g, rest, _ = bytes.Cut(rest, []byte("\n\n"))
		if !waits(string(g)) {
			return string(g)
		}
	}
	return ""
}

// waits tells whether a goroutine, given its stack, waits for another or for time
// to pass.
func waits(stack string) bool {
	header, _, _ := strings.Cut(stack, "\n")
	_, state, _ := strings.Cut(header, "[")
	state, _, _ = strings.Cut(state, "]")
	state, _, _ = strings.Cut(state, ",") // for how long, locked to a thread
	state, _, _ = strings.Cut(state, " (")
	switch state {
	case "chan receive", "chan send", "select", "sleep", "sync.Cond.Wait", "sync.WaitGroup.Wait":
		return true
	}
	// Signals are the one thing from outside that is waited for all the time.
	return state == "syscall" && strings.Contains(stack, "os/signal.signal_recv")
}
