package s2s

import (
	"sync"
	"sync/atomic"
	"time"

	"kith/xmpp/stanza"
	"kith/xmpp/stream"
)

// entry is a stanza that waits for its stream.
type entry struct {
	st    *stanza.Stanza
	bytes []byte
	at    time.Time
}

// carrier is a stream that takes stanzas to another domain.
type carrier interface {
	// write sends stanzas in one batch. It waits for the connection.
	write(batch []entry) error
	// lost returns, once the stream has ended, what has to be sent on another one.
	lost() []entry
	// unsettled is how many stanzas lost would return if it ended now.
	unsettled() int
	// largest is how many bytes a stanza may have; 0: nobody knows.
	largest() int
	// used returns when something was sent or received last.
	used() time.Time
	// ended is closed when the stream has ended.
	ended() <-chan struct{}
	// hangUp ends it.
	hangUp(err error)
	// describe tells people about it.
	describe(i *Info)
}

// usage knows when a stream was used last, either way.
type usage struct {
	begun time.Time
	last  atomic.Int64 // since then, in nanoseconds
}

func (u *usage) touch() { u.last.Store(int64(time.Since(u.begun))) }

// used implements carrier.
func (u *usage) used() time.Time { return u.begun.Add(time.Duration(u.last.Load())) }

// link is what goes from a domain of ours to one of theirs. Its goroutine exists as
// long as there is something to send, or a stream.
type link struct {
	s *Server
	pair
	wake chan struct{} // something has changed

	// The goroutine's: how many streams in a row have ended before they took what they
	// were given, and until when there is no other one; that it gets a stream of its own.
	broken int
	until  time.Time
	alone  bool

	mu        sync.Mutex // guards what follows
	queue     []entry
	bytes     int
	taken     int  // of those that are neither in the queue nor known to the stream, or sent back, yet
	finishing bool // what is queued is sent if there is a stream, then it ends
	given     bool // up: what it has goes back
	carrier   carrier
	dialing   bool
}

// Send implements route.Remote.
func (s *Server) Send(st *stanza.Stanza) error {
	p := pair{st.From.Domain(), st.To.Domain()}
	if err := s.permitted(p.to); err != nil {
		return err
	}
	st = st.Copy() // serialised here, and the original is others' to read
	e := entry{st, st.Whole(), time.Now()}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.links[p]
	if l == nil && s.streams[p.to] >= maxLinksTo {
		return stanza.ErrResourceConstraint.With("Too many domains here speak with " + p.to + ".")
	}
	if l == nil && s.given[p] {
		return errStopping
	}
	if !l.busy() {
		if err := s.mayBegin(p, e.at); err != nil {
			return err
		}
	}
	if l == nil {
		l = &link{s: s, pair: p.clone(), wake: make(chan struct{}, 1)}
		s.links[l.pair] = l
		s.streams[l.to]++
		s.linked.Go(l.run)
	}
	return l.push(e)
}

// busy reports whether there is a stream, or an attempt under way.
func (l *link) busy() bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.carrier != nil || l.dialing
}

// mayBegin says whether a domain may be tried at all. s.mu is held.
func (s *Server) mayBegin(p pair, now time.Time) error {
	switch {
	case s.closing:
		return errStopping
	case len(s.links) >= maxLinks && s.links[p] == nil:
		return stanza.ErrResourceConstraint.With("The server speaks with too many others.")
	}
	if t := s.troubleWith(p, now); t != nil && t.open(now, s.config.Load().S2S.QueueAge) {
		return t.why
	}
	return nil
}

// push queues a stanza; what finds the queue full is sent back.
func (l *link) push(e entry) error {
	most := int(l.s.config.Load().S2S.Queue)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.finishing:
		return errStopping
	case l.bytes+len(e.bytes) > most && len(l.queue) > 0:
		return stanza.ErrResourceConstraint.With("Too much waits for " + l.to + " already.")
	}
	l.queue = append(l.queue, e)
	l.bytes += len(e.bytes)
	l.rouse()
	return nil
}

func (l *link) rouse() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run is the goroutine of the link.
func (l *link) run() {
	for {
		if c := l.reach(); c != nil {
			begun := time.Now()
			l.rest(l.pump(c), time.Since(begun))
		}
		if left, over := l.leave(); over {
			l.s.sendBack(left, errStopping)
			l.s.returning.Add(-1)
			return
		}
	}
}

