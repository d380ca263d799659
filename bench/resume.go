package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Resume measures clients that have lost their connections and come back, by
// stages.
type Resume struct {
	Repeats
	Manner
	Count  int           `help:"How many clients, each of an account of its own." default:"200" group:"Load"`
	Stages []string      `help:"How far: tcp connects, tls encrypts, sasl authenticates, resume goes on with the stream that was lost. Each includes those before it." default:"tcp,tls,sasl,resume" group:"Load"`
	Alive  bool          `help:"The server has not noticed that the connection is lost when the client comes back, as after a change of network; without it, it has." group:"Load"`
	Pause  time.Duration `help:"Pause before and behind a stage, for what the server does when connections end." default:"500ms" group:"Measurement"`
}

const stageResume = "resume"

func (Resume) names() []string {
	names := stageNames()
	return append(names[:stageSASL+1:stageSASL+1], stageResume)
}

// Check implements Scenario.
func (b Resume) Check() error {
	if err := checkStages(b.Stages, b.names()); err != nil {
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

func (Resume) name() string { return "resume" }
func (b Resume) settings() string {
	lost := "the server has seen the connection end"
	if b.Alive {
		lost = "the connection seems alive"
	}
	return fmt.Sprintf("%d clients come back by %s, %s, for each of %s", b.Count, b.Manner, lost, strings.Join(b.Stages, ", "))
}

func (b Resume) run(ctx context.Context, r *run) error {
	r.tickets = b.Tickets
	clients, err := r.login(ctx, 0, b.Count, features{management: true, resume: true, profile: b.Profile})
	if err != nil {
		return err
	}
	for _, s := range clients {
		s.listen(nil, nil)
	}
	var stages []climb
	for _, s := range r.stages(b.Stages) {
		stages = append(stages, r.visit(b.Manner, s, b.Count, b.Pause))
	}
	back := b.comeback(r, clients)
	if slices.Contains(b.Stages, stageResume) {
		stages = append(stages, back)
	}
	// What is set up once, here and there, is no part of it.
	if err := errors.Join(r.quiet(ctx), back.before(ctx)); err != nil {
		return err
	}
	if _, _, err := back.wave(ctx, r, "warming up"); err != nil {
		return err
	}
	return r.repeat(ctx, b.Repetitions, stages)
}

// comeback is the stage in which all lose their connections and come back.
func (b Resume) comeback(r *run, clients []*session) climb {
	return climb{
		Manner: b.Manner, name: stageResume, to: stageBind, count: b.Count, pause: b.Pause,
		before: func(ctx context.Context) error {
			for _, s := range clients {
				s.halt()
				if !b.Alive {
					s.drop()
				}
			}
			if b.Alive {
				return nil
			}
			return r.wait(ctx, b.Pause, "pausing")
		},
		up: func(ctx context.Context, i int) (*session, error) {
			return r.connect(ctx, r.o.First+i, stageBind, features{profile: b.Profile, again: clients[i]})
		},
		after: func(i int, s *session) {
			clients[i].drop()
			clients[i] = s
			s.listen(nil, nil)
		},
	}
}

// halt ends the session's reader. The connection stays.
func (s *session) halt() {
	s.halted.Store(true)
	s.conn.SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // a connection that is gone needs none
	<-s.done
}

// drop ends the connection of a session that was halted and nothing more: the
// server is not told that the client has gone.
func (s *session) drop() {
	s.conn.NetConn().Close() //nolint:errcheck // nothing is written any more
	s.r.ended(s)
}
