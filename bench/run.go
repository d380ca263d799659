package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"kith/xmpp/sasl"
)

// run is one measurement; one of two servers is two, with the ledger in common.
type run struct {
	o      Options
	tls    *tls.Config
	server processes   // all that are measured
	parts  []processes // of these, each of several servers; nil: there is one
	*ledger

	tickets bool // sessions of TLS are resumed

	caches  map[int]*sasl.Memory // guarded by mu
	configs map[int]*tls.Config  // guarded by mu; those that keep a session of TLS
	tokens  tokens
}

// ledger is what is noted of a measurement.
type ledger struct {
	report *Report
	lost   atomic.Int64 // sessions that ended by themselves

	mu     sync.Mutex // guards what follows
	open   map[*session]bool
	closed traffic // of sessions that are no longer open
	first  error   // the first trouble with a session
}

// newRun makes what measures a server, and notes it in a ledger.
func newRun(o Options, l *ledger) (*run, error) {
	r := &run{o: o, ledger: l, caches: map[int]*sasl.Memory{}, configs: map[int]*tls.Config{}}
	var err error
	if r.tls, err = o.tlsConfig(); err != nil {
		return nil, err
	}
	r.server, err = newProcesses(o.PIDs)
	return r, err
}

// traffic is what sessions have received and sent: bytes on the wire, and bytes
// of XML.
type traffic struct{ in, out, plain uint64 }

func (t *traffic) add(o traffic) {
	t.in += o.in
	t.out += o.out
	t.plain += o.plain
}

// cache is that of an account's keys: logging in again costs the generator no
// PBKDF2, as it costs no client that remembers.
func (r *run) cache(n int) *sasl.Memory {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.caches[n]
	if c == nil {
		c = new(sasl.Memory)
		r.caches[n] = c
	}
	return c
}

// secure is what an account encrypts with.
func (r *run) secure(n int) *tls.Config {
	if !r.tickets {
		return r.tls
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.configs[n]
	if c == nil {
		c = r.tls.Clone()
		c.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		r.configs[n] = c
	}
	return c
}

// opened and ended keep the list of sessions.
func (r *run) opened(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open[s] = true
}

func (r *run) ended(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open[s] {
		delete(r.open, s)
		r.closed.add(s.traffic())
	}
}

func (r *run) traffic() traffic {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.closed
	for s := range r.open {
		t.add(s.traffic())
	}
	return t
}

// remember keeps the first thing that went wrong with a session.
func (r *run) remember(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.first == nil {
		r.first = err
	}
}

func (r *run) trouble() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.first
}

// closing is how many sessions are closed at once: each may have to wait for the
// server's end.
const closing = 64

func (r *run) closeAll() {
	r.mu.Lock()
	var all []*session
	for s := range r.open {
		all = append(all, s)
	}
	r.mu.Unlock()
	r.close(all)
}

func (r *run) close(all []*session) {
	parallel(context.Background(), len(all), closing, func(i int) error { //nolint:errcheck // nothing fails
		all[i].close()
		return nil
	})
}

func (r *run) progress(format string, args ...any) {
	if r.o.Progress != nil {
		r.o.Progress(fmt.Sprintf(format, args...))
	}
}

