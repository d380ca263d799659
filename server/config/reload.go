package config

import (
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// SetData puts a data directory that was named on the command line in the place of the file's. It holds over every
// Reload.
func (c *Config) SetData(dir string) { c.Data, c.given = dir, dir }

// Change is a key whose value is another than before.
type Change struct {
	Key      string // dotted
	Old, New string // as in a file; both are empty if they are not to be shown
	Restart  bool   // only a start of the server can apply it
}

// Reload reads the configuration anew from where c came from, and returns it with what has changed, in the order of the
// manual. What only a start can apply is among the changes, and in next it is as c has it: that is what holds until then.
func (c *Config) Reload() (next *Config, changes []Change, err error) {
	if c.Local {
		next, err = LoadLocal(c.given, c.File)
	} else if next, err = Load(c.File); err == nil && c.given != "" {
		next.SetData(c.given)
	}
	if err != nil {
		return nil, nil, err
	}
	d := differ{}
	d.structs(nil, reflect.ValueOf(c).Elem(), reflect.ValueOf(next).Elem(), differing{})
	return next, d.changes, nil
}

// differ finds what differs between two configurations.
type differ struct{ changes []Change }

// differing is how the values of a key are treated.
type differing struct{ restart, secret bool }

// structs compares two structs field by field. What only a start can apply is put back.
func (d *differ) structs(at path, old, now reflect.Value, how differing) {
	for _, f := range fields(old.Type()) {
		tag := old.Type().Field(f.index).Tag
		how := differing{how.restart || tag.Get("restart") == "true", how.secret || tag.Get("secret") == "true"}
		d.values(at.with(f.name), old.Field(f.index), now.Field(f.index), how)
	}
}

func (d *differ) values(at path, old, now reflect.Value, how differing) {
	switch old.Interface().(type) {
	case Table:
		d.tables(at, old.Interface().(Table).values, now.Interface().(Table).values)
		return
	case map[string]Host, map[string]Table:
		d.maps(at, old, now, how)
		return
	}
	if old.Kind() == reflect.Struct && old.Type().PkgPath() == reflect.TypeFor[Config]().PkgPath() {
		d.structs(at, old, now, how)
		return
	}
	if reflect.DeepEqual(old.Interface(), now.Interface()) {
		return
	}
	c := Change{Key: at.String(), Restart: how.restart}
	if !how.secret {
		c.Old, c.New = written(old), written(now)
	}
	d.changes = append(d.changes, c)
	if how.restart {
		now.Set(old)
	}
}

// maps compares tables that have names of their own; one that is not there is empty.
func (d *differ) maps(at path, old, now reflect.Value, how differing) {
	names := map[string]bool{}
	for _, k := range slices.Concat(old.MapKeys(), now.MapKeys()) {
		names[k.String()] = true
	}
	get := func(m reflect.Value, name string) reflect.Value {
		if v := m.MapIndex(reflect.ValueOf(name)); v.IsValid() {
			return v
		}
		return reflect.Zero(m.Type().Elem())
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		d.values(at.with(name), get(old, name), get(now, name), how)
	}
}

// tables compares tables of which only their owners know what is in them.
func (d *differ) tables(at path, old, now map[string]any) {
	names := maps.Clone(old)
	if names == nil {
		names = map[string]any{}
	}
	maps.Copy(names, now)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		o, n := old[name], now[name]
		ot, oIs := o.(map[string]any)
		nt, nIs := n.(map[string]any)
		switch {
		case (oIs || o == nil) && (nIs || n == nil):
			d.tables(at.with(name), ot, nt)
		case !reflect.DeepEqual(o, n):
			d.changes = append(d.changes, Change{Key: at.with(name).String(), Old: writtenAny(o), New: writtenAny(n)})
		}
	}
}

const notSet = "not set"

// written returns a value for a person to read.
func written(v reflect.Value) string {
	switch {
	case v.Kind() == reflect.String && v.Len() == 0:
		return notSet
	case v.Kind() == reflect.Slice && v.Len() == 0:
		return "none"
	}
	switch x := v.Interface().(type) {
	case slog.Level:
		return strings.ToLower(x.String())
	case fmt.Stringer:
		return x.String()
	}
	if v.Kind() == reflect.Slice {
		all := make([]string, v.Len())
		for i := range all {
			all[i] = fmt.Sprint(v.Index(i).Interface())
		}
		return strings.Join(all, ", ")
	}
	return fmt.Sprint(v.Interface())
}

func writtenAny(v any) string {
	if v == nil {
		return notSet
	}
	return written(reflect.ValueOf(v))
}
