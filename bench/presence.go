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

// Presence has accounts that see each other change their presence.
type Presence struct {
	Loop
	Phases
	Accounts int `help:"How many accounts." default:"100" group:"Load"`
	Contacts int `help:"How many of the others each is subscribed to, both ways; an even number below that of accounts. They are made contacts first, unless they are." default:"20" group:"Load"`
}

// Check implements Scenario.
func (b Presence) Check() error {
	if err := errors.Join(b.Loop.check(), b.Phases.check(), atLeast(3, "--accounts", b.Accounts), atLeast(2, "--contacts", b.Contacts)); err != nil {
		return err
	}
	if b.Contacts%2 != 0 || b.Contacts >= b.Accounts {
		return fmt.Errorf("--contacts=%d has to be even, and below --accounts=%d", b.Contacts, b.Accounts)
	}
	return nil
}

func (Presence) name() string { return "presence" }

func (b Presence) settings() string {
	return fmt.Sprintf("%d accounts with %d contacts each, changes: %s", b.Accounts, b.Contacts, b.Loop)
}

func (b Presence) run(ctx context.Context, r *run) error {
	if err := b.befriend(ctx, r); err != nil {
		return err
	}
	sessions, err := r.login(ctx, 0, b.Accounts, features{})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &wave{stamps: newStamps(), sessions: sessions, r: r}
	w.template = w.stamps.template(stanza.New(stanza.Presence, "", jid.JID{}, jid.JID{}, words{nameStatus, w.stamps.blank()}))
	for _, s := range sessions {
		s.listen(w.receive, nil)
	}
	if err := r.quiet(ctx); err != nil {
		return err
	}
	// How many see a change: the contacts, and most servers send it to the
	// account's own sessions (RFC 6121 §4.4.2).
	w.send(time.Now())
	if err := r.wait(ctx, 1500*time.Millisecond, "counting who sees a change"); err != nil {
		return err
	}
	fanOut := w.m.got.Load()
	if fanOut < int64(b.Contacts) {
		return errors.Join(fmt.Errorf("a change of presence reached %d sessions, want at least %d", fanOut, b.Contacts), r.trouble())
	}
	w.fanOut.Store(fanOut)
	w.m.got.Store(0)
	wait := func() {}
	if b.Rate > 0 {
		wait = background(func() { w.m.pace(ctx, b.Rate, func(_ int64, due time.Time) { w.send(due) }) })
	} else {
		w.closed.Store(true)
		for range b.Window {
			w.send(time.Now())
		}
	}
	err = r.measure(ctx, b.Phases, b.Loop, &w.m, func(f *Figures, n, seconds float64) {
		f.add("changes_per_s", "changes/s", n/float64(fanOut)/seconds)
		f.add("fan_out", "sessions that see a change", float64(fanOut))
	})
	cancel()
	wait()
	w.closed.Store(false)
	return errors.Join(err, r.quiet(context.WithoutCancel(ctx)))
}

// wave is changes of presence under way.
type wave struct {
	r        *run
	m        meter
	stamps   stamps
	template template
	sessions []*session
	turn     atomic.Int64
	fanOut   atomic.Int64
	closed   atomic.Bool // when all have seen one, the next is sent
}

// send changes the presence of the next account in turn.
func (w *wave) send(due time.Time) {
	n := w.turn.Add(1)
	s := w.sessions[int(n)%len(w.sessions)]
	if err := s.write(w.template.append(nil, due, uint32(n))); err != nil {
		w.m.errors.Add(1)
		w.r.remember(fmt.Errorf("presence of %s: %w", s.account, err))
	}
}

func (w *wave) receive(el xmltree.Element) {
	if stanza.KindOf(el) != stanza.Presence {
		return
	}
	due, ok := w.stamps.read(el.Child(nameStatus).Text())
	if !ok {
		return
	}
	w.m.latency.add(time.Since(due))
	n := w.m.got.Add(1)
	if w.closed.Load() && n%w.fanOut.Load() == 0 {
		w.send(time.Now())
	}
}