// rest makes a pause behind a stream that has lost something, the longer the more of
// them there were: it may be what was sent that ends them.
func (l *link) rest(lost bool, lasted time.Duration) {
	if !lost || lasted >= maxWait {
		l.broken = 0
	}
	if lost {
		l.until = time.Now().Add(min(maxWait, firstWait<<min(l.broken, 16)))
		l.broken++
	}
}

// leave ends the link if there is nothing to be sent. What is left then goes back.
func (l *link) leave() (left []entry, over bool) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) > 0 && !l.finishing && l.s.ctx.Err() == nil {
		return nil, false
	}
	l.finishing = true // whoever holds it still queues nothing more
	delete(l.s.links, l.pair)
	if l.s.streams[l.to]--; l.s.streams[l.to] == 0 {
		delete(l.s.streams, l.to)
	}
	l.s.returning.Add(1)
	return l.queue, true
}

// reach returns a stream once there is one; nil when nothing waits for it any more.
func (l *link) reach() carrier {
	for waited := l.alone; ; {
		now := time.Now()
		l.expire(now)
		oldest, ok := l.oldest()
		if !ok {
			return nil
		}
		if err := l.s.foreign(l.to); err != nil { // since it was queued
			l.bounce(func(entry) bool { return true }, err)
			return nil
		}
		wait, pause := l.until.Sub(now), l.s.pause(l.pair, now)
		if wait <= 0 {
			if c := l.s.back(l.pair); c != nil {
				return c
			}
			if c := l.share(pause <= 0); c != nil {
				return c
			}
			if l.s.foreign(l.to) != nil { // since that was asked for
				continue
			}
		}
		if wait = max(wait, pause); wait > 0 {
			l.sleep(min(wait, l.untilTooOld(oldest)))
			continue
		}
		if attempt := l.s.underway(l.to); attempt != nil && !waited { // its stream may do
			waited = true
			l.await(attempt, oldest)
			continue
		}
		o, err := l.connect(oldest)
		if err == nil && l.s.permitted(l.to) == nil && o.allowed() {
			return o
		}
		if err == nil {
			l.setCarrier(nil)
			o.hangUp(stream.ErrPolicyViolation)
			continue
		}
		if l.s.ctx.Err() == nil {
			l.failed(err)
		}
	}
}

// connect begins a stream, which is the link's carrier from then on. What grows too old
// meanwhile does not wait for the outcome.
func (l *link) connect(oldest time.Time) (*outgoing, error) {
	defer l.s.attempting(l.to)()
	l.setDialing(true)
	defer l.setDialing(false)
	defer time.AfterFunc(l.untilTooOld(oldest), func() { l.expire(time.Now()) }).Stop()
	o, err := l.s.connect(l.pair)
	if err == nil {
		l.s.succeeded(l.pair)
		l.setCarrier(o)
	}
	return o, err
}

// await waits for somebody else's attempt, as long as what is queued may wait.
func (l *link) await(attempt <-chan struct{}, oldest time.Time) {
	l.setDialing(true)
	defer l.setDialing(false)
	t := time.NewTimer(l.untilTooOld(oldest))
	defer t.Stop()
	select {
	case <-attempt:
	case <-t.C:
	case <-l.s.ctx.Done():
	}
}

// untilTooOld is how long what was queued at a time may wait yet.
func (l *link) untilTooOld(at time.Time) time.Duration {
	return max(time.Until(at.Add(l.s.config.Load().S2S.QueueAge)), time.Millisecond)
}

// oldest returns when the first entry was queued; false if there is none to send.
func (l *link) oldest() (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 || l.finishing || l.s.ctx.Err() != nil {
		return time.Time{}, false
	}
	return l.queue[0].at, true
}

func (l *link) setDialing(on bool) {
	l.mu.Lock()
	l.dialing = on
	l.mu.Unlock()
}

// sleep waits for as long, or until the link is to end, or there is another way. (What
// is queued meanwhile wakes it, too.)
func (l *link) sleep(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.wake:
	case <-l.s.ctx.Done():
	}
}

