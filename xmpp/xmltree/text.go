package xmltree

import "unicode/utf8"

// Escapes of bytes in text and in attribute values. Control characters that
// XML 1.0 has no place for become U+FFFD; white space that a parser would
// normalise is written as a reference.
var (
	textEscapes  = escapes("&<>\r")
	valueEscapes = escapes("&<>'\"\t\n\r")
)

func escapes(special string) (table [256]string) {
	for c := range 0x20 {
		table[c] = "\uFFFD"
	}
	table['\t'], table['\n'], table['\r'] = "", "", ""
	for _, c := range []byte(special) {
		table[c] = map[byte]string{
			'&': "&amp;", '<': "&lt;", '>': "&gt;", '\'': "&apos;", '"': "&quot;",
			'\t': "&#9;", '\n': "&#10;", '\r': "&#13;",
		}[c]
	}
	return table
}

func appendText(b []byte, s string) []byte  { return appendEscaped(b, s, &textEscapes) }
func appendValue(b []byte, s string) []byte { return appendEscaped(b, s, &valueEscapes) }

func appendEscaped(b []byte, s string, table *[256]string) []byte {
	done := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if e := table[c]; e != "" {
				b = append(b, s[done:i]...)
				b = append(b, e...)
				done = i + 1
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || !isChar(r) {
			b = append(b, s[done:i]...)
			b = append(b, "\uFFFD"...)
			done = i + n
		}
		i += n
	}
	return append(b, s[done:]...)
}
