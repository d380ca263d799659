package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"kith/xmpp/sasl"
)

// climb brings connections to one stage, so many for each repetition.
type climb struct {
	Manner
	name  string
	to    stage
	count int
	pause time.Duration
	// before, if it is not nil, is called before the time runs; what it costs the
	// server counts.
	before func(ctx context.Context) error
	up     func(ctx context.Context, i int) (*session, error)
	after  func(i int, s *session) // with each that is up
}

// wave brings all up once.
func (c climb) wave(ctx context.Context, r *run, what string) (*histogram, float64, error) {
	latency := new(histogram)
	var up, trips atomic.Int64
	err := parallel(ctx, c.count, r.o.Concurrency, func(i int) error {
		begun := time.Now()
		s, err := c.up(ctx, i)
		if err != nil {
			return err
		}
		latency.add(time.Since(begun))
		trips.Add(int64(s.trips))
		c.after(i, s)
		r.progress("%s: %d of %d", what, up.Add(1), c.count)
		return nil
	})
	return latency, per(float64(trips.Load()), float64(up.Load())), err
}

// measure adds the figures of the stage to f. below is the CPU time in
// milliseconds of the stage before; it returns its own.
func (c climb) measure(ctx context.Context, r *run, what string, f *Figures, below float64) (float64, error) {
	if err := r.wait(ctx, c.pause, "pausing"); err != nil {
		return 0, err
	}
	before := r.read()
	if c.before != nil {
		if err := c.before(ctx); err != nil {
			return 0, err
		}
	}
	begun := time.Now()
	latency, trips, err := c.wave(ctx, r, what)
	if err != nil {
		return 0, err
	}
	took := time.Since(begun)
	if err := r.wait(ctx, c.pause, "pausing"); err != nil {
		return 0, err
	}
	spent := r.read().since(before)
	n := float64(c.count)
	f.add(c.name+"_per_s", c.name+": per second", n/took.Seconds())
	ms := millisPer(spent.server.cpu, n)
	if r.server.known() {
		f.add(c.name+"_server_cpu_ms", "  server CPU each, ms", ms)
		f.add(c.name+"_server_cpu_ms_added", "  more than the stage before, ms", ms-below)
	}
	f.add(c.name+"_gen_cpu_ms", "  generator CPU each, ms", millisPer(spent.own, n))
	f.add(c.name+"_p50_ms", "  latency p50, ms", millis(latency.quantile(0.5)))
	f.add(c.name+"_p99_ms", "  latency p99, ms", millis(latency.quantile(0.99)))
	if c.to > stageTLS {
		f.add(c.name+"_round_trips", "  round trips after TLS", trips)
	}
	f.add(c.name+"_bytes_in", "  bytes received", float64(spent.in)/n)
	f.add(c.name+"_bytes_out", "  bytes sent", float64(spent.out)/n)
	return ms, nil
}

// visit is a climb to a stage from which each goes away at once.
func (r *run) visit(m Manner, to stage, count int, pause time.Duration) climb {
	c := climb{Manner: m, name: stageNames()[to], to: to, count: count, pause: pause}
	c.up = func(ctx context.Context, i int) (*session, error) {
		return r.connect(ctx, r.o.First+i, to, features{profile: m.Profile})
	}
	c.after = func(_ int, s *session) { s.close() }
	return c
}

// proved has those who come up with a password or by a new session of TLS, although
// they should have a token or a ticket by now, be an error.
func (c climb) proved() climb {
	up := c.up
	c.up = func(ctx context.Context, i int) (*session, error) {
		s, err := up(ctx, i)
		switch {
		case err != nil:
			return nil, err
		case c.Profile == profileFast && c.to >= stageSASL && !sasl.IsToken(s.state.Mechanism):
			err = errNoToken
		case c.Tickets && c.to >= stageTLS && (!s.conn.Secure() || !s.conn.TLS().DidResume):
			err = errNoTicket
		default:
			return s, nil
		}
		s.close()
		return nil, err
	}
	return c
}

// repeat measures the stages one after the other, as often as it is wanted.
func (r *run) repeat(ctx context.Context, times int, stages []climb) error {
	for i := range times {
		f := Figures{}
		below := 0.0
		for _, c := range stages {
			var err error
			if below, err = c.proved().measure(ctx, r, fmt.Sprintf("%s, %d of %d", c.name, i+1, times), &f, below); err != nil {
				return err
			}
		}
		f.add("yardstick_ms", "yardstick, ms", millis(yardstick()))
		r.report.Repetitions = append(r.report.Repetitions, f)
	}
	return nil
}

// checkStages returns what is wrong with names of stages.
func checkStages(chosen, known []string) error {
	for _, s := range chosen {
		if !slices.Contains(known, s) {
			return fmt.Errorf("--stages=%s: there are %s", s, strings.Join(known, ", "))
		}
	}
	if len(chosen) == 0 {
		return fmt.Errorf("--stages wants some of %s", strings.Join(known, ", "))
	}
	return nil
}
