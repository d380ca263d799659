package bench

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/xmltree"
)

// Each value is counted in a bucket whose middle is no further away than 1/64.
func TestBuckets(t *testing.T) {
	last := -1
	for _, v := range []int64{0, 1, 2, 63, 64, 65, 127, 128, 129, 1000, 4095, 4096, 1e6, 1e9, 3.6e12, math.MaxInt64} {
		i := bucket(v)
		if i >= buckets || i < last {
			t.Fatalf("bucket(%d) = %d, want one of %d, not below %d", v, i, buckets, last)
		}
		last = i
		if off := math.Abs(float64(middle(i) - v)); off > float64(v)/64 {
			t.Errorf("middle(bucket(%d)) = %d, off by %.0f", v, middle(i), off)
		}
	}
	if got := bucket(-5); got != 0 {
		t.Errorf("bucket(-5) = %d, want 0", got)
	}
}

func TestQuantiles(t *testing.T) {
	tests := []struct {
		name   string
		values []time.Duration
		q      float64
		want   time.Duration
	}{
		{"nothing", nil, 0.99, 0},
		{"one, p50", []time.Duration{time.Second}, 0.5, time.Second},
		{"one, p99", []time.Duration{time.Second}, 0.99, time.Second},
		{"1 to 100, p50", upTo(100), 0.5, 51 * time.Millisecond},
		{"1 to 100, p90", upTo(100), 0.9, 91 * time.Millisecond},
		{"1 to 100, p99", upTo(100), 0.99, 100 * time.Millisecond},
		{"1 to 100, all", upTo(100), 1, 100 * time.Millisecond},
		{"never above the largest", []time.Duration{1000, 1001}, 0.99, 1001},
	}
	for _, tt := range tests {
		h := new(histogram)
		for _, v := range tt.values {
			h.add(v)
		}
		if got := h.quantile(tt.q); math.Abs(float64(got-tt.want)) > float64(tt.want)/64 {
			t.Errorf("%s: quantile(%v) = %v, want about %v", tt.name, tt.q, got, tt.want)
		}
		if len(tt.values) > 0 && h.max() != slices.Max(tt.values) {
			t.Errorf("%s: max = %v, want %v", tt.name, h.max(), slices.Max(tt.values))
		}
		h.reset()
		if got := h.quantile(1); got != 0 {
			t.Errorf("%s: quantile after reset = %v, want 0", tt.name, got)
		}
	}
}

func upTo(n int) (out []time.Duration) {
	for i := range n {
		out = append(out, time.Duration(i+1)*time.Millisecond)
	}
	return out
}

func TestMedian(t *testing.T) {
	tests := []struct {
		values []float64
		want   float64
	}{
		{nil, 0}, {[]float64{3}, 3}, {[]float64{5, 1}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 3, 2, 1}, 2.5},
	}
	for _, tt := range tests {
		before := slices.Clone(tt.values)
		if got := median(tt.values); got != tt.want || !slices.Equal(before, tt.values) {
			t.Errorf("median(%v) = %v, want %v", before, got, tt.want)
		}
	}
	var a, b Figures
	a.add("x", "X", 1)
	b.add("y", "Y", 7)
	b.add("x", "X", 2)
	if got := medians([]Figures{a, b}); len(got) != 1 || got[0] != (Figure{"x", "X", 1.5}) {
		t.Errorf("medians = %v, want x of 1.5 alone", got)
	}
}

func TestText(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 1: "1", 0.1234: "0.123", 12.345: "12.35", 123.45: "123.5", 1234.5: "1234", 100: "100", -2.5: "-2.5", 1e6: "1000000",
	} {
		if got := text(v); got != want {
			t.Errorf("text(%v) = %q, want %q", v, got, want)
		}
	}
	for v, want := range map[float64]float64{1.23456: 1.235, math.NaN(): 0, math.Inf(1): 0} {
		if got := round(v); got != want {
			t.Errorf("round(%v) = %v, want %v", v, got, want)
		}
	}
	if got := per(1, 0); got != 0 {
		t.Errorf("per(1, 0) = %v, want 0", got)
	}
}

// Figures keep their order in JSON and come back.
func TestFiguresJSON(t *testing.T) {
	var f Figures
	f.add("b", "B", 2.5)
	f.add("a", "A", 1000000)
	b, err := json.Marshal(f)
	if want := `{"b":2.5,"a":1000000}`; err != nil || string(b) != want {
		t.Fatalf("Marshal = %s, %v, want %s", b, err, want)
	}
	var back Figures
	if err := json.Unmarshal(b, &back); err != nil || len(back) != 2 || back[0] != (Figure{"b", "b", 2.5}) {
		t.Errorf("Unmarshal(%s) = %v, %v", b, back, err)
	}
	for _, wrong := range []string{`[]`, `{"a":"b"}`, `3`} {
		if err := json.Unmarshal([]byte(wrong), &back); err == nil {
			t.Errorf("Unmarshal(%s): no error", wrong)
		}
	}
}

