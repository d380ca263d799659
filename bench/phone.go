package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/roster"
	"kith/xmpp/xmltree"
)

// Phone is a day of a mobile client that is mostly in a pocket (XEP-0352), in
// little time.
type Phone struct {
	Contacts int           `help:"How many contacts the phone's owner has. They are made contacts first, unless they are. With the owner, before them, and two strangers, behind them, these are the accounts." default:"200" group:"Load"`
	Seed     uint64        `help:"Which day it is: the same seed is the same day, whatever the server." default:"1" group:"Load"`
	Day      time.Duration `help:"How long the 24 hours take." default:"4m" group:"Load"`
	Days     int           `name:"repetitions" help:"How many such days are measured; the medians are told." default:"1" group:"Measurement"`
	Tail     time.Duration `help:"How long the phone's modem stays awake after the last byte, in the time of that day; what comes later wakes it up." default:"11s" group:"Measurement"`
}

// Check implements Scenario.
func (b Phone) Check() error {
	if b.Day < time.Second || b.Tail < time.Second || b.Tail > time.Hour {
		return errors.New("--day must not be below 1s, --tail be from 1s to 1h")
	}
	return errors.Join(atLeast(1, "--repetitions", b.Days), atLeast(10, "--contacts", b.Contacts))
}

// scale turns time of the day into time of the measurement.
func (b Phone) scale(t time.Duration) time.Duration {
	return time.Duration(float64(t) * float64(b.Day) / float64(wholeDay))
}

func (Phone) name() string { return "phone" }

func (b Phone) settings() string {
	return fmt.Sprintf("a day (seed %d) in %s, %d contacts, modem asleep after %s", b.Seed, b.Day, b.Contacts, b.Tail)
}

