package lookalike

import (
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

func TestSkeleton(t *testing.T) {
	for _, c := range []struct {
		one, other string
		same       bool
	}{
		{"romeo", "romeo", true},
		{"romeo", "rornеo", true},  // rn for m, and a Cyrillic е
		{"romeo", "гomeo", true},   // Cyrillic г
		{"paypal", "paypa1", true}, // a digit
		{"paypal", "раураl", true}, // Cyrillic р, а, у
		{"scope", "ѕсоре", true},   // Cyrillic throughout: no mixture of scripts
		{"modem", "modern", true},  // what the standard says; see the package comment
		{"bob", "b0b", false},      // 0 stands for a capital O, which no name has
		{"o", "ο", true},           // Greek omicron
		{"o", "о", true},           // Cyrillic о
		{"juliet", "romeo", false},
		{"josé", "jose", false},
		{"jose\u0301", "josé", true},
		{"ab", "a\u200db", true}, // a joiner that is not to be seen
		{"ab", "a\ufe0fb", true},
		{"ø", "o\u0338", true},
		{"", "", true},
	} {
		a, b := Skeleton(c.one), Skeleton(c.other)
		if (a == b) != c.same {
			t.Errorf("skeletons of %q and %q are %q and %q; want the same: %v", c.one, c.other, a, b, c.same)
		}
	}
}

// Every line is found, and the first of a search for what is between lines is not.
func TestTable(t *testing.T) {
	lines := table[strings.Index(table, "\n\n")+2:]
	n, before := 0, ""
	for line := range strings.Lines(lines) {
		from, to, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		r, size := utf8.DecodeRuneInString(from)
		if !ok || size != len(from) || to == "" || !utf8.ValidString(to) || before >= from {
			t.Fatalf("line %q behind %q", line, before)
		}
		if got, ok := prototype(lines, r); !ok || got != to {
			t.Errorf("prototype(%q) = %q, %v; want %q", r, got, ok, to)
		}
		before = from
		n++
	}
	if n < 6000 {
		t.Errorf("%d lines", n)
	}
	for _, r := range []rune{0, 'a', 'z', 'é', 0x10ffff} {
		if got, ok := prototype(lines, r); ok {
			t.Errorf("prototype(%q) = %q, want none", r, got)
		}
	}
}

func TestMixed(t *testing.T) {
	for name, want := range map[string]bool{
		"juliet": false, "juliet.2-capulet_": false, "жюльетта": false, "ジュリエット": false, "juliet愛ひらカタ": false,
		"juliet愛한글": false, "josé": false, "": false, "123": false,
		"rоmeo": true, "αdmin": true, "ひらか한글": true, "жюльεтта": true,
	} {
		if got := Mixed(name); got != want {
			t.Errorf("Mixed(%q) = %v, want %v", name, got, want)
		}
	}
}

// However a name is composed, its skeleton is the same.
func FuzzSkeleton(f *testing.F) {
	for _, s := range []string{"romeo", "rn", "ѕсоре", "a\u0301", "\u1100\u1161", "ﷺ", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		got := Skeleton(s)
		if !norm.NFD.IsNormalString(got) || Skeleton(norm.NFC.String(s)) != got {
			t.Errorf("Skeleton(%q) = %q, of another form %q", s, got, Skeleton(norm.NFC.String(s)))
		}
	})
}
