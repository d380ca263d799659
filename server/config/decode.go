package config

import (
	"cmp"
	"encoding"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"kith/xmpp/jid"
)

// decoder puts a document's values into structs. It goes on after an error, so that all are told at once.
type decoder struct {
	doc  *document
	root reflect.Type // whose keys are searched for the table in which a misplaced key belongs
	also []string     // keys that somebody else decodes, known all the same
	errs Errors
}

func (d *decoder) fail(pos position, at path, msg string, cause error) {
	d.errs = append(d.errs, &Error{
		File: d.doc.file, Line: pos.line, Column: pos.column, Key: at.String(), Msg: msg, cause: cause,
	})
}

// result returns the errors in the order of the file; at most a screen full.
func (d *decoder) result() error {
	if len(d.errs) == 0 {
		return nil
	}
	slices.SortStableFunc(d.errs, func(a, b *Error) int {
		return cmp.Or(a.Line-b.Line, a.Column-b.Column, strings.Compare(a.Key, b.Key))
	})
	const screen = 20
	return d.errs[:min(len(d.errs), screen)]
}

// field is a key that a struct knows.
type field struct {
	name  string
	index int
	later bool
}

// fields lists the keys of a struct: exported fields, by their tag toml, or their name in small letters.
func fields(t reflect.Type) []field {
	var all []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		if !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = KeyName(f.Name)
		}
		all = append(all, field{name, i, f.Tag.Get("later") == "true"})
	}
	return all
}

// KeyName returns the key of a struct's field without a tag: max_stanzas for MaxStanzas, per_ip for PerIP.
func KeyName(name string) string {
	var b strings.Builder
	before := '_'
	for _, r := range name {
		if unicode.IsUpper(r) && unicode.IsLower(before) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
		before = r
	}
	return b.String()
}

// table decodes the keys of one table into a struct.
func (d *decoder) table(at path, values map[string]any, into reflect.Value) {
	known := fields(into.Type())
	for _, key := range slices.Sorted(maps.Keys(values)) {
		here, v := at.with(key), values[key]
		i := slices.IndexFunc(known, func(f field) bool { return f.name == key })
		switch {
		case i < 0:
			d.unknown(here, known)
		case known[i].later && !off(v):
			d.fail(d.doc.keyAt(here), here, ErrNotInThisVersion.Error(), ErrNotInThisVersion)
		default:
			d.value(here, v, into.Field(known[i].index))
		}
	}
}

// off reports whether a value only says that something is not wanted, which is true of what is not built.
func off(v any) bool {
	switch v := v.(type) {
	case bool:
		return !v
	case []any:
		return len(v) == 0
	}
	return false
}

// value decodes one value, of whatever type the field has.
func (d *decoder) value(at path, v any, into reflect.Value) {
	if into.Type() == reflect.TypeFor[Table]() {
		if values, ok := v.(map[string]any); ok {
			into.Set(reflect.ValueOf(Table{doc: d.doc, at: at, values: values}))
			return
		}
		d.wanted(at, v, into.Type(), nil)
		return
	}
	if done, err := scalar(v, into); done {
		if err != nil {
			d.wanted(at, v, into.Type(), err)
		}
		return
	}
	if _, text := into.Addr().Interface().(encoding.TextUnmarshaler); text {
		d.wanted(at, v, into.Type(), nil)
		return
	}
	switch into.Kind() {
	case reflect.Struct:
		if values, ok := v.(map[string]any); ok {
			d.table(at, values, into)
			return
		}
	case reflect.Map:
		if values, ok := v.(map[string]any); ok {
			d.entries(at, values, into)
			return
		}
	case reflect.Slice:
		if list, ok := elements(v); ok {
			d.list(at, list, into)
			return
		}
	}
	d.wanted(at, v, into.Type(), nil)
}