// failed notes that there is no stream, and sends back what need not wait for one.
func (l *link) failed(err error) {
	v := judge(err)
	l.s.log.Info("no stream to another server", "from", l.from, "to", l.to, "error", err)
	l.s.failed(l.pair, v, err)
	if v.final {
		l.bounce(func(entry) bool { return true }, v.why)
		return
	}
	l.expire(time.Now())
}

// expire sends back what has waited for too long.
func (l *link) expire(now time.Time) {
	age := l.s.config.Load().S2S.QueueAge
	why := stanza.ErrRemoteServerTimeout
	if t := l.s.trouble(l.pair, now); t != nil {
		why = t.why
	}
	l.bounce(func(e entry) bool { return now.Sub(e.at) >= age }, why)
}

// bounce sends back entries.
func (l *link) bounce(which func(entry) bool, why error) {
	l.mu.Lock()
	var back, rest []entry
	for _, e := range l.queue {
		if which(e) {
			back = append(back, e)
			l.bytes -= len(e.bytes)
		} else {
			rest = append(rest, e)
		}
	}
	l.queue = rest
	l.mu.Unlock()
	l.s.sendBack(back, why)
}

// sendBack sends stanzas back to their senders.
func (s *Server) sendBack(entries []entry, why error) {
	s.counts.bounced.Add(int64(len(entries)))
	for _, e := range entries {
		s.router.Bounce(e.st, why)
	}
}

// batchBytes is how much is written at once.
const batchBytes = 64 << 10

// next takes what is written next, and apart from it what is larger than most, unless
// that is 0.
func (l *link) next(most int) (batch, large []entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	size, n := 0, 0
	for _, e := range l.queue {
		if size > 0 && size+len(e.bytes) > batchBytes {
			break
		}
		n++
		l.bytes -= len(e.bytes)
		if most > 0 && len(e.bytes) > most {
			large = append(large, e)
			continue
		}
		size += len(e.bytes)
		batch = append(batch, e)
	}
	if n == len(l.queue) {
		l.queue = nil
	} else {
		l.queue = l.queue[n:]
	}
	l.taken = n
	return batch, large
}

// again puts entries in front of the queue. It reports whether there were any.
func (l *link) again(entries []entry) bool {
	if len(entries) == 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = append(entries, l.queue...)
	for _, e := range entries {
		l.bytes += len(e.bytes)
	}
	return true
}

// pump sends what is queued, until the stream ends or is not needed any more. It
// reports whether something has to be sent again.
func (l *link) pump(c carrier) (lost bool) {
	l.setCarrier(c)
	defer l.setCarrier(nil)
	idle := l.s.config.Load().S2S.Idle
	timer := time.NewTimer(idle)
	defer timer.Stop()
	for {
		batch, large := l.next(c.largest())
		l.refuse(large, c.largest())
		if len(batch) > 0 {
			if err := c.write(batch); err != nil {
				c.hangUp(err)
				<-c.ended()
				return l.again(c.lost())
			}
			l.s.counts.sent.Add(int64(len(batch)))
			continue
		}
		if len(large) > 0 {
			continue // there may be more
		}
		switch finishing, given := l.isFinishing(); {
		case given && c.unsettled() > 0: // who has given it up may not have known of this stream
			c.hangUp(stream.ErrConnectionTimeout)
			<-c.ended()
			return l.again(c.lost())
		case finishing: // others may need the stream
			return false
		}
		select {
		case <-l.wake:
		case <-c.ended():
			return l.again(c.lost())
		case <-timer.C:
			// It may be busy the other way, or for other domains.
			if left := idle - time.Since(c.used()); left > 0 {
				timer.Reset(left)
				continue
			}
			c.hangUp(nil)
			<-c.ended()
			return l.again(c.lost())
		case <-l.s.ctx.Done():
			c.hangUp(stream.ErrSystemShutdown)
			<-c.ended()
			return false
		}
	}
}

func (l *link) setCarrier(c carrier) {
	l.mu.Lock()
	l.carrier = c
	if c == nil {
		l.taken = 0
	}
	l.mu.Unlock()
}

func (l *link) isFinishing() (finishing, given bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.finishing, l.given
}