func (b Phone) run(ctx context.Context, r *run) error {
	if err := b.befriend(ctx, r); err != nil {
		return err
	}
	p := &pocket{b: b, r: r, stamps: newStamps(), radio: &radio{tail: b.scale(b.Tail)}}
	if err := p.login(ctx); err != nil {
		return err
	}
	events := trace(b.Seed, b.Contacts)
	for i := range b.Days {
		if err := r.quiet(ctx); err != nil {
			return err
		}
		p.seen = newTally(p.stamps, p.owner, b.Contacts)
		p.phone.seen.Store(p.seen)
		before, air := r.read(), p.radio.read()
		plain := p.phone.plain.Load()
		if err := p.live(ctx, events, fmt.Sprintf("living a day, %d of %d", i+1, b.Days)); err != nil {
			return err
		}
		day := r.read().since(before)
		// What the phone gets when it is looked at in the end belongs to the day.
		if err := errors.Join(p.look(true), r.quiet(ctx)); err != nil {
			return err
		}
		f := Figures{}
		f.add("seconds", "seconds", day.at.Sub(before.at).Seconds())
		p.radio.read().since(air).figures(&f, b.Day)
		f.add("state_indication", "XEP-0352 is offered", map[bool]float64{true: 1}[p.phone.csi])
		f.add("plain_bytes", "bytes of XML", float64(p.phone.plain.Load()-plain))
		p.seen.figures(&f)
		f.add("generator_lag_max_ms", "generator late by at most, ms", millis(time.Duration(p.m.lag.Load())))
		r.used(&f, day, day.at.Sub(before.at))
		r.report.Repetitions = append(r.report.Repetitions, f)
		if err := p.refuse(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (a airtime) figures(f *Figures, day time.Duration) {
	hours := func(t time.Duration) float64 { return 24 * float64(t) / float64(day) }
	f.add("wakeups", "times the modem was woken", float64(a.wakes))
	f.add("wakeups_in_pocket", "  of these while nobody looked", float64(a.pocketed))
	f.add("wakeups_own", "times the phone itself woke it", float64(a.own))
	f.add("awake_hours", "hours that the modem was awake", hours(a.awake))
	f.add("awake_hours_in_pocket", "  of these while nobody looked", hours(a.dozing))
	f.add("tls_records", "TLS records", float64(a.records))
	f.add("wire_bytes", "bytes on the wire", float64(a.bytes))
	f.add("wire_bytes_in_pocket", "  of these while nobody looked", float64(a.pocketedBytes))
}

// befriend makes everybody a contact of the owner who is not.
func (b Phone) befriend(ctx context.Context, r *run) error {
	missing, err := b.missing(ctx, r)
	if err != nil || len(missing) == 0 {
		return err
	}
	owner, err := r.connect(ctx, r.o.First, stageFull, features{})
	if err != nil {
		return err
	}
	// The contacts ask first, the owner grants that and asks back.
	c := &circle{b: Presence{Accounts: b.Contacts + 1, Contacts: 2 * b.Contacts}, index: map[jid.JID]int{owner.account: 0}}
	all := []*session{owner}
	for _, n := range missing {
		s, err := r.connect(ctx, r.o.First+n, stageFull, features{})
		if err != nil {
			return err
		}
		c.index[s.account] = n
		all = append(all, s)
	}
	for _, s := range all { // the index is complete
		s.listen(func(el xmltree.Element) { c.grant(s, el, func(int) bool { return s == owner }) }, nil)
	}
	for i, s := range all[1:] {
		if err := s.send(stanza.New(stanza.Presence, stanza.Subscribe, jid.JID{}, owner.account)); err != nil {
			return fmt.Errorf("subscribe to %s: %w", owner.account, err)
		}
		if err := c.wait(ctx, r, 2*(i-chunk), len(missing)); err != nil {
			return err
		}
	}
	if err := errors.Join(c.wait(ctx, r, 2*len(missing), len(missing)), r.quiet(ctx)); err != nil {
		return err
	}
	r.close(all)
	if missing, err = b.missing(ctx, r); err == nil && len(missing) > 0 {
		err = fmt.Errorf("%d of the contacts' subscriptions were not made; use other accounts, with --first", len(missing))
	}
	return err
}

// missing returns the numbers of those who are no contacts of the owner.
func (b Phone) missing(ctx context.Context, r *run) (list []int, err error) {
	s, err := r.connect(ctx, r.o.First, stageBind, features{})
	if err != nil {
		return nil, err
	}
	defer s.close()
	both, err := s.friends(ctx)
	if err != nil {
		return nil, err
	}
	for n := 1; n <= b.Contacts; n++ {
		account, err := r.o.account(r.o.First + n)
		if err != nil {
			return nil, err
		}
		if !both[account] {
			list = append(list, n)
		}
	}
	return list, nil
}

// friends are those whose presence a session's account sees, and they its own.
func (s *session) friends(ctx context.Context) (map[jid.JID]bool, error) {
	reply, err := s.ask(ctx, stanza.Get, jid.JID{}, &roster.Query{}, nil)
	if err != nil {
		return nil, fmt.Errorf("fetch the roster of %s: %w", s.account, err)
	}
	list, err := roster.Parse(reply.Payload())
	if err != nil {
		return nil, fmt.Errorf("fetch the roster of %s: %w", s.account, err)
	}
	have := map[jid.JID]bool{}
	for _, item := range list.Items {
		if item.Subscription == roster.Both {
			have[item.JID.Clone()] = true
		}
	}
	return have, nil
}

// login connects all devices. None but the owner's is available yet.
func (p *pocket) login(ctx context.Context) (err error) {
	r, first := p.r, p.r.o.First
	if p.owner, err = r.o.account(first); err != nil {
		return err
	}
	through := func(c net.Conn) net.Conn {
		p.radio.Conn = c
		return p.radio
	}
	if p.laptop, err = r.connect(ctx, first, stageFull, features{resource: "laptop", carbons: true}); err != nil {
		return err
	}
	p.laptop.listen(nil, nil)
	n := p.b.Contacts + strangers
	p.contacts = make([][2]*session, n)
	if err := parallel(ctx, n, r.o.Concurrency, func(i int) error {
		devices := 1
		if i < p.b.Contacts && second(i) {
			devices = 2
		}
		for k := range devices {
			s, err := r.connect(ctx, first+1+i, stageBind, features{resource: [2]string{resource, "second"}[k]})
			if err != nil {
				return err
			}
			s.listen(nil, nil)
			p.contacts[i][k] = s
		}
		r.progress("logging in")
		return nil
	}); err != nil {
		return err
	}
	want := features{resource: "phone", carbons: true, management: true, resume: true, through: through}
	s, err := r.connect(ctx, first, stageFull, want)
	if err != nil {
		return err
	}
	p.phone.session = s
	s.heed = p.phone.heed
	s.listen(nil, nil)
	return p.look(false)
}
