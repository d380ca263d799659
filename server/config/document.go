package config

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// document is a TOML file after reading: its values, and where each of them stands.
type document struct {
	file   string
	values map[string]any
	keys   map[string]position // by path.id
	places map[string]position // of the values
}

type position struct{ line, column int }

// path is the way from the root to a value; the elements of a list are "[0]", "[1]", ...
type path []string

func (p path) id() string { return strings.Join(p, "\x00") }

// with returns a path that shares nothing with p.
func (p path) with(keys ...string) path { return append(slices.Clip(p), keys...) }

func (p path) index(i int) path { return p.with("[" + strconv.Itoa(i) + "]") }

// String returns the path as one would write it in a file.
func (p path) String() string {
	var b strings.Builder
	for i, key := range p {
		switch {
		case strings.HasPrefix(key, "["):
			b.WriteString(key)
			continue
		case i > 0:
			b.WriteByte('.')
		}
		if bare(key) {
			b.WriteString(key)
		} else {
			b.WriteString(strconv.Quote(key))
		}
	}
	return b.String()
}

// bare reports whether a key needs no quotes (TOML 1.0, Keys).
func bare(key string) bool {
	for _, r := range key {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		if !letter && !('0' <= r && r <= '9') && r != '_' && r != '-' {
			return false
		}
	}
	return key != ""
}

// parse reads TOML. Whatever it returns an error for is an Errors of one.
func parse(file string, data []byte) (*document, error) {
	d := &document{file: file, values: map[string]any{}, keys: map[string]position{}, places: map[string]position{}}
	if err := toml.Unmarshal(data, &d.values); err != nil {
		e := &Error{File: file, Msg: "not TOML: " + strings.TrimPrefix(err.Error(), "toml: "), cause: err}
		if at, ok := errors.AsType[*toml.DecodeError](err); ok {
			e.Line, e.Column = at.Position()
		}
		return nil, Errors{e}
	}
	d.locate(data)
	return d, nil
}

// locate fills in the positions. toml.Unmarshal has accepted the text, so it cannot fail here in a way that matters.
func (d *document) locate(data []byte) {
	var p unstable.Parser
	p.Reset(data)
	var table path
	tables := map[string]int{} // how often [[path]] has been seen
	for p.NextExpression() {
		switch n := p.Expression(); n.Kind {
		case unstable.Table:
			table = d.header(&p, n, tables)
		case unstable.ArrayTable:
			table = d.header(&p, n, tables)
			i := tables[table.id()]
			tables[table.id()]++
			at := d.keys[table.id()]
			table = table.index(i)
			d.keys[table.id()] = at
		case unstable.KeyValue:
			d.keyValue(&p, n, table)
		}
	}
}

// header returns the path that [a.b] or [[a.b]] names, through the newest element of each list of tables on the way.
func (d *document) header(p *unstable.Parser, n *unstable.Node, tables map[string]int) path {
	var at path
	for it := n.Key(); it.Next(); {
		if i := tables[at.id()]; i > 0 && len(at) > 0 {
			at = at.index(i - 1)
		}
		at = at.with(string(it.Node().Data))
		d.mark(p, it.Node().Raw, at)
	}
	// The last key of [a.b], a list so far, is left as it is: only [[a.b]] may name it again.
	return at
}

// mark remembers where a key stands; a later header that passes through the same table does not move it.
func (d *document) mark(p *unstable.Parser, raw unstable.Range, at path) {
	if _, ok := d.keys[at.id()]; !ok {
		d.keys[at.id()] = start(p, raw)
	}
}

func start(p *unstable.Parser, raw unstable.Range) position {
	s := p.Shape(raw).Start
	return position{s.Line, s.Column}
}

func (d *document) keyValue(p *unstable.Parser, n *unstable.Node, at path) {
	for it := n.Key(); it.Next(); {
		at = at.with(string(it.Node().Data))
		d.mark(p, it.Node().Raw, at)
	}
	d.value(p, n.Value(), at)
}

func (d *document) value(p *unstable.Parser, n *unstable.Node, at path) {
	if n.Raw.Length > 0 {
		d.places[at.id()] = start(p, n.Raw)
	}
	switch n.Kind {
	case unstable.Array:
		i := 0
		for it := n.Children(); it.Next(); i++ {
			d.value(p, it.Node(), at.index(i))
		}
	case unstable.InlineTable:
		for it := n.Children(); it.Next(); {
			d.keyValue(p, it.Node(), at)
		}
	}
}

// keyAt is where a key stands, or the nearest table or list around it that has a place.
func (d *document) keyAt(at path) position {
	for n := len(at); n > 0; n-- {
		if pos, ok := d.keys[at[:n].id()]; ok {
			return pos
		}
		if pos, ok := d.places[at[:n].id()]; ok {
			return pos
		}
	}
	return position{}
}

// valueAt is where a value stands; a list has no place of its own but its key's.
func (d *document) valueAt(at path) position {
	if pos, ok := d.places[at.id()]; ok {
		return pos
	}
	return d.keyAt(at)
}

// show renders what somebody wrote, shortened, for a message.
func show(v any) string {
	switch v := v.(type) {
	case string:
		const most = 40
		if len(v) > most {
			n := most
			for n > 0 && !utf8.RuneStart(v[n]) {
				n--
			}
			v = v[:n] + "…"
		}
		return strconv.Quote(v)
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	}
	return "a date or time"
}
