package route

import (
	"sync"
	"time"

	"kith/server/cluster"
	"kith/server/module"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
)

// How many answers are waited for: in all, and from one domain, so that one that
// does not answer leaves room for the others.
const (
	mostAsks       = 16384
	mostAsksDomain = 1024
)

// inquiries are what the server has asked others: an index to find by an answer the
// owner that waits for it.
type inquiries struct {
	mu sync.Mutex          // guards what follows
	by map[string]*inquiry // by id
	to map[string]int      // how many of them, by the domain of who was asked
}

// inquiry is one of them.
type inquiry struct {
	router *Router
	st     *stanza.Stanza
	key    cluster.Key // of the one who asks
	heard  module.Heard
	timer  *time.Timer
}

// add notes a question; false if there are too many.
func (l *inquiries) add(q *inquiry, within time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	domain := q.st.To.Domain()
	if len(l.by) >= mostAsks || l.to[domain] >= mostAsksDomain {
		return false
	}
	if l.by == nil {
		l.by, l.to = make(map[string]*inquiry), make(map[string]int)
	}
	l.by[q.st.ID] = q
	l.to[domain]++
	q.timer = time.AfterFunc(within, q.expire)
	return true
}

// find returns the question of that id that was asked by one and put to another;
// nil if there is none.
func (l *inquiries) find(id string, by, to jid.JID) *inquiry {
	l.mu.Lock()
	defer l.mu.Unlock()
	if q := l.by[id]; q != nil && q.st.From == by && q.st.To == to {
		return q
	}
	return nil
}

// take takes a question from the list, and reports whether it was on it.
func (l *inquiries) take(q *inquiry) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by[q.st.ID] != q {
		return false
	}
	delete(l.by, q.st.ID)
	domain := q.st.To.Domain()
	if l.to[domain]--; l.to[domain] == 0 {
		delete(l.to, domain)
	}
	q.timer.Stop()
	return true
}

// Ask implements module.Router. The answer is matched by id and sender (RFC 6120
// §8.2.3).
func (r *Router) Ask(t *module.Transit, st *stanza.Stanza, within time.Duration, heard module.Heard) string {
	q := &inquiry{router: r, st: st, key: t.Turn.Key(), heard: heard}
	st.ID = stream.NewID()
	asking := *t
	t.Turn.After(cluster.EffectFunc(func(t *cluster.Turn) {
		if !r.asks.add(q, within) {
			t.Send(q.key, &answer{q, st.ErrorReply(stanza.ErrResourceConstraint)})
			return
		}
		asking.Turn = t
		r.route(&asking, st, func(t *cluster.Turn, err error) { r.answered(t, st.ErrorReply(r.errorFor(err))) })
	}))
	return st.ID
}

// answered gives an answer to the owner who waits for it, and reports whether
// there is one.
func (r *Router) answered(t *cluster.Turn, st *stanza.Stanza) bool {
	if st.Kind != stanza.IQ || st.IsRequest() {
		return false
	}
	q := r.asks.find(st.ID, st.To, st.From)
	if q == nil {
		return false // nobody asked
	}
	st = st.Copy()
	t.After(cluster.EffectFunc(func(t *cluster.Turn) {
		if r.asks.take(q) {
			t.Send(q.key, &answer{q, st})
		}
	}))
	return true
}

// expire answers in the place of who did not.
func (q *inquiry) expire() {
	if q.router.asks.take(q) {
		q.router.cluster.Send(q.key, &answer{q, q.st.ErrorReply(stanza.ErrRemoteServerTimeout)})
	}
}

// answer is one on its way to who has asked.
type answer struct {
	*inquiry
	st *stanza.Stanza
}

// Handle implements cluster.Item.
func (a *answer) Handle(t *cluster.Turn, ac cluster.Actor) { a.heard(t, ac, a.st) }

// Fail implements cluster.Item. Who has asked knows how long to wait.
func (a *answer) Fail(_ *cluster.Turn, err error) {
	a.router.log.Error("an answer to the server was not handled", "from", a.st.From, "error", err)
}
