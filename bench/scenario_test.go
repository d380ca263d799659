package bench_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kith/bench"
	"kith/server"
	"kith/server/config"
)

// host is a server on loopback that is measured.
type host struct {
	bench.Options // how to measure it
	data, direct  string
	stop          func()
}

// start runs a server with a configuration of its own on top of that of
// kith serve --local.
func start(t *testing.T, toml string) *host {
	t.Helper()
	var ports []string
	var taken []net.Listener
	for range 2 {
		// Free when we looked; that somebody else takes it meanwhile is unlikely.
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, l)
		ports = append(ports, l.Addr().String())
	}
	for _, l := range taken { // both at once, so that the two differ
		l.Close()
	}
	h := &host{data: filepath.Join(t.TempDir(), "data"), direct: ports[1]}
	file := filepath.Join(t.TempDir(), "local.toml")
	listen := fmt.Sprintf("[listen]\nclient = [%q]\nclient_tls = [%q]\nserver = []\nserver_tls = []\nadmin = []\n", ports[0], ports[1])
	if err := os.WriteFile(file, []byte(toml+listen), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.LoadLocal(h.data, file)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(t.Context(), c, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- srv.Run(ctx, func() { close(ready) }) }()
	ended := false
	h.stop = func() {
		cancel()
		if !ended {
			ended = true
			if err := <-done; err != nil {
				t.Errorf("server: %v", err)
			}
		}
	}
	t.Cleanup(h.stop)
	select {
	case <-ready:
	case err := <-done:
		ended = true
		t.Fatalf("server: %v", err)
	}
	h.Options = bench.Options{
		Domain: "localhost", Address: ports[0], TLS: "starttls", Insecure: true,
		User: "u%d", Password: "secret%d", Mechanism: "SCRAM-SHA-1", Concurrency: 4, Timeout: 20 * time.Second,
		PIDs: []int{os.Getpid()},
	}
	return h
}

// short phases are enough to see that something is measured.
var short = bench.Phases{Warmup: 50 * time.Millisecond, Duration: 300 * time.Millisecond, Repetitions: 2}

// measure runs a scenario and returns its medians.
func measure(t *testing.T, o bench.Options, s bench.Scenario) *bench.Report {
	t.Helper()
	report, err := bench.Run(t.Context(), o, s)
	if err != nil {
		t.Fatalf("%T: %v", s, err)
	}
	var table, line strings.Builder
	if err := errors.Join(report.Table(&table), report.JSON(&line)); err != nil {
		t.Fatalf("%T: %v", s, err)
	}
	for _, f := range report.Median {
		if !strings.Contains(table.String(), f.Label) || !strings.Contains(line.String(), `"`+f.Key+`":`) {
			t.Errorf("%T: %s (%s) is not in the table or not in JSON:\n%s\n%s", s, f.Key, f.Label, table.String(), line.String())
		}
	}
	return report
}

// between checks a figure.
func between(t *testing.T, r *bench.Report, key string, low, high float64) {
	t.Helper()
	if v, ok := r.Median.Get(key); !ok || v < low || v > high {
		t.Errorf("%s: %s = %v (there: %v), want %v to %v", r.Scenario, key, v, ok, low, high)
	}
}