// elements returns the elements of a list; go-toml decodes a list of tables to a type of its own.
func elements(v any) ([]any, bool) {
	switch v := v.(type) {
	case []any:
		return v, true
	case []map[string]any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = v[i]
		}
		return list, true
	}
	return nil, false
}

// list replaces what the field held by default.
func (d *decoder) list(at path, list []any, into reflect.Value) {
	all := reflect.MakeSlice(into.Type(), len(list), len(list))
	for i, v := range list {
		if entry, ok := all.Index(i).Addr().Interface().(interface{ Default() }); ok {
			entry.Default()
		}
		d.value(at.index(i), v, all.Index(i))
	}
	into.Set(all)
}

// entries adds to what the map held, and changes single keys of an entry that is there.
func (d *decoder) entries(at path, values map[string]any, into reflect.Value) {
	all := reflect.MakeMap(into.Type())
	for it := into.MapRange(); it.Next(); {
		all.SetMapIndex(it.Key(), it.Value())
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		name := reflect.ValueOf(key).Convert(into.Type().Key())
		entry := reflect.New(into.Type().Elem()).Elem()
		if old := all.MapIndex(name); old.IsValid() {
			entry.Set(old)
		}
		d.value(at.with(key), values[key], entry)
		all.SetMapIndex(name, entry)
	}
	into.Set(all)
}

var errRange = errors.New("out of range")

// scalar decodes a value that is neither list nor table. It answers false if the types do not meet.
func scalar(v any, into reflect.Value) (done bool, err error) {
	switch to := into.Addr().Interface().(type) {
	case *time.Duration:
		text, ok := v.(string)
		if !ok {
			return false, nil
		}
		*to, err = ParseDuration(text)
		return true, err
	case *Size:
		if n, ok := v.(int64); ok {
			if n < 0 {
				return true, errRange
			}
			*to = Size(n)
			return true, nil
		}
	}
	if to, ok := into.Addr().Interface().(encoding.TextUnmarshaler); ok {
		text, ok := v.(string)
		if !ok {
			return false, nil
		}
		return true, to.UnmarshalText([]byte(text))
	}
	switch v := v.(type) {
	case string:
		if into.Kind() == reflect.String {
			into.SetString(v)
			return true, nil
		}
	case bool:
		if into.Kind() == reflect.Bool {
			into.SetBool(v)
			return true, nil
		}
	case float64:
		if into.CanFloat() {
			into.SetFloat(v)
			return true, nil
		}
	case int64:
		return integer(v, into)
	}
	return false, nil
}

func integer(v int64, into reflect.Value) (done bool, err error) {
	switch {
	case into.CanInt():
		if into.OverflowInt(v) {
			return true, errRange
		}
		into.SetInt(v)
	case into.CanUint():
		if v < 0 || into.OverflowUint(uint64(v)) {
			return true, errRange
		}
		into.SetUint(uint64(v))
	case into.CanFloat():
		into.SetFloat(float64(v))
	default:
		return false, nil
	}
	return true, nil
}

// wanted says what a value should have been.
func (d *decoder) wanted(at path, v any, t reflect.Type, cause error) {
	msg := "wanted " + describe(t) + ", got " + show(v)
	if cause != nil && t == reflect.TypeFor[jid.JID]() {
		msg += ": " + cause.Error()
	}
	d.fail(d.doc.valueAt(at), at, msg, cause)
}

func describe(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return `a duration such as "30s", "5m", "12h" or "7d"`
	case reflect.TypeFor[Size]():
		return `a size such as "256KiB"`
	case reflect.TypeFor[netip.AddrPort]():
		return `an IP address and a port such as "[::]:5222" or "127.0.0.1:5222"`
	case reflect.TypeFor[jid.JID]():
		return `an address such as "example.org"`
	case reflect.TypeFor[slog.Level]():
		return `"debug", "info", "warn" or "error"`
	case reflect.TypeFor[Table]():
		return "a table"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "a table"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number of 0 or more"
	}
	return "a whole number"
}
