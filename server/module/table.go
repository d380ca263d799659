package module

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Table returns what the modules implement, and what is implemented without one,
// as a page in Markdown.
func Table(modules []Definition, others []Spec) string {
	type row struct {
		Spec
		by string
	}
	var rows []row
	for _, s := range others {
		rows = append(rows, row{s, "streams"})
	}
	for _, m := range modules {
		for _, s := range m.Specs {
			rows = append(rows, row{s, m.Name})
		}
	}
	slices.SortStableFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.RFC, b.RFC), cmp.Compare(a.Number, b.Number))
	})
	var b strings.Builder
	b.WriteString("# What Kith speaks\n\nMade by `make generate` from what the modules declare.\n\n")
	b.WriteString("| specification | version | where | what of it |\n|---|---|---|---|\n")
	line := func(r row, name string) {
		note := r.Note
		if note == "" {
			note = "all"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, r.Version, r.by, note)
	}
	for _, r := range rows {
		if r.RFC != 0 {
			line(r, fmt.Sprintf("RFC %d", r.RFC))
		}
	}
	for _, r := range rows {
		if r.Number != 0 {
			line(r, fmt.Sprintf("XEP-%04d", r.Number))
		}
	}
	for _, r := range rows {
		if r.Title != "" {
			line(r, r.Title+" (a proposal)")
		}
	}
	return b.String()
}
