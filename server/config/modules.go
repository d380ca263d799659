package config

import (
	"maps"
	"reflect"
	"slices"
)

// Table is a table of the file that is decoded later, by whoever knows its keys.
type Table struct {
	doc    *document
	at     path
	values map[string]any
}

// enabledKey is in the table of every module, and nobody's but ours.
const enabledKey = "enabled"

// ModuleEnabled reports whether a module is to act: unless its table says enabled = false.
func (c *Config) ModuleEnabled(name string) bool {
	enabled, ok := c.Modules[name].values[enabledKey].(bool)
	return enabled || !ok
}

// Module decodes the table of a module into the struct that into points to, which holds the defaults and keeps them for
// keys that the file does not name. It is as strict as Load. A struct with a method Validate() error is asked at the end.
func (c *Config) Module(name string, into any) error {
	t := c.Modules[name]
	d := &decoder{doc: t.doc, also: []string{enabledKey}}
	if t.doc == nil {
		d.doc = &document{}
	}
	to := reflect.ValueOf(into).Elem()
	values := maps.Clone(t.values)
	delete(values, enabledKey)
	d.table(t.at, values, to)
	if len(d.errs) == 0 {
		if v, ok := into.(interface{ Validate() error }); ok {
			if err := v.Validate(); err != nil {
				d.fail(d.doc.keyAt(t.at), path{"modules", name}, err.Error(), err)
			}
		}
	}
	return d.result()
}

// CheckModules returns an error for each table [modules.NAME] of which no module is known.
func (c *Config) CheckModules(known []string) error {
	d := &decoder{doc: c.doc}
	for _, name := range slices.Sorted(maps.Keys(c.Modules)) {
		if slices.Contains(known, name) {
			continue
		}
		msg := ErrNotInThisVersion.Error()
		if near := nearest(name, known); near != "" {
			msg += "; the nearest known module is " + near
		}
		at := path{"modules", name}
		d.fail(d.doc.keyAt(at), at, msg, ErrNotInThisVersion)
	}
	return d.result()
}
