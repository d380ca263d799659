package session

import "time"

// answerWithin: XEP-0198 §4 wants an <r/> answered soon, also while some of what
// came before it is still under way.
const answerWithin = 100 * time.Millisecond

// answers answers the client's <r/>: when all that came before is done, or after
// a short while with what is done by then, and again once the rest is. The
// session's mutex guards it.
type answers struct {
	on    bool // the client counts what it sends
	owed  bool // asked, and not everything acknowledged yet
	timer *time.Timer
}

// CountReceived begins to count what the client sends: the stanzas behind
// <enable/> (XEP-0198 §3).
func (s *Session) CountReceived() {
	s.In.CountFromHere()
	s.mu.Lock()
	s.answers.on = true
	s.mu.Unlock()
}

// Asked answers an <r/>. Only the stream's reader calls it.
func (s *Session) Asked() {
	s.mu.Lock()
	a := &s.answers
	if !a.on { // not enabled: XEP-0198 has no answer for that
		s.mu.Unlock()
		return
	}
	_, all := s.In.H()
	a.owed = !all
	if !all {
		if a.timer == nil {
			a.timer = time.AfterFunc(answerWithin, s.late)
		} else {
			a.timer.Reset(answerWithin)
		}
	}
	s.mu.Unlock()
	if all {
		s.Ack()
		s.Flush(true)
	}
}

// advanced is called when h has grown.
func (s *Session) advanced() {
	s.mu.Lock()
	a := &s.answers
	if !a.owed {
		s.mu.Unlock()
		return
	}
	_, all := s.In.H()
	if all {
		a.stop()
	}
	s.mu.Unlock()
	if all {
		s.Ack()
		s.Flush(false)
	}
}

// late answers with what is done; the rest is told when it is.
func (s *Session) late() {
	s.mu.Lock()
	owed := s.answers.owed
	s.mu.Unlock()
	if owed {
		s.Ack()
		s.Flush(false)
	}
}

// stop leaves what was asked without an answer, or without another.
func (a *answers) stop() {
	a.owed = false
	if a.timer != nil {
		a.timer.Stop()
	}
}
