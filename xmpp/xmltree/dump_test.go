package xmltree

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// dump writes what an element says, in order, whatever its bytes are.
func dump(e Element) string {
	var b strings.Builder
	dumpTo(&b, e.t, uint32(e.i))
	return b.String()
}

func dumpTo(b *strings.Builder, t *tree, i uint32) {
	e, n := Element{t, int32(i)}, &t.nodes[i]
	fmt.Fprintf(b, "<{%s}%s", e.Name().Space, e.Name().Local)
	for name, v := range e.Attrs() {
		fmt.Fprintf(b, " {%s}%s=%q", name.Space, name.Local, v)
	}
	b.WriteByte('>')
	at, text := n.open, ""
	for c := t.inner(i); c < n.next; c = t.nodes[c].next {
		if text += e.decoded(t.str(at, t.nodes[c].start)); text != "" {
			fmt.Fprintf(b, "%q", text)
			text = ""
		}
		dumpTo(b, t, c)
		at = t.nodes[c].end
	}
	if text += e.decoded(t.str(at, t.contentEnd(n))); text != "" {
		fmt.Fprintf(b, "%q", text)
	}
	b.WriteByte('/')
}

// events decodes in, cut at those places, and writes down all that comes out.
// What was fed is overwritten as soon as the decoder allows it.
func events(in string, limits Limits, cuts ...int) []string {
	var out []string
	d, from, haveHeader := NewDecoder(limits), 0, false
	for _, to := range append(cuts, len(in)) {
		chunk := []byte(in[from:to])
		from = to
		d.Feed(chunk)
		for {
			if !haveHeader {
				h, err := d.Header()
				if err == ErrIncomplete {
					break
				}
				if err != nil {
					return append(out, err.Error())
				}
				haveHeader = true
				out = append(out, fmt.Sprintf("%+v", h))
			}
			e, err := d.Next()
			if err == ErrIncomplete {
				break
			}
			if err == io.EOF {
				return append(out, "EOF")
			}
			if o := (*OversizeError)(nil); errors.As(err, &o) {
				out = append(out, fmt.Sprintf("%v %s %q", o, dump(o.Start), o.Start.Raw()))
				continue
			}
			if err != nil {
				return append(out, err.Error())
			}
			out = append(out, fmt.Sprintf("%s %q %v", dump(e), e.Raw(), e.Clean()))
		}
		for i := range chunk {
			chunk[i] = '!'
		}
	}
	return append(out, "incomplete")
}
