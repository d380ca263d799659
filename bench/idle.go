package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Idle holds sessions that do nothing.
type Idle struct {
	Sessions int             `arg:"" name:"sessions" optional:"" help:"How many sessions, each of an account of its own." default:"1000"`
	Settle   []time.Duration `help:"When the server's memory is read, after the last log-in." default:"5s,15s" group:"Measurement"`
	Sm       bool            `name:"sm" help:"With stream management (XEP-0198)." group:"Load"`
	Resume   bool            `name:"sm-resume" help:"With stream management that can be resumed." group:"Load"`
}

// Check implements Scenario.
func (b Idle) Check() error {
	if len(b.Settle) == 0 || !slices.IsSorted(b.Settle) || b.Settle[0] < 0 {
		return errors.New("--settle wants times in their order, not below 0")
	}
	return atLeast(1, "sessions", b.Sessions)
}

func (Idle) name() string       { return "idle" }
func (b Idle) settings() string { return fmt.Sprintf("%d sessions at rest", b.Sessions) }

func (b Idle) run(ctx context.Context, r *run) error {
	want := features{management: b.Sm || b.Resume, resume: b.Resume}
	// What the server sets up once is not put down to the sessions.
	one, err := r.connect(ctx, r.o.First, stageFull, want)
	if err != nil {
		return err
	}
	one.close()
	if err := r.wait(ctx, min(b.Settle[0], 3*time.Second), "letting the server come to rest"); err != nil {
		return err
	}
	base := r.read()
	sessions, err := r.login(ctx, 0, b.Sessions, want)
	if err != nil {
		return err
	}
	up := r.read()
	n := float64(b.Sessions)
	f := Figures{}
	f.add("sessions", "sessions", n)
	f.add("login_seconds", "logged in within, s", up.at.Sub(base.at).Seconds())
	if r.server.known() {
		f.add("login_server_cpu_ms", "server CPU a log-in, ms", millisPer(up.server.cpu-base.server.cpu, n))
		f.add("base_rss_mb", "server resident before, MB", float64(base.server.rss)/1e6)
	}
	for _, s := range sessions {
		s.listen(nil, nil)
	}
	last := up
	for _, after := range b.Settle {
		err = r.wait(ctx, after-time.Since(up.at), "at rest")
		now := r.read()
		if r.server.known() {
			key := strings.ReplaceAll(after.String(), ".", "_")
			spent := now.since(last)
			f.add("rss_per_session_bytes_"+key, "resident a session after "+after.String()+", bytes", float64(now.server.rss-base.server.rss)/n)
			f.add("rss_mb_"+key, "  in all, MB", float64(now.server.rss)/1e6)
			f.add("cpu_percent_until_"+key, "  CPU until then, % of a core", 100*per(float64(spent.server.cpu), float64(now.at.Sub(last.at))))
		}
		last = now
		if err != nil {
			break
		}
	}
	if r.server.known() {
		f.add("server_peak_mb", "server resident at most, MB", float64(last.server.peak)/1e6)
		f.add("server_threads", "server threads", float64(last.server.threads))
	}
	f.add("lost", "sessions lost", float64(r.lost.Load()))
	r.report.Repetitions = append(r.report.Repetitions, f)
	return err
}
