//go:build interop

package interop_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTickets resumes a session of TLS by OpenSSL, which most clients are built with,
// and asks for features on it. After a restart there is a new one.
func TestTickets(t *testing.T) {
	t.Parallel()
	openssl := program(t, "openssl")
	s := startKith(t, setup{})
	dir := t.TempDir()
	first, again, old := filepath.Join(dir, "first.pem"), filepath.Join(dir, "again.pem"), filepath.Join(dir, "old.pem")
	for _, step := range []struct {
		what string
		args []string
		want string
	}{
		{"a new session", []string{"-tls1_3", "-sess_out", first}, "New, TLSv1.3"},
		{"the same", []string{"-tls1_3", "-sess_in", first, "-sess_out", again}, "Reused, TLSv1.3"},
		{"with the second ticket", []string{"-tls1_3", "-sess_in", again}, "Reused, TLSv1.3"},
		{"without TLS 1.3", []string{"-tls1_2", "-sess_out", old}, "New, TLSv1.2"},
	} {
		if out := handshakeByOpenSSL(t, openssl, s, step.args); !strings.Contains(out, step.want) || !strings.Contains(out, "<stream:features") {
			t.Fatalf("%s: want %q and the stream's features, got\n%s", step.what, step.want, out)
		}
	}
	if _, err := os.Stat(old); !errors.Is(err, fs.ErrNotExist) { // openssl writes what can be resumed
		t.Errorf("a session of TLS 1.2 can be resumed: %v", err)
	}
	s.proc.stop()
	s.proc = s.start(t)
	if out := handshakeByOpenSSL(t, openssl, s, []string{"-tls1_3", "-sess_in", again}); !strings.Contains(out, "New, TLSv1.3") {
		t.Errorf("after a restart: %s", out)
	}
}

// handshakeByOpenSSL opens a stream behind a handshake and returns what openssl says of
// that, and what the server sends.
func handshakeByOpenSSL(t *testing.T, openssl string, s *server, args []string) string {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	args = append([]string{
		"s_client", "-connect", s.addr(), "-starttls", "xmpp", "-xmpphost", s.domain, "-servername", s.domain,
		"-CAfile", s.caFile, "-verify_return_error", "-ign_eof",
	}, args...)
	cmd := exec.CommandContext(ctx, openssl, args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	// The server answers and, behind the closing tag, ends the stream.
	go io.WriteString(in, "<stream:stream to='"+s.domain+"' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'></stream:stream>")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("openssl: %v\n%s", err, out)
	}
	return string(out)
}
