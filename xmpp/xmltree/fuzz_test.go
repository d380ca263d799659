package xmltree

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// oracle is what encoding/xml makes of a document, in the form of dump.
func oracle(in []byte) (string, error) {
	var b strings.Builder
	d := xml.NewDecoder(bytes.NewReader(in))
	text := ""
	flush := func() {
		if text != "" {
			fmt.Fprintf(&b, "%q", text)
			text = ""
		}
	}
	for depth := 0; ; {
		tok, err := d.Token()
		if err == io.EOF {
			return b.String(), nil
		}
		if err != nil {
			return "", err
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			flush()
			depth++
			fmt.Fprintf(&b, "<{%s}%s", spaced(tok.Name.Space), tok.Name.Local)
			for _, a := range tok.Attr {
				if a.Name.Space != "xmlns" && a.Name != (xml.Name{Local: "xmlns"}) {
					fmt.Fprintf(&b, " {%s}%s=%q", spaced(a.Name.Space), a.Name.Local, spaced(a.Value))
				}
			}
			b.WriteByte('>')
		case xml.EndElement:
			flush()
			depth--
			b.WriteByte('/')
		case xml.CharData:
			if depth > 0 {
				text += string(tok)
			}
		default:
			return "", fmt.Errorf("token %T", tok)
		}
	}
}

// spaced hides that encoding/xml does not normalise attribute values, where a
// line feed that came by reference looks like one that did not.
func spaced(s string) string { return strings.NewReplacer("\t", " ", "\n", " ", "\r", " ").Replace(s) }

// spacedDump is dump with attribute values spaced.
func spacedDump(e Element) string {
	return spaced(strings.NewReplacer(`\t`, " ", `\n`, " ", `\r`, " ").Replace(dump(e)))
}

// calledXMLNS: to encoding/xml an element <xmlns/> is in no namespace, whatever
// the default namespace is.
func calledXMLNS(e Element) bool {
	for i := range e.t.nodes {
		if n := &e.t.nodes[i]; n.ns&flagAttr == 0 && e.t.qname(n) == "xmlns" {
			return true
		}
	}
	return false
}

// sameAsOracle checks that encoding/xml reads in as we read e.
func sameAsOracle(t *testing.T, in []byte, e Element) {
	t.Helper()
	if calledXMLNS(e) {
		return
	}
	// encoding/xml uses the namespaces as they are written.
	want, err := oracle(in)
	if err != nil {
		t.Fatalf("%q is %s; encoding/xml: %v", in, dump(e), err)
	}
	want = strings.NewReplacer(`\t`, " ", `\n`, " ", `\r`, " ").Replace(want)
	if got := spacedDump(e); got != want {
		t.Fatalf("%q:\n        got %s\nencoding/xml %s", in, got, want)
	}
}

// FuzzDecode: what we accept, encoding/xml accepts and reads in the same way.
func FuzzDecode(f *testing.F) {
	for _, s := range streams() {
		f.Add([]byte(strings.TrimPrefix(s, header)))
	}
	for _, s := range worst() {
		f.Add([]byte(s[:50]))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		e, err := Parse(in, Limits{})
		w := NewWriter(nil, "u")
		if stored := w.Stored("", in, Limits{}); (stored == nil) != (err == nil) || err != nil && len(w.Bytes()) > 0 {
			t.Fatalf("%q: Stored = %v, Parse = %v; written %q", in, stored, err, w.Bytes())
		}
		if err != nil {
			return
		}
		if want := Marshal(e, "u"); !bytes.Equal(w.Bytes(), want) {
			t.Fatalf("%q is written as %q, want %q", in, w.Bytes(), want)
		}
		sameAsOracle(t, in, e)
	})
}

// FuzzSplit: the pieces in which bytes arrive change nothing.
func FuzzSplit(f *testing.F) {
	for i, s := range streams() {
		if len(s) < 3000 {
			f.Add([]byte(s), uint16(len(s)/2), uint16(len(s)*3/4), i%2 == 0)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, a, b uint16, small bool) {
		limits := Limits{}
		if small {
			limits = Limits{Bytes: 100, Depth: 2, Elements: 3, Attrs: 2, Namespaces: 2, Skip: int(a) % 400}
		}
		want := events(string(in), limits)
		cuts := []int{min(int(a), len(in)), min(int(b), len(in))}
		slices.Sort(cuts)
		if got := events(string(in), limits, cuts...); !slices.Equal(got, want) {
			t.Fatalf("%q cut at %v:\n got %q\nwant %q", in, cuts, got, want)
		}
		if len(in) > 2000 {
			return
		}
		each := make([]int, len(in))
		for i := range each {
			each[i] = i
		}
		if got := events(string(in), limits, each...); !slices.Equal(got, want) {
			t.Fatalf("%q byte by byte:\n got %q\nwant %q", in, got, want)
		}
	})
}

