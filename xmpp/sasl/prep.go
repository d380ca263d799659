package sasl

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/bidi"
	"golang.org/x/text/unicode/norm"
)

var errPrep = errors.New("not allowed by SASLprep")

// Prepare returns a password as it is compared, for who keeps it elsewhere. It fails
// for one that cannot be logged in with.
func Prepare(password string) (string, error) { return prepare(password) }

// prepare applies SASLprep (RFC 4013) to a password or a user name.
//
// RFC 5802 §2.2 hashes what SASLprep gives, and so do the clients in use. The
// OpaqueString profile that RFC 8265 puts in its place keeps characters such
// as "²" and "ª", which SASLprep makes "2" and "a": with it, a password that
// holds one would be another password to them. Code points that Unicode 3.2
// did not have are let pass (as in a query, RFC 3454 §7), else no emoji could
// be in a password.
func prepare(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", errPrep
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case r > 0x7f && unicode.Is(unicode.Zs, r), r == 0x200b:
			return ' ' // RFC 4013 §2.1: non-ASCII spaces, RFC 3454 C.1.2
		case toNothing(r):
			return -1
		}
		return r
	}, s)
	s = norm.NFKC.String(s)
	if s == "" || strings.ContainsFunc(s, prohibited) || !directed(s) {
		return "", errPrep
	}
	return s, nil
}

// toNothing: RFC 3454 B.1.
func toNothing(r rune) bool {
	switch {
	case r == 0xad, r == 0x34f, r == 0x1806, r == 0x2060, r == 0xfeff,
		0x180b <= r && r <= 0x180d, 0x200c <= r && r <= 0x200d, 0xfe00 <= r && r <= 0xfe0f:
		return true
	}
	return false
}

// prohibited: RFC 4013 §2.3.
func prohibited(r rune) bool {
	switch {
	case unicode.IsControl(r), // C.2.1, C.2.2
		r == 0x6dd, r == 0x70f, r == 0x180e, r == 0x2028, r == 0x2029,
		0x2061 <= r && r <= 0x2063, 0x206a <= r && r <= 0x206f, 0x1d173 <= r && r <= 0x1d17a,
		unicode.Is(unicode.Co, r),                      // C.3
		0xfdd0 <= r && r <= 0xfdef, r&0xfffe == 0xfffe, // C.4
		0xfff9 <= r && r <= 0xfffd,                       // C.6, and C.2.2
		0x2ff0 <= r && r <= 0x2ffb,                       // C.7
		r == 0x340, r == 0x341, r == 0x200e, r == 0x200f, // C.8
		0x202a <= r && r <= 0x202e,                 // C.8
		r == 0xe0001, 0xe0020 <= r && r <= 0xe007f: // C.9
		return true
	}
	return false
}

// directed: RFC 3454 §6. A text with a right-to-left character begins and ends
// with one and holds no left-to-right character.
func directed(s string) bool {
	var left, right bool
	for _, r := range s {
		left = left || class(r) == bidi.L
		right = right || isRight(r)
	}
	if !right {
		return true
	}
	first, _ := utf8.DecodeRuneInString(s)
	last, _ := utf8.DecodeLastRuneInString(s)
	return !left && isRight(first) && isRight(last)
}

func isRight(r rune) bool { return class(r) == bidi.R || class(r) == bidi.AL }

func class(r rune) bidi.Class {
	p, _ := bidi.LookupRune(r)
	return p.Class()
}

// prepare returns the user name and the password as they go into a message,
// and refuses an authorization identity that cannot go into one.
func (c Credentials) prepare() (username, password string, err error) {
	if username, err = prepare(c.Username); err != nil {
		return "", "", fmt.Errorf("%w: user name: %w", ErrCredentials, err)
	}
	if password, err = prepare(c.Password); err != nil {
		return "", "", fmt.Errorf("%w: password: %w", ErrCredentials, err)
	}
	if strings.ContainsRune(c.Authzid, 0) || !utf8.ValidString(c.Authzid) {
		return "", "", fmt.Errorf("%w: authorization identity", ErrCredentials)
	}
	return username, password, nil
}
