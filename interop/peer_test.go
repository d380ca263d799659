//go:build interop

package interop_test

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// patience bounds every single thing that a test waits for.
// It is long, for a busy machine whose caches are cold: only what fails takes it.
var patience = flag.Duration("patience", time.Minute, "the longest wait for any one thing")

// server is a running server, Kith or a peer, as a client meets it.
type server struct {
	name   string // as in the names of the subtests
	host   string // loopback address
	port   int    // STARTTLS
	domain string
	caFile string // the self-signed certificate
	cert   *x509.Certificate

	// mechanisms that a client must be offered over TLS 1.3, at least.
	mechanisms []string
	// binding is how a client binds SASL to TLS: tls-exporter over TLS 1.3, or
	// tls-unique over TLS 1.2, for servers that know no better.
	binding string
	// plus are the mechanisms it must offer with that binding, of those that
	// gsasl knows.
	plus []string
	// normalFallsBack: a normal message for a resource that is not there goes
	// to the account's others, like a chat message (against RFC 6121 §8.5.3.2.1).
	normalFallsBack bool
	// leavesQuietly: where a contact is removed from a roster, neither is told that
	// the other's resources are unavailable now (against RFC 6121 §3.3.3).
	leavesQuietly bool
	// blocksQuietly: a message for a full JID is dropped if its owner has blocked
	// the sender (against XEP-0191 §3.2).
	blocksQuietly bool
	// settles is how long a client that was cut off while it was writing waits before it
	// resumes: now and then Prosody 0.12 ends the stream as not well-formed otherwise,
	// while it still has something of the connection before.
	settles time.Duration
	// coalesces: of a contact's presence, an inactive client is told the newest only
	// (XEP-0352 §5).
	coalesces bool
	// stored are the messages in the account's store by their id attribute: the
	// ids of XEP-0359 under which each is there.
	stored func(t *testing.T, account string) map[string][]string

	// restores: what can be resumed outlives the server's own restart.
	restores bool

	components string // address of the listener for components, "" if there is none

	proc  *process
	start func(t *testing.T) *process // again, with the same data and ports
}

func (s *server) addr() string { return net.JoinHostPort(s.host, strconv.Itoa(s.port)) }

// componentSecret is that of all external components.
const componentSecret = "component-secret"

func (s *server) jid(local string) string { return local + "@" + s.domain }

// servers are all that a test is made against.
var servers = []struct {
	name  string
	start func(t *testing.T, with setup) *server
}{
	{"prosody", startProsody},
	{"kith", startKith},
}

// eachServer runs the test against every server. Modules are what a peer
// needs besides the usual; Kith has all of them on. The servers are tested at the same
// time, and other tests beside them: most of what they do is to wait for programs.
func eachServer(t *testing.T, test func(t *testing.T, s *server), modules ...string) {
	eachServerWith(t, setup{modules: modules}, test)
}

func eachServerWith(t *testing.T, with setup, test func(t *testing.T, s *server)) {
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			test(t, s.start(t, with))
		})
	}
}

// setup is what a test wants of a server besides the usual.
type setup struct {
	modules []string      // of a peer
	resume  time.Duration // how long a lost stream can be resumed (0: as the server likes)
	// component is the domain of an external component, whose secret is componentSecret; "" if there is none.
	component string
}

// unavailable ends a test whose peer is missing.
func unavailable(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s (run interop/install.sh)", reason)
	}
	t.Skipf("%s (run interop/install.sh)", reason)
}

// program finds an installed program.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		unavailable(t, name+" is not installed")
	}
	return path
}

// process is a program started by a test. It ends with the test, by its own id.
type process struct {
	cmd  *exec.Cmd
	log  string        // file with its output
	done chan struct{} // closed when it has ended
}

// spawn starts a program in a process group of its own; its standard error,
// and its standard output unless the command has one, go to a log file that is
// shown if the test fails.
func spawn(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	log, err := os.CreateTemp(t.TempDir(), filepath.Base(cmd.Path)+"-*.log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stderr = log
	if cmd.Stdout == nil {
		cmd.Stdout = log
	}
	// The kernel ends it if this test binary dies before it can.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p := &process{cmd: cmd, log: log.Name(), done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel takes the end of the thread for that of the binary: it has
		// to last as long as the program.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is the test's to judge, from what it did
		}
		close(p.done)
	}()
	if err := <-started; err != nil {
		t.Fatalf("start %s: %v", cmd.Path, err)
	}
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			p.showLog(t)
		}
	})
	return p
}

// stop asks the program to end, insists after ten seconds, and waits for it.
func (p *process) stop() {
	if p.ended() {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended meanwhile
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		p.kill()
	}
}

// kill ends the program's whole group at once, as a crash would.
func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // it may have ended meanwhile
	<-p.done
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *process) showLog(t *testing.T) {
	const most = 8 << 10
	b, err := os.ReadFile(p.log)
	if err != nil {
		t.Logf("log of %s: %v", p.cmd.Path, err)
		return
	}
	if len(b) > most {
		b = append([]byte("…"), b[len(b)-most:]...)
	}
	t.Logf("output of %s (pid %d):\n%s", p.cmd.Path, p.cmd.Process.Pid, b)
}

// awaitPort waits until the program answers at the address.
func (p *process) awaitPort(t *testing.T, addr string) {
	t.Helper()
	deadline := time.Now().Add(*patience)
	for {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			conn.Close()
			return
		}
		if p.ended() || time.Now().After(deadline) {
			t.Fatalf("%s does not listen on %s: %v", p.cmd.Path, addr, err)
		}
		select { // a port has no event that one could wait for
		case <-time.After(10 * time.Millisecond):
		case <-p.done:
		}
	}
}

// freePort finds a port on loopback that nothing listens on, below those that
// the kernel gives to connections: nobody takes it while its server is not
// started yet, or is started again.
func freePort(t *testing.T) int {
	t.Helper()
	var err error
	for range 100 {
		port := 10_000 + rand.IntN(20_000)
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatalf("no port to listen on: %v", err)
	return 0
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func certificatePEM(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// exists tells whether a file is there; any other trouble fails the test.
func exists(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Stat(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}
