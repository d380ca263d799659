package c2s

import (
	"sync"
	"time"

	"kith/server/session"
)

// answerWithin: XEP-0198 §4 wants an <r/> answered soon, also while some of what
// came before it is still under way.
const answerWithin = 100 * time.Millisecond

// counting answers <r/>: when all that came before is done, or after a short
// while with what is done by then, and again once the rest is.
type counting struct {
	mu      sync.Mutex // guards what follows
	session *session.Session
	owed    bool // asked, and not everything acknowledged yet
	timer   *time.Timer
}

// start begins to count what the client sends: the stanzas behind <enable/>
// (XEP-0198 §3).
func (k *counting) start(s *session.Session) {
	s.In.CountFromHere()
	k.mu.Lock()
	k.session = s
	k.mu.Unlock()
}

// asked answers an <r/>. Only the stream's reader calls it.
func (k *counting) asked() {
	k.mu.Lock()
	s := k.session
	if s == nil { // not enabled: XEP-0198 has no answer for that
		k.mu.Unlock()
		return
	}
	h, all := s.In.H()
	k.owed = !all
	if !all {
		if k.timer == nil {
			k.timer = time.AfterFunc(answerWithin, k.late)
		} else {
			k.timer.Reset(answerWithin)
		}
	}
	k.mu.Unlock()
	if all {
		s.Ack(h)
		s.Flush(true)
	}
}

// advanced is called when h has grown.
func (k *counting) advanced() {
	k.mu.Lock()
	if !k.owed {
		k.mu.Unlock()
		return
	}
	s := k.session
	h, all := s.In.H()
	if all {
		k.owed = false
		k.timer.Stop()
	}
	k.mu.Unlock()
	if all {
		s.Ack(h)
		s.Flush(false)
	}
}

// late answers with what is done; the rest is told when it is.
func (k *counting) late() {
	k.mu.Lock()
	s, owed := k.session, k.owed
	k.mu.Unlock()
	if owed {
		h, _ := s.In.H()
		s.Ack(h)
		s.Flush(false)
	}
}

// stop ends the timer.
func (k *counting) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.owed = false
	if k.timer != nil {
		k.timer.Stop()
	}
}