func TestDue(t *testing.T) {
	begun := time.Unix(100, 0)
	tests := []struct {
		n    int64
		rate float64
		want time.Duration
	}{
		{0, 500, 0}, {1, 500, 2 * time.Millisecond}, {500, 500, time.Second}, {1, 0.5, 2 * time.Second}, {3_000_000, 1000, 3000 * time.Second},
	}
	for _, tt := range tests {
		if got := due(begun, tt.n, tt.rate).Sub(begun); got != tt.want {
			t.Errorf("due(%d, %v a second) = %v, want %v", tt.n, tt.rate, got, tt.want)
		}
	}
}

// An open loop sends nothing early, and after a stall all that is late at once,
// each with the time at which it was due.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 99*time.Millisecond)
		defer cancel()
		m := new(meter)
		begun := time.Now()
		var sent, dues []time.Duration
		m.pace(ctx, 100, func(n int64, due time.Time) {
			sent, dues = append(sent, time.Since(begun)), append(dues, due.Sub(begun))
			if n == 2 {
				time.Sleep(35 * time.Millisecond) // in the bubble of synctest
			}
		})
		ms := func(values ...int) (out []time.Duration) {
			for _, v := range values {
				out = append(out, time.Duration(v)*time.Millisecond)
			}
			return out
		}
		if want := ms(0, 10, 20, 55, 55, 55, 60, 70, 80, 90); !slices.Equal(sent, want) {
			t.Errorf("sent at %v, want %v", sent, want)
		}
		if want := ms(0, 10, 20, 30, 40, 50, 60, 70, 80, 90); !slices.Equal(dues, want) {
			t.Errorf("due at %v, want %v", dues, want)
		}
		if m.sent.Load() != 10 || time.Duration(m.lag.Load()) != 25*time.Millisecond {
			t.Errorf("sent %d, late by %v, want 10, 25ms", m.sent.Load(), time.Duration(m.lag.Load()))
		}
	})
}

func TestStamps(t *testing.T) {
	ours, others := newStamps(), newStamps()
	at := time.Unix(1790000000, 123456789)
	message := ours.message(jid.MustParse("juliet@capulet.example"), 60)
	raw := message.append([]byte("before"), at, 0xabc)
	el, err := xmltree.Parse(raw[len("before"):], xmltree.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	body := el.First().Text()
	if len(body) != 60 || el.Attr("to") != "juliet@capulet.example" || el.Attr("id") != body[:stampLength] {
		t.Errorf("message %s: want a body of 60 bytes that begins with the id", raw)
	}
	tests := []struct {
		name, text string
		ok         bool
	}{
		{"ours", body, true},
		{"short", body[:stampLength-1], false},
		{"nothing", "", false},
		{"of another run", others.words(60), false},
		{"no number", ours.run + strings.Repeat("x", 40), false},
	}
	for _, tt := range tests {
		got, ok := ours.read(tt.text)
		if ok != tt.ok || ok && !got.Equal(at) {
			t.Errorf("%s: read(%q) = %v, %v, want %v", tt.name, tt.text, got, ok, tt.ok)
		}
	}
	// The next one does not write over what was appended before.
	two := message.append(raw, at.Add(time.Second), 0xabd)
	if string(two[:len(raw)]) != string(raw) || strings.Count(string(two), "<message") != 2 {
		t.Errorf("append twice: %s", two)
	}
}

func TestParseStat(t *testing.T) {
	const numbers = " S 17 42 42 0 -1 4194560 1 2 3 4 150 50 7 3 20 0 9 0 123 456 789"
	want := stat{parent: 17, threads: 9, user: 1500 * time.Millisecond, system: 500 * time.Millisecond,
		childUser: 70 * time.Millisecond, childSystem: 30 * time.Millisecond}
	tests := []struct {
		in   string
		want stat
		ok   bool
	}{
		{"42 (kith)" + numbers, want, true},
		{"42 (a b) c) 1 2 (x)" + numbers + "\n", want, true},
		{"42 kith" + numbers, stat{}, false},
		{"42 (kith) S 17", stat{}, false},
		{"42 (kith)" + strings.Replace(numbers, "150", "many", 1), stat{}, false},
		{"", stat{}, false},
	}
	for _, tt := range tests {
		got, ok := parseStat([]byte(tt.in))
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("parseStat(%q) = %+v, %v, want %+v, %v", tt.in, got, ok, tt.want, tt.ok)
		}
	}
}

