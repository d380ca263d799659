// Package jid implements XMPP addresses: RFC 7622.
//
// A JID is a comparable value: two addresses are equal by the rules of the
// RFC if and only if they are equal by ==, so that a JID can be a map key.
// Whatever reaches a JID has been enforced (RFC 7622 §4); there is no way to
// hold an address that breaks the rules.
package jid

import (
	"errors"
	"strings"
)

// maxPart is the largest size of each part in bytes, after enforcement
// (RFC 7622 §3.2, §3.3, §3.4).
const maxPart = 1023

// JID is an XMPP address in canonical form. The zero value is no address.
//
// Its parts are slices of one string; a JID from Parse may share memory with
// the string it was parsed from, see Clone.
type JID struct {
	s      string
	domain uint16 // where the domainpart begins in s
	end    uint16 // where the domainpart ends in s
}

// ErrMalformed is what every error of this package is, by errors.Is.
var ErrMalformed = errors.New("malformed address")

// Error tells which part of an address is against the rules, and why. It
// does not repeat the address.
type Error struct {
	Part   string // "localpart", "domainpart" or "resourcepart"
	Reason string
}

// Error returns a text such as "malformed address: localpart: is empty".
func (e *Error) Error() string { return ErrMalformed.Error() + ": " + e.Part + ": " + e.Reason }

// Unwrap returns ErrMalformed.
func (e *Error) Unwrap() error { return ErrMalformed }

// Parse reads a bare or full JID, or a mere domain, and enforces the rules of
// RFC 7622. The JID shares memory with s when s is canonical already.
func Parse(s string) (JID, error) {
	// RFC 7622 §3.2: the resourcepart is split off first, so that an "@" in
	// it does not count.
	rest, resource, hasResource := strings.Cut(s, "/")
	local, domain, hasLocal := strings.Cut(rest, "@")
	if !hasLocal {
		local, domain = "", rest
	}
	l, d, r, err := enforce(local, hasLocal, domain, resource, hasResource)
	if err != nil {
		return JID{}, err
	}
	if l == local && d == domain && r == resource {
		return at(s, len(l), len(d)), nil
	}
	return join(l, d, r), nil
}

// New makes a JID of its parts; local and resource may be empty, which means
// that the address has none.
func New(local, domain, resource string) (JID, error) {
	l, d, r, err := enforce(local, local != "", domain, resource, resource != "")
	if err != nil {
		return JID{}, err
	}
	return join(l, d, r), nil
}

// MustParse is Parse for tests and constants: it panics where Parse fails.
func MustParse(s string) JID {
	j, err := Parse(s)
	if err != nil {
		panic("jid.MustParse(" + s + "): " + err.Error())
	}
	return j
}

func enforce(local string, hasLocal bool, domain, resource string, hasResource bool) (l, d, r string, err error) {
	if hasLocal {
		if l, err = localpart(local); err != nil {
			return "", "", "", err
		}
	}
	if d, err = domainpart(domain); err != nil {
		return "", "", "", err
	}
	if hasResource {
		if r, err = resourcepart(resource); err != nil {
			return "", "", "", err
		}
	}
	return l, d, r, nil
}

func join(local, domain, resource string) JID {
	s := domain
	switch {
	case local != "" && resource != "":
		s = local + "@" + domain + "/" + resource
	case local != "":
		s = local + "@" + domain
	case resource != "":
		s = domain + "/" + resource
	}
	return at(s, len(local), len(domain))
}

// at returns the JID whose canonical form is s.
func at(s string, local, domain int) JID {
	start := local
	if local > 0 {
		start++
	}
	return JID{s: s, domain: uint16(start), end: uint16(start + domain)}
}

// Local returns the localpart, "" if there is none.
func (j JID) Local() string {
	if j.domain == 0 {
		return ""
	}
	return j.s[:j.domain-1]
}

// Domain returns the domainpart, with U-labels.
func (j JID) Domain() string { return j.s[j.domain:j.end] }

// Resource returns the resourcepart, "" if there is none.
func (j JID) Resource() string {
	if j.IsBare() {
		return ""
	}
	return j.s[j.end+1:]
}

// Bare returns the address without its resourcepart.
func (j JID) Bare() JID {
	j.s = j.s[:j.end]
	return j
}

// Host returns the address of the domain alone.
func (j JID) Host() JID {
	d := j.Domain()
	return JID{s: d, end: uint16(len(d))}
}

// WithResource returns the bare address with the resourcepart r. An empty r
// gives the bare address.
func (j JID) WithResource(r string) (JID, error) {
	if j.IsZero() {
		return JID{}, &Error{"domainpart", "is empty"}
	}
	if r == "" {
		return j.Bare(), nil
	}
	r, err := resourcepart(r)
	if err != nil {
		return JID{}, err
	}
	j.s = j.s[:j.end] + "/" + r
	return j, nil
}

// IsZero reports whether j is no address.
func (j JID) IsZero() bool { return j.s == "" }

// IsBare reports whether j has no resourcepart.
func (j JID) IsBare() bool { return len(j.s) == int(j.end) }

// IsFull reports whether j has a resourcepart.
func (j JID) IsFull() bool { return !j.IsBare() }

// String returns the canonical form, "" for the zero value. It costs nothing.
func (j JID) String() string { return j.s }

// Clone returns the same address in memory of its own. Who keeps a JID longer
// than the stanza it was parsed from keeps a clone.
func (j JID) Clone() JID {
	j.s = strings.Clone(j.s)
	return j
}

// AppendText appends the canonical form to b.
func (j JID) AppendText(b []byte) ([]byte, error) { return append(b, j.s...), nil }

// MarshalText returns the canonical form; the zero value gives an empty text.
func (j JID) MarshalText() ([]byte, error) { return []byte(j.s), nil }

// UnmarshalText parses an address; an empty text gives the zero value.
func (j *JID) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*j = JID{}
		return nil
	}
	parsed, err := Parse(string(b))
	if err != nil {
		return err
	}
	*j = parsed
	return nil
}
