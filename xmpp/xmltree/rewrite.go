package xmltree

import (
	"slices"
	"strings"
)

// rewriter writes an element anew. Prefixes and declarations stay where they
// were, what the element takes from outside is declared on it once: so the
// output is never much longer than the input.
type rewriter struct {
	t    *tree
	w    *Writer
	at   uint32 // offset of what is not written yet
	open []level
}

// level is an element whose end tag is not written yet.
type level struct {
	node  *node
	space string // default namespace outside it
}

// borrowed is a prefix (or "" for the default namespace) that an element uses
// and does not declare.
type borrowed struct {
	prefix string
	ref    uint32
}

// rewrite is AppendXML for an element whose bytes do not fit.
func (e Element) rewrite(w *Writer) {
	r := rewriter{t: e.t, w: w}
	i, end := uint32(e.i), e.node().next
	borrows := e.t.borrows(i)
	for i < end {
		r.closeUntil(i)
		r.text(e.t.nodes[i].start)
		i = r.openTag(i, borrows)
		borrows = nil
	}
	r.closeUntil(end)
}

// openTag writes the open tag of element i and returns the index behind its attributes.
func (r *rewriter) openTag(i uint32, borrows []borrowed) uint32 {
	t, w, n := r.t, r.w, &r.t.nodes[i]
	r.open = append(r.open, level{n, w.space})
	r.at = n.open
	w.b = append(w.b, '<')
	w.b = append(w.b, t.qname(n)...)
	for _, b := range borrows {
		r.declare(b.prefix, b.ref)
	}
	last := t.inner(i)
	for i++; i < last; i++ {
		a := &t.nodes[i]
		switch {
		case a.ns&flagDecl == 0:
			w.b = append(w.b, ' ')
			w.b = append(w.b, t.qname(a)...)
			r.value(a)
		case a.colon == 0:
			r.declare("", a.ref())
		default:
			r.declare(t.local(a), a.ref())
		}
	}
	if n.open == n.end {
		w.b = append(w.b, '/')
	}
	w.b = append(w.b, '>')
	return last
}

// declare writes a namespace declaration, unless it is that of the default
// namespace in force.
func (r *rewriter) declare(prefix string, ref uint32) {
	uri := r.t.uri(ref)
	if prefix != "" {
		r.w.b = append(r.w.b, " xmlns:"...)
		r.w.b = append(r.w.b, prefix...)
	} else if uri != r.w.space {
		r.w.b = append(r.w.b, " xmlns"...)
		r.w.space = uri
	} else {
		return
	}
	r.w.value(uri)
}

func (r *rewriter) value(a *node) {
	raw := r.t.str(a.open, a.end)
	if a.ns&flagDecode != 0 || strings.IndexByte(raw, '\'') >= 0 {
		r.w.value(r.t.value(a))
		return
	}
	r.w.b = append(r.w.b, "='"...)
	r.w.b = append(r.w.b, raw...)
	r.w.b = append(r.w.b, '\'')
}

// text writes the character data up to offset to.
func (r *rewriter) text(to uint32) {
	if len(r.open) == 0 || r.at == to {
		return
	}
	raw := r.t.str(r.at, to)
	if r.open[len(r.open)-1].node.ns&flagDecode != 0 && strings.ContainsAny(raw, "<\r") {
		r.w.b = appendText(r.w.b, decodeText(raw))
	} else {
		r.w.b = append(r.w.b, raw...)
	}
}

// closeUntil ends the elements that do not reach node i.
func (r *rewriter) closeUntil(i uint32) {
	for len(r.open) > 0 {
		top := r.open[len(r.open)-1]
		if top.node.next > i {
			return
		}
		if top.node.open != top.node.end {
			r.text(r.t.contentEnd(top.node))
			r.w.b = append(r.w.b, "</"...)
			r.w.b = append(r.w.b, r.t.qname(top.node)...)
			r.w.b = append(r.w.b, '>')
		}
		r.at, r.w.space = top.node.end, top.space
		r.open = r.open[:len(r.open)-1]
	}
}

// borrows lists what the element at i takes from outside.
func (t *tree) borrows(i uint32) []borrowed {
	type scoped struct {
		prefix string
		end    uint32 // index of the node where the declaration ends
	}
	var scope []scoped
	var found []borrowed
	use := func(prefix string, ref uint32) {
		if prefix != "xml" &&
			!slices.ContainsFunc(scope, func(s scoped) bool { return s.prefix == prefix }) &&
			!slices.ContainsFunc(found, func(b borrowed) bool { return b.prefix == prefix }) {
			found = append(found, borrowed{prefix, ref})
		}
	}
	for end := t.nodes[i].next; i < end; {
		n, last := &t.nodes[i], t.inner(i)
		for len(scope) > 0 && scope[len(scope)-1].end <= i {
			scope = scope[:len(scope)-1]
		}
		for k := i + 1; k < last; k++ {
			if a := &t.nodes[k]; a.ns&flagDecl != 0 && a.colon == 0 {
				scope = append(scope, scoped{"", n.next})
			} else if a.ns&flagDecl != 0 {
				scope = append(scope, scoped{t.local(a), n.next})
			}
		}
		use(t.prefix(n), n.ref())
		for k := i + 1; k < last; k++ {
			if a := &t.nodes[k]; a.ns&flagDecl == 0 && a.colon != 0 {
				use(t.prefix(a), a.ref())
			}
		}
		i = last
	}
	return found
}
