package xmltree

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// TestSkip: an element that is too long is reported by its start tag, and the
// stream goes on behind it.
func TestSkip(t *testing.T) {
	const open = "<stream:stream xmlns='jabber:server' xmlns:stream='" + nsStream + "' xmlns:h='urn:h'>"
	long := strings.Repeat("x", 5000)
	for _, c := range []struct{ rule, in, start string }{
		{"text", "<message to='a&amp;b' id='1'><body>" + long + "</body></message>", "<message to='a&amp;b' id='1'/>"},
		{"white space in the start tag", "<message\nid = \"1\"\t>" + long + "</message\n>", "<message\nid = \"1\"\t/>"},
		{"its own content namespace", "<iq xmlns='jabber:server'>" + long + "</iq>", "<iq/>"},
		{"prefixes of the stream", "<h:a h:b='c' xml:lang='de'>" + long + "</h:a>", "<h:a xmlns:h='urn:h' h:b='c' xml:lang='de'/>"},
		{"its own prefix", "<p:a xmlns:p='u'>" + long + "<p:b/></p:a>", "<p:a xmlns:p='u'/>"},
		{"CDATA", "<a><![CDATA[" + long + "]]>]]&gt;</a>", "<a/>"},
		{"attribute", "<a><b c='" + long + "' d='" + long + "'/></a>", "<a/>"},
		{"elements", "<a>" + strings.Repeat("<b/>", 1000) + "</a>", "<a/>"},
		{"white space in tags", "<a><b" + strings.Repeat(" ", 900) + "c" + strings.Repeat("\n", 900) + "=" + strings.Repeat("\t", 900) +
			"''></b" + strings.Repeat("\r", 900) + "></a" + strings.Repeat(" ", 900) + ">", "<a/>"},
		{"references", "<a>" + strings.Repeat("&#x20AC;", 600) + "</a>", "<a/>"},
	} {
		d := NewDecoder(Limits{Bytes: 512, Skip: 16384})
		d.Feed([]byte(open + "<before/>" + c.in + "<behind/>"))
		if e, err := d.Next(); !e.Is(Name{nsClient, "before"}) {
			t.Fatalf("%s: Next = %s, %v", c.rule, e.Raw(), err)
		}
		_, err := d.Next()
		var o *OversizeError
		if !errors.As(err, &o) || string(Marshal(o.Start, nsClient)) != c.start || o.Size != len(c.in) || o.Limit != 512 {
			t.Errorf("%s: %+v, want start tag %s, size %d, limit 512", c.rule, err, c.start, len(c.in))
			continue
		}
		if !strings.Contains(o.Error(), fmt.Sprint(len(c.in))) {
			t.Errorf("%s: %q does not tell the size", c.rule, o.Error())
		}
		if o.Start.First().Exists() || o.Start.Text() != "" {
			t.Errorf("%s: start tag with content: %s", c.rule, dump(o.Start))
		}
		if e, err := d.Next(); !e.Is(Name{nsClient, "behind"}) {
			t.Errorf("%s: behind it Next = %s, %v", c.rule, e.Raw(), err)
		}
		d.Feed([]byte("</stream:stream>"))
		if _, err := d.Next(); err != io.EOF {
			t.Errorf("%s: at the end of the stream Next = %v", c.rule, err)
		}
	}
}

