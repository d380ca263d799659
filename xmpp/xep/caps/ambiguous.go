package caps

import (
	"slices"
	"strings"

	"kith/xmpp/xep/disco"
)

// The verification string is a row of factors and does not say where identities
// end and features begin, nor where these end and forms begin. Somebody could
// claim what a well-known client claims, and answer with a part of its features
// turned into an identity or a form: the hash would be right, and all who use
// that client would be taken to lack these features.
//
// So an answer counts only if its factors can be read in one way. An identity
// looks like one: it begins with a category and has three slashes, and a feature
// does not. A form is called by a name with a colon, as all of the registry are,
// and begins with a field whose name has none. What answers so and can be read in
// one way only, has the identities and features that it had when it was hashed;
// what is in the forms remains open, so nobody must rely on that.

// looksIdentity reports whether a factor could be an identity.
func looksIdentity(s string) bool {
	category, _, _ := strings.Cut(s, "/")
	return strings.Count(s, "/") >= 3 && category != "" && !strings.ContainsFunc(category, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	})
}

// looksForm reports whether factors could be forms: a name, a field, a value.
func looksForm(s []string) bool {
	return len(s) >= 3 && strings.Contains(s[0], ":") && !strings.HasPrefix(s[0], "{") &&
		s[1] != "" && (!strings.Contains(s[1], ":") || strings.HasPrefix(s[1], "{")) // XEP-0068 §3.4 has names in braces
}

// ambiguous reports whether another answer could have the same factors, or this
// one is of a shape that makes it impossible to say.
func (f *factors) ambiguous(info *disco.Info) bool {
	for _, id := range info.Identities {
		if strings.Contains(id.Category+id.Type+id.Lang, "/") || !looksIdentity(id.Category+"///") {
			return true
		}
	}
	rest, end := slices.Concat(f.features, f.forms), len(f.features)
	if slices.ContainsFunc(f.features, looksIdentity) || len(f.forms) > 0 && !looksForm(f.forms) {
		return true
	}
	if len(rest) > 0 && looksIdentity(rest[0]) { // of a form
		return true
	}
	for n := 0; n <= len(rest); n++ {
		if n > 0 && (looksIdentity(rest[n-1]) || n > 1 && rest[n-2] >= rest[n-1]) {
			break // no more can be features
		}
		if n != end && (n == len(rest) || looksForm(rest[n:])) {
			return true
		}
	}
	return false
}
