package component

import (
	"cmp"
	"hash/maphash"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kith/server/config"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
)

// link is one component as the router sees it.
type link struct {
	server *Server
	name   string

	sent, received, bounced atomic.Int64

	mu      sync.Mutex // guards what follows
	conf    *config.Component
	streams []*conn
	joining int   // streams that have shown the secret and are not among streams yet
	waiting queue // while there is no stream
	next    uint64
	timer   *time.Timer
	armed   bool // the timer will fire
	closed  bool
}

// item is a stanza on its way to the component.
type item struct {
	st    *stanza.Stanza
	bytes []byte
	seq   uint64 // in the order of the calls
	at    time.Time
}

// queue is bounded by the bytes in it.
type queue struct {
	items []item
	bytes int
}

func (q *queue) add(it item) {
	q.items = append(q.items, it)
	q.bytes += len(it.bytes)
}

func newLink(s *Server, c *config.Component) *link {
	return &link{server: s, name: c.Host.Domain(), conf: c}
}

// Send implements route.Remote.
func (l *link) Send(st *stanza.Stanza) error {
	own := st.Copy() // others may read the one that we were given
	it := item{st: own, bytes: own.Whole(), at: time.Now()}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed, !l.conf.Speaks(st.To.Domain()):
		return stanza.ErrRemoteServerNotFound
	case len(l.streams) == 0 && l.conf.QueueAge == 0:
		l.bounced.Add(1)
		return errAway
	}
	l.next++
	it.seq = l.next
	if !l.place(it) {
		l.bounced.Add(1)
		return errFull
	}
	return nil
}

// RFC 6120 §8.3.3.16: the component is known, and cannot be reached for now. Who
// is connected and does not read lacks resources (§8.3.3.18).
var (
	errAway = stanza.ErrRemoteServerTimeout.With("The service is not connected to this server at the moment.")
	errFull = stanza.ErrResourceConstraint.With("Too much waits for the service already. Try again later.")
)

// place puts an item into the queue of the stream that its sender has, or of those
// that wait for one. It answers false if that is full.
func (l *link) place(it item) bool {
	q := &l.waiting
	c := l.pick(it.st)
	if c != nil {
		q = &c.queue
	}
	if q.bytes+len(it.bytes) > int(l.conf.Queue) {
		return false
	}
	q.add(it)
	if c != nil {
		c.wakeUp()
	} else {
		l.arm()
	}
	return true
}

// pick returns the stream of a sender, nil if there is none. When a stream ends or
// another one comes, only the senders of that one change theirs.
func (l *link) pick(st *stanza.Stanza) (best *conn) {
	var most uint64
	from := st.From.Bare()
	for _, c := range l.streams {
		if n := maphash.Comparable(c.seed, from); best == nil || n > most {
			best, most = c, n
		}
	}
	return best
}

// again puts into queues anew, in the order in which they came, what was in them
// when the streams changed. It returns what finds no room.
func (l *link) again() (left []item) {
	all := l.waiting.items
	l.waiting = queue{}
	for _, c := range l.streams {
		all = append(all, c.queue.items...)
		c.queue = queue{}
	}
	slices.SortStableFunc(all, func(a, b item) int { return cmp.Compare(a.seq, b.seq) })
	for _, it := range all {
		if !l.place(it) {
			left = append(left, it)
		}
	}
	return left
}

// reserve makes room for one more stream; false if there are as many as there may
// be. join or cancel has to follow.
func (l *link) reserve() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.streams)+l.joining >= l.conf.Connections {
		return false
	}
	l.joining++
	return true
}

func (l *link) cancel() {
	l.mu.Lock()
	l.joining--
	l.mu.Unlock()
}

// full reports whether there is room for one more stream.
func (l *link) full() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.streams)+l.joining >= l.conf.Connections
}

// join gives the link a stream; what waits goes there, behind what the hosts have
// to say to the component. It answers false if the component has gone from the
// configuration, or has another secret than the one that was shown.
func (l *link) join(c *conn, secret string) bool {
	told, then := l.greetings()
	l.mu.Lock()
	l.joining--
	if l.closed || l.conf.Secret != secret {
		l.mu.Unlock()
		return false
	}
	l.streams = append(l.streams, c)
	left := l.again()
	behind := c.queue
	c.queue = queue{}
	for _, it := range append(told, behind.items...) {
		c.queue.add(it)
	}
	c.wakeUp()
	l.mu.Unlock()
	l.bounce(left, errFull)
	then()
	return true
}

// greetings are what the hosts have to say to the component, and what they have to
// do then. It does not matter whether that fits a queue: it is little.
func (l *link) greetings() (told []item, then func()) {
	component := l.address()
	var all []func()
	for _, h := range l.server.router.Hosts() {
		for _, f := range h.Greetings() {
			sts, then := f(component)
			for _, st := range sts {
				told = append(told, item{st: st, bytes: st.Whole(), at: time.Now()})
			}
			if then != nil {
				all = append(all, then)
			}
		}
	}
	return told, func() {
		for _, f := range all {
			f()
		}
	}
}

