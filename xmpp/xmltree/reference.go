package xmltree

import (
	"strings"
	"unicode/utf8"
	"unsafe"
)

// Results of scanRef besides a rune.
const (
	refIncomplete = -1 - iota // its end has not come yet
	refMalformed              // no reference at all, or to a character that XML has not
	refUnknown                // an entity other than the five
)

// scanRef reads the entity or character reference at the start of s, which
// begins with "&". It returns what it stands for and its length.
func scanRef[T string | []byte](s T) (rune, int) {
	end := 1
	for ; end < len(s) && s[end] != ';'; end++ {
		if c := s[end]; class[c]&className == 0 && c != '#' && c != ':' && c < utf8.RuneSelf || end >= maxRef {
			return refMalformed, 0
		}
	}
	if end == len(s) {
		return refIncomplete, 0
	}
	name := s[1:end]
	switch string(name) {
	case "lt":
		return '<', 4
	case "gt":
		return '>', 4
	case "amp":
		return '&', 5
	case "apos":
		return '\'', 6
	case "quot":
		return '"', 6
	}
	if len(name) > 0 && name[0] == '#' {
		return charRef(string(name[1:])), end + 1
	}
	if isNCName(strings.ReplaceAll(string(name), ":", "_")) {
		return refUnknown, 0
	}
	return refMalformed, 0
}

// charRef is the character that "&#digits;" refers to (XML 1.0 §4.1).
func charRef(digits string) rune {
	base := rune(10)
	if strings.HasPrefix(digits, "x") {
		base, digits = 16, digits[1:]
	}
	r := rune(0)
	for _, c := range []byte(digits) {
		d := rune(99)
		switch {
		case c >= '0' && c <= '9':
			d = rune(c - '0')
		case c >= 'a' && c <= 'f':
			d = rune(c-'a') + 10
		case c >= 'A' && c <= 'F':
			d = rune(c-'A') + 10
		}
		if d >= base {
			return refMalformed
		}
		if r = r*base + d; r > utf8.MaxRune {
			return refMalformed
		}
	}
	// XML 1.0 §4.1: what is referred to must match Char as well.
	if digits == "" || !utf8.ValidRune(r) || !isChar(r) {
		return refMalformed
	}
	return r
}

const cdataOpen, cdataClose = "<![CDATA[", "]]>"

// decodeText is the character data that checked text stands for.
func decodeText(s string) string {
	if !strings.ContainsAny(s, "&<\r") {
		return s
	}
	b := make([]byte, 0, len(s))
	for s != "" {
		switch i := strings.IndexAny(s, "&<\r"); {
		case i < 0:
			b, s = append(b, s...), ""
		case i > 0:
			b, s = append(b, s[:i]...), s[i:]
		case s[0] == '&':
			r, n := scanRef(s)
			b, s = utf8.AppendRune(b, r), s[n:]
		case s[0] == '<':
			inside, rest, _ := strings.Cut(s[len(cdataOpen):], cdataClose)
			b, s = appendLines(b, inside), rest
		default:
			b, s = appendLines(b, s[:lineEnd(s)]), s[lineEnd(s):]
		}
	}
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// appendLines writes every line end as a line feed (XML 1.0 §2.11).
func appendLines(b []byte, s string) []byte {
	for {
		i := strings.IndexByte(s, '\r')
		if i < 0 {
			return append(b, s...)
		}
		b = append(append(b, s[:i]...), '\n')
		s = s[i+lineEnd(s[i:]):]
	}
}

// lineEnd is the length of the line end that s begins with.
func lineEnd(s string) int {
	if strings.HasPrefix(s, "\r\n") {
		return 2
	}
	return 1
}

// decodeValue is the value that checked bytes of an attribute stand for
// (XML 1.0 §3.3.3).
func decodeValue(s string) string {
	b := make([]byte, 0, len(s))
	for s != "" {
		switch i := strings.IndexAny(s, "&\t\n\r"); {
		case i < 0:
			b, s = append(b, s...), ""
		case i > 0:
			b, s = append(b, s[:i]...), s[i:]
		case s[0] == '&':
			r, n := scanRef(s)
			b, s = utf8.AppendRune(b, r), s[n:]
		default:
			b, s = append(b, ' '), s[lineEnd(s):]
		}
	}
	return unsafe.String(unsafe.SliceData(b), len(b))
}