// befriend subscribes the accounts to each other as far as they are not.
func (b Presence) befriend(ctx context.Context, r *run) error {
	missing, err := b.missing(ctx, r)
	if err != nil || len(missing) == 0 {
		return err
	}
	sessions, err := r.login(ctx, 0, b.Accounts, features{})
	if err != nil {
		return err
	}
	c := &circle{b: b, index: map[jid.JID]int{}}
	for i, s := range sessions {
		c.index[s.account] = i
	}
	for _, s := range sessions {
		s.listen(func(el xmltree.Element) { c.answer(s, el) }, nil)
	}
	for i, pair := range missing {
		to := sessions[pair[1]].account
		if err := sessions[pair[0]].send(stanza.New(stanza.Presence, stanza.Subscribe, jid.JID{}, to)); err != nil {
			return fmt.Errorf("subscribe to %s: %w", to, err)
		}
		// Neither the server nor the clients are given more at once than they can
		// have in their queues.
		if err := c.wait(ctx, r, 2*(i-chunk), len(missing)); err != nil {
			return err
		}
	}
	if err := c.wait(ctx, r, 2*len(missing), len(missing)); err != nil {
		return err
	}
	if err := r.quiet(ctx); err != nil {
		return err
	}
	r.close(sessions) // looking and measuring is done by others, of the same names
	missing, err = b.missing(ctx, r)
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("%d of the accounts' subscriptions were not made; use others, with --first", len(missing))
	}
	return err
}

// circle makes contacts of accounts on a ring: each asks those behind it, who
// grant that and then ask back. So no two requests cross.
type circle struct {
	b       Presence
	index   map[jid.JID]int
	granted atomic.Int64
}

// asks reports whether account i is the one who asks j first.
func (c *circle) asks(i, j int) bool {
	return (j-i+c.b.Accounts)%c.b.Accounts <= c.b.Contacts/2
}

// answer answers what comes to a session on the ring.
func (c *circle) answer(s *session, el xmltree.Element) {
	c.grant(s, el, func(other int) bool { return c.asks(other, c.index[s.account]) })
}

// grant grants what those ask who are known, and asks back where back says so.
func (c *circle) grant(s *session, el xmltree.Element, back func(other int) bool) {
	st, err := stanza.Parse(el)
	if err != nil || st.Kind != stanza.Presence {
		return
	}
	from := st.From.Bare().Clone()
	other, known := c.index[from]
	switch {
	case st.Type == stanza.Subscribed:
		c.granted.Add(1)
	case st.Type == stanza.Subscribe && known:
		err = s.send(stanza.New(stanza.Presence, stanza.Subscribed, jid.JID{}, from))
		if err == nil && back(other) {
			err = s.send(stanza.New(stanza.Presence, stanza.Subscribe, jid.JID{}, from))
		}
	}
	if err != nil {
		s.r.remember(fmt.Errorf("subscriptions of %s: %w", s.account, err))
	}
}

// wait waits until so many subscriptions are granted, as long as there are ever
// more of them.
func (c *circle) wait(ctx context.Context, r *run, n, pairs int) error {
	const step = 20 * time.Millisecond
	last, since := c.granted.Load(), time.Now()
	for last < int64(n) {
		if err := r.wait(ctx, step, fmt.Sprintf("making contacts, %d of %d", last/2, pairs)); err != nil {
			return err
		}
		if now := c.granted.Load(); now > last {
			last, since = now, time.Now()
		}
		if time.Since(since) > r.o.Timeout {
			return errors.Join(fmt.Errorf("%d of %d pairs were subscribed, and then no more within --timeout; use other accounts, with --first", last/2, pairs), r.trouble())
		}
	}
	return nil
}

// missing returns the pairs that are not subscribed both ways, each once.
func (b Presence) missing(ctx context.Context, r *run) ([][2]int, error) {
	have := make([]map[jid.JID]bool, b.Accounts)
	accounts := make([]jid.JID, b.Accounts)
	var looked atomic.Int64
	err := parallel(ctx, b.Accounts, r.o.Concurrency, func(i int) error {
		s, err := r.connect(ctx, r.o.First+i, stageBind, features{})
		if err != nil {
			return err
		}
		defer s.close()
		accounts[i] = s.account
		if have[i], err = s.friends(ctx); err != nil {
			return err
		}
		r.progress("looking at contacts, %d of %d", looked.Add(1), b.Accounts)
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out [][2]int
	for i := range b.Accounts {
		for d := 1; d <= b.Contacts/2; d++ {
			if j := (i + d) % b.Accounts; !have[i][accounts[j]] || !have[j][accounts[i]] {
				out = append(out, [2]int{i, j})
			}
		}
	}
	return out, nil
}
