package xmpptest

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

// dots stand for anything in a pattern.
const dots = "..."

// nsAny is the namespace of what the dots become before they are parsed.
const nsAny = "urn:kith:xmpptest:any"

var nameAny = xmltree.Name{Space: nsAny, Local: "any"}

// attrAny is the attribute that dots among attributes become. No attribute that
// is sent is called so.
const attrAny = "xmpptest-any"

// generous are the limits of what a test may write.
var generous = xmltree.Limits{Bytes: 8 << 20, Depth: 1 << 10, Elements: 1 << 16, Attrs: 1 << 10, Namespaces: 1 << 10}

// vars are values that were captured, by name.
type vars map[string]string

// pattern is what an element is to be like.
type pattern struct{ el xmltree.Element }

// isHeader tells whether text begins a stream.
func isHeader(text string) bool {
	if strings.HasPrefix(text, "<?xml") {
		_, rest, _ := strings.Cut(text, "?>")
		text = strings.TrimLeft(rest, " \r\n\t")
	}
	rest, ok := strings.CutPrefix(text, "<stream:stream")
	return ok && rest != "" && strings.ContainsAny(rest[:1], " \r\n\t>/")
}

// parsePattern reads an element with dots and names in braces. The open tag of a
// stream stands for the header.
func parsePattern(text string) (pattern, error) {
	if isHeader(text) && !strings.HasSuffix(text, "/>") {
		open, ok := strings.CutSuffix(text, ">")
		if !ok {
			return pattern{}, errors.New("stream header without an end")
		}
		text = open + "/>"
	}
	el, err := parseElement(expand(text))
	return pattern{el}, err
}

// parseElement reads an element as if it stood in a client's stream, with the
// prefix stream declared.
func parseElement(text string) (xmltree.Element, error) {
	d := xmltree.NewDecoder(generous)
	d.Feed([]byte("<s:stream xmlns:s='" + ns.Stream + "' xmlns:stream='" + ns.Stream + "' xmlns='" + ns.Client + "'>" + text))
	el, err := d.Next()
	switch {
	case errors.Is(err, xmltree.ErrIncomplete):
		return xmltree.Element{}, errors.New("element without an end")
	case err != nil:
		return xmltree.Element{}, err
	case d.Buffered() > 0:
		return xmltree.Element{}, errors.New("something behind the element")
	}
	return el, nil
}

// expand turns the dots that stand alone, between tags or among attributes, into
// XML.
func expand(text string) string {
	var b strings.Builder
	for text != "" {
		i := strings.IndexByte(text, '<')
		if i < 0 {
			i = len(text)
		}
		if run := text[:i]; strings.TrimSpace(run) == dots {
			b.WriteString("<any xmlns='" + nsAny + "'/>")
		} else {
			b.WriteString(run)
		}
		text = expandTag(&b, text[i:])
	}
	return b.String()
}

// expandTag writes the tag that text begins with and returns what is behind it.
func expandTag(b *strings.Builder, text string) string {
	var quote byte
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '>':
			b.WriteString(text[:i+1])
			return text[i+1:]
		case c == '.' && strings.HasPrefix(text[i:], dots):
			b.WriteString(text[:i])
			b.WriteString(attrAny + "='1'")
			text, i = text[i+len(dots):], -1
		}
	}
	b.WriteString(text)
	return ""
}

// difference says where an element is not what it should be.
type difference struct {
	path      string
	got, want string
}

// Error implements error.
func (d *difference) Error() string {
	return fmt.Sprintf("%s is %s, want %s", d.path, d.got, d.want)
}

// match compares an element with the pattern. Values are captured in v, also
// when they do not match in the end.
func (p pattern) match(got xmltree.Element, v vars) *difference {
	return matchElement(p.el, got, v, "")
}

func matchElement(want, got xmltree.Element, v vars, path string) *difference {
	path += "/" + want.Name().Local
	if want.Name() != got.Name() {
		return &difference{path, show(got.Name()), show(want.Name())}
	}
	if d := matchAttrs(want, got, v, path); d != nil {
		return d
	}
	if !want.First().Exists() {
		if g, w := got.Text(), want.Text(); !matchValue(w, g, v) {
			return &difference{path + "/text()", quote(g), quote(w)}
		}
	} else if g, w := strings.TrimSpace(got.Text()), strings.TrimSpace(want.Text()); !want.Child(nameAny).Exists() && !matchValue(w, g, v) {
		return &difference{path + "/text()", quote(g), quote(w)}
	}
	return matchChildren(slices.Collect(want.Children()), slices.Collect(got.Children()), v, path)
}

