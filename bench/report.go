package bench

import (
	"bufio"
	"cmp"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// Report is what a measurement has told.
type Report struct {
	Scenario string    `json:"scenario"`
	Label    string    `json:"label,omitempty"`
	Settings string    `json:"settings"`
	Time     time.Time `json:"time"`
	Domain   string    `json:"domain"`
	Address  string    `json:"address"`
	// TLS and Mechanism are those of the first session; "" is none.
	TLS       string `json:"tls"`
	Mechanism string `json:"mechanism,omitempty"`
	Cores     int    `json:"cores"` // of this machine
	Lost      int64  `json:"lost"`  // sessions that ended by themselves

	Median      Figures   `json:"median"`
	Repetitions []Figures `json:"reps"`

	mu sync.Mutex // guards TLS and Mechanism while sessions log in
}

func newReport(o Options, s Scenario) *Report {
	return &Report{
		Scenario: s.name(), Label: o.Label, Settings: s.settings(), Time: time.Now().UTC().Truncate(time.Second),
		Domain: o.Domain, Address: o.address(), Cores: runtime.NumCPU(),
	}
}

// saw notes how a session is encrypted and logged in.
func (r *Report) saw(state *tls.ConnectionState, mechanism string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.TLS == "" && state != nil {
		r.TLS = tls.VersionName(state.Version) + " " + tls.CipherSuiteName(state.CipherSuite) + " " + state.CurveID.String()
	}
	if r.Mechanism == "" {
		r.Mechanism = mechanism
	}
}

// JSON writes the report as one line.
func (r *Report) JSON(w io.Writer) error { return json.NewEncoder(w).Encode(r) }

// Table writes the report for people: what was measured, and a line for each
// figure with its median and all repetitions.
func (r *Report) Table(w io.Writer) error {
	fmt.Fprintf(w, "%s: %s\n", r.Scenario, r.Settings)
	how := []string{r.Domain + " at " + r.Address, cmp.Or(r.TLS, "no TLS")}
	if r.Mechanism != "" {
		how = append(how, r.Mechanism)
	}
	fmt.Fprintf(w, "%s\n\n", strings.Join(how, ", "))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	head := []string{"", "median"}
	if len(r.Repetitions) < 2 {
		head = []string{"", ""}
	}
	for i := range r.Repetitions {
		if len(r.Repetitions) > 1 {
			head = append(head, fmt.Sprint(i+1))
		}
	}
	width := 0
	for _, f := range r.Median {
		width = max(width, len([]rune(f.Label)))
	}
	line := func(label string, cells []string) {
		fmt.Fprintf(t, "%s%s\t%s\t\n", label, strings.Repeat(" ", width-len([]rune(label))), strings.Join(cells, "\t"))
	}
	if len(head) > 2 {
		line(head[0], head[1:])
	}
	for _, f := range r.Median {
		cells := []string{text(f.Value)}
		for _, rep := range r.Repetitions {
			if v, ok := rep.Get(f.Key); ok && len(r.Repetitions) > 1 {
				cells = append(cells, text(v))
			}
		}
		line(f.Label, cells)
	}
	return t.Flush()
}

// Tabulate reads reports, one JSON object a line, and the output of go test
// -bench, and writes one Markdown table: a row for each figure of each case, a
// column for each server. Label tells them apart, in the form SERVER/CASE; a
// label without a slash is a server's name, and the case the scenario. all adds
// the figures that are left out otherwise.
func Tabulate(w io.Writer, all bool, inputs ...io.Reader) error {
	t := tabulation{cells: map[[3]string]string{}}
	for _, in := range inputs {
		lines := bufio.NewScanner(in)
		lines.Buffer(nil, 16<<20)
		pkg := ""
		for lines.Scan() {
			line := strings.TrimSpace(lines.Text())
			switch {
			case strings.HasPrefix(line, "{"):
				var r Report
				if err := json.Unmarshal([]byte(line), &r); err != nil {
					return fmt.Errorf("read a report: %w", err)
				}
				t.report(&r, all)
			case strings.HasPrefix(line, "pkg: "):
				pkg = strings.TrimPrefix(strings.TrimPrefix(line, "pkg: "), "kith/")
			case strings.HasPrefix(line, "Benchmark"):
				t.benchmark(pkg, line)
			}
		}
		if err := lines.Err(); err != nil {
			return fmt.Errorf("read reports: %w", err)
		}
	}
	return t.write(w)
}

// tabulation is a table that is being filled.
type tabulation struct {
	servers []string
	rows    [][2]string // case and figure
	cells   map[[3]string]string
}

func (t *tabulation) set(server, row, figure, value string) {
	if !slices.Contains(t.servers, server) {
		t.servers = append(t.servers, server)
	}
	if !slices.Contains(t.rows, [2]string{row, figure}) {
		t.rows = append(t.rows, [2]string{row, figure})
	}
	t.cells[[3]string{server, row, figure}] = value
}

// essential tells the figures by which servers are compared.
func essential(key string) bool {
	for _, end := range []string{"_per_s", "_p50_ms", "_p99_ms", "_cpu_ms", "_cpu_us", "_us_per_delivery", "errors", "_per_message", "_per_page", "_round_trips"} {
		if strings.HasSuffix(key, end) {
			return !strings.HasPrefix(key, "gen_") && !strings.Contains(key, "_gen_") && !strings.Contains(key, "bytes")
		}
	}
	return strings.HasPrefix(key, "rss_per_session_bytes") ||
		slices.Contains([]string{"missing", "twice", "out_of_order", "wakeups", "wakeups_in_pocket", "awake_hours_in_pocket", "wire_bytes", "urgent_late_max_ms"}, key)
}

func (t *tabulation) report(r *Report, all bool) {
	server, row, ok := strings.Cut(r.Label, "/")
	if !ok {
		row = r.Scenario
	}
	if server == "" {
		server = r.Domain
	}
	for _, f := range r.Median {
		if all || essential(f.Key) {
			t.set(server, row, f.Key, text(f.Value))
		}
	}
}

// benchmark takes a line of go test -bench: name, how often, and pairs of value
// and unit.
func (t *tabulation) benchmark(pkg, line string) {
	fields := strings.Fields(line)
	if len(fields) < 4 {
		return
	}
	for i := 2; i+1 < len(fields); i += 2 {
		t.set("go test -bench", strings.TrimSpace(pkg+" "+strings.TrimPrefix(fields[0], "Benchmark")), fields[i+1], fields[i])
	}
}

func (t *tabulation) write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "| case | figure | %s |\n|---|---|%s\n", strings.Join(t.servers, " | "), strings.Repeat("---:|", len(t.servers)))
	last := ""
	for _, row := range t.rows {
		name := row[0]
		if name == last {
			name = ""
		}
		last = row[0]
		fmt.Fprintf(&b, "| %s | %s |", name, row[1])
		for _, server := range t.servers {
			fmt.Fprintf(&b, " %s |", t.cells[[3]string{server, row[0], row[1]}])
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}
