//go:build interop

package interop_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestTerminal drives mcabber on a screen, as a person would: it logs in over
// TLS, trusting the certificate by its fingerprint, says something to a user
// of slixmpp, and reads the answer.
func TestTerminal(t *testing.T) {
	t.Parallel()
	mcabber, tmux := program(t, "mcabber"), program(t, "tmux")
	eachServer(t, func(t *testing.T, s *server) {
		const question, answer = "what light through yonder window breaks", "it is the east"
		juliet := startPuppet(t, slixmpp, s).mustOpen(t, "juliet", "balcony", true)
		juliet.do(t, order{Do: "presence"})
		register(t, s, "romeo")

		screen := openScreen(t, tmux, mcabber, "-f", mcabberConfig(t, s, "romeo"))
		screen.await(t, "mcabber to be online", "Your status has been set")
		screen.typeLine(t, "/say_to "+juliet.bare()+" "+question)
		got := juliet.inbox().await(t, "the question", func(e event) bool { return e.Event == "message" && e.Body != "" })
		if got.Body != question || !strings.HasPrefix(got.From, s.jid("romeo")+"/") {
			t.Fatalf("juliet got %+v, want %q", got, question)
		}
		juliet.do(t, order{Do: "message", To: got.From, Type: "chat", Stanza: "answer", Body: answer})
		screen.await(t, "the mark of an unread message", "#{")
		screen.typeLine(t, "/roster unread_first")
		screen.typeLine(t, "") // Enter alone shows the conversation with the one selected
		screen.await(t, "the answer", answer)
		screen.typeLine(t, "/quit")
		screen.awaitEnd(t)
	})
}

// mcabberConfig writes a configuration for the user and returns its path.
func mcabberConfig(t *testing.T, s *server, user string) string {
	t.Helper()
	fingerprint := sha256.Sum256(s.cert.Raw)
	dir := t.TempDir()
	settings := []string{
		"jid=" + s.jid(user), "password=" + passwordOf(user), "resource=terminal",
		"server=" + s.host, "port=" + strconv.Itoa(s.port),
		"tls=1", "ssl_fingerprint=SHA256:" + hex.EncodeToString(fingerprint[:]),
		// Without an authority only the fingerprint speaks for the certificate.
		"ssl_ignore_checks=1",
		"statefile=" + filepath.Join(dir, "state"), "roster_width=20", "log_win_height=12",
	}
	path := filepath.Join(dir, "mcabberrc")
	writeFile(t, path, "set "+strings.Join(settings, "\nset ")+"\n")
	return path
}

// screen is a terminal of tmux with a program in it.
type screen struct {
	tmux, socket string
}

// openScreen starts the program in a tmux server of its own.
func openScreen(t *testing.T, tmux, program string, args ...string) *screen {
	t.Helper()
	// The name of a socket has 107 bytes at the most: no place for one in a
	// directory that has the test's name.
	dir, err := os.MkdirTemp("/tmp", "kith-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &screen{tmux: tmux, socket: filepath.Join(dir, "tmux")}
	words := []string{"-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "40", program}
	if out, err := s.command(append(words, args...)...); err != nil {
		t.Fatalf("tmux: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("screen:\n%s", s.text())
		}
		// It has ended by itself if the test went well. The socket is ours
		// alone, and so is the server behind it.
		_, _ = s.command("kill-server")
	})
	return s
}

func (s *screen) command(args ...string) (string, error) {
	cmd := exec.Command(s.tmux, append([]string{"-S", s.socket}, args...)...)
	cmd.Env = append(cmd.Environ(), "LC_ALL=C.UTF-8", "TERM=xterm")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// text is what the screen shows.
func (s *screen) text() string {
	out, err := s.command("capture-pane", "-p")
	if err != nil {
		return "(" + err.Error() + ": " + strings.TrimSpace(out) + ")"
	}
	return out
}

func (s *screen) typeLine(t *testing.T, line string) {
	t.Helper()
	for _, keys := range [][]string{{"-l", line}, {"Enter"}} {
		if out, err := s.command(append([]string{"send-keys"}, keys...)...); err != nil {
			t.Fatalf("type %q: %v: %s", line, err, out)
		}
	}
}

// await waits until the screen shows the words.
func (s *screen) await(t *testing.T, what, words string) {
	t.Helper()
	s.watch(t, what, func() bool { return strings.Contains(s.text(), words) })
}

// awaitEnd waits until the program has ended and the screen is gone.
func (s *screen) awaitEnd(t *testing.T) {
	t.Helper()
	s.watch(t, "the program to end", func() bool {
		_, err := s.command("has-session")
		return err != nil
	})
}

func (s *screen) watch(t *testing.T, what string, done func() bool) {
	t.Helper()
	late := time.Now().Add(*patience)
	for !done() {
		if time.Now().After(late) {
			t.Fatalf("waited %v for %s on the screen:\n%s", *patience, what, s.text())
		}
		time.Sleep(50 * time.Millisecond) // a screen has no event to wait for
	}
}
