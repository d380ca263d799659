package session

import "math"

// SetSent makes it as if so many stanzas had been sent and acknowledged.
func SetSent(s *Session, h uint32) {
	for at := uint32(0); at != h; {
		step := min(h-at, math.MaxInt32)
		s.acks.count.Add(int(step))
		at += step
		if _, err := s.acks.count.Ack(at); err != nil {
			panic(err)
		}
	}
}

// SetH makes it as if so many stanzas had been read and done.
func SetH(in *Inbound, h uint32) { in.h = h }
