package xmpptest

import (
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"
)

// Real makes Run play the scenarios in real time, one block after the other, with
// databases that are made for each; with nil they are SQLite's. Nothing else may
// run in the program meanwhile: what "nothing is received" means is found out by
// all of its goroutines being at rest.
//
// What would take long is not played: from the first line of a block on by which
// more than a few seconds have passed, its lines are skipped, and that is logged.
func Real(database func(t testing.TB) (url string)) Option {
	if database == nil {
		database = func(testing.TB) string { return "" }
	}
	return func(o *options) { o.real, o.database = true, database }
}

// realTime is what one block may pass of real time.
const realTime = 3 * time.Second

// isReal finds out what the options say before there is a server.
func isReal(opts []Option) bool {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	return o.real
}

// playReal runs a block in real time.
func playReal(t *testing.T, r *run, b block, opts []Option) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	steps, skipped := inReal(b.steps)
	if skipped > 0 {
		last := b.steps[len(b.steps)-1]
		t.Logf("%s: lines %d to %d are skipped in real time", r.file, skipped, last.line+last.count-1)
	}
	if len(steps) == 0 {
		t.Skip("it begins with a long time")
	}
	b.steps = steps
	if url := o.database(t); url != "" {
		opts = append(slices.Clone(opts), Storage(url))
	}
	if err := r.block(b, opts); err != nil {
		t.Error(err)
	}
}

// virtual are times as they are in a bubble, which begins with the year 2000.
var virtual = regexp.MustCompile(`2000-01-01T\d\d:\d\d:\d\d(\.\d+)?Z`)

// inReal returns the steps to be played in real time, and the line of the first
// that is not, 0 if all are. What is expected of the clock is anything.
func inReal(steps []step) (play []step, skipped int) {
	var passed time.Duration
	for _, st := range steps {
		if passed += st.after; passed > realTime {
			return play, st.line
		}
		if text := anyTime(st.text); text != st.text && (st.verb == receives || st.verb == receivesAmong) {
			p, err := parsePattern(text)
			if err != nil {
				panic(fmt.Sprintf("%s: %v", text, err)) // it was a pattern with the time
			}
			st.text, st.pattern = text, p
		}
		play = append(play, st)
	}
	return play, 0
}

// anyTime puts "..." in the place of a virtual time and, in a text, of what stands around it.
func anyTime(text string) string {
	text = regexp.MustCompile(`>[^<>]*`+virtual.String()+`[^<>]*<`).ReplaceAllString(text, ">...<")
	return virtual.ReplaceAllString(text, "...")
}
