package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// event is one line of go test -json (go doc test2json).
type event struct {
	Action      string
	Package     string
	Test        string
	Elapsed     float64
	Output      string
	ImportPath  string // of a build's events
	FailedBuild string
}

// test is what is known of a test, or of a package as a whole ("").
type test struct {
	outcome string // "", pass, fail, skip
	output  []string
}

func (t *test) failed() bool { return t.outcome == "fail" || t.outcome == "" }

// pkg is a package under test.
type pkg struct {
	tests map[string]*test
	done  bool
}

func (p *pkg) test(name string) *test {
	if p.tests[name] == nil {
		p.tests[name] = &test{}
	}
	return p.tests[name]
}

// skip is a test that did not run, and why.
type skip struct{ pkg, test, reason string }

// failure is a test that failed, and the first it said.
type failure struct{ pkg, test, words string }

// summary gathers events and writes what is worth reading.
type summary struct {
	w        io.Writer
	packages map[string]*pkg
	builds   map[string][]string // output by import path
	skips    []skip
	failures []failure

	passed, failed, skipped int
}

func newSummary(w io.Writer) *summary {
	return &summary{w: w, packages: make(map[string]*pkg), builds: make(map[string][]string)}
}

// read takes events until the input ends.
func (s *summary) read(r io.Reader) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			s.line(line)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read events: %w", err)
		}
	}
}

// line takes one line: an event, or else something that go itself said.
func (s *summary) line(line string) {
	var e event
	if err := json.Unmarshal([]byte(line), &e); err != nil || e.Action == "" {
		fmt.Fprintln(s.w, line)
		return
	}
	switch {
	case e.Action == "build-output":
		s.builds[e.ImportPath] = append(s.builds[e.ImportPath], e.Output)
	case e.Package == "":
	default:
		s.event(e)
	}
}

func (s *summary) event(e event) {
	p := s.packages[e.Package]
	if p == nil || p.done && e.Action == "start" { // a package may be run more than once
		p = &pkg{tests: make(map[string]*test)}
		s.packages[e.Package] = p
	}
	t := p.test(e.Test)
	switch e.Action {
	case "output":
		t.output = append(t.output, e.Output)
	case "pass", "fail", "skip":
		t.outcome = e.Action
		if e.Test == "" {
			s.end(e.Package, p, e)
		}
	}
}

// end counts the tests of a package that has ended and writes its line.
func (s *summary) end(name string, p *pkg, e event) {
	p.done = true
	var passed, failed, skipped int
	var cut []string // had said nothing when the package ended
	for _, testName := range slices.Sorted(maps.Keys(p.tests)) {
		t := p.tests[testName]
		switch {
		case testName == "":
		case t.failed():
			// A parent is at fault itself only if none of its children is. A
			// test without an end was cut off.
			if !p.hasChild(testName, (*test).failed) {
				failed++
			}
			if t.outcome == "" && len(slices.DeleteFunc(slices.Clone(t.output), frame)) == 0 {
				cut = append(cut, testName)
			} else {
				s.showFailure(name, testName, t)
			}
		case p.hasChild(testName, func(*test) bool { return true }):
		case t.outcome == "skip":
			skipped++
			s.skips = append(s.skips, skip{name, testName, reason(t.output)})
		default:
			passed++
		}
	}
	if len(cut) > 0 {
		words := "did not come to their end: " + strings.Join(cut, " ")
		fmt.Fprintf(s.w, "--- FAIL: %s: %s\n", name, words)
		s.failures = append(s.failures, failure{name, fmt.Sprintf("%d tests", len(cut)), words})
	}
	whole := p.tests[""]
	if whole.outcome == "fail" && failed == 0 {
		failed++ // not built, or ended outside of any test
		s.showBuild(e.FailedBuild)
		s.showFailure(name, "", whole)
	}
	s.passed, s.failed, s.skipped = s.passed+passed, s.failed+failed, s.skipped+skipped
	if whole.outcome == "skip" || passed+failed+skipped == 0 {
		return // no tests in it
	}
	word := "ok  "
	if failed > 0 {
		word = "FAIL"
	}
	fmt.Fprintf(s.w, "%s %s  %d passed, %d failed, %d skipped  %.1fs\n", word, name, passed, failed, skipped, e.Elapsed)
}

