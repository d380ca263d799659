package xmltree

import (
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// streams is the corpus of the tests of splitting: every rule, kept and broken.
func streams() []string {
	const server = "<?xml version='1.0' encoding='utf-8' standalone='yes'?> <stream:stream xmlns='jabber:server' " +
		"xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' xml:lang='de' from='a&amp;b' id='\u00e4'>"
	list := []string{
		header + " " + chat + "\n\r\t " + presence + "</stream:stream>",
		header + "<a/><b></b ><c x = \"y\"\n/></stream:stream\t>trailing",
		header + "<a>x &lt;&#x41;&#66; \u20ac\U0001F600 ]] ]&gt;</a><b c='&quot;&#10;\t'/>",
		header + "<a><![CDATA[<&]]>]]><![CDATA[]]]]><b/>\r\n\r</a>",
		header + "<stream:features><mechanisms xmlns='u'/></stream:features><stream:error/>",
		header + "<a><stream:b/></a>",
		header + "<a xmlns:p='u&amp;v' p:c='1'><p:b xmlns='w'><d/></p:b><e xmlns=''/></a>",
		header + "</stream:streams>",
		header + "</stream:str",
		header + "</a>",
		header + "text",
		header + "<\u00e9t\u00e9 \u00f1='\u4e2d'/>",
		header + "<a:b:c/>",
		header + "<a:1/>",
		server + "<db:result from='a' to='b'>x</db:result><message><body xmlns='jabber:server'>y</body></message>",
		server + "<db:verify xmlns:db='u'/><a db:b=''/>",
		server[:40], "<?xml version='1.0'", "<?xm", "<?xmm", " " + header, "<stream:stream xmlns:stream='http://etherx.jabber.org/streams'/>",
		"<stream xmlns='http://etherx.jabber.org/streams'><message xmlns='jabber:server'/><error/></stream>",
		"\ufeff<a>", "\xff\xfe", "x", "<!DOCTYPE", "<stream:stream xmlns:stream='u'",
	}
	for _, c := range hostile {
		list = append(list, header+c.in)
	}
	return list
}

// TestSplits: the pieces in which bytes arrive change neither trees nor errors. The race
// detector has nothing to find in it: there it is cut in a few places, in all of them
// without it (tools/checks.sh crowd).
func TestSplits(t *testing.T) {
	apart := 1
	if raceEnabled {
		apart = 9
	}
	limits := []Limits{{}, {Bytes: 250, Depth: 2, Elements: 3, Attrs: 3, Namespaces: 2}, {Bytes: 125, Skip: 1000, Namespaces: 2}}
	for _, in := range streams() {
		if len(in) > 3000 {
			continue // TestFloods has those
		}
		for _, l := range limits {
			want := events(in, l)
			check := func(cuts ...int) {
				if got := events(in, l, cuts...); !slices.Equal(got, want) {
					t.Fatalf("%q cut at %v:\n got %q\nwant %q", in, cuts, got, want)
				}
			}
			every := make([]int, 0, len(in))
			for i := range len(in) {
				if i%apart == 0 {
					check(i)
				}
				every = append(every, i)
			}
			check(every...)
		}
	}
}

func TestHeader(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Header
	}{
		{header, Header{Name: Name{nsStream, "stream"}, To: "capulet.example", Version: "1.0", Content: "jabber:client"}},
		{"<?xml version='1.0'?>" + header, Header{Name: Name{nsStream, "stream"}, To: "capulet.example", Version: "1.0", Content: "jabber:client"}},
		{"<?xml version = \"1.0\" encoding='Utf-8' standalone='no' ?>\n<s:stream xmlns:s='http://etherx.jabber.org/streams' xmlns='jabber:server' from='a&amp;b' id='&#x31;' xml:lang='en'>",
			Header{Name: Name{nsStream, "stream"}, From: "a&b", ID: "1", Lang: "en", Content: "jabber:server"}},
		{" <stream xmlns='http://etherx.jabber.org/streams'>", Header{Name: Name{nsStream, "stream"}, Content: nsStream}},
		{"<handshake a='b'>", Header{Name: Name{"", "handshake"}}},
	} {
		d := NewDecoder(Limits{})
		d.Feed([]byte(c.in))
		for range 2 {
			if got, err := d.Header(); got != c.want || err != nil {
				t.Errorf("Header of %q = %+v, %v, want %+v", c.in, got, err, c.want)
			}
		}
	}
}

