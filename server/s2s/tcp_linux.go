package s2s

import "syscall"

// userTimeout is TCP_USER_TIMEOUT (RFC 5482) of Linux: milliseconds after which what
// was sent and not acknowledged breaks the connection.
const (
	userTimeout   = 18
	silenceMillis = 30_000
)

// bounded sets how long the other end may be silent when it was sent something.
func bounded(_, _ string, c syscall.RawConn) error {
	var failed error
	if err := c.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, userTimeout, silenceMillis)
	}); err != nil {
		return err
	}
	return failed
}
