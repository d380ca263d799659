//go:build interop

package interop_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

// expatScript reads documents, a line of base64 each, and prints what libexpat
// sees in each: for an element its name, attributes, text and children, with
// namespaces resolved; or null.
const expatScript = `
import sys, base64, json, xml.parsers.expat
for line in sys.stdin:
    stack = [["", [], "", []]]
    def start(name, attrs):
        e = [name, sorted(zip(attrs[::2], attrs[1::2])), "", []]
        stack[-1][3].append(e)
        stack.append(e)
    def text(s): stack[-1][2] += s
    p = xml.parsers.expat.ParserCreate("UTF-8", "\x01")
    p.ordered_attributes = True
    p.StartElementHandler = start
    p.EndElementHandler = lambda name: stack.pop()
    p.CharacterDataHandler = text
    try: p.Parse(base64.b64decode(line), True)
    except xml.parsers.expat.ExpatError: stack = [["", [], "", [None]]]
    print(json.dumps(stack[0][3][0]), flush=True)
`

// TestSmugglingBetweenTwoParsers gives libexpat, which many servers and clients
// read with, what we write of elements that we have read: it must accept each and
// see what we saw.
func TestSmugglingBetweenTwoParsers(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("python3", "-c", expatScript)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		in.Close()
		cmd.Wait() // it ends with its input
	}()
	answers := bufio.NewScanner(out)
	answers.Buffer(nil, 1<<20)

	random := rand.New(rand.NewPCG(1, 2))
	accepted := 0
	for n := range 20_000 {
		doc := document(random)
		el, err := xmltree.Parse([]byte(doc), xmltree.DefaultLimits())
		if err != nil {
			continue
		}
		accepted++
		written := xmltree.Marshal(el, "")
		fmt.Fprintln(in, base64.StdEncoding.EncodeToString(written))
		if !answers.Scan() {
			t.Fatalf("document %d: no answer: %v", n, answers.Err())
		}
		var got any
		if err := json.Unmarshal(answers.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(seen(el))
		if err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		if string(again) != string(want) {
			t.Fatalf("document %d\n read:    %q\n written: %q\n expat:   %s\n we:      %s", n, doc, written, again, want)
		}
	}
	if accepted < 1000 {
		t.Fatalf("only %d documents were fit to be compared", accepted)
	}
	t.Logf("%d documents compared", accepted)
}

// document makes a document of pieces that parsers have disagreed about. Many are
// not well-formed.
func document(r *rand.Rand) string {
	pieces := []string{"<a>", "</a>", "<b xmlns='urn:x'>", "</b>", "<p:c xmlns:p='urn:y' p:d='1' d='2'>", "</p:c>", "<e/>", "<f g='&#9;&amp;&lt;&apos;&quot;'/>",
		"text", "&lt;", "&#x1F600;", "&#13;", "\r\n", "\t", "<![CDATA[<x/>&]]>", "]]&gt;", "\u00e9\u200d\U0001F469", "<h xml:lang='en'/>", "<i xmlns=''/>", "'", "\"", ">",
		"<a\u0357/>", "<!-- x -->", "&x;", "<?x?>", "]]>", "\x00", "\xff", "<j k='<'/>", "<l m='1' m='2'/>", "<body xmlns='" + ns.Client + "'>hark</body>"}
	var b strings.Builder
	b.WriteString("<message xmlns='" + ns.Client + "' xmlns:q='urn:q' to='a@b'>")
	var open []string
	for range r.IntN(8) {
		p := pieces[r.IntN(len(pieces))]
		switch {
		case strings.HasPrefix(p, "</"):
			if len(open) == 0 || r.IntN(10) > 0 && open[len(open)-1] != p {
				continue
			}
			open = open[:len(open)-1]
		case p == "<a>":
			open = append(open, "</a>")
		case strings.HasPrefix(p, "<b "):
			open = append(open, "</b>")
		case strings.HasPrefix(p, "<p:c"):
			open = append(open, "</p:c>")
		}
		b.WriteString(p)
	}
	slices.Reverse(open)
	return b.String() + strings.Join(open, "") + "</message>"
}

// seen is what expat is to see of an element.
func seen(el xmltree.Element) []any {
	full := func(n xmltree.Name) string {
		if n.Space == "" {
			return n.Local
		}
		return n.Space + "\x01" + n.Local
	}
	attrs := [][2]string{}
	for n, v := range el.Attrs() {
		attrs = append(attrs, [2]string{full(n), v})
	}
	slices.SortFunc(attrs, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	children := []any{}
	for c := range el.Children() {
		children = append(children, seen(c))
	}
	return []any{full(el.Name()), attrs, el.Text(), children}
}
