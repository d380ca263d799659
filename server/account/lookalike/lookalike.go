// Package lookalike tells names that people take for one another, by UTS #39:
// whose skeletons are the same (§4), or which mix scripts (§5.2).
//
// The skeleton is the standard's, without exceptions. It is wide: "modem" looks
// like "modern" there, since m stands for rn in many a typeface, and 1 like l.
// Who chooses a name can choose another; who is written to in the place of
// somebody else cannot know.
package lookalike

import (
	_ "embed" // for the table
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Version is raised whenever skeletons of names change: with the table, or with
// the code. Those that were kept are made anew then.
const Version = 1

// table has a line for each character that another stands for, in order.
//
//go:embed confusables.txt
var table string

// Skeleton returns what all names have in common that look like this one. It is
// for comparing only. What is written from right to left is compared in the order
// of its characters (internalSkeleton in the words of UTS #39): names of one
// direction are the same either way.
func Skeleton(name string) string {
	lines := table[strings.Index(table, "\n\n")+2:]
	var b strings.Builder
	for _, r := range norm.NFD.String(name) {
		if ignorable(r) {
			continue
		}
		if to, ok := prototype(lines, r); ok {
			b.WriteString(to)
		} else {
			b.WriteRune(r)
		}
	}
	return norm.NFD.String(b.String())
}

// prototype looks a character up. UTF-8 sorts as its characters do.
func prototype(lines string, r rune) (string, bool) {
	var buf [utf8.UTFMax + 1]byte
	key := append(utf8.AppendRune(buf[:0], r), '\t')
	low, high := 0, len(lines) // both at the beginning of a line, or at the end
	for low < high {
		middle := (low + high) / 2
		middle = strings.LastIndexByte(lines[:middle], '\n') + 1
		end := middle + strings.IndexByte(lines[middle:], '\n')
		line := lines[middle:end]
		switch {
		case strings.HasPrefix(line, string(key)):
			return line[len(key):], true
		case line < string(key):
			low = end + 1
		default:
			high = middle
		}
	}
	return "", false
}

// ignorable reports whether nothing is to be seen of a character: the property
// Default_Ignorable_Code_Point, as DerivedCoreProperties.txt makes it.
func ignorable(r rune) bool {
	if unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) {
		return true
	}
	return unicode.Is(unicode.Cf, r) && !unicode.Is(unicode.Prepended_Concatenation_Mark, r) &&
		(r < 0xfff9 || r > 0xfffb) && (r < 0x13430 || r > 0x13440)
}

// together are the sets of scripts in which people write one word: the Highly
// Restrictive level of UTS #39 §5.2. A name in one script only may be of any.
var together = [][]string{
	{"Latin", "Han", "Hiragana", "Katakana"},
	{"Latin", "Han", "Bopomofo"},
	{"Latin", "Han", "Hangul"},
}

// Mixed reports whether a name mixes scripts as no language does. A Cyrillic
// letter among Latin ones makes another name that looks the same.
func Mixed(name string) bool {
	seen := make(map[string]bool)
	for _, r := range name {
		if s := script(r); s != "" {
			seen[s] = true
		}
	}
	if len(seen) <= 1 {
		return false
	}
	for _, set := range together {
		n := 0
		for _, s := range set {
			if seen[s] {
				n++
			}
		}
		if n == len(seen) {
			return false
		}
	}
	return true
}

// script returns the script that a character belongs to; "" for one that all
// scripts use.
func script(r rune) string {
	if r < unicode.MaxASCII {
		if unicode.IsLetter(r) {
			return "Latin"
		}
		return ""
	}
	if unicode.In(r, unicode.Common, unicode.Inherited) {
		return ""
	}
	for name, table := range unicode.Scripts {
		if unicode.Is(table, r) {
			return name
		}
	}
	return "unknown"
}
