package s2s

import (
	"context"
	"fmt"
	"sync"
	"time"

	"kith/server/config"
	"kith/xmpp/negotiate"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

// announced is what we take of a server that has proved a domain (XEP-0478).
func announced(c *config.Config) negotiate.MaxLimits {
	return negotiate.MaxLimits{Bytes: int(c.Limits.StanzaServer), Idle: c.S2S.Idle}
}

// roomy has a stream of ours that goes both ways take as much as was announced as soon as
// it is authenticated: stanzas may come before the negotiation is over.
type roomy struct{ limits xmltree.Limits }

// Offer implements negotiate.Step.
func (roomy) Offer(*negotiate.State) xmltree.Appender { return nil }

// Serve implements negotiate.Step.
func (roomy) Serve(context.Context, *negotiate.State, xmltree.Element) (negotiate.Outcome, error) {
	return negotiate.Pass, nil
}

// Take implements negotiate.Step.
func (r roomy) Take(_ context.Context, st *negotiate.State, _ xmltree.Element) (negotiate.Outcome, error) {
	if st.Bidi && !st.User.IsZero() {
		st.Conn.SetLimits(r.limits)
	}
	return negotiate.Pass, nil
}

// tooLarge is for who has sent more than the other server takes (XEP-0478 §4).
func tooLarge(size, limit int) *stanza.Error {
	return stanza.ErrPolicyViolation.With(fmt.Sprintf("The stanza is too large for the other server: it has %d bytes, at most %d are allowed.", size, limit))
}

// refuse sends back what is larger than the peer takes. Who has asked somebody here
// and whose answer it was learns of it, too, in the place of the answer.
func (l *link) refuse(large []entry, limit int) {
	for _, e := range large {
		why := tooLarge(len(e.bytes), limit)
		l.s.sendBack([]entry{e}, why)
		if e.st.Kind != stanza.IQ || e.st.Type != stanza.Result {
			continue
		}
		st := stanza.New(stanza.IQ, stanza.TypeError, e.st.From, e.st.To, why)
		st.ID = e.st.ID
		if instead := (entry{st, st.Whole(), e.at}); len(instead.bytes) <= limit {
			l.again([]entry{instead})
		}
	}
}

// leastIdle is the shortest time without traffic that is held off; a peer that wants
// more signs of life may end the stream.
const leastIdle = 30 * time.Second

// signs are white space that shows a peer which has announced how long it waits that we
// are there (XEP-0478 §3.1, RFC 6120 §4.6.1). When the stream is not needed any more is
// ours to say all the same.
type signs struct {
	conn *stream.TCP

	mu    sync.Mutex // guards what follows
	every time.Duration
	last  time.Time
	timer *time.Timer
	over  bool
}

// begin gives signs of life to a peer that waits for idle, unless it is 0.
func (s *signs) begin(conn *stream.TCP, idle time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if idle < leastIdle || s.over {
		return
	}
	s.conn, s.every, s.last = conn, idle/4*3, time.Now()
	s.timer = time.AfterFunc(s.every, s.give)
}

// wrote notes that something was.
func (s *signs) wrote() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.every > 0 {
		s.last = time.Now()
	}
}

func (s *signs) give() {
	s.mu.Lock()
	left := s.every - time.Since(s.last)
	s.mu.Unlock()
	if left <= 0 {
		s.conn.WriteBatch([][]byte{{' '}}) //nolint:errcheck // the reader learns of it, too
		left = s.every
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.timer.Reset(left)
	}
}

func (s *signs) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	if s.timer != nil {
		s.timer.Stop()
	}
}
