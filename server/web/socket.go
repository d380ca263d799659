package web

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// Names in the data directory. Who may enter that may give commands.
const (
	socketName = "control.sock"
	lockName   = "lock"
)

// Socket returns the path of the socket of a server with that data directory.
func Socket(data string) string { return filepath.Join(data, socketName) }

// Claim makes the data directory if there is none, and takes it for this
// process: two servers on one directory would spoil each other's work. Before it
// nothing in the directory may be touched. release gives it back; so does the
// end of the process, however it comes.
func Claim(data string) (release func() error, err error) {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, unusable(data, err)
	}
	f, err := os.OpenFile(filepath.Join(data, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, unusable(data, err)
	}
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		f.Close()
		return nil, fmt.Errorf("use the data directory %s: a server is running on it; stop that first, or name another directory with --data", data)
	case err != nil:
		f.Close()
		return nil, unusable(data, err)
	}
	return f.Close, nil
}

func unusable(data string, err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return fmt.Errorf("use the data directory %s: %w; let the user that runs kith write there, or name another directory with --data", data, err)
}

// ListenControl opens the socket for commands in a data directory that has been
// claimed. One left behind by a server that was killed is replaced.
func ListenControl(data string) (net.Listener, error) {
	l, err := listenPrivate(data)
	switch {
	case errors.Is(err, syscall.EINVAL): // Unix allows little more than a hundred bytes
		return nil, fmt.Errorf("open the socket for commands: the path %s is too long for a socket; use a data directory with a shorter name", Socket(data))
	case err != nil:
		return nil, fmt.Errorf("open the socket for commands: %w", err)
	}
	return l, nil
}

// listenPrivate makes the socket in a directory of its own that nobody else can
// enter, so that there is no moment at which others may connect.
func listenPrivate(data string) (net.Listener, error) {
	dir, err := os.MkdirTemp(data, "c")
	if err != nil {
		return nil, err
	}
	defer os.Remove(dir) //nolint:errcheck // empty by then; an empty directory left behind does no harm
	name := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // it is about to be moved
	if err = os.Chmod(name, 0o600); err == nil {
		err = os.Rename(name, Socket(data))
	}
	if err != nil {
		l.Close()       //nolint:errcheck // the error that matters is the other
		os.Remove(name) //nolint:errcheck // the error says more
		return nil, err
	}
	return &socket{UnixListener: l, path: Socket(data)}, nil
}

// socket removes its file when it is closed, and only then: by the second time
// the file may be another server's.
type socket struct {
	*net.UnixListener
	path   string
	closed sync.Once
}

// Close implements net.Listener.
func (s *socket) Close() (err error) {
	s.closed.Do(func() { err = errors.Join(os.Remove(s.path), s.UnixListener.Close()) })
	return err
}