func matchAttrs(want, got xmltree.Element, v vars, path string) *difference {
	others := false
	for name, w := range want.Attrs() {
		if name.Local == attrAny {
			others = true
			continue
		}
		at := path + "/@" + name.Local
		g, ok := got.LookupAttr(name)
		if !ok {
			return &difference{at, "not there", quote(w)}
		}
		if !matchValue(w, g, v) {
			return &difference{at, quote(g), quote(w)}
		}
	}
	if others {
		return nil
	}
	for name, g := range got.Attrs() {
		if _, ok := want.LookupAttr(name); !ok {
			return &difference{path + "/@" + name.Local, quote(g), "not there"}
		}
	}
	return nil
}

// matchChildren lets the dots stand for any number of children, the fewest first.
func matchChildren(want, got []xmltree.Element, v vars, path string) *difference {
	for len(want) > 0 && !want[0].Is(nameAny) {
		if len(got) == 0 {
			return &difference{path + "/" + want[0].Name().Local, "not there", show(want[0].Name())}
		}
		if d := matchElement(want[0], got[0], v, path); d != nil {
			return d
		}
		want, got = want[1:], got[1:]
	}
	if len(want) == 0 {
		if len(got) > 0 {
			return &difference{path + "/" + got[0].Name().Local, show(got[0].Name()), "not there"}
		}
		return nil
	}
	var last *difference
	for i := 0; i <= len(got); i++ {
		before := make(vars, len(v))
		copyVars(before, v)
		if last = matchChildren(want[1:], got[i:], v, path); last == nil {
			return nil
		}
		clear(v)
		copyVars(v, before)
	}
	return last
}

func copyVars(to, from vars) {
	for k, s := range from {
		to[k] = s
	}
}

// braces are what captures a value, and stands for it afterwards.
var braces = regexp.MustCompile(`\{([a-z][a-z0-9-]*)\}`)

// matchValue compares a value of an attribute or a text.
func matchValue(want, got string, v vars) bool {
	if want == dots || want == got {
		return true
	}
	if !strings.Contains(want, "{") {
		return false
	}
	var names []string
	var re strings.Builder
	re.WriteString("(?s)^")
	rest := want
	for {
		m := braces.FindStringSubmatchIndex(rest)
		if m == nil {
			break
		}
		re.WriteString(regexp.QuoteMeta(rest[:m[0]]))
		name := rest[m[2]:m[3]]
		if value, ok := v[name]; ok {
			re.WriteString(regexp.QuoteMeta(value))
		} else {
			re.WriteString("(.+?)")
			names = append(names, name)
		}
		rest = rest[m[1]:]
	}
	re.WriteString(regexp.QuoteMeta(rest))
	re.WriteString("$")
	m := regexp.MustCompile(re.String()).FindStringSubmatch(got)
	if m == nil {
		return false
	}
	for i, name := range names {
		if old, ok := v[name]; ok && old != m[i+1] {
			return false // twice in one value
		}
		v[name] = m[i+1]
	}
	return true
}

// fill puts captured values in the place of their names in what is sent.
func (v vars) fill(text string) (string, error) {
	var missing error
	out := braces.ReplaceAllStringFunc(text, func(m string) string {
		value, ok := v[m[1:len(m)-1]]
		if !ok {
			missing = fmt.Errorf("%s was not captured", m)
		}
		return escape(value)
	})
	return out, missing
}

// escape makes a value fit to stand in text and attributes.
func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&apos;", `"`, "&quot;").Replace(s)
}

func show(n xmltree.Name) string {
	if n.Space == ns.Client || n.Space == "" {
		return n.Local
	}
	return n.Local + " of " + n.Space
}

func quote(s string) string {
	const long = 300
	if len(s) > long {
		s = s[:long] + dots
	}
	return "'" + s + "'"
}
