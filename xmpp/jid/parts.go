package jid

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
)

// maxInput bounds what is handed to the Unicode mappings. They shrink a text
// to a third at most (three bytes of a fullwidth letter become one), so that
// nothing that ends within maxPart is refused by it, but a domain name stuffed
// with characters that IDNA ignores.
const maxInput = 4 * maxPart

// Classes of a byte.
const (
	inLocal    = 1 << iota // allowed in a localpart, as it is
	inResource             // allowed in a resourcepart
	inDomain               // letter, digit or hyphen (RFC 5890 §2.3.1), as it is
	notASCII               // part of a longer character
)

// excluded are the characters of RFC 7622 §3.3.1.
const excluded = `"&'/:<>@`

var classes = makeClasses()

func makeClasses() (t [256]byte) {
	for c := ' '; c <= '~'; c++ {
		t[c] |= inResource              // RFC 8264 §4.3.1: spaces and ASCII7
		isUpper := 'A' <= c && c <= 'Z' // is mapped, so not allowed as it is
		if c != ' ' && !isUpper && !strings.ContainsRune(excluded, c) {
			t[c] |= inLocal // RFC 8264 §4.2.1: ASCII7
		}
		if 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' {
			t[c] |= inDomain
		}
	}
	for c := utf8.RuneSelf; c < len(t); c++ {
		t[c] = notASCII
	}
	return t
}

// localpart enforces RFC 7622 §3.3: UsernameCaseMapped (RFC 8265 §3.3) and
// the characters of §3.3.1.
func localpart(s string) (string, error) {
	const part = "localpart"
	all, _ := classesOf(s)
	if all&inLocal != 0 {
		return checkSize(part, s)
	}
	if err := checkInput(part, s); err != nil {
		return "", err
	}
	if !isASCII(s) {
		return mapped(part, precis.UsernameCaseMapped, s)
	}
	s = strings.ToLower(s)
	if all, _ := classesOf(s); all&inLocal == 0 {
		return "", &Error{part, "holds a character that is not allowed"}
	}
	return checkSize(part, s)
}

// resourcepart enforces RFC 7622 §3.4: OpaqueString (RFC 8265 §4.2).
func resourcepart(s string) (string, error) {
	const part = "resourcepart"
	all, some := classesOf(s)
	if all&inResource != 0 {
		return checkResource(s)
	}
	if err := checkInput(part, s); err != nil {
		return "", err
	}
	if some&notASCII == 0 {
		return "", &Error{part, "holds a character that is not allowed"}
	}
	return mapped(part, precis.OpaqueString, s)
}

// classesOf returns the classes that all bytes have, and those that some have.
func classesOf(s string) (all, some byte) {
	all = 0xff
	for i := 0; i < len(s); i++ {
		all &= classes[s[i]]
		some |= classes[s[i]]
	}
	return all, some
}

func isASCII(s string) bool {
	_, some := classesOf(s)
	return some&notASCII == 0
}

// checkResource refuses a leading space, which the profile lets pass and
// RFC 7622 §3.5, example 18, does not.
func checkResource(s string) (string, error) {
	if s != "" && s[0] == ' ' {
		return "", &Error{"resourcepart", "begins with a space"}
	}
	return checkSize("resourcepart", s)
}

// mapped applies a profile to a text that is not ASCII, until it is stable.
//
// Some texts change again when their profile is applied to its own output
// (RFC 8264 §7 asks for no more than one pass). As RFC 8266 §2.1 does, three
// more passes are tried before the text is refused: otherwise an address
// would not equal itself once it has been sent and parsed again.
func mapped(part string, profile *precis.Profile, s string) (string, error) {
	for range 4 {
		next, err := profile.String(s)
		if err != nil {
			return "", &Error{part, "holds a character that is not allowed"}
		}
		if next == s {
			return checkMapped(part, s)
		}
		s = next
	}
	return "", &Error{part, "has no stable form"}
}

// checkMapped repeats on the outcome of a mapping what must hold of it:
// fullwidth forms, for one, become the ASCII characters that are excluded.
func checkMapped(part, s string) (string, error) {
	if part == "resourcepart" {
		return checkResource(s)
	}
	if strings.ContainsAny(s, excluded) {
		return "", &Error{part, "holds a character that is not allowed"}
	}
	return checkSize(part, s)
}

func checkInput(part, s string) error {
	switch {
	case len(s) > maxInput:
		return &Error{part, "is longer than 1023 bytes"}
	case !utf8.ValidString(s):
		return &Error{part, "is not UTF-8"}
	}
	return nil
}

func checkSize(part, s string) (string, error) {
	switch {
	case s == "":
		return "", &Error{part, "is empty"}
	case len(s) > maxPart:
		return "", &Error{part, "is longer than 1023 bytes"}
	}
	return s, nil
}
