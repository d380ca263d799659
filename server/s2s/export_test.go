package s2s

import "time"

// Nudge wakes the readers of others' streams as a verdict does that they have given
// already.
func (s *Server) Nudge() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.incoming {
		c.conn.SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // as in answer
	}
}
