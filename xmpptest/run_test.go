package xmpptest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

func TestScenarios(t *testing.T) { Run(t, "testdata/*.xmpp") }

// play runs the only block of a scenario and returns what went wrong.
func play(t *testing.T, text string) (lines []string, e edits, err error) {
	t.Helper()
	s, err := parseScenario(text)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("block", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := &run{t: t, file: "x.xmpp", lines: s.lines, clients: make(map[string]*Client), vars: make(vars)}
			err = r.block(s.blocks[0], nil)
			e = r.edits
		})
	})
	return s.lines, e, err
}

// TestFailures are scenarios that fail, and what is said of it.
func TestFailures(t *testing.T) {
	tests := []struct{ text, want string }{
		{"romeo < <message/>", "x.xmpp:1: romeo has no stream"},
		{"hero is online", "x.xmpp:1: hero is in none of the examples"},
		{"accounts: hero\nromeo is online", "hero is in none of the examples"},
		{"romeo is online\nromeo < <message/>", `x.xmpp:2: romeo did not receive what was expected
  got:  nothing
  want: <message/>`},
		{"romeo/a, juliet/b are online\nromeo/a > <message to='juliet@capulet.example/b' id='1'/>\njuliet/b < <message id='2' .../>",
			`x.xmpp:3: juliet/b did not receive what was expected
  sent: romeo/a > <message to='juliet@capulet.example/b' id='1'/> (line 2)
  got:  <message to='juliet@capulet.example/b' from='romeo@montague.example/a' id='1'`},
		{"romeo/a, juliet/b are online\nromeo/a > <message to='juliet@capulet.example/b' id='1'/>\njuliet/b < <message id='2' .../>",
			"/message/@id is '1', want '2'"},
		{"romeo/a, juliet/b are online\nromeo/a > <message to='juliet@capulet.example/b'/>\nromeo/a < <message/>",
			"waiting: juliet/b < <message to='juliet@capulet.example/b' from='romeo@montague.example/a'"},
		{"romeo/a, juliet/b are online\nromeo/a > <message to='juliet@capulet.example/b'/>\nnobody else receives anything",
			"x.xmpp:3: received what was not expected"},
		{"romeo/a, juliet/b are online\nromeo/a > <message to='juliet@capulet.example/b'/>\njuliet/b receives nothing",
			"got:  juliet/b < <message to="},
		{"romeo/a is online\nromeo/a > raw: </stream:stream>\nnobody else receives anything", "romeo/a's stream has ended: "},
		{"romeo/a is online\nromeo/a's stream is closed", "x.xmpp:2: romeo/a\n  got:  stream ended: false"},
		{"romeo/a is online\nromeo/a > raw: </a>\nromeo/a's stream is closed with <conflict/>", "want: a stream error with <conflict/>"},
		{"romeo/a is online\nromeo/a > raw: </a>\nromeo/a's stream is closed", "got:  <stream:error"},
		{"romeo/a is online\nromeo/a > raw: </stream:stream>\nromeo/a's connection is cut", "want: the end of the connection"},
		{"romeo/a is online\nromeo/a > <iq id='{n}'/>", "{n} was not captured"},
		{"romeo/a is online\nromeo/a starts TLS", "no <proceed/>"},
		{"romeo opens a stream\nromeo authenticates", "log-in refused"},
	}
	for _, tt := range tests {
		_, _, err := play(t, tt.text)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s\ngot:  %v\nwant: %s", tt.text, err, tt.want)
		}
	}
}

// TestUpdate rewrites what is wrong and nothing else.
func TestUpdate(t *testing.T) {
	*update = true
	defer func() { *update = false }()
	const text = `# A title
romeo/home, juliet/balcony are online
romeo/home > <iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>
romeo/home < <iq type='wrong'
    id='1'/>
romeo/home > <iq type='get' id='2'><ping xmlns='urn:xmpp:ping'/></iq>
romeo/home < <iq type='result' .../>
juliet/balcony < <message/>
juliet/balcony > <iq to='romeo@montague.example/home' type='get' id='3'><a xmlns='b'/></iq>
nobody else receives anything
after 6m: romeo/home < <presence/>
`
	const want = `# A title
romeo/home, juliet/balcony are online
romeo/home > <iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>
romeo/home < <iq to='romeo@montague.example/home' type='result' id='1'/>
romeo/home > <iq type='get' id='2'><ping xmlns='urn:xmpp:ping'/></iq>
romeo/home < <iq type='result' .../>
juliet/balcony > <iq to='romeo@montague.example/home' type='get' id='3'><a xmlns='b'/></iq>
romeo/home < <iq to='romeo@montague.example/home' from='juliet@capulet.example/balcony' type='get' id='3'><a xmlns='b'/></iq>
nobody else receives anything
after 6m: romeo/home < <iq `
	lines, e, err := play(t, text)
	if err != nil {
		t.Fatal(err)
	}
	if got := e.apply(lines); !strings.HasPrefix(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// TestRunUpdates runs a file that is rewritten.
func TestRunUpdates(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.xmpp")
	text := "# one\nromeo connects\n\n# two\nromeo connects\nromeo < <presence/>\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	*update = true
	defer func() { *update = false }()
	t.Run("run", func(t *testing.T) { Run(t, file) })
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if want := "# one\nromeo connects\n\n# two\nromeo connects\n"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEdits(t *testing.T) {
	e := edits{{line: 4, lines: []string{"new"}}, {line: 1, count: 2, lines: []string{"a", "b", "c"}}, {line: 3, count: 1}}
	if got, want := e.apply(strings.Fields("1 2 3 4 5")), "a b c new 4 5"; got != strings.Join(strings.Fields(want), "\n")+"\n" {
		t.Errorf("got %q, want %q", strings.Fields(got), want)
	}
	if !slices.IsSortedFunc(e[:1], func(a, b edit) int { return a.line - b.line }) {
		t.Error("edits were changed")
	}
}
