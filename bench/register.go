package bench

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"kith/xmpp/negotiate"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/register"
	"kith/xmpp/xmltree"
)

// Register makes accounts as clients do (XEP-0077). Those that exist are left as
// they are.
type Register struct {
	Count int `help:"How many accounts are made." default:"100" group:"Load"`
}

// Check implements Scenario.
func (b Register) Check() error { return atLeast(1, "--count", b.Count) }

func atLeast(least int, flag string, n int) error {
	if n < least {
		return fmt.Errorf("%s=%d is below %d", flag, n, least)
	}
	return nil
}

func (Register) name() string       { return "register" }
func (b Register) settings() string { return fmt.Sprintf("%d accounts", b.Count) }

// enough ends a negotiation where registration has ended.
type enough struct{}

// Offer implements negotiate.Step.
func (enough) Offer(*negotiate.State) xmltree.Appender { return nil }

// Serve implements negotiate.Step.
func (enough) Serve(context.Context, *negotiate.State, xmltree.Element) (negotiate.Outcome, error) {
	return negotiate.Pass, nil
}

// Take implements negotiate.Step.
func (enough) Take(context.Context, *negotiate.State, xmltree.Element) (negotiate.Outcome, error) {
	return negotiate.Complete, nil
}

func (b Register) run(ctx context.Context, r *run) error {
	var made, existing, tried atomic.Int64
	latency := new(histogram)
	before := r.read()
	err := parallel(ctx, b.Count, r.o.Concurrency, func(i int) error {
		begun := time.Now()
		err := r.register(ctx, r.o.First+i)
		r.progress("making accounts, %d of %d", tried.Add(1), b.Count)
		switch {
		case errors.Is(err, stanza.ErrConflict):
			existing.Add(1)
			return nil
		case err != nil:
			return err
		}
		made.Add(1)
		latency.add(time.Since(begun))
		return nil
	})
	if made.Load()+existing.Load() == 0 {
		return err
	}
	after := r.read()
	took := after.at.Sub(before.at)
	spent := after.since(before)
	n := float64(made.Load() + existing.Load())
	f := Figures{}
	f.add("seconds", "seconds", took.Seconds())
	f.add("made", "accounts made", float64(made.Load()))
	f.add("existing", "accounts that existed", float64(existing.Load()))
	f.add("registered_per_s", "requests/s", n/took.Seconds())
	if r.server.known() {
		f.add("register_server_cpu_ms", "server CPU a request, ms", millisPer(spent.server.cpu, n))
	}
	f.add("register_gen_cpu_ms", "generator CPU a request, ms", millisPer(spent.own, n))
	latency.figures(&f)
	r.used(&f, spent, took)
	r.report.Repetitions = append(r.report.Repetitions, f)
	return err
}

func (r *run) register(ctx context.Context, n int) error {
	account, err := r.o.account(n)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.o.Timeout)
	defer cancel()
	s, err := r.dial(ctx, n, account, nil)
	if err != nil {
		return err
	}
	defer s.close()
	query := &register.Query{Fields: []register.Field{
		{Name: register.Username, Value: account.Local()}, {Name: register.Password, Value: r.o.password(n)},
	}}
	err = s.negotiate(ctx, stageTCP, features{}, []negotiate.Step{negotiate.Register{Query: query}, enough{}})
	switch {
	case errors.Is(err, stanza.ErrConflict):
		return stanza.ErrConflict
	case errors.Is(err, stanza.ErrServiceUnavailable), errors.Is(err, stanza.ErrFeatureNotImplemented),
		errors.Is(err, stanza.ErrNotAllowed), errors.Is(err, stanza.ErrForbidden):
		return fmt.Errorf("make the account %s: %w; the server does not let everybody register: allow it for the measurement, or make the accounts with its own tools", account, err)
	case err != nil:
		return fmt.Errorf("make the account %s: %w", account, err)
	}
	return nil
}
