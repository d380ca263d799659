package xmpptest

import (
	"slices"
	"strings"
)

// edit puts lines in the place of some of a file's.
type edit struct {
	line, count int
	lines       []string
}

type edits []edit

// apply returns the file with all edits.
func (e edits) apply(lines []string) string {
	sorted := slices.Clone(e)
	slices.SortStableFunc(sorted, func(a, b edit) int { return a.line - b.line })
	var out []string
	at := 1
	for _, ed := range sorted {
		out = append(out, lines[at-1:ed.line-1]...)
		out = append(out, ed.lines...)
		at = ed.line + ed.count
	}
	out = append(out, lines[at-1:]...)
	return strings.Join(out, "\n") + "\n"
}