// hasChild tells whether any subtest is of the kind. Names tell who is whose
// subtest; they may have slashes of their own, so a parent need not exist.
func (p *pkg) hasChild(name string, kind func(*test) bool) bool {
	for other, t := range p.tests {
		if strings.HasPrefix(other, name+"/") && kind(t) {
			return true
		}
	}
	return false
}

// Of what one test said, at most so many lines are shown from its beginning and
// its end: a crash lists every goroutine, and buries the other failures.
const headLines, tailLines = 60, 15

func (s *summary) showFailure(pkgName, testName string, t *test) {
	fmt.Fprintf(s.w, "--- FAIL: %s %s\n", pkgName, cmp.Or(testName, "(the package)"))
	said := slices.DeleteFunc(slices.Clone(t.output), frame)
	s.failures = append(s.failures, failure{pkgName, cmp.Or(testName, "(the package)"), firstWords(said)})
	if hidden := len(said) - headLines - tailLines; hidden > 0 {
		said = slices.Concat(said[:headLines],
			[]string{fmt.Sprintf("    … %d lines more …\n", hidden)}, said[len(said)-tailLines:])
	}
	for _, line := range said {
		fmt.Fprint(s.w, line)
	}
	if testName != "" && t.outcome == "" {
		fmt.Fprintln(s.w, "    it did not come to its end")
	}
}

// firstWords is the first line that says something.
func firstWords(said []string) string {
	for _, line := range said {
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
	}
	return "nothing said"
}

// frame tells go test's own lines about a test from what the test said.
func frame(line string) bool {
	line = strings.TrimLeft(line, " ")
	for _, prefix := range []string{"=== ", "--- FAIL", "--- SKIP", "--- PASS", "FAIL\n"} {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return false
}

func (s *summary) showBuild(importPath string) {
	for _, line := range s.builds[importPath] {
		fmt.Fprint(s.w, line)
	}
	delete(s.builds, importPath)
}

// reason is what a skipped test said, without the place where it said it.
func reason(output []string) string {
	var words []string
	for _, line := range output {
		if frame(line) {
			continue
		}
		line = strings.TrimSpace(line)
		if file, rest, ok := strings.Cut(line, ".go:"); ok && !strings.Contains(file, " ") {
			if _, said, ok := strings.Cut(rest, ": "); ok {
				line = said
			}
		}
		words = append(words, line)
	}
	return cmp.Or(strings.Join(words, " "), "no reason given")
}

// finish writes what concerns the whole run, and tells whether it went well.
func (s *summary) finish() bool {
	for _, name := range slices.Sorted(maps.Keys(s.packages)) {
		p := s.packages[name]
		if p.done {
			continue
		}
		fmt.Fprintf(s.w, "--- FAIL: %s: the output ends before the package does\n", name)
		p.test("").outcome = "fail"
		s.end(name, p, event{})
	}
	for _, path := range slices.Sorted(maps.Keys(s.builds)) {
		s.showBuild(path) // what no package's end has asked for
	}
	for _, skip := range s.skips {
		fmt.Fprintf(s.w, "skipped: %s %s: %s\n", skip.pkg, skip.test, skip.reason)
	}
	for _, f := range s.failures {
		fmt.Fprintf(s.w, "failed: %s %s: %s\n", f.pkg, f.test, f.words)
	}
	ran := s.passed + s.failed
	if ran == 0 {
		fmt.Fprintln(s.w, "no test ran")
	}
	fmt.Fprintf(s.w, "%d passed, %d failed, %d skipped\n", s.passed, s.failed, s.skipped)
	return s.failed == 0 && ran > 0
}
