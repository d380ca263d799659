package s2s

import (
	"sync"
	"sync/atomic"
	"time"

	"kith/server/config"
	"kith/server/session"
	"kith/xmpp/negotiate"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

// ackWithin is how long a peer may take to acknowledge what it was sent (XEP-0198): one
// that takes longer is gone, however much its connection takes.
const ackWithin = time.Minute

// maxUnacked is how much may be on its way without being acknowledged.
const maxUnacked = 4 << 20

// ledger is what has been written to a stream and may have to be sent on another one:
// what the peer has not acknowledged, or where it does not do that, what could not be
// written.
type ledger struct {
	conn *stream.TCP

	order sync.Mutex // held while writing: what is counted first is written first

	mu      sync.Mutex // guards what follows; never held while writing
	on      bool       // the peer acknowledges
	count   negotiate.Sent
	pending []entry
	bytes   int
	timer   *time.Timer
	room    chan struct{} // closed when there is room again; nil: nobody waits
}

// write writes stanzas in one batch. It waits until there is room among what is not
// acknowledged; over ends the wait.
func (l *ledger) write(batch []entry, over <-chan struct{}) error {
	l.order.Lock()
	defer l.order.Unlock()
	l.wait(over)
	out := make([][]byte, 0, len(batch)+1)
	for _, e := range batch {
		out = append(out, e.bytes)
	}
	if on := l.keep(batch); on {
		out = append(out, xmltree.Marshal(negotiate.Request{}, ns.Client))
		return l.conn.WriteBatch(out)
	}
	if err := l.conn.WriteBatch(out); err != nil {
		return err
	}
	l.mu.Lock()
	l.pending = l.pending[:len(l.pending)-len(batch)]
	l.mu.Unlock()
	return nil
}

// keep notes what is about to be written, and reports whether it is counted.
func (l *ledger) keep(batch []entry) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending = append(l.pending, batch...)
	if !l.on {
		return false
	}
	l.count.Add(len(batch))
	for _, e := range batch {
		l.bytes += len(e.bytes)
	}
	if l.timer == nil {
		l.timer = time.AfterFunc(ackWithin, func() { l.conn.Close(stream.ErrConnectionTimeout) })
	}
	return true
}

func (l *ledger) wait(over <-chan struct{}) {
	l.mu.Lock()
	if l.bytes < maxUnacked {
		l.mu.Unlock()
		return
	}
	l.room = make(chan struct{})
	room := l.room
	l.mu.Unlock()
	select {
	case <-room:
	case <-over:
	}
}

// enable counts from here on; answer, if it is not nil, is written first.
func (l *ledger) enable(answer xmltree.Appender) error {
	l.order.Lock()
	defer l.order.Unlock()
	if answer != nil {
		if err := stream.Write(l.conn, answer); err != nil {
			return err
		}
	}
	l.mu.Lock()
	l.on = true
	l.mu.Unlock()
	return nil
}

func (l *ledger) enabled() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.on
}

// acked takes an acknowledgement. An error ends the stream.
func (l *ledger) acked(h uint32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.count.Ack(h)
	if err != nil || n == 0 {
		return err
	}
	for _, e := range l.pending[:n] {
		l.bytes -= len(e.bytes)
	}
	l.pending = append([]entry(nil), l.pending[n:]...)
	if l.timer.Stop(); len(l.pending) == 0 {
		l.timer = nil
	} else {
		l.timer.Reset(ackWithin)
	}
	if l.room != nil && l.bytes < maxUnacked {
		close(l.room)
		l.room = nil
	}
	return nil
}

// lost returns, once the stream has ended, what of a pair has to be sent again.
func (l *ledger) lost(p pair) (all []entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var rest []entry
	for _, e := range l.pending {
		if e.st.From.Domain() == p.from && e.st.To.Domain() == p.to {
			all = append(all, e)
		} else {
			rest = append(rest, e)
		}
	}
	l.pending = rest
	return all
}

// owed is how much of a pair was written, or is about to be, and not acknowledged.
func (l *ledger) owed(p pair) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.pending {
		if e.st.From.Domain() == p.from && e.st.To.Domain() == p.to {
			n++
		}
	}
	return n
}

// stop ends the timer.
func (l *ledger) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
	}
}

// receipts acknowledges what a peer has sent: at once what is done by then, and the rest
// when it is.
type receipts struct {
	s    *Server
	conn *stream.TCP
	in   *session.Inbound
	owed atomic.Bool
	// order has one place, taken while h is read and written: none may overtake
	// another, nor be less than it.
	order chan struct{}
}

// begin has the stanzas counted that come over a stream of this server's.
func (r *receipts) begin(s *Server, conn *stream.TCP, l *config.Limits) {
	r.s, r.conn, r.order = s, conn, make(chan struct{}, 1)
	r.in = session.NewInbound(l.Credit, int(l.CreditBytes), r.advanced)
}

// tell writes the h of now.
func (r *receipts) tell() error {
	r.order <- struct{}{}
	defer func() { <-r.order }()
	h, _ := r.in.H()
	return stream.Write(r.conn, negotiate.Ack{H: h})
}

// asked answers an <r/>.
func (r *receipts) asked() error {
	if _, all := r.in.H(); !all {
		r.owed.Store(true)
		r.advanced() // it may be done meanwhile
	}
	return r.tell()
}

// advanced is called when h has grown. It does not wait for the connection.
func (r *receipts) advanced() {
	if !r.owed.Load() || r.conn.Closing() {
		return
	}
	if _, all := r.in.H(); all && r.owed.CompareAndSwap(true, false) {
		r.s.wg.Go(func() {
			r.tell() //nolint:errcheck // the reader learns of it, too
		})
	}
}

// management handles an element of XEP-0198; enable says whether it may be enabled.
func (s *Server) management(el xmltree.Element, l *ledger, r *receipts, mayEnable bool) error {
	switch el.Name() {
	case negotiate.NameRequest:
		return r.asked()
	case negotiate.NameAck:
		h, err := negotiate.ParseAck(el)
		if err != nil {
			return err
		}
		return l.acked(h)
	case negotiate.NameEnable:
		if !mayEnable || l.enabled() {
			return stream.Write(l.conn, negotiate.Failed{Condition: stanza.ErrUnexpectedRequest.Condition})
		}
		r.in.CountFromHere()
		return l.enable(negotiate.Enabled{})
	case negotiate.NameResume:
		return stream.Write(l.conn, negotiate.Failed{Condition: stanza.ErrFeatureNotImplemented.Condition})
	}
	return stream.ErrUnsupportedStanzaType
}