// greet greets the component anew on a stream that it has.
func (l *link) greet(c *conn) {
	told, then := l.greetings()
	l.mu.Lock()
	for _, it := range told {
		l.next++
		it.seq = l.next
		c.queue.add(it)
	}
	c.wakeUp()
	l.mu.Unlock()
	then()
}

// Connected reports whether the component is connected.
func (l *link) Connected() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.streams) > 0
}

func (l *link) address() jid.JID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conf.Host
}

// leave takes a stream away that reads and writes no more. What it has not
// written goes to the others, or waits.
func (l *link) leave(c *conn) {
	l.mu.Lock()
	l.streams = slices.DeleteFunc(l.streams, func(o *conn) bool { return o == c })
	l.waiting.items = append(l.waiting.items, c.queue.items...)
	c.queue = queue{}
	why, left := errFull, l.again()
	if l.closed || len(l.streams) == 0 && l.conf.QueueAge == 0 {
		why, left = errAway, append(left, l.waiting.items...)
		l.waiting = queue{}
	}
	l.mu.Unlock()
	l.bounce(left, why)
}

// maxBatch bounds what one write takes from the queue.
const maxBatch = 64 << 10

// take returns what the stream may write now.
func (l *link) take(c *conn) (batch []item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	size, n := 0, 0
	for n < len(c.queue.items) && (n == 0 || size+len(c.queue.items[n].bytes) <= maxBatch) {
		size += len(c.queue.items[n].bytes)
		n++
	}
	batch = c.queue.items[:n:n]
	c.queue.items, c.queue.bytes = c.queue.items[n:], c.queue.bytes-size
	if len(c.queue.items) == 0 {
		c.queue = queue{}
	}
	return batch
}

// putBack is for a batch that could not be written. Some of it may have arrived:
// what comes twice does less harm than what is lost.
func (l *link) putBack(c *conn, batch []item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rest := c.queue.items
	c.queue = queue{}
	for _, it := range slices.Concat(batch, rest) {
		c.queue.add(it)
	}
}

// arm has those sent back in time that wait for too long.
func (l *link) arm() {
	if l.armed || len(l.waiting.items) == 0 {
		return
	}
	d := max(l.conf.QueueAge-time.Since(l.waiting.items[0].at), time.Millisecond)
	if l.timer == nil {
		l.timer = time.AfterFunc(d, l.expire)
	} else {
		l.timer.Reset(d)
	}
	l.armed = true
}

// expire sends back what has waited for too long.
func (l *link) expire() {
	now := time.Now()
	l.mu.Lock()
	l.armed = false
	n := 0
	for n < len(l.waiting.items) && now.Sub(l.waiting.items[n].at) >= l.conf.QueueAge {
		l.waiting.bytes -= len(l.waiting.items[n].bytes)
		n++
	}
	late := l.waiting.items[:n:n]
	l.waiting.items = l.waiting.items[n:]
	if !l.closed {
		l.arm()
	}
	l.mu.Unlock()
	l.bounce(late, errAway)
}

// bounce sends back what was taken and cannot be delivered.
func (l *link) bounce(items []item, why *stanza.Error) {
	for _, it := range items {
		l.bounced.Add(1)
		l.server.router.Bounce(it.st, why)
	}
}

// configure takes up the component's table; hosts says that there are other hosts
// than before. It returns what has to be done once no lock is held.
func (l *link) configure(c *config.Component, hosts bool) func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.conf
	l.conf = c
	var end, greet []*conn
	switch {
	case old.Secret != c.Secret:
		end = slices.Clone(l.streams)
	case hosts, !reflect.DeepEqual(old.Privileges, c.Privileges), !reflect.DeepEqual(old.Delegate, c.Delegate):
		greet = slices.Clone(l.streams)
	}
	return func() {
		for _, s := range greet {
			l.greet(s)
		}
		for _, s := range end {
			l.server.wg.Go(func() { s.end(stream.ErrReset.With("the secret was changed")) })
		}
	}
}

// remove is for a component that is no longer in the configuration.
func (l *link) remove() {
	for _, c := range l.close(stanza.ErrRemoteServerNotFound) {
		l.server.wg.Go(func() { c.end(stream.ErrHostGone) })
	}
}

// close takes nothing any more and sends back what waits. It returns the streams.
func (l *link) close(why *stanza.Error) []*conn {
	l.mu.Lock()
	l.closed = true
	if l.timer != nil {
		l.timer.Stop()
	}
	left := l.waiting.items
	l.waiting = queue{}
	streams := slices.Clone(l.streams)
	l.mu.Unlock()
	l.bounce(left, why)
	return streams
}

func (l *link) stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Stats{Host: l.name, Connections: len(l.streams), Queued: len(l.waiting.items), QueuedBytes: l.waiting.bytes,
		Sent: l.sent.Load(), Received: l.received.Load(), Bounced: l.bounced.Load()}
	for _, c := range l.streams {
		s.Queued += len(c.queue.items)
		s.QueuedBytes += c.queue.bytes
	}
	return s
}