// TestScenarios measures a whole server with few clients.
func TestScenarios(t *testing.T) {
	h := start(t, "")
	const accounts = 10
	r := measure(t, h.Options, bench.Register{Count: accounts})
	between(t, r, "made", accounts, accounts)
	r = measure(t, h.Options, bench.Register{Count: accounts})
	between(t, r, "existing", accounts, accounts)

	t.Run("login", func(t *testing.T) {
		for _, way := range []struct{ tls, mechanism string }{{"starttls", "SCRAM-SHA-1"}, {"direct", "any"}, {"starttls", "PLAIN"}} {
			o := h.Options
			if o.TLS, o.Mechanism = way.tls, way.mechanism; way.tls == "direct" {
				o.Address = h.direct
			}
			r := measure(t, o, bench.Login{Repeats: bench.Repeats{Repetitions: 1}, Count: 4, Stages: []string{"full", "tcp", "tls", "sasl", "bind"}})
			for _, stage := range []string{"tcp", "tls", "sasl", "bind", "full"} {
				between(t, r, stage+"_per_s", 0.1, 1e6)
			}
			between(t, r, "tcp_bytes_out", 0, 0)
			between(t, r, "full_bytes_in", 1000, 100_000)
			if want := map[string]string{"any": "SCRAM-SHA-512-PLUS"}[way.mechanism]; want != "" && r.Mechanism != want || !strings.HasPrefix(r.TLS, "TLS 1.3") {
				t.Errorf("log-in by %s with %s: %s with %s", way.mechanism, way.tls, r.Mechanism, r.TLS)
			}
		}
	})
	for _, profile := range []struct {
		name, mechanism          string
		tickets                  bool
		sasl, bind, full, resume float64 // round trips
	}{
		{name: "", mechanism: "SCRAM-SHA-1", sasl: 3, bind: 5, full: 6, resume: 5},
		{name: "sasl2", mechanism: "SCRAM-SHA-1", sasl: 3, bind: 3, full: 4, resume: 3},
		{name: "fast", mechanism: "HT-SHA-256-NONE", sasl: 1, bind: 1, full: 2, resume: 1},
		{name: "fast", mechanism: "HT-SHA-256-NONE", tickets: true, sasl: 1, bind: 1, full: 2, resume: 1},
	} {
		t.Run(fmt.Sprintf("login and resume by %s, tickets %t", profile.name, profile.tickets), func(t *testing.T) {
			manner, once := bench.Manner{Profile: profile.name, Tickets: profile.tickets}, bench.Repeats{Repetitions: 1}
			r := measure(t, h.Options, bench.Login{Repeats: once, Manner: manner, Count: 4, Stages: []string{"sasl", "bind", "full"}})
			between(t, r, "sasl_round_trips", profile.sasl, profile.sasl)
			between(t, r, "bind_round_trips", profile.bind, profile.bind)
			between(t, r, "full_round_trips", profile.full, profile.full)
			for _, alive := range []bool{false, true} {
				if alive && profile.name != "fast" {
					continue // it is the same for all
				}
				b := bench.Resume{Repeats: once, Manner: manner, Count: 4, Stages: []string{"tls", "resume"}, Alive: alive}
				r := measure(t, h.Options, b)
				between(t, r, "resume_round_trips", profile.resume, profile.resume)
				between(t, r, "resume_per_s", 0.1, 1e6)
				between(t, r, "tls_per_s", 0.1, 1e6)
				if r.Mechanism != profile.mechanism || r.Lost != 0 {
					t.Errorf("resumed by %s, %d sessions lost; want %s, 0", r.Mechanism, r.Lost, profile.mechanism)
				}
			}
		})
	}
	t.Run("idle", func(t *testing.T) {
		r := measure(t, h.Options, bench.Idle{Sessions: 6, Resume: true, Settle: []time.Duration{10 * time.Millisecond, 100 * time.Millisecond}})
		between(t, r, "sessions", 6, 6)
		between(t, r, "lost", 0, 0)
		between(t, r, "rss_mb_100ms", 1, 10_000)
	})
	t.Run("chat, closed loop", func(t *testing.T) {
		r := measure(t, h.Options, bench.Chat{Loop: bench.Loop{Window: 3}, Phases: short, Pairs: 3, Body: 100})
		between(t, r, "deliveries_per_s", 1, 1e6)
		between(t, r, "latency_p50_ms", 0.001, 1000)
		between(t, r, "errors", 0, 0)
		between(t, r, "plain_bytes_per_delivery", 200, 400)
		between(t, r, "wire_bytes_per_delivery", 200, 450)
		if len(r.Repetitions) != 2 || r.Lost != 0 {
			t.Errorf("%d repetitions, %d sessions lost; want 2, 0", len(r.Repetitions), r.Lost)
		}
	})
	t.Run("chat, open loop", func(t *testing.T) {
		r := measure(t, h.Options, bench.Chat{Loop: bench.Loop{Window: 1, Rate: 100}, Phases: short, Pairs: 2, Body: 32, Resume: true, Carbons: true})
		between(t, r, "offered_per_s", 50, 150)
		between(t, r, "deliveries_per_s", 20, 180)
		between(t, r, "errors", 0, 0)
	})
	t.Run("presence", func(t *testing.T) {
		p := bench.Presence{Loop: bench.Loop{Window: 2}, Phases: short, Accounts: 6, Contacts: 4}
		r := measure(t, h.Options, p)
		between(t, r, "fan_out", 5, 5) // four contacts, and the account itself
		between(t, r, "changes_per_s", 1, 1e6)
		between(t, r, "errors", 0, 0)
		p.Rate = 50 // the contacts are there by now
		between(t, measure(t, h.Options, p), "offered_per_s", 25, 80)
	})
	t.Run("phone", func(t *testing.T) {
		measure(t, h.Options, bench.Register{Count: 15})
		r := measure(t, h.Options, bench.Phone{Days: 2, Contacts: 12, Seed: 1, Day: 2 * time.Second, Tail: 5 * time.Minute})
		between(t, r, "state_indication", 1, 1)
		between(t, r, "wakeups_in_pocket", 1, 200)
		between(t, r, "awake_hours_in_pocket", 0.1, 20)
		between(t, r, "tls_records", 10, 2000)
		between(t, r, "urgent", 60, 200)
		between(t, r, "deferrable", 60, 400)
		between(t, r, "missing", 0, 0)
		between(t, r, "twice", 0, 0)
		between(t, r, "out_of_order", 0, 0)
	})
	t.Run("archive", func(t *testing.T) {
		r := measure(t, h.Options, archive(3))
		between(t, r, "messages", 75, 75)
		between(t, r, "pages", 9, 9)
		between(t, r, "pages_per_s", 1, 1e6)
		between(t, r, "plain_bytes_per_message", 300, 1000)
	})
	t.Run("offline", func(t *testing.T) {
		r := measure(t, h.Options, bench.Offline{Repeats: bench.Repeats{Repetitions: 2}, Senders: 2, Receivers: 3, Messages: 120, Body: 100, Patience: 5 * time.Second})
		between(t, r, "missing", 0, 0)
		between(t, r, "errors", 0, 0)
		between(t, r, "store_per_s", 1, 1e6)
		between(t, r, "fetch_per_s", 1, 1e6)
	})
}

