//go:build !unix

package stream

// rawIO says that descriptors cannot be read and written directly here: every
// write is left to the caller's writer.
const rawIO = false

func (s *sock) readRaw(uintptr) bool  { return true }
func (s *sock) writeRaw(uintptr) bool { return true }
