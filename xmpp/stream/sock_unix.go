//go:build unix

package stream

import (
	"errors"
	"syscall"
)

// rawIO says that descriptors can be read and written directly. They are in
// non-blocking mode, as package net puts them.
const rawIO = true

// readRaw is called by RawConn.Read. It never asks to wait.
func (s *sock) readRaw(fd uintptr) bool {
	for {
		n, err := syscall.Read(int(fd), s.rbuf)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		s.rn, s.rerr = max(n, 0), err
		return true
	}
}

// writeRaw is called by RawConn.Write. It never asks to wait.
func (s *sock) writeRaw(fd uintptr) bool {
	for len(s.wbuf) > s.wn {
		n, err := syscall.Write(int(fd), s.wbuf[s.wn:])
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return true
		case err != nil:
			s.werr = sysError("write", err)
			return true
		}
		s.wn += n
	}
	return true
}