// TestSkipIsStrict: what is too long and wrong ends the stream, and so does what
// is much too long.
func TestSkipIsStrict(t *testing.T) {
	long := strings.Repeat("x", 3000)
	for _, c := range []struct {
		rule, in string
		want     Kind
		offset   int
	}{
		{"much too long", "<a>" + long + long + "</a>", PolicyViolation, 4000},
		{"end of the limit", "<a>" + strings.Repeat("x", 3994) + "</a>", PolicyViolation, 4000},
		{"start tag", "<a b='" + long + "'></a>", PolicyViolation, 500},
		{"start tag of one byte too many", "<a b='" + strings.Repeat("x", 493) + "'></a>", PolicyViolation, 500},
		{"end tag of the stream", "</stream:stream" + strings.Repeat(" ", 3000), PolicyViolation, 500},
		{"depth", "<a>" + long + strings.Repeat("<b>", 9), PolicyViolation, 3003 + 7*3 + 1},
		{"elements", "<a>" + long + strings.Repeat("<b/>", 99), PolicyViolation, 3003 + 19*4 + 1},
		{"attributes", "<a>" + long + "<b c='' d='' e='' f='' g=''/>", PolicyViolation, 3003 + 2 + 4*5 + 1},
		{"namespaces", "<a>" + long + "<b xmlns='1'/><b xmlns='2'/><b xmlns='3'/><b xmlns='4'/>", PolicyViolation, 0},
		{"namespaces on both sides", "<a xmlns='1'><b xmlns='2'/>" + long + "<b xmlns='1'/><b xmlns='2'/><b xmlns='3'/><b xmlns='4'/>", PolicyViolation, 0},
		{"namespace name", "<a>" + long + "<b xmlns='" + long + "'/></a>", PolicyViolation, 0},
		{"end tag", "<a><b>" + long + "</a></b>", NotWellFormed, 3000 + 8},
		{"prefix out of force", "<a><b xmlns:p='u'/>" + long + "<p:c/></a>", NotWellFormed, 0},
		{"prefix of the content namespace", "<a xmlns:p='jabber:client'>" + long + "<p:c/></a>", BadNamespacePrefix, 0},
		{"attribute twice", "<a><b c='" + long + "' c=''/></a>", NotWellFormed, 0},
		{"stream namespace", "<a>" + long + "<stream:b/></a>", InvalidNamespace, 0},
		{"comment", "<a>" + long + "<!-- b -->", RestrictedXML, 3003},
		{"control character", "<a>" + long + "\x00", NotWellFormed, 3003},
		{"end of CDATA", "<a>" + strings.Repeat("x", 496) + "]]>", NotWellFormed, 501},
	} {
		for _, piece := range []int{1 << 20, 100, 1} {
			d := started(t, Limits{Bytes: 500, Depth: 8, Elements: 20, Attrs: 4, Namespaces: 3, Skip: 4000})
			before := d.offset
			var err error = ErrIncomplete
			for p := []byte(c.in); len(p) > 0 && err == ErrIncomplete; {
				n := min(len(p), piece)
				d.Feed(p[:n])
				_, err = d.Next()
				p = p[n:]
			}
			wantKind(t, c.rule, c.in, err, c.want)
			var e *SyntaxError
			if c.offset > 0 && errors.As(err, &e) && e.Offset-before != int64(c.offset) {
				t.Errorf("%s: %v, want %d bytes behind the header", c.rule, err, c.offset)
			}
			if _, again := d.Next(); again != err {
				t.Errorf("%s: then %v, want the same error", c.rule, again)
			}
		}
	}
}

// verdict decodes in and writes down which elements came, by their start tags,
// and what ended it.
func verdict(t *testing.T, in string, limits Limits) (seen []string, long int, end error) {
	t.Helper()
	d := NewDecoder(Limits{})
	d.Feed([]byte(in))
	if _, err := d.Header(); err != nil {
		return nil, 0, err
	}
	d.SetLimits(limits)
	for {
		e, err := d.Next()
		var o *OversizeError
		size := e.Len()
		if errors.As(err, &o) {
			if o.Size <= limits.Bytes {
				t.Fatalf("%q: %d bytes are too many for %+v", in, o.Size, limits)
			}
			long++
			e, size = o.Start, o.Size
		} else if err != nil {
			return seen, long, err
		}
		seen = append(seen, fmt.Sprint(size, e.Name(), e.Lang(), slices.Collect(attrsOf(e))))
	}
}

func attrsOf(e Element) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for n, v := range e.Attrs() {
			if !yield(n.Space + " " + n.Local + " " + v) {
				return
			}
		}
	}
}

// sameWhenSkipped checks that forgetting bytes changes nothing of what is
// accepted and what is refused, but for start tags that have no room.
func sameWhenSkipped(t *testing.T, in string, bytes int) (skipped int) {
	t.Helper()
	limits := Limits{Bytes: 1 << 20, Elements: 200, Attrs: 20, Namespaces: 4, Depth: 8}
	want, _, wantErr := verdict(t, in, limits)
	limits.Bytes, limits.Skip = bytes, 1<<20
	got, skipped, err := verdict(t, in, limits)
	var e, w *SyntaxError
	if errors.As(err, &e) && e.Msg == "more bytes than allowed" {
		if len(got) > len(want) || !slices.Equal(got, want[:len(got)]) {
			t.Fatalf("%q in %d bytes:\n got %q\nwant %q", in, bytes, got, want)
		}
		return skipped
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%q in %d bytes:\n got %q\nwant %q", in, bytes, got, want)
	}
	if errors.As(err, &e) != errors.As(wantErr, &w) || e == nil && err != wantErr {
		t.Fatalf("%q in %d bytes: %v, want %v", in, bytes, err, wantErr)
	}
	if e != nil && (e.Kind != w.Kind || e.Msg != w.Msg || e.Offset < w.Offset || e.Offset > int64(len(in))) {
		t.Fatalf("%q in %d bytes: %v, want %v", in, bytes, err, wantErr)
	}
	return skipped
}

func TestSkipAnywhere(t *testing.T) {
	skipped := 0
	for _, in := range streams() {
		if len(in) > 3000 {
			continue
		}
		for n := 1; n <= len(in); n++ {
			skipped += sameWhenSkipped(t, in, n)
		}
	}
	if skipped < 500 {
		t.Errorf("only %d elements were skipped", skipped)
	}
}

// FuzzSkip: an element that is skipped is scanned as strictly as any other.
func FuzzSkip(f *testing.F) {
	for i, s := range streams() {
		if len(s) < 3000 {
			f.Add([]byte(s), uint16(i))
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, n uint16) {
		sameWhenSkipped(t, "<a xmlns:stream='"+nsStream+"' xmlns:h='h'>"+string(in), 1+int(n)%200)
	})
}