// TestContentNamespace: RFC 6120 §4.8.3, re-scoping.
func TestContentNamespace(t *testing.T) {
	for _, c := range []struct{ content, in, want string }{
		{"jabber:server", "<message><body/></message>", "<{jabber:client}message><{jabber:client}body>//"},
		{"jabber:component:accept", "<message/>", "<{jabber:client}message>/"},
		{"jabber:server", "<message xmlns='jabber:server'/>", "<{jabber:client}message>/"},
		{"jabber:server", "<message xmlns='jabber:component:accept'/>", "<{jabber:component:accept}message>/"},
		{"jabber:client", "<message xmlns='jabber:server'/>", "<{jabber:server}message>/"},
		{nsStream, "<message xmlns='jabber:server'/>", "<{jabber:client}message>/"},
		{"urn:other", "<message/>", "<{urn:other}message>/"},
		{"", "<message/>", "<{}message>/"},
		{"jabber:client", "<message xmlns=''/>", "<{}message>/"},
	} {
		d := NewDecoder(Limits{})
		d.Feed([]byte("<s:stream xmlns:s='" + nsStream + "' xmlns='" + c.content + "'>" + c.in))
		e, err := d.Next()
		if err != nil || dump(e) != c.want {
			t.Errorf("%s in a stream of %s: %s, %v, want %s", c.in, c.content, dump(e), err, c.want)
		}
	}
}

func TestReset(t *testing.T) {
	d := started(t, Limits{Bytes: 200})
	d.Feed([]byte("<auth/>\n<half"))
	if e, err := d.Next(); err != nil || !e.Is(Name{nsClient, "auth"}) {
		t.Fatalf("Next = %v, %v", e, err)
	}
	if got := d.Buffered(); got != 6 {
		t.Errorf("Buffered = %d, want 6", got)
	}
	if _, err := d.Next(); err != ErrIncomplete {
		t.Errorf("Next of half an element: %v", err)
	}
	if got := d.Buffered(); got != 5 {
		t.Errorf("Buffered = %d, want 5", got)
	}
	d.Reset()
	if got := d.Buffered(); got != 0 {
		t.Errorf("Buffered after Reset = %d, want 0", got)
	}
	d.Feed([]byte("<?xml version='1.0'?>" + header + "<a>" + strings.Repeat(" ", 200)))
	if _, err := d.Header(); err != nil {
		t.Errorf("Header after Reset: %v", err)
	}
	_, err := d.Next()
	wantKind(t, "after Reset", "long element", err, PolicyViolation)
}

func TestSetLimits(t *testing.T) {
	d := started(t, Limits{Bytes: 200})
	d.SetLimits(Limits{Bytes: 400})
	d.Feed([]byte("<a>" + strings.Repeat(" ", 300) + "</a>"))
	if e, err := d.Next(); err != nil || e.Len() != 307 {
		t.Errorf("Next = %d bytes, %v", e.Len(), err)
	}
	d.SetLimits(Limits{Bytes: 100})
	d.Feed([]byte("<a>" + strings.Repeat(" ", 300) + "</a>"))
	_, err := d.Next()
	wantKind(t, "lowered", "long element", err, PolicyViolation)
}