// wait lets time pass, and tells every second how much is left.
func (r *run) wait(ctx context.Context, d time.Duration, what string) error {
	end := time.Now().Add(d)
	for left := d; left > 0; left = time.Until(end) {
		r.progress("%s, %s left", what, left.Round(time.Second))
		timer := time.NewTimer(min(left, time.Second))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
	return ctx.Err()
}

// quiet waits until next to nothing is received any more, for some seconds at
// most.
func (r *run) quiet(ctx context.Context) error {
	const (
		step  = 300 * time.Millisecond
		most  = 100
		bytes = 2000
	)
	for range most {
		before := r.traffic().in
		if err := r.wait(ctx, step, "waiting until the server is quiet"); err != nil {
			return err
		}
		if r.traffic().in-before < bytes {
			break
		}
	}
	return nil
}

// reading is the state of all counters at a moment.
type reading struct {
	at     time.Time
	server usage
	parts  []time.Duration // the CPU time of each of several servers
	own    time.Duration
	traffic
}

func (r *run) read() reading {
	now := reading{own: ownCPU(), traffic: r.traffic()}
	for _, p := range r.parts {
		u := p.read()
		now.parts = append(now.parts, u.cpu)
		now.server.add(u)
	}
	if len(r.parts) == 0 {
		now.server = r.server.read()
	}
	now.at = time.Now()
	return now
}

// since is what happened between two readings.
func (b reading) since(a reading) reading {
	b.server.cpu -= a.server.cpu
	b.server.system -= a.server.system
	parts := make([]time.Duration, len(b.parts))
	for i := range parts {
		parts[i] = b.parts[i] - a.parts[i]
	}
	b.parts = parts
	b.own -= a.own
	b.in -= a.in
	b.out -= a.out
	b.plain -= a.plain
	return b
}

// micros and millisPer divide CPU time by what it was spent on.
func micros(d time.Duration, by float64) float64 {
	return per(float64(d)/float64(time.Microsecond), by)
}

func millisPer(d time.Duration, by float64) float64 { return per(millis(d), by) }

// used adds the figures of the server as a whole in a phase.
func (r *run) used(f *Figures, spent reading, took time.Duration) {
	if r.server.known() {
		f.add("server_cpu_percent", "server CPU, % of a core", 100*per(float64(spent.server.cpu), float64(took)))
		f.add("server_system_percent", "  of that the kernel's, %", 100*per(float64(spent.server.system), float64(spent.server.cpu)))
		f.add("server_rss_mb", "server resident, MB", float64(spent.server.rss)/1e6)
	}
	f.add("yardstick_ms", "yardstick, ms", millis(yardstick()))
}

// meter counts what is delivered under a steady load.
type meter struct {
	sent    atomic.Int64 // by the open loop
	got     atomic.Int64
	errors  atomic.Int64
	lag     atomic.Int64 // nanoseconds by which the generator itself was late
	latency histogram
}

// deliver counts a stanza that was due at a time.
func (m *meter) deliver(due time.Time) {
	m.latency.add(time.Since(due))
	m.got.Add(1)
}

var errNothing = errors.New("nothing was delivered")

// measure measures the phases of a load that is under way. more adds the
// scenario's own figures to those of a phase with so many deliveries in so many
// seconds.
func (r *run) measure(ctx context.Context, p Phases, l Loop, m *meter, more func(f *Figures, n, seconds float64)) error {
	if err := r.wait(ctx, p.Warmup, "warming up"); err != nil {
		return err
	}
	for i := range p.Repetitions {
		m.latency.reset()
		m.lag.Store(0)
		got, sent, failed := m.got.Load(), m.sent.Load(), m.errors.Load()
		before := r.read()
		err := r.wait(ctx, p.Duration, fmt.Sprintf("measuring, %d of %d", i+1, p.Repetitions))
		if err != nil && i > 0 {
			return err // the whole phases say more than a part of this one
		}
		after := r.read()
		n := float64(m.got.Load() - got)
		if n == 0 {
			return errors.Join(err, r.nothing())
		}
		took := after.at.Sub(before.at)
		spent := after.since(before)
		f := Figures{}
		f.add("seconds", "seconds", took.Seconds())
		f.add("deliveries", "deliveries", n)
		f.add("deliveries_per_s", "deliveries/s", n/took.Seconds())
		if r.server.known() {
			f.add("server_cpu_us_per_delivery", "server CPU a delivery, µs", micros(spent.server.cpu, n))
		}
		for i, cpu := range spent.parts {
			f.add(partNames()[i]+"_server_cpu_us_per_delivery", "  of that the "+partNames()[i]+" server's, µs", micros(cpu, n))
		}
		f.add("gen_cpu_us_per_delivery", "generator CPU a delivery, µs", micros(spent.own, n))
		m.latency.figures(&f)
		if l.Rate > 0 {
			f.add("offered_per_s", "sent/s", float64(m.sent.Load()-sent)/took.Seconds())
			f.add("generator_lag_max_ms", "generator late by at most, ms", millis(time.Duration(m.lag.Load())))
		}
		if more != nil {
			more(&f, n, took.Seconds())
		}
		f.add("plain_bytes_per_delivery", "bytes of XML a delivery", float64(spent.plain)/n)
		f.add("wire_bytes_per_delivery", "bytes on the wire a delivery", float64(spent.in)/n)
		r.used(&f, spent, took)
		f.add("errors", "errors", float64(m.errors.Load()-failed))
		r.report.Repetitions = append(r.report.Repetitions, f)
		if err != nil {
			return err
		}
	}
	return nil
}

// nothing is the error of a phase without a delivery, with its likely cause.
func (r *run) nothing() error {
	if err := r.trouble(); err != nil {
		return fmt.Errorf("%w: %w", errNothing, err)
	}
	return fmt.Errorf("%w; is what is sent allowed to these accounts?", errNothing)
}
