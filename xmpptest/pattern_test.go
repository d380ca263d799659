package xmpptest

import (
	"strings"
	"testing"
)

func TestPattern(t *testing.T) {
	tests := []struct{ pattern, got, diff string }{
		{`<message/>`, `<message/>`, ""},
		{`<message/>`, `<iq/>`, "/message is iq, want message"},
		{`<message/>`, `<message xmlns='a'/>`, "/message is message of a, want message"},
		{`<message to='a' from='b'/>`, `<message from="b" to='a'/>`, ""},
		{`<message to='a'/>`, `<message to='b'/>`, "/message/@to is 'b', want 'a'"},
		{`<message to='a'/>`, `<message/>`, "/message/@to is not there, want 'a'"},
		{`<message/>`, `<message to='a'/>`, "/message/@to is 'a', want not there"},
		{`<message to='...'/>`, `<message to='a'/>`, ""},
		{`<message to='...'/>`, `<message/>`, "/message/@to is not there, want '...'"},
		{`<message .../>`, `<message to='a' from='b'/>`, ""},
		{`<message from='b' .../>`, `<message to='a' from='c'/>`, "/message/@from is 'c', want 'b'"},
		{`<message ... from='b'>...</message>`, `<message to='a' from='b'>x<y/></message>`, ""},
		{`<m xml:lang='en'/>`, `<m xml:lang='de'/>`, "/m/@lang is 'de', want 'en'"},
		{`<m><body>hark</body></m>`, "<m>\n  <body>hark</body>\n</m>", ""},
		{`<m><body>hark</body></m>`, `<m><body>hark </body></m>`, "/m/body/text() is 'hark ', want 'hark'"},
		{`<m><body>...</body></m>`, `<m><body>anything</body></m>`, ""},
		{`<m><body>...</body></m>`, `<m><body/></m>`, ""},
		{`<m><body/></m>`, `<m><body/><body/></m>`, "/m/body is body, want not there"},
		{`<m><body/><x/></m>`, `<m><body/></m>`, "/m/x is not there, want x"},
		{`<m>...<x/></m>`, `<m><body>a</body><y/><x/></m>`, ""},
		{`<m>...<x/></m>`, `<m><x/><x/><y/></m>`, "/m/x is not there, want x"},
		{`<m><a/>...<b/>...</m>`, `<m><a/><c/><b/></m>`, ""},
		{`<m><a/>...<b/>...</m>`, `<m><a/><c/></m>`, "/m/b is not there, want b"},
		{`<a x='{one}' y='{one}'/>`, `<a x='1' y='1'/>`, ""},
		{`<a x='{one}' y='{one}'/>`, `<a x='1' y='2'/>`, "/a/@y is '2', want '{one}'"},
		{`<a x='{one}-{two}'>{two}</a>`, `<a x='1-2'>2</a>`, ""},
		{`<a x='{one}{one}'/>`, `<a x='ab'/>`, "/a/@x is 'ab', want '{one}{one}'"},
		{`<a>{"n": 1}</a>`, `<a>{"n": 1}</a>`, ""},
		{`<a>1 &lt; 2</a>`, `<a>1 &#60; 2</a>`, ""},
		{`<a>a ... b</a>`, `<a>a x b</a>`, "/a/text() is 'a x b', want 'a ... b'"},
		{`<a>...<b x='{v}'/><c x='{v}'/></a>`, `<a><b x='1'/><b x='2'/><c x='2'/></a>`, ""},
		{`<stream:features>...</stream:features>`, `<stream:features><bind xmlns='b'/></stream:features>`, ""},
		{`<stream:stream id='{i}' from='h'>`, `<stream:stream id='7' from='h'/>`, ""},
		{`<stream:stream/>`, `<stream:stream id='7'/>`, "/stream/@id is '7', want not there"},
	}
	for _, tt := range tests {
		p, err := parsePattern(tt.pattern)
		if err != nil {
			t.Errorf("parsePattern(%s): %v", tt.pattern, err)
			continue
		}
		got, err := parseElement(tt.got)
		if err != nil {
			t.Fatalf("%s: %v", tt.got, err)
		}
		diff := ""
		if d := p.match(got, make(vars)); d != nil {
			diff = d.Error()
		}
		if diff != tt.diff {
			t.Errorf("%s\nmatched with %s\ngot:  %q\nwant: %q", tt.pattern, tt.got, diff, tt.diff)
		}
	}
}

func TestPatternErrors(t *testing.T) {
	for _, text := range []string{
		"", "hark", "<a>", "<a/><b/>", "</stream:stream>", "<a x=1/>", "<stream:stream", "<a><b></a>", "<a/>x", "<x:a/>", "<a ... ...=''/>",
	} {
		if _, err := parsePattern(text); err == nil {
			t.Errorf("parsePattern(%q): no error", text)
		}
	}
}

func TestFill(t *testing.T) {
	v := vars{"a": "1", "b": "<'>"}
	got, err := v.fill("<x id='{a}' to='{b}' j='{A}'/>")
	if want := "<x id='1' to='&lt;&apos;&gt;' j='{A}'/>"; got != want || err != nil {
		t.Errorf("fill = %s, %v; want %s", got, err, want)
	}
	if _, err := v.fill("{c}"); err == nil || !strings.Contains(err.Error(), "{c}") {
		t.Errorf("fill of what was not captured: %v", err)
	}
}