// TestFloods: what never ends is refused after the budget, and what came before
// that is all that was ever held.
func TestFloods(t *testing.T) {
	const chunk, total = 16 << 10, 1 << 30
	limits := DefaultLimits()
	for class, c := range map[string]struct{ start, repeat string }{
		"one name":             {"<", "a"},
		"one attribute":        {"<a b='", "c"},
		"attributes":           {"<a", " b=''"},
		"white space in a tag": {"<a", " "},
		"text":                 {"<a>", "b"},
		"white space":          {"<a>", " "},
		"CDATA":                {"<a><![CDATA[", "]"},
		"end tag":              {"<a></a", " "},
		"end of the stream":    {"</stream:stream", " "},
		"elements":             {"<a>", "<b/>"},
		"nesting":              {"", "<a>"},
		"nested declarations":  {"", "<a xmlns='u'>"},
		"reference":            {"<a>&", "a"},
	} {
		t.Run(class, func(t *testing.T) {
			t.Parallel()
			d := started(t, limits)
			p := []byte(strings.Repeat(c.repeat, chunk/len(c.repeat)))
			d.Feed([]byte(c.start))
			fed := len(c.start)
			for _, err := d.Next(); err == ErrIncomplete; _, err = d.Next() {
				if fed += len(p); fed > total {
					t.Fatalf("%d bytes of %q accepted", fed, c.repeat)
				}
				d.Feed(p)
				if b := d.Buffered(); b > limits.Bytes+2*chunk {
					t.Fatalf("%d bytes of %q buffered", b, c.repeat)
				}
			}
			if fed > limits.Bytes+2*chunk {
				t.Errorf("refused after %d bytes of %q", fed, c.repeat)
			}
		})
	}
}

// TestWhiteSpaceBetween: a peer may send white space for ever (RFC 6120 §4.6.1).
func TestWhiteSpaceBetween(t *testing.T) {
	d := started(t, Limits{})
	p := []byte(strings.Repeat(" \n", 32<<10))
	for range 64 << 20 / len(p) {
		d.Feed(p)
		if _, err := d.Next(); err != ErrIncomplete || d.Buffered() != 0 {
			t.Fatalf("Next = %v, %d bytes buffered", err, d.Buffered())
		}
	}
}

// TestDeepNesting: neither scanning nor writing recurses.
func TestDeepNesting(t *testing.T) {
	depth := 1_000_000
	if raceEnabled {
		depth /= 20 // whole in tools/checks.sh crowd
	}
	in := strings.Repeat("<a>", depth) + strings.Repeat("</a>", depth)
	_, err := Parse([]byte(in), Limits{Bytes: len(in)})
	wantKind(t, "nested", "many times", err, PolicyViolation)
	e, err := Parse([]byte(in), Limits{Bytes: len(in), Depth: depth, Elements: depth})
	if err != nil {
		t.Fatal(err)
	}
	w := NewWriter(nil, "")
	e.rewrite(w)
	if string(w.Bytes()) != in {
		t.Errorf("%d nested elements were not written as they came", depth)
	}
}

// worst is input that costs the most memory for its size.
func worst() map[string]string {
	const size = 400 << 10
	fill := func(start, repeat, end string) string {
		return start + strings.Repeat(repeat, (size-len(start)-len(end))/len(repeat)) + end
	}
	return map[string]string{
		"empty elements":      fill("<a>", "<b/>", "</a>"),
		"elements":            fill("<a>", "<b></b>", "</a>"),
		"elements and text":   fill("<a>", "<b/>c", "</a>"),
		"attributes":          fill("<a>", "<b c='' d='' e='' f='' g='' h=''/>", "</a>"),
		"one attribute":       fill("<a>", "<b c=''/>", "</a>"),
		"declarations":        fill("<a>", "<b xmlns='c'/>", "</a>"),
		"other declarations":  fill("<a>", "<b xmlns:c='&amp;'/>", "</a>"),
		"nesting":             fill("<a>", strings.Repeat("<b>", 60)+strings.Repeat("</b>", 60), "</a>"),
		"text":                fill("<a>", "b", "</a>"),
		"references":          fill("<a>", "&lt;", "</a>"),
		"references in value": fill("<a b='", "&lt;", "'/>"),
	}
}