func TestParseStatus(t *testing.T) {
	const status = "Name:\tkith\nVmHWM:\t    2048 kB\nVmRSS:\t 1024 kB\nRssAnon:\t 3 kB\nBad:\tmany kB\n"
	for name, want := range map[string]int64{"VmRSS": 1 << 20, "VmHWM": 2 << 20, "VmSwap": 0, "Bad": 0, "Rss": 0} {
		if got := parseStatus([]byte(status), name); got != want {
			t.Errorf("parseStatus(%q) = %d, want %d", name, got, want)
		}
	}
}

func TestTree(t *testing.T) {
	stats := map[int]stat{1: {}, 2: {parent: 1}, 3: {parent: 2}, 4: {parent: 1}, 5: {parent: 3}, 6: {parent: 9}}
	tests := []struct {
		roots, want []int
	}{
		{[]int{2}, []int{2, 3, 5}}, {[]int{2, 3}, []int{2, 3, 5}}, {[]int{6}, []int{6}}, {[]int{7}, nil}, {nil, nil},
		{[]int{1}, []int{1, 2, 3, 4, 5}},
	}
	for _, tt := range tests {
		got := tree(tt.roots, stats)
		slices.Sort(got)
		if !slices.Equal(got, tt.want) {
			t.Errorf("tree(%v) = %v, want %v", tt.roots, got, tt.want)
		}
	}
}

// What a process and its child have used is read from the real /proc.
func TestProcesses(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("there is no /proc")
	}
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := newProcesses([]int{os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	u := p.read()
	if u.processes < 2 || u.threads < 2 || u.rss < 1<<20 || u.peak < u.rss {
		t.Errorf("usage of this process and its child = %+v", u)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	child.Wait() // was killed
	if _, err := newProcesses([]int{child.Process.Pid}); err == nil {
		t.Errorf("newProcesses of a process that has ended: no error")
	}
	if got := (processes{}).read(); got != (usage{}) {
		t.Errorf("usage of nobody = %+v", got)
	}
}

func TestAddress(t *testing.T) {
	tests := []struct{ domain, address, tls, want string }{
		{"example.org", "", "starttls", "example.org:5222"},
		{"example.org", "", "direct", "example.org:5223"},
		{"example.org", "192.0.2.1", "starttls", "192.0.2.1:5222"},
		{"example.org", "192.0.2.1:7", "direct", "192.0.2.1:7"},
		{"example.org", "::1", "starttls", "[::1]:5222"},
		{"example.org", "[::1]:7", "starttls", "[::1]:7"},
	}
	for _, tt := range tests {
		o := Options{Domain: tt.domain, Address: tt.address, TLS: tt.tls}
		if got := o.address(); got != tt.want {
			t.Errorf("address of %q at %q with %s = %s, want %s", tt.domain, tt.address, tt.tls, got, tt.want)
		}
	}
}

func TestTabulate(t *testing.T) {
	const in = `noise
{"scenario":"chat","label":"kith/w1","median":{"seconds":6,"deliveries_per_s":1000.5,"gen_cpu_us_per_delivery":9}}
{"scenario":"chat","label":"other/w1","median":{"deliveries_per_s":100,"plain_bytes_per_delivery":3}}
{"scenario":"idle","label":"kith","median":{"rss_per_session_bytes_5s":16000}}
pkg: kith/xmpp/jid
BenchmarkParse-2   	  100	      1250 ns/op	     384 B/op	       3 allocs/op
`
	const want = `| case | figure | kith | other | go test -bench |
|---|---|---:|---:|---:|
| w1 | deliveries_per_s | 1000 | 100 |  |
| idle | rss_per_session_bytes_5s | 16000 |  |  |
| xmpp/jid Parse-2 | ns/op |  |  | 1250 |
|  | B/op |  |  | 384 |
|  | allocs/op |  |  | 3 |
`
	var out strings.Builder
	if err := Tabulate(&out, false, strings.NewReader(in)); err != nil || out.String() != want {
		t.Errorf("Tabulate: %v\n%s\nwant\n%s", err, out.String(), want)
	}
	out.Reset()
	if err := Tabulate(&out, true, strings.NewReader(in)); err != nil || !strings.Contains(out.String(), "gen_cpu_us_per_delivery") {
		t.Errorf("Tabulate of all figures: %v\n%s", err, out.String())
	}
	if err := Tabulate(&out, false, strings.NewReader("{nonsense\n")); err == nil {
		t.Errorf("Tabulate of nonsense: no error")
	}
}