// FuzzRoundTrip: what we write is what we read, wherever it is written.
func FuzzRoundTrip(f *testing.F) {
	for _, s := range streams() {
		if in, ok := strings.CutPrefix(s, header); ok && len(in) < 3000 {
			f.Add([]byte(in), "jabber:client", "urn:h")
			f.Add([]byte(in), "jabber:server", "h&amp;g")
		}
	}
	for _, s := range []string{
		"<a xmlns='u'><p:b xmlns:p='v'><c/></p:b></a>", "<p:a xmlns:p='u'><b/></p:a>", "<h:a><b h:c='\t'>]]<![CDATA[>]]></b></h:a>",
		"<a xmlns='u'><b xmlns=''><c xmlns='jabber:server'/></b></a>", "<a xml:lang='x'><b p:c='' xmlns:p='jabber:client'/></a>",
	} {
		f.Add([]byte(s), "jabber:client", "urn:h")
		f.Add([]byte(s), nsStream, "urn:h")
		f.Add([]byte(s), "", "urn:h")
	}
	f.Fuzz(func(t *testing.T, in []byte, content, uri string) {
		d := NewDecoder(Limits{Bytes: 4096})
		open := "<s:stream xmlns:s='" + nsStream + "' xmlns='" + content + "' xmlns:h='" + uri + "'>"
		d.Feed([]byte(open))
		if _, err := d.Header(); err != nil {
			return
		}
		d.Feed(in)
		for {
			e, err := d.Next()
			if err != nil {
				return
			}
			checkRoundTrip(t, e, true)
			for i := range e.t.nodes {
				if i > 0 && i < 20 && e.t.nodes[i].ns&flagAttr == 0 {
					checkRoundTrip(t, Element{e.t, int32(i)}, false)
				}
			}
		}
	})
}

func checkRoundTrip(t *testing.T, e Element, root bool) {
	t.Helper()
	want := dump(e)
	read := func(how, content string, out []byte) {
		t.Helper()
		got, err := ParseIn(content, out, Limits{Namespaces: 1000, Elements: 10000})
		if err != nil {
			t.Fatalf("%q %s in %q is %q: %v", e.Raw(), how, content, out, err)
		}
		if d := dump(got); d != want {
			t.Fatalf("%q %s in %q is %q:\n got %s\nwant %s", e.Raw(), how, content, out, d, want)
		}
		if content == "" {
			sameAsOracle(t, out, got)
		}
		if most := 6*e.Len() + 7*maxOuter; root && len(out) > most {
			t.Fatalf("%q %s in %q has %d bytes, more than %d", e.Raw(), how, content, len(out), most)
		}
	}
	clone := e.Clone()
	if d := dump(clone); d != want {
		t.Fatalf("Clone of %q is %s, want %s", e.Raw(), d, want)
	}
	for _, content := range []string{nsClient, "", "u"} {
		out := Marshal(e, content)
		read("written", content, out)
		if c := Marshal(clone, content); !bytes.Equal(c, out) {
			t.Fatalf("Clone of %q writes %q in %q, want %q", e.Raw(), c, content, out)
		}
		w := NewWriter(nil, content)
		e.rewrite(w)
		read("rewritten", content, w.Bytes())
		if w.space != NewWriter(nil, content).space || len(w.stack) != 0 {
			t.Fatalf("writing %q leaves the writer in %q", e.Raw(), w.space)
		}
	}
	if strings.Contains(want, "{"+nsServer+"}") || strings.Contains(want, "{"+nsAccept+"}") {
		return // named where it is not the content namespace, it is another thing
	}
	// What was written for one content namespace must do for all: the tail of
	// a stanza is shared between streams.
	read("re-scoped", nsServer, Marshal(e, nsClient))
	if e.Clean() {
		for _, content := range []string{nsClient, nsServer, nsAccept} {
			read("spliced", content, e.Raw())
		}
	}
}
