package bench

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/stanza"
	"kith/xmpp/xmltree"
)

// Chat has pairs of accounts of which one writes to the other.
type Chat struct {
	Loop
	Phases
	Pairs   int  `help:"How many pairs; each takes two accounts." default:"50" group:"Load"`
	Body    int  `help:"Bytes of a message's text; at least 32, which say when it was due." default:"100" group:"Load"`
	Sm      bool `name:"sm" help:"With stream management (XEP-0198): the server asks for acknowledgements and gets them." group:"Load"`
	Resume  bool `name:"sm-resume" help:"With stream management that can be resumed." group:"Load"`
	Carbons bool `name:"carbons" help:"With carbons enabled (XEP-0280)." group:"Load"`
}

// Check implements Scenario.
func (b Chat) Check() error {
	if err := errors.Join(b.Loop.check(), b.Phases.check()); err != nil {
		return err
	}
	if err := atLeast(stampLength, "--body", b.Body); err != nil {
		return err
	}
	return atLeast(1, "--pairs", b.Pairs)
}

func (Chat) name() string { return "chat" }

func (b Chat) settings() string {
	s := fmt.Sprintf("%d pairs, %s in each", b.Pairs, b.Loop)
	if b.Rate > 0 {
		s = fmt.Sprintf("%d pairs, %s in all", b.Pairs, b.Loop)
	}
	s += fmt.Sprintf(", bodies of %d bytes", b.Body)
	for _, f := range []struct {
		on   bool
		text string
	}{{b.Sm || b.Resume, ", XEP-0198"}, {b.Resume, " with resumption"}, {b.Carbons, ", carbons"}} {
		if f.on {
			s += f.text
		}
	}
	return s
}

func (b Chat) run(ctx context.Context, r *run) error {
	want := features{management: b.Sm || b.Resume, resume: b.Resume, carbons: b.Carbons}
	sessions, err := r.login(ctx, 0, 2*b.Pairs, want)
	if err != nil {
		return err
	}
	ends := make([][2]*session, b.Pairs)
	for i := range ends {
		ends[i] = [2]*session{sessions[2*i], sessions[2*i+1]}
	}
	return b.talk(ctx, r, ends)
}

// talk has the first of each two write to the second.
func (b Chat) talk(ctx context.Context, r *run, ends [][2]*session) error {
	if err := r.quiet(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var m meter
	stamps := newStamps()
	pairs := make([]*pair, len(ends))
	for i := range pairs {
		p := &pair{r: r, m: &m, stamps: stamps, from: ends[i][0], to: ends[i][1]}
		p.message = stamps.message(p.to.account, b.Body)
		p.closed.Store(b.Rate == 0)
		pairs[i] = p
		p.from.listen(p.sender, nil)
		p.to.listen(p.receive, p.idle)
	}
	if b.Rate == 0 {
		for _, p := range pairs {
			p.start(b.Window)
		}
	}
	var wait func()
	if b.Rate > 0 {
		wait = background(func() {
			m.pace(ctx, b.Rate, func(n int64, due time.Time) { pairs[n%int64(len(pairs))].sendDue(due) })
		})
	}
	err := r.measure(ctx, b.Phases, b.Loop, &m, nil)
	cancel()
	if wait != nil {
		wait()
	}
	for _, p := range pairs {
		p.closed.Store(false)
	}
	// What is under way comes before the sessions end, or else it would wait
	// for the next log-in.
	return errors.Join(err, r.quiet(context.WithoutCancel(ctx)))
}

// background runs f in a goroutine; wait waits for its end.
func background(f func()) (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	return func() { <-done }
}

// message is a chat message with a text of n bytes.
func (s stamps) message(to jid.JID, n int) template {
	st := stanza.New(stanza.Message, stanza.Chat, jid.JID{}, to, words{nameBody, s.words(n)})
	st.ID = s.blank()
	return s.template(st)
}

// pair is two accounts of which one writes to the other.
type pair struct {
	r        *run
	m        *meter
	stamps   stamps
	from, to *session
	message  template
	closed   atomic.Bool // each that comes is followed by one that is sent

	// Of whoever sends: to's reader in a closed loop, the pacer in an open one.
	buffer []byte
	count  uint32

	arrived int // the reader's: since anything was sent
}

// start sends the first n messages. As soon as they are out the reader may send,
// so nothing of the pair's is touched any more.
func (p *pair) start(n int) {
	var b []byte
	now := time.Now()
	for range n {
		p.count++
		b = p.message.append(b, now, p.count)
	}
	p.flush(b)
}

// send sends n messages in one write.
func (p *pair) send(n int) {
	now := time.Now()
	p.buffer = p.buffer[:0]
	for range n {
		p.count++
		p.buffer = p.message.append(p.buffer, now, p.count)
	}
	p.flush(p.buffer)
}

// sendDue sends the message that was due at a time.
func (p *pair) sendDue(at time.Time) {
	p.count++
	p.buffer = p.message.append(p.buffer[:0], at, p.count)
	p.flush(p.buffer)
}

func (p *pair) flush(b []byte) {
	if err := p.from.write(b); err != nil {
		p.m.errors.Add(1)
		p.r.remember(fmt.Errorf("write to %s: %w", p.to.account, err))
	}
}

// sender looks at what comes to the one who writes: errors.
func (p *pair) sender(el xmltree.Element) { p.r.bounced(p.m, el) }

// bounced counts a stanza of type error, and keeps the first.
func (r *run) bounced(m *meter, el xmltree.Element) bool {
	if el.Attr("type") != stanza.TypeError {
		return false
	}
	m.errors.Add(1)
	if st, err := stanza.Parse(el); err == nil {
		r.remember(fmt.Errorf("from %s came: %w", st.From, stanza.ErrorOf(st)))
	}
	return true
}

func (p *pair) receive(el xmltree.Element) {
	if stanza.KindOf(el) != stanza.Message || p.r.bounced(p.m, el) {
		return
	}
	if due, ok := p.stamps.read(el.Child(nameBody).Text()); ok {
		p.m.deliver(due)
		p.arrived++
	}
}

// idle sends as many as have come.
func (p *pair) idle() {
	n := p.arrived
	p.arrived = 0
	if n > 0 && p.closed.Load() {
		p.send(n)
	}
}
