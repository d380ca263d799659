// Package bench measures an XMPP server from its clients' side: how fast it is,
// and what it costs. It is no part of the server and knows none; what the
// server's processes use it reads from /proc.
//
// A Scenario is a kind of load. Run logs its accounts in, loads the server, and
// tells the figures of each repetition and their medians. What a scenario can
// be told are its fields, whose tags are the help of the command (kith bench).
//
// A session has one goroutine that reads; whoever has something to send writes
// it. Counters are atomic, so that a reading stops nobody.
package bench

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/sasl"
)

// Options say which server is measured, and as whom.
type Options struct {
	Domain  string `help:"Domain of the accounts." default:"localhost" group:"Server"`
	Address string `help:"Where the server listens, if not at the usual port of the domain." placeholder:"HOST:PORT" group:"Server"`
	TLS     string `name:"tls" help:"Encryption: starttls, direct or none." enum:"starttls,direct,none" default:"starttls" group:"Server"`
	CA      string `name:"ca" help:"File (PEM) with the authorities that the server's certificate is verified by." placeholder:"FILE" type:"path" group:"Server"`
	// Insecure takes any certificate.
	Insecure bool  `help:"Do not verify the server's certificate." group:"Server"`
	Curves   bool  `name:"any-key-exchange" help:"Let TLS choose its key exchange; without it X25519 is used, so that servers are compared with the same." group:"Server"`
	PIDs     []int `name:"server-pid" help:"Process of the server, on this machine, of which the CPU time and memory are told, with all that it has started; several are separated by commas." placeholder:"PID" group:"Server"`

	User      string `help:"Names of the accounts; %d is the account's number." default:"u%d" group:"Accounts"`
	Password  string `help:"Their passwords." default:"secret%d" group:"Accounts"`
	First     int    `help:"Number of the first account that is used." default:"0" group:"Accounts"`
	Mechanism string `help:"How they log in: PLAIN, SCRAM-SHA-1, SCRAM-SHA-256, SCRAM-SHA-512, one of these with -PLUS, or any for the strongest there is." default:"SCRAM-SHA-1" group:"Accounts"`

	Concurrency int           `help:"How many connections are being set up at once." default:"16"`
	Timeout     time.Duration `help:"How long a log-in or an answer may take." default:"1m"`
	Label       string        `help:"Name of this measurement, for kith bench table: SERVER or SERVER/CASE." placeholder:"LABEL"`

	// Progress, if it is not nil, is told what is being done.
	Progress func(string) `kong:"-"`
}

// Check returns what is wrong with the options.
func (o *Options) Check() error {
	if _, err := jid.New("", o.Domain, ""); err != nil || o.Domain == "" {
		return fmt.Errorf("--domain=%s is no domain", o.Domain)
	}
	if _, err := o.account(o.First); err != nil {
		return fmt.Errorf("--user=%s gives no names of accounts: %w", o.User, err)
	}
	switch {
	case !strings.Contains(o.User, "%d"):
		return fmt.Errorf("--user=%s names one account for all; write %%d where its number is to stand", o.User)
	case o.Password == "":
		return errors.New("--password is empty; an account needs one")
	case !slices.Contains(append(mechanisms(), anyMechanism), o.Mechanism):
		return fmt.Errorf("--mechanism=%s is not known; there are %s and %s", o.Mechanism, strings.Join(mechanisms(), ", "), anyMechanism)
	case o.Mechanism == sasl.Plain && o.TLS == tlsNone:
		return errors.New("--mechanism=PLAIN with --tls=none would send passwords in the clear; this client does not")
	case o.First < 0 || o.Concurrency < 1 || o.Timeout <= 0:
		return errors.New("--first must not be below 0, --concurrency not below 1, --timeout more than 0")
	}
	return nil
}

const (
	tlsDirect    = "direct"
	tlsNone      = "none"
	anyMechanism = "any"
)

func mechanisms() []string {
	return []string{sasl.Plain, sasl.ScramSHA1, sasl.ScramSHA256, sasl.ScramSHA512,
		sasl.ScramSHA1Plus, sasl.ScramSHA256Plus, sasl.ScramSHA512Plus}
}

func (o *Options) account(n int) (jid.JID, error) {
	return jid.New(strings.ReplaceAll(o.User, "%d", strconv.Itoa(n)), o.Domain, "")
}

func (o *Options) password(n int) string {
	return strings.ReplaceAll(o.Password, "%d", strconv.Itoa(n))
}

