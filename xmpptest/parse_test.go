package xmpptest

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseStep(t *testing.T) {
	tests := []struct {
		line string
		want step
	}{
		{"romeo/home, juliet/balcony are online", step{verb: online, actors: []string{"romeo/home", "juliet/balcony"}}},
		{"romeo, juliet and nurse are online", step{verb: online, actors: []string{"romeo", "juliet", "nurse"}}},
		{"romeo@montague.example/home is online", step{verb: online, actors: []string{"romeo@montague.example/home"}}},
		{"romeo connects", step{verb: connects, actors: []string{"romeo"}}},
		{"romeo, juliet connect", step{verb: connects, actors: []string{"romeo", "juliet"}}},
		{"romeo opens a stream", step{verb: opensStream, actors: []string{"romeo"}}},
		{"romeo opens a stream over TLS", step{verb: opensStream, actors: []string{"romeo"}, overTLS: true}},
		{"romeo opens a stream to b.example over TLS", step{verb: opensStream, actors: []string{"romeo"}, host: "b.example", overTLS: true}},
		{"romeo opens a socket", step{verb: opensSocket, actors: []string{"romeo"}}},
		{"romeo starts TLS", step{verb: startsTLS, actors: []string{"romeo"}}},
		{"romeo authenticates", step{verb: authenticates, actors: []string{"romeo"}}},
		{"romeo restarts the stream", step{verb: restartsStream, actors: []string{"romeo"}}},
		{"romeo enables stream management", step{verb: enablesManagement, actors: []string{"romeo"}}},
		{"romeo stops reading", step{verb: stopsReading, actors: []string{"romeo"}}},
		{"romeo reads again", step{verb: readsAgain, actors: []string{"romeo"}}},
		{"romeo > <a/>", step{verb: sends, actors: []string{"romeo"}, text: "<a/>"}},
		{"romeo > <a/> <b/>", step{verb: sends, actors: []string{"romeo"}, text: "<a/> <b/>"}},
		{"romeo > <auth>{base64 \\0a\\0b}</auth>", step{verb: sends, actors: []string{"romeo"}, text: "<auth>AGEAYg==</auth>"}},
		{"romeo > <stream:stream to='x'>", step{verb: sends, actors: []string{"romeo"}, text: "<stream:stream to='x'>"}},
		{`romeo > raw: <a>\n\x00\u00e9\\`, step{verb: sends, actors: []string{"romeo"}, host: "raw", text: "<a>\n\x00\u00e9\\"}},
		{"romeo < <a/>", step{verb: receives, actors: []string{"romeo"}, text: "<a/>"}},
		{"romeo <* <a/>", step{verb: receivesAmong, actors: []string{"romeo"}, text: "<a/>"}},
		{"romeo receives nothing", step{verb: receivesNothing, actors: []string{"romeo"}}},
		{"romeo and juliet receive nothing", step{verb: receivesNothing, actors: []string{"romeo", "juliet"}}},
		{"nobody else receives anything", step{verb: nobodyReceives}},
		{"nobody receives anything", step{verb: nobodyReceives}},
		{"after 5m", step{verb: pass, after: 5 * time.Minute}},
		{"after 1m30s: romeo < <a/>", step{verb: receives, after: 90 * time.Second, actors: []string{"romeo"}, text: "<a/>"}},
		{"romeo disconnects", step{verb: disconnects, actors: []string{"romeo"}}},
		{"romeo vanishes", step{verb: vanishes, actors: []string{"romeo"}}},
		{"romeo's stream is closed", step{verb: streamClosed, actors: []string{"romeo"}}},
		{"romeo/home's stream is closed with <conflict/>", step{verb: streamClosed, actors: []string{"romeo/home"}, text: "conflict"}},
		{"romeo's connection is cut", step{verb: connectionCut, actors: []string{"romeo"}}},
		{"the server restarts", step{verb: serverRestarts}},
	}
	for _, tt := range tests {
		var got step
		if err := got.parse(tt.line); err != nil {
			t.Errorf("%s: %v", tt.line, err)
			continue
		}
		got.pattern = pattern{}
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s\ngot:  %+v\nwant: %+v", tt.line, got, tt.want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct{ text, want string }{
		{"", "1: nothing happens"},
		{"# only a title", "1: nothing happens"},
		{"romeo sings", "1: not understood: romeo sings"},
		{"romeo is offline", "1: not understood"},
		{"romeo is online\n\nafter five: romeo < <a/>", "3: after five: no time"},
		{"after -5s", "1: after -5s: no time"},
		{"romeo > <a>", "1: element without an end"},
		{"romeo > <a></b>", "the word raw"},
		{"romeo > hark", "the word raw"},
		{"romeo > <stream:stream", "without an end"},
		{"romeo < <a", "1: element without an end"},
		{"romeo < <a/><b/>", "1: something behind the element"},
		{`romeo > raw: \q`, `\q is not known`},
		{`romeo > raw: \x0`, "too short"},
		{`romeo > raw: \xzz`, "invalid syntax"},
		{`romeo > raw: a\`, `\ at the end`},
		{`romeo > <a>{base64 \q}</a>`, `\q is not known`},
		{"romeo is online\nconfig: a = 1", "2: config: stands before the first step"},
		{"accounts: romeo,, juliet", "is nobody"},
		{"accounts: @", "malformed"},
		{"romeo is online\n romeo < <a/>", "not understood"}, // it goes on with the line above
	}
	for _, tt := range tests {
		if _, err := parseScenario(tt.text); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q\ngot:  %v\nwant: %s", tt.text, err, tt.want)
		}
	}
}

func TestParseBlocks(t *testing.T) {
	const text = `# What the file is about
config: [limits]
accounts: nurse

# First
# of two
config: sessions = 2
romeo is online
# said of the next line
romeo > <message
    to='a'><body>x</body>
	</message>

romeo receives nothing

# Nothing happens here

# Second
accounts: peter
romeo connects
`
	s, err := parseScenario(text)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range s.blocks {
		got = append(got, fmt.Sprintf("%d %s %q %q", b.line, b.title, b.config, b.accounts))
		for _, st := range b.steps {
			got = append(got, fmt.Sprintf("%d+%d %d %s", st.line, st.count, st.verb, st.text))
		}
	}
	want := []string{
		`5 First of two ["[limits]" "sessions = 2"] ["nurse"]`,
		fmt.Sprintf("8+1 %d ", online),
		fmt.Sprintf("10+3 %d <message to='a'><body>x</body></message>", sends),
		fmt.Sprintf("14+1 %d ", receivesNothing),
		`18 Second ["[limits]"] ["nurse" "peter"]`,
		fmt.Sprintf("20+1 %d ", connects),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.xmpp")
	if err != nil || len(files) == 0 {
		f.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, block := range strings.Split(string(text), "\n\n") {
			f.Add(block)
		}
	}
	f.Add("romeo < <a x='{b}' ...>...<c>{b}</c>...</a>")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseScenario(text)
		if err != nil {
			return
		}
		for _, b := range s.blocks {
			for _, st := range b.steps {
				if st.line < 1 || st.count < 1 || st.line-1+st.count > len(s.lines) {
					t.Fatalf("step at line %d, %d lines, of %d", st.line, st.count, len(s.lines))
				}
				if st.verb == receives {
					st.pattern.match(st.pattern.el, make(vars))
				}
			}
		}
	})
}
