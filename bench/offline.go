package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/stanza"
	"kith/xmpp/xmltree"
)

// Offline writes to accounts that are away, and then logs them in.
type Offline struct {
	Repeats
	Senders   int           `help:"How many accounts write." default:"10" group:"Load"`
	Receivers int           `help:"How many others are written to while they are away. None of them may be logged in elsewhere." default:"20" group:"Load"`
	Messages  int           `help:"How many messages in all." default:"2000" group:"Load"`
	Body      int           `help:"Bytes of a message's text; at least 32." default:"100" group:"Load"`
	Patience  time.Duration `help:"How long after the last message the rest is given up." default:"5s" group:"Measurement"`
}

// Check implements Scenario.
func (b Offline) Check() error {
	if b.Patience <= 0 {
		return errors.New("--patience must be more than 0")
	}
	return errors.Join(b.check(), atLeast(1, "--senders", b.Senders), atLeast(1, "--receivers", b.Receivers),
		atLeast(b.Receivers, "--messages", b.Messages), atLeast(stampLength, "--body", b.Body))
}

func (Offline) name() string { return "offline" }

func (b Offline) settings() string {
	return fmt.Sprintf("%d messages for %d accounts, bodies of %d bytes", b.each()*b.Receivers, b.Receivers, b.Body)
}

// each is how many messages each receiver gets.
func (b Offline) each() int { return b.Messages / b.Receivers }

// chunk is how many messages are sent before an answer is waited for.
const chunk = 50

func (b Offline) run(ctx context.Context, r *run) error {
	senders, err := r.login(ctx, 0, b.Senders, features{})
	if err != nil {
		return err
	}
	stamps := newStamps()
	// What waits from before is nobody's measurement.
	if _, err := b.fetch(ctx, r, func(xmltree.Element) bool { return false }, 0); err != nil {
		return err
	}
	for i := range b.Repetitions {
		r.progress("storing, %d of %d", i+1, b.Repetitions)
		f := Figures{}
		if err := b.store(ctx, r, senders, stamps, &f); err != nil {
			return err
		}
		r.progress("fetching, %d of %d", i+1, b.Repetitions)
		before := r.read()
		got, err := b.fetch(ctx, r, func(el xmltree.Element) bool {
			_, ok := stamps.read(el.Child(nameBody).Text())
			return ok
		}, b.each())
		if err != nil {
			return err
		}
		n := float64(max(got, 1))
		spent := r.read().since(before)
		took := spent.at.Sub(before.at)
		f.add("fetch_per_s", "fetched/s, with the log-ins", n/took.Seconds())
		if r.server.known() {
			f.add("fetch_server_cpu_us", "  server CPU each, µs", micros(spent.server.cpu, n))
		}
		f.add("fetch_gen_cpu_us", "  generator CPU each, µs", micros(spent.own, n))
		f.add("missing", "messages that did not come", float64(b.each()*b.Receivers-got))
		r.used(&f, spent, took)
		r.report.Repetitions = append(r.report.Repetitions, f)
	}
	return nil
}

// store sends the messages, and waits until the server has taken them: stanzas
// of one stream are handled in order (RFC 6120 §10.1), so the answer to a ping
// behind them says so.
func (b Offline) store(ctx context.Context, r *run, senders []*session, stamps stamps, f *Figures) error {
	messages := make([]template, b.Receivers)
	for i := range messages {
		to, err := r.o.account(r.o.First + b.Senders + i)
		if err != nil {
			return err
		}
		messages[i] = stamps.message(to, b.Body)
	}
	m := new(meter)
	latency := new(histogram)
	total := b.each() * b.Receivers
	var next atomic.Int64
	before := r.read()
	err := parallel(ctx, len(senders), len(senders), func(i int) error {
		for {
			var out []byte
			for range chunk {
				k := int(next.Add(1) - 1)
				if k >= total {
					break
				}
				out = messages[k%b.Receivers].append(out, time.Now(), uint32(k))
			}
			if len(out) == 0 {
				return nil
			}
			begun := time.Now()
			if err := senders[i].write(out); err != nil {
				return err
			}
			if err := senders[i].flush(ctx, m); err != nil {
				return err
			}
			latency.add(time.Since(begun))
		}
	})
	if err != nil {
		return err
	}
	// The server may still be writing.
	took := time.Since(before.at)
	if err := r.wait(ctx, 500*time.Millisecond, "letting the server finish"); err != nil {
		return err
	}
	spent := r.read().since(before)
	n := float64(total)
	f.add("store_per_s", "stored/s", n/took.Seconds())
	if r.server.known() {
		f.add("store_server_cpu_us", "  server CPU each, µs", micros(spent.server.cpu, n))
	}
	f.add("store_gen_cpu_us", "  generator CPU each, µs", micros(spent.own, n))
	f.add("store_p50_ms", fmt.Sprintf("  %d are taken within, p50, ms", chunk), millis(latency.quantile(0.5)))
	f.add("store_p99_ms", fmt.Sprintf("  %d are taken within, p99, ms", chunk), millis(latency.quantile(0.99)))
	f.add("errors", "  errors", float64(m.errors.Load()))
	return nil
}

// flush waits until the server has handled what was sent before.
func (s *session) flush(ctx context.Context, m *meter) error {
	_, err := s.ask(ctx, stanza.Get, s.account.Host(), bare(namePing), func(el xmltree.Element) { s.r.bounced(m, el) })
	if _, ok := errors.AsType[*stanza.Error](err); ok {
		return nil // an error is an answer too
	}
	return err
}

// fetch logs the receivers in until each has got so many messages that are
// wanted, and returns how many came in all.
func (b Offline) fetch(ctx context.Context, r *run, wanted func(xmltree.Element) bool, each int) (int, error) {
	var got atomic.Int64
	err := parallel(ctx, b.Receivers, r.o.Concurrency, func(i int) error {
		s, err := r.connect(ctx, r.o.First+b.Senders+i, stageFull, features{})
		if err != nil {
			return err
		}
		defer s.close()
		if each == 0 {
			// What waits is sent before a request behind the presence is answered,
			// or soon after.
			_, err := s.ask(ctx, stanza.Get, jid.JID{}, bare(namePing), nil)
			if _, ok := errors.AsType[*stanza.Error](err); ok || err == nil {
				return s.drain(ctx, b.Patience/10, nil)
			}
			return err
		}
		n := 0
		err = s.drain(ctx, b.Patience, func(el xmltree.Element) bool {
			if stanza.KindOf(el) == stanza.Message && wanted(el) {
				n++
			}
			return n >= each
		})
		got.Add(int64(n))
		return err
	})
	return int(got.Load()), err
}

// drain reads until enough says so, or nothing has come for some time.
func (s *session) drain(ctx context.Context, patience time.Duration, enough func(xmltree.Element) bool) error {
	stop := context.AfterFunc(ctx, func() {
		s.conn.SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // a connection that is gone needs none
	})
	defer stop()
	for {
		if err := s.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		el, err := s.next()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return err
		}
		if s.mine(el) && enough != nil && enough(el) {
			return nil
		}
	}
}
