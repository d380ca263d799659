package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"kith/bench"
)

type benchCmd struct {
	Register   benchOf[bench.Register]   `cmd:"" help:"Make the accounts for the other scenarios, as clients do (XEP-0077)."`
	Login      benchOf[bench.Login]      `cmd:"" help:"Log in and out: what each stage of it costs."`
	Resume     benchOf[bench.Resume]     `cmd:"" help:"Lose connections and come back (XEP-0198): what each stage of it costs."`
	Idle       benchOf[bench.Idle]       `cmd:"" help:"Hold sessions that do nothing: memory of each."`
	Chat       benchOf[bench.Chat]       `cmd:"" help:"Messages between pairs of accounts: speed, CPU time, latency."`
	Federation benchOf[bench.Federation] `cmd:"" help:"Messages from the accounts of one server to those of another."`
	Presence   benchOf[bench.Presence]   `cmd:"" help:"Changes of presence, seen by an account's contacts."`
	Phone      benchOf[bench.Phone]      `cmd:"" help:"A phone's day in little time: what wakes it up, and what it receives (XEP-0352)."`
	Archive    benchOf[bench.Archive]    `cmd:"" help:"Read archives page by page (XEP-0313)."`
	Offline    benchOf[bench.Offline]    `cmd:"" help:"Messages for accounts that are away: store and fetch."`
	Table      benchTable                `cmd:"" help:"Make one table of several measurements."`
}

// Help is shown below the list of scenarios.
func (benchCmd) Help() string {
	return `Measures any XMPP server from its clients' side. First make the accounts, u0, u1, ... with the passwords secret0, secret1, ...:

  kith bench register --count 1000 --insecure
  kith bench chat --insecure --server-pid PID

Each scenario prints a table; --json prints one line for programs, which kith bench table makes tables of. Ctrl-C ends a measurement and prints what there is. Measure only servers that are yours: this is as much load as the machine can make.`
}

// benchOf is one scenario.
type benchOf[S bench.Scenario] struct {
	bench.Options
	Scenario S    `embed:""`
	JSON     bool `name:"json" help:"As JSON, in one line."`
}

// Validate says what is wrong with the flags.
func (b *benchOf[S]) Validate() error { return errors.Join(b.Options.Check(), b.Scenario.Check()) }

// Run measures and prints what was measured, also if something failed on the
// way.
func (b *benchOf[S]) Run() error {
	raiseFileLimit()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	defer stop()
	end := func() {}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		// One line, written over and cleared at the end.
		const clear = "\r\x1b[K"
		b.Progress = func(what string) { fmt.Fprint(os.Stderr, clear, what) }
		end = func() { fmt.Fprint(os.Stderr, clear) }
	}
	report, err := bench.Run(ctx, b.Options, b.Scenario)
	end()
	if report != nil {
		print := report.Table
		if b.JSON {
			print = report.JSON
		}
		if err := print(os.Stdout); err != nil {
			return err
		}
	}
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return nil
}

type benchTable struct {
	Files []string `arg:"" optional:"" help:"Files of measurements, as --json prints them, and of the output of go test -bench; standard input if there are none." type:"existingfile"`
	All   bool     `help:"All figures, not only those by which servers are compared."`
}

// Run prints the table.
func (b benchTable) Run() error {
	inputs := []io.Reader{os.Stdin}
	if len(b.Files) > 0 {
		inputs = nil
	}
	for _, name := range b.Files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close() // only read
		inputs = append(inputs, f)
	}
	return bench.Tabulate(os.Stdout, b.All, inputs...)
}
