package web

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestClaim(t *testing.T) {
	data := filepath.Join(t.TempDir(), "new", "data")
	release, err := Claim(data)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{data: 0o700, filepath.Join(data, lockName): 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %o", name, info.Mode(), err, want)
		}
	}
	if _, err := Claim(data); err == nil || !strings.Contains(err.Error(), "a server is running on it; stop that first") {
		t.Errorf("a second claim: %v, want that a server is running", err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	release, err = Claim(data)
	if err != nil {
		t.Fatalf("a claim after the release: %v", err)
	}
	release()

	file := filepath.Join(data, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{file, filepath.Join(file, "below")} {
		if _, err := Claim(bad); err == nil || !strings.Contains(err.Error(), bad+": not a directory; ") {
			t.Errorf("Claim(%s): %v, want that it is no directory, and what to do", bad, err)
		}
	}
}

func TestListenControl(t *testing.T) {
	data := t.TempDir()
	// One left behind by a server that was killed, and open to everybody.
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: Socket(data), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	if err := os.Chmod(Socket(data), 0o777); err != nil {
		t.Fatal(err)
	}

	l, err := ListenControl(data)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(Socket(data))
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("the socket is %v, %v, want a socket of mode 600", info.Mode(), err)
	}
	c, err := net.Dial("unix", Socket(data))
	if err != nil {
		t.Fatalf("dial the socket: %v", err)
	}
	c.Close()
	if left, err := os.ReadDir(data); err != nil || len(left) != 1 {
		t.Errorf("in the directory are %v, %v, want the socket only", left, err)
	}

	if err := l.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := os.Stat(Socket(data)); !os.IsNotExist(err) {
		t.Errorf("the socket after Close: %v, want none", err)
	}
	// The next server's socket survives that the first is closed once more.
	next, err := ListenControl(data)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if err := l.Close(); err != nil {
		t.Errorf("the second Close: %v", err)
	}
	if _, err := os.Stat(Socket(data)); err != nil {
		t.Errorf("the next server's socket: %v", err)
	}

	long := filepath.Join(data, strings.Repeat("long", 30))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := ListenControl(long); err == nil || !strings.Contains(err.Error(), "too long for a socket; use a data directory with a shorter name") {
		t.Errorf("ListenControl in a directory with a long name: %v, want that it is too long", err)
	}
}

// While the socket is made, a umask that lets everybody in lets nobody in.
func TestListenControlUmask(t *testing.T) {
	data := t.TempDir()
	old := syscall.Umask(0) // of the whole process; no other test runs meanwhile
	defer syscall.Umask(old)
	l, err := ListenControl(data)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Stat(Socket(data)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v, %v, want mode 600", info.Mode(), err)
	}
}
