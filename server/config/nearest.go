package config

import (
	"reflect"
	"strings"
)

// unknown says that a key does not exist, and which one was probably meant.
func (d *decoder) unknown(at path, known []field) {
	key := at[len(at)-1]
	var names []string
	for _, f := range known {
		names = append(names, f.name)
	}
	names = append(names, d.also...)
	msg := "unknown key"
	switch near, where := nearest(key, names), d.elsewhere(key); {
	case near != "":
		msg += "; the nearest known key is " + at[:len(at)-1].with(near).String()
	case len(where) == 1:
		msg += "; " + key + " belongs at the top of the file, before the first [table]"
	case where != nil:
		msg += "; " + key + " belongs in [" + where[:len(where)-1].String() + "]"
	case len(names) > 0:
		msg += "; known here: " + strings.Join(names, ", ")
	}
	d.fail(d.doc.keyAt(at), at, msg, nil)
}

// elsewhere finds a key of that name in the root or in one of its tables: a key under the wrong header is the most
// common mistake in TOML.
func (d *decoder) elsewhere(key string) path {
	if d.root == nil {
		return nil
	}
	for _, f := range fields(d.root) {
		if f.name == key {
			return path{key}
		}
	}
	for _, f := range fields(d.root) {
		if t := d.root.Field(f.index).Type; t.Kind() == reflect.Struct && t.PkgPath() == d.root.PkgPath() {
			for _, sub := range fields(t) {
				if sub.name == key {
					return path{f.name, key}
				}
			}
		}
	}
	return nil
}

// nearest returns the name that takes the fewest edits to reach, or "" if none is near enough to be a slip.
func nearest(name string, names []string) string {
	best, least := "", 2+len(name)/4
	for _, n := range names {
		if d := distance(name, n); d < least {
			best, least = n, d
		}
	}
	return best
}

// distance counts insertions, deletions, replacements and swaps of neighbours (optimal string alignment), without
// regard to case.
func distance(a, b string) int {
	a, b = strings.ToLower(a), strings.ToLower(b)
	const long = 64 // no key is as long; the cost is the product of the lengths
	if len(a) > long || len(b) > long {
		return max(len(a), len(b))
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(a)][len(b)]
}
