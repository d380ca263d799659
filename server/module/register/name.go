package register

import (
	"strings"
	"unicode"

	"kith/xmpp/jid"
	"kith/xmpp/stanza"
)

// newAddress returns the address of an account to be made, or why it cannot be.
func newAddress(username string, host jid.JID) (jid.JID, error) {
	j, err := jid.New(strings.Clone(username), host.Domain(), "")
	switch {
	case err != nil, j.Local() == "":
		return jid.JID{}, stanza.ErrJIDMalformed.With("This name holds characters that a name must not hold, or is too long.")
	case lookalike(j.Local()):
		return jid.JID{}, stanza.ErrNotAcceptable.With("This name mixes scripts, so that it could be taken for another one.")
	}
	return j, nil
}

// together are the sets of scripts in which people write one word: the Highly
// Restrictive level of UTS #39 §5.2. A name in one script only may be of any.
var together = [][]string{
	{"Latin", "Han", "Hiragana", "Katakana"},
	{"Latin", "Han", "Bopomofo"},
	{"Latin", "Han", "Hangul"},
}

// lookalike reports whether a name mixes scripts as no language does: a Cyrillic
// letter among Latin ones makes another address that looks the same. Names that
// are wholly in one script pass, whatever they look like.
func lookalike(local string) bool {
	seen := make(map[string]bool)
	for _, r := range local {
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
