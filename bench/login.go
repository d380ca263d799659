package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Login measures log-ins, by stages.
type Login struct {
	Repeats
	Manner
	Count  int           `help:"How many log-ins, each by an account of its own." default:"200" group:"Load"`
	Stages []string      `help:"How far: tcp connects, tls encrypts, sasl authenticates, bind gets a resource, full fetches the roster and sends presence. Each includes those before it." default:"tcp,tls,sasl,bind,full" group:"Load"`
	Pause  time.Duration `help:"Pause behind a stage, for what the server does after log-outs." default:"500ms" group:"Measurement"`
}

// Check implements Scenario.
func (b Login) Check() error {
	if err := checkStages(b.Stages, stageNames()); err != nil {
		return err
	}
	if b.Pause < 0 {
		return errors.New("--pause must not be below 0")
	}
	if err := errors.Join(b.Repeats.check(), b.Manner.check(), b.tickets(b.Stages)); err != nil {
		return err
	}
	return atLeast(1, "--count", b.Count)
}

func (Login) name() string { return "login" }
func (b Login) settings() string {
	return fmt.Sprintf("%d log-ins by %s for each of %s", b.Count, b.Manner, strings.Join(b.Stages, ", "))
}

func (b Login) run(ctx context.Context, r *run) error {
	r.tickets = b.Tickets
	var stages []climb
	for _, s := range r.stages(b.Stages) {
		stages = append(stages, r.visit(b.Manner, s, b.Count, b.Pause))
	}
	// What is set up once, here and there, is nobody's log-in.
	if _, _, err := stages[len(stages)-1].wave(ctx, r, "warming up"); err != nil {
		return err
	}
	return r.repeat(ctx, b.Repetitions, stages)
}

// stages are those that are named, in their order; there is none of TLS without it.
func (r *run) stages(names []string) (list []stage) {
	for i, name := range stageNames() {
		if slices.Contains(names, name) && (stage(i) != stageTLS || r.o.TLS != tlsNone) {
			list = append(list, stage(i))
		}
	}
	return list
}