func heap() int {
	runtime.GC()
	runtime.GC() // the second empties the pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestLiveHeap: a peer makes us hold at most eight times what it sends,
// whether its element is complete or not.
func TestLiveHeap(t *testing.T) {
	limits := Limits{Bytes: 1 << 20, Depth: 64, Elements: 1 << 20, Attrs: 128, Namespaces: 1 << 20}
	for class, in := range worst() {
		const streams = 4
		var kept []any
		before := heap()
		for range streams {
			e, err := Parse([]byte(in), limits)
			if err != nil {
				t.Fatalf("%s: %v", class, err)
			}
			kept = append(kept, e)
		}
		if got := float64(heap()-before) / float64(streams*len(in)); got > 8 {
			t.Errorf("%s: trees hold %.2f × the input", class, got)
		}
		runtime.KeepAlive(kept)

		kept = nil
		before = heap()
		for range streams {
			d := started(t, limits)
			for p := []byte(in[:len(in)-1]); len(p) > 0; {
				n := min(len(p), 4096)
				d.Feed(p[:n])
				if _, err := d.Next(); err != ErrIncomplete {
					t.Fatalf("%s: %v", class, err)
				}
				p = p[n:]
			}
			kept = append(kept, d)
		}
		if got := float64(heap()-before) / float64(streams*len(in)); got > 8 {
			t.Errorf("%s: decoders hold %.2f × the input", class, got)
		}
		runtime.KeepAlive(kept)
	}
}

// TestIdleDecoder: between elements a stream holds no memory of what it read.
func TestIdleDecoder(t *testing.T) {
	d := started(t, Limits{Elements: 1 << 20})
	in := []byte(rosterXML())
	for _, p := range [][]byte{in[:1000], in[1000:], []byte("\n")} {
		d.Feed(p)
		if _, err := d.Next(); err != nil && err != ErrIncomplete {
			t.Fatal(err)
		}
	}
	if d.rest != nil || d.s != nil {
		t.Errorf("idle decoder holds %d bytes, scanner %v", cap(d.rest), d.s)
	}
}

// TestBytewise: an element that comes byte by byte costs no more than linear
// time; a quadratic scanner would take minutes.
func TestBytewise(t *testing.T) {
	for class, in := range worst() {
		d := started(t, Limits{Bytes: 1 << 20, Elements: 1 << 20, Namespaces: 1 << 20})
		p := []byte(in)
		for i := range p {
			d.Feed(p[i : i+1])
			if _, err := d.Next(); err != ErrIncomplete && (err != nil || i != len(p)-1) {
				t.Fatalf("%s: %v at byte %d", class, err, i)
			}
		}
	}
}

func TestEndOfStream(t *testing.T) {
	d := started(t, Limits{})
	d.Feed([]byte("<a/></stream:stream> "))
	if _, err := d.Next(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := d.Next(); err != io.EOF {
			t.Errorf("Next at the end of the stream: %v", err)
		}
	}
	if d.Buffered() != 1 {
		t.Errorf("Buffered = %d, want 1", d.Buffered())
	}
}

// TestLend: what is lent is what ParseIn makes, and strings outlive it.
func TestLend(t *testing.T) {
	const one, two = `<message to='a@b' xml:lang='de'><body>h&amp;rk</body></message>`, `<message to='c@d'><body>what light</body></message>`
	var to, text, lang, raw string
	look := func(el Element) error {
		to, text, lang, raw = el.Attr("to"), el.First().Text(), el.First().Lang(), string(el.Raw())
		return nil
	}
	if err := Lend("jabber:client", []byte(one), Limits{}, look); err != nil {
		t.Fatal(err)
	}
	got := []string{to, text, lang, raw}
	if err := Lend("jabber:client", []byte(two), Limits{}, look); err != nil || to != "c@d" || lang != "" {
		t.Errorf("the second is to %q in language %q, %v", to, lang, err)
	}
	if want := []string{"a@b", "h&rk", "de", one}; !slices.Equal(got, want) {
		t.Errorf("the first is %q, want %q", got, want)
	}
	called := false
	err := Lend("jabber:client", []byte(one[:20]), Limits{}, func(Element) error { called = true; return nil })
	if err == nil || called {
		t.Errorf("of half an element: %v, lent: %t", err, called)
	}
	want := errors.New("no")
	if err := Lend("jabber:client", []byte(one), Limits{}, func(Element) error { return want }); err != want {
		t.Errorf("%v, want what f returns", err)
	}
}