// TestFederationScenario: pairs of accounts of two domains, here of one server.
func TestFederationScenario(t *testing.T) {
	h := start(t, "hosts = ['localhost', 'other.localhost']\n[registration]\nmode = 'open'\nper_ip = 0\n")
	there := h.Options
	there.Domain = "other.localhost"
	for _, o := range []bench.Options{h.Options, there} {
		measure(t, o, bench.Register{Count: 5})
	}
	b := bench.Federation{
		Chat:       bench.Chat{Loop: bench.Loop{Window: 2}, Phases: short, Pairs: 3, Body: 100},
		PeerDomain: there.Domain, PeerAddress: there.Address, PeerPIDs: there.PIDs, PeerFirst: 2,
	}
	r := measure(t, h.Options, b)
	between(t, r, "errors", 0, 0)
	between(t, r, "deliveries_per_s", 1, 1e6)
	all, _ := r.Median.Get("server_cpu_us_per_delivery")
	first, _ := r.Median.Get("first_server_cpu_us_per_delivery")
	between(t, r, "second_server_cpu_us_per_delivery", 0.99*(all-first), 1.01*(all-first)+1)
	if !strings.Contains(r.Settings, "to other.localhost") {
		t.Errorf("settings: %s", r.Settings)
	}
	b.Both, b.Rate = true, 100
	r = measure(t, h.Options, b)
	between(t, r, "offered_per_s", 20, 400)
	between(t, r, "deliveries_per_s", 5, 400)

	for want, change := range map[string]func(o *bench.Options, b *bench.Federation){
		"are the same":                func(_ *bench.Options, b *bench.Federation) { b.PeerDomain = "localhost" },
		"--server-pid and --peer-pid": func(_ *bench.Options, b *bench.Federation) { b.PeerPIDs = nil },
		"no such process":             func(_ *bench.Options, b *bench.Federation) { b.PeerPIDs = []int{1 << 30} },
		"at the second server":        func(_ *bench.Options, b *bench.Federation) { b.PeerFirst = 4 },
	} {
		o, f := h.Options, b
		change(&o, &f)
		if _, err := bench.Run(t.Context(), o, f); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestAdvice: an error says what can be done about it.
func TestAdvice(t *testing.T) {
	h := start(t, "[limits]\nlogin_failures = 1000\n[registration]\nmode = 'open'\nper_ip = 4\n[modules.mam]\nenabled = false\n")
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if _, err := bench.Run(t.Context(), h.Options, bench.Register{Count: 2}); err != nil {
		t.Fatal(err)
	}
	chat := bench.Chat{Loop: bench.Loop{Window: 1}, Phases: short, Pairs: 1, Body: 100}
	tests := []struct {
		name     string
		change   func(o *bench.Options)
		scenario bench.Scenario
		want     string
	}{
		{"all is well", func(*bench.Options) {}, chat, ""},
		{"its own authority", func(o *bench.Options) { o.Insecure, o.CA = false, filepath.Join(h.data, "localhost.crt") }, chat, ""},
		{"no trust", func(o *bench.Options) { o.Insecure = false }, chat, "--ca=FILE, or measure without verifying with --insecure"},
		{"no authorities", func(o *bench.Options) { o.CA = filepath.Join(h.data, "missing.crt") }, chat, "read the authorities of --ca"},
		{"no PEM", func(o *bench.Options) { o.CA = filepath.Join(h.data, "kith.db") }, chat, "it wants PEM"},
		{"no such accounts", func(o *bench.Options) { o.First = 100 }, chat, "make them with kith bench register"},
		{"wrong password", func(o *bench.Options) { o.Password = "x" }, chat, "make them with kith bench register"},
		{"another domain", func(o *bench.Options) { o.Domain = "montague.example" }, chat, "does not serve montague.example: --domain names"},
		{"nobody there", func(o *bench.Options) { o.Address = closed.Addr().String() }, chat, "--address=HOST:PORT says where it listens"},
		{"TLS on the other port", func(o *bench.Options) { o.TLS = "direct" }, chat, "this port does not begin with TLS"},
		{"limited", func(o *bench.Options) { o.First = 2 }, bench.Register{Count: 4}, "the server limits what one client or address may do"},
		{"no archive", func(*bench.Options) {}, archive(2), "does not announce urn:xmpp:mam:2"},
		{"no process", func(o *bench.Options) { o.PIDs = []int{1 << 30} }, chat, "no such process"},
	}
	for _, tt := range tests {
		o := h.Options
		tt.change(&o)
		_, err := bench.Run(t.Context(), o, tt.scenario)
		if got := fmt.Sprint(err); (tt.want == "") != (err == nil) || err != nil && !strings.Contains(got, tt.want) {
			t.Errorf("%s: %s, want %q", tt.name, got, tt.want)
		}
	}
}

// TestInterrupted: what was measured before the end is told, and the end too.
func TestInterrupted(t *testing.T) {
	h := start(t, "")
	if _, err := bench.Run(t.Context(), h.Options, bench.Register{Count: 4}); err != nil {
		t.Fatal(err)
	}
	chat := bench.Chat{Loop: bench.Loop{Window: 1}, Phases: bench.Phases{Duration: time.Minute, Repetitions: 3}, Pairs: 1, Body: 100}
	t.Run("by its user", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		o := h.Options
		o.Progress = func(what string) {
			if strings.HasPrefix(what, "measuring, 1 of 3, 59s") {
				cancel()
			}
		}
		report, err := bench.Run(ctx, o, chat)
		if !errors.Is(err, bench.ErrInterrupted) || report == nil || len(report.Repetitions) != 1 {
			t.Fatalf("report %+v, %v, want one of a part of a phase, and interrupted", report, err)
		}
		between(t, report, "seconds", 0.1, 30)
		between(t, report, "deliveries", 1, 1e9)
	})
	t.Run("before it began", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if report, err := bench.Run(ctx, h.Options, chat); !errors.Is(err, bench.ErrInterrupted) || report != nil {
			t.Errorf("report %+v, %v, want none, and interrupted", report, err)
		}
	})
	t.Run("by the server", func(t *testing.T) {
		o, short := h.Options, chat
		short.Duration, short.Repetitions = 2*time.Second, 1
		stopped := false
		o.Progress = func(what string) {
			if strings.HasPrefix(what, "measuring, 1 of 1, 1s") && !stopped {
				stopped = true
				h.stop()
			}
		}
		report, err := bench.Run(t.Context(), o, short)
		if err == nil || !strings.Contains(err.Error(), "sessions were lost; the first: session of u") || report == nil || report.Lost != 2 {
			t.Errorf("report %+v, %v, want two sessions lost", report, err)
		}
	})
}

