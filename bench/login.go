package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Login measures log-ins, by stages.
type Login struct {
	Repeats
	Count  int           `help:"How many log-ins, each by an account of its own." default:"200" group:"Load"`
	Stages []string      `help:"How far: tcp connects, tls encrypts, sasl authenticates, bind gets a resource, full fetches the roster and sends presence. Each includes those before it." default:"tcp,tls,sasl,bind,full" group:"Load"`
	Pause  time.Duration `help:"Pause behind a stage, for what the server does after log-outs." default:"500ms" group:"Measurement"`
}

// Check implements Scenario.
func (b Login) Check() error {
	for _, s := range b.Stages {
		if !slices.Contains(stageNames(), s) {
			return fmt.Errorf("--stages=%s: there are %s", s, strings.Join(stageNames(), ", "))
		}
	}
	if len(b.Stages) == 0 || b.Pause < 0 {
		return fmt.Errorf("--stages wants some of %s, --pause at least 0", strings.Join(stageNames(), ", "))
	}
	if err := b.check(); err != nil {
		return err
	}
	return atLeast(1, "--count", b.Count)
}

func (Login) name() string { return "login" }
func (b Login) settings() string {
	return fmt.Sprintf("%d log-ins for each of %s", b.Count, strings.Join(b.Stages, ", "))
}

func (b Login) run(ctx context.Context, r *run) error {
	var stages []stage
	for i, name := range stageNames() {
		if slices.Contains(b.Stages, name) && (stage(i) != stageTLS || r.o.TLS != tlsNone) {
			stages = append(stages, stage(i))
		}
	}
	last := stages[len(stages)-1]
	// What is set up once, here and there, is nobody's log-in.
	if _, err := b.wave(ctx, r, last, "warming up"); err != nil {
		return err
	}
	for i := range b.Repetitions {
		f := Figures{}
		added := 0.0
		for _, s := range stages {
			name := stageNames()[s]
			if err := r.wait(ctx, b.Pause, "pausing"); err != nil {
				return err
			}
			before := r.read()
			latency, err := b.wave(ctx, r, s, fmt.Sprintf("%s, %d of %d", name, i+1, b.Repetitions))
			if err != nil {
				return err
			}
			took := time.Since(before.at)
			if err := r.wait(ctx, b.Pause, "pausing"); err != nil {
				return err
			}
			spent := r.read().since(before)
			n := float64(b.Count)
			f.add(name+"_per_s", name+": per second", n/took.Seconds())
			if r.server.known() {
				ms := millisPer(spent.server.cpu, n)
				f.add(name+"_server_cpu_ms", "  server CPU each, ms", ms)
				f.add(name+"_server_cpu_ms_added", "  more than the stage before, ms", ms-added)
				added = ms
			}
			f.add(name+"_gen_cpu_ms", "  generator CPU each, ms", millisPer(spent.own, n))
			f.add(name+"_p50_ms", "  latency p50, ms", millis(latency.quantile(0.5)))
			f.add(name+"_p99_ms", "  latency p99, ms", millis(latency.quantile(0.99)))
			f.add(name+"_bytes_in", "  bytes received", float64(spent.in)/n)
			f.add(name+"_bytes_out", "  bytes sent", float64(spent.out)/n)
		}
		f.add("yardstick_ms", "yardstick, ms", millis(yardstick()))
		r.report.Repetitions = append(r.report.Repetitions, f)
	}
	return nil
}

// wave logs all accounts in and out.
func (b Login) wave(ctx context.Context, r *run, to stage, what string) (*histogram, error) {
	latency := new(histogram)
	var up atomic.Int64
	err := parallel(ctx, b.Count, r.o.Concurrency, func(i int) error {
		begun := time.Now()
		s, err := r.connect(ctx, r.o.First+i, to, features{})
		if err != nil {
			return err
		}
		latency.add(time.Since(begun))
		s.close()
		r.progress("%s: %d of %d", what, up.Add(1), b.Count)
		return nil
	})
	return latency, err
}