// endless is content that can go on for ever, to be put behind "<a>".
func endless() map[string]struct{ start, repeat, end string } {
	return map[string]struct{ start, repeat, end string }{
		"text":                     {"", "b", ""},
		"references":               {"", "&amp;", ""},
		"CDATA":                    {"<![CDATA[", "]", "]]>"},
		"elements":                 {"", "<b/>", ""},
		"elements with content":    {"", "<b c='d'>e</b>", ""},
		"attributes":               {"", "<b c='' d='' e='' f='' g='' h=''/>", ""},
		"attribute":                {"<b c='", "d", "'/>"},
		"references in a value":    {"<b c='", "&#60;", "'/>"},
		"white space in a tag":     {"<b", " ", "/>"},
		"white space at a value":   {"<b c=", "\n", "''/>"},
		"white space in end tags":  {"<b></b", "\t", ">"},
		"declarations of one":      {"", "<b xmlns='u'/>", ""},
		"declarations of prefixes": {"", "<b xmlns:p='u' p:c=''/>", ""},
		"long names":               {"", "<b" + strings.Repeat("c", 1000) + "/>", ""},
		"nesting":                  {"", strings.Repeat("<b>", 60) + strings.Repeat("</b>", 60), ""},
	}
}

// TestSkipMemory: what is skipped is not held, whatever it is.
func TestSkipMemory(t *testing.T) {
	const piece = 8 << 10
	size := 4 << 20
	if raceEnabled {
		size /= 4 // whole in tools/checks.sh crowd
	}
	limits := Limits{Bytes: 64 << 10, Elements: 1 << 22, Skip: 5 << 20}
	for class, c := range endless() {
		d := started(t, limits)
		before := heap()
		feed := func(s string) {
			t.Helper()
			for p := []byte(s); len(p) > 0; {
				n := min(len(p), piece)
				d.Feed(p[:n])
				if _, err := d.Next(); err != ErrIncomplete {
					t.Fatalf("%s: %v", class, err)
				}
				p = p[n:]
			}
		}
		feed("<a>" + c.start)
		block := strings.Repeat(c.repeat, max(1, piece/len(c.repeat)))
		fed := 0
		for ; fed < size; fed += len(block) {
			feed(block)
			if b := d.Buffered(); b > limits.Bytes+3*piece {
				t.Fatalf("%s: %d bytes are buffered of %d", class, b, fed)
			}
		}
		if held := heap() - before; held > 128<<10 {
			t.Errorf("%s: %d bytes are held of %d", class, held, fed)
		}
		d.Feed([]byte(c.end + "</a>"))
		_, err := d.Next()
		var o *OversizeError
		if want := fed + len("<a>"+c.start+c.end+"</a>"); !errors.As(err, &o) || o.Size != want {
			t.Errorf("%s: %v, want an element of %d bytes", class, err, want)
		}
		runtime.KeepAlive(d)
	}
}

// TestSkipEndlessDeclaration: a declaration must be kept, but not all of it.
func TestSkipEndlessDeclaration(t *testing.T) {
	for _, start := range []string{"<a><b xmlns='", "<a><b xmlns:p='", "<a><b xmlns:p='u' c='' xmlns='"} {
		d := started(t, Limits{Bytes: 1024, Skip: 1 << 20})
		d.Feed([]byte(start))
		for range 900 {
			d.Feed([]byte(strings.Repeat("&#38;", 200)))
			if _, err := d.Next(); err != ErrIncomplete {
				t.Fatalf("%s: %v", start, err)
			}
			if b := d.Buffered(); b > 2*maxNamespace*maxRef {
				t.Fatalf("%s: %d bytes are buffered", start, b)
			}
		}
		d.Feed([]byte("'/></a>"))
		_, err := d.Next()
		wantKind(t, start, "endless", err, PolicyViolation)
		if err != nil && !strings.Contains(err.Error(), "namespace name too long") {
			t.Errorf("%s: %v, want: namespace name too long", start, err)
		}
	}
}

// TestSkipReset: nothing of an element that is skipped reaches the next stream.
func TestSkipReset(t *testing.T) {
	d := started(t, Limits{Bytes: 200, Skip: 2000})
	d.Feed([]byte("<a>" + strings.Repeat("x", 300)))
	if _, err := d.Next(); err != ErrIncomplete || d.skipped == nil {
		t.Fatalf("Next = %v", err)
	}
	d.Reset()
	d.Feed([]byte(header + "<b/>"))
	if e, err := d.Next(); err != nil || !e.Is(Name{nsClient, "b"}) {
		t.Errorf("after Reset Next = %s, %v", e.Raw(), err)
	}
}

// BenchmarkSkip is 4 MB of text that are skipped.
func BenchmarkSkip(b *testing.B) {
	d, p := started(b, Limits{Skip: 8 << 20}), []byte("<message><body>"+strings.Repeat("x", 4<<20)+"</body></message>")
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		for p := p; len(p) > 0; {
			n := min(len(p), 16<<10)
			d.Feed(p[:n])
			d.Next()
			p = p[n:]
		}
	}
}