// address is host and port.
func (o *Options) address() string {
	port := "5222"
	if o.TLS == tlsDirect {
		port = "5223"
	}
	switch _, _, err := net.SplitHostPort(o.Address); {
	case o.Address == "":
		return net.JoinHostPort(o.Domain, port)
	case err != nil: // without a port
		return net.JoinHostPort(strings.Trim(o.Address, "[]"), port)
	}
	return o.Address
}

func (o *Options) tlsConfig() (*tls.Config, error) {
	c := &tls.Config{ServerName: o.Domain, MinVersion: tls.VersionTLS12, InsecureSkipVerify: o.Insecure}
	if !o.Curves {
		c.CurvePreferences = []tls.CurveID{tls.X25519}
	}
	if o.TLS == tlsDirect {
		c.NextProtos = []string{"xmpp-client"} // XEP-0368 §3
	}
	if o.CA == "" {
		return c, nil
	}
	b, err := os.ReadFile(o.CA)
	if err != nil {
		return nil, fmt.Errorf("read the authorities of --ca: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("read the authorities of --ca: there is no certificate in %s; it wants PEM", o.CA)
	}
	return c, nil
}

// Scenario is a kind of load: one of the types of this package.
type Scenario interface {
	// Check returns what is wrong with what the scenario was told.
	Check() error
	name() string
	settings() string
	run(ctx context.Context, r *run) error
}

// ErrInterrupted says that the measurement was ended before its time.
var ErrInterrupted = errors.New("interrupted")

// Run measures. If it fails or the context ends, the report holds what was
// measured until then; it is nil if that is nothing.
func Run(ctx context.Context, o Options, s Scenario) (*Report, error) {
	if err := errors.Join(o.Check(), s.Check()); err != nil {
		return nil, err
	}
	r, err := newRun(o, &ledger{open: map[*session]bool{}, report: newReport(o, s)})
	if err != nil {
		return nil, err
	}
	err = s.run(ctx, r)
	r.closeAll()
	switch lost := r.lost.Load(); {
	case ctx.Err() != nil:
		err = fmt.Errorf("%w; %d repetitions were measured", ErrInterrupted, len(r.report.Repetitions))
	case err != nil:
		err = r.explain(err)
	case lost > 0:
		err = fmt.Errorf("%d sessions were lost; the first: %w", lost, r.explain(r.trouble()))
	}
	if len(r.report.Repetitions) == 0 {
		return nil, err
	}
	r.report.Lost = r.lost.Load()
	r.report.Median = medians(r.report.Repetitions)
	return r.report, err
}

// Phases are how a steady load is measured.
type Phases struct {
	Warmup      time.Duration `help:"Load before the first measured phase." default:"2s" group:"Measurement"`
	Duration    time.Duration `help:"Length of a measured phase." default:"6s" group:"Measurement"`
	Repetitions int           `help:"How many phases are measured; their medians are told." default:"3" group:"Measurement"`
}

func (p Phases) check() error {
	if p.Warmup < 0 || p.Duration <= 0 || p.Repetitions < 1 {
		return errors.New("--warmup must not be below 0, --duration more than 0, --repetitions not below 1")
	}
	return nil
}

// Repeats are how often a load with an end of its own is measured.
type Repeats struct {
	Repetitions int `help:"How often it is measured; the medians are told." default:"3" group:"Measurement"`
}

func (p Repeats) check() error {
	if p.Repetitions < 1 {
		return errors.New("--repetitions must not be below 1")
	}
	return nil
}

// Loop is how a steady load is kept up.
type Loop struct {
	Window int     `help:"Closed loop: how many are under way at once; the next is sent when one has come." default:"1" group:"Load"`
	Rate   float64 `help:"Open loop: how many are sent a second in all, whether others have come or not. 0 is the closed loop." default:"0" group:"Load"`
}

func (l Loop) check() error {
	if l.Window < 1 || l.Rate < 0 {
		return errors.New("--window must not be below 1, --rate not below 0")
	}
	return nil
}

func (l Loop) String() string {
	if l.Rate > 0 {
		return text(l.Rate) + " a second"
	}
	return strconv.Itoa(l.Window) + " under way"
}

// parallel calls do for 0 to n-1, some at once, until one fails or the context
// ends.
func parallel(ctx context.Context, n, atOnce int, do func(i int) error) error {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex // guards next and first
		next  int
		first error
	)
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		if first == nil {
			first = ctx.Err()
		}
		next++
		return next - 1, first == nil && next <= n
	}
	for range min(n, atOnce) {
		wg.Go(func() {
			for i, ok := take(); ok; i, ok = take() {
				if err := do(i); err != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return first
}