// TestCheck: wrong usage is told before anything is done.
func TestCheck(t *testing.T) {
	good := bench.Options{Domain: "localhost", TLS: "starttls", User: "u%d", Password: "p", Mechanism: "any", Concurrency: 1, Timeout: time.Second}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		what   string
		change func(o *bench.Options)
	}{
		{"--domain", func(o *bench.Options) { o.Domain = "" }},
		{"--domain", func(o *bench.Options) { o.Domain = "a b" }},
		{"--user", func(o *bench.Options) { o.User = "u" }},
		{"--user", func(o *bench.Options) { o.User = "u@%d" }},
		{"--password", func(o *bench.Options) { o.Password = "" }},
		{"--mechanism", func(o *bench.Options) { o.Mechanism = "LOGIN" }},
		{"--tls=none", func(o *bench.Options) { o.Mechanism, o.TLS = "PLAIN", "none" }},
		{"--concurrency", func(o *bench.Options) { o.Concurrency = 0 }},
		{"--first", func(o *bench.Options) { o.First = -1 }},
		{"--timeout", func(o *bench.Options) { o.Timeout = 0 }},
	}
	for _, tt := range tests {
		o := good
		tt.change(&o)
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), tt.what) {
			t.Errorf("Check of %+v: %v, want %s", o, err, tt.what)
		}
	}
	loop, once := bench.Loop{Window: 1}, bench.Repeats{Repetitions: 1}
	for _, s := range []bench.Scenario{
		bench.Register{},
		bench.Login{Repeats: once, Count: 1}, bench.Login{Repeats: once, Count: 1, Stages: []string{"x"}}, bench.Login{Count: 1, Stages: []string{"tcp"}},
		bench.Login{Repeats: once, Count: 1, Stages: []string{"tcp"}, Manner: bench.Manner{Profile: "x"}}, bench.Login{Repeats: once, Stages: []string{"tcp"}, Count: 1, Pause: -1},
		bench.Resume{Repeats: once, Count: 1}, bench.Resume{Repeats: once, Count: 1, Stages: []string{"bind"}}, bench.Resume{Count: 1, Stages: []string{"resume"}},
		bench.Login{Repeats: once, Count: 1, Stages: []string{"tcp", "tls"}, Manner: bench.Manner{Tickets: true}},
		bench.Resume{Repeats: once, Stages: []string{"resume"}}, bench.Resume{Repeats: once, Count: 1, Stages: []string{"resume"}, Manner: bench.Manner{Profile: "x"}},
		bench.Federation{Chat: bench.Chat{Loop: loop, Phases: short, Pairs: 1, Body: 32}}, bench.Federation{PeerDomain: "a b"},
		bench.Federation{PeerDomain: "a", PeerFirst: -1}, bench.Federation{PeerDomain: "a", Chat: bench.Chat{Loop: loop, Phases: short, Pairs: 1}},
		bench.Idle{}, bench.Idle{Sessions: 1}, bench.Idle{Sessions: 1, Settle: []time.Duration{2, 1}},
		bench.Chat{Loop: loop, Phases: short, Pairs: 1, Body: 31}, bench.Chat{Loop: loop, Phases: short, Body: 32},
		bench.Chat{Loop: loop, Pairs: 1, Body: 32}, bench.Chat{Phases: short, Pairs: 1, Body: 32},
		bench.Presence{Loop: loop, Phases: short, Accounts: 5, Contacts: 3}, bench.Presence{Loop: loop, Phases: short, Accounts: 4, Contacts: 4},
		bench.Phone{}, bench.Phone{Days: 1, Contacts: 9, Day: time.Minute, Tail: time.Second}, bench.Phone{Days: 1, Contacts: 10, Day: time.Minute},
		bench.Archive{}, bench.Offline{}, bench.Offline{Repeats: once, Senders: 1, Receivers: 2, Messages: 1, Body: 32, Patience: 1},
	} {
		if err := s.Check(); err == nil || !strings.Contains(err.Error(), "-") && !strings.Contains(err.Error(), "sessions") {
			t.Errorf("Check of %+v: %v, want what is wrong", s, err)
		}
	}
}
