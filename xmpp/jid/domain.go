package jid

import (
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/secure/precis"
)

// Limits of RFC 1034 §3.1 in the ASCII form; RFC 7622 §3.2 keeps them.
const (
	maxLabel  = 63
	maxDomain = 253
)

const ace = "xn--"

var (
	// uLabels maps case and width (RFC 5895) and turns A-labels into U-labels.
	uLabels = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false))
	// identifier holds the code points of a U-label: for a text in lower case
	// and NFC the IdentifierClass (RFC 8264 §4.2) and PVALID, CONTEXTJ and
	// CONTEXTO of RFC 5892 are the same. Package idna alone would let symbols
	// pass, which IDNA2008 does not know.
	identifier = precis.NewIdentifier()
)

// domainpart enforces RFC 7622 §3.2: a domain name with U-labels, or the
// literal of an IP address, IPv6 in brackets.
func domainpart(s string) (string, error) {
	// RFC 7622 §3.2: the final dot goes before anything else is done.
	s = strings.TrimSuffix(s, ".")
	hasACE, reason := checkName(s)
	if reason == "" && !hasACE {
		return s, nil
	}
	if err := checkInput("domainpart", s); err != nil {
		return "", err
	}
	if strings.HasPrefix(s, "[") {
		return ipv6(s)
	}
	if !isASCII(s) {
		return international(s)
	}
	s = strings.ToLower(s)
	hasACE, reason = checkName(s)
	switch {
	case reason != "":
		return "", &Error{"domainpart", reason}
	case hasACE:
		return international(s)
	}
	return s, nil
}

// international returns s with U-labels (RFC 5890 §2.3.2.1).
func international(s string) (string, error) {
	notAllowed := &Error{"domainpart", "is not an internationalized domain name"}
	s = trimFinalDot(s)
	u, err := uLabels.ToUnicode(s)
	if err != nil {
		return "", notAllowed
	}
	// An A-label has at least a byte for each character of its U-label, and
	// making one takes the square of their number.
	if utf8.RuneCountInString(u) > maxDomain {
		return "", &Error{"domainpart", "is longer than a domain name may be"}
	}
	for label := range strings.SplitSeq(u, ".") {
		if same, err := identifier.String(label); err != nil || same != label {
			return "", notAllowed
		}
		// RFC 5891 §4.2.3.1 counts characters, package idna bytes.
		if r := []rune(label); len(r) >= 4 && r[2] == '-' && r[3] == '-' {
			return "", notAllowed
		}
	}
	// RFC 5890 §2.3.2.1: A-label and U-label must be each other's image.
	a, err := uLabels.ToASCII(u)
	if err != nil {
		return "", notAllowed
	}
	if back, err := uLabels.ToUnicode(a); err != nil || back != u {
		return "", notAllowed
	}
	if _, reason := checkName(a); reason != "" {
		return "", &Error{"domainpart", reason}
	}
	return checkSize("domainpart", u)
}

// trimFinalDot removes one of the characters that are mapped to a dot.
func trimFinalDot(s string) string {
	for _, dot := range []string{"\u3002", "\uff0e", "\uff61"} {
		if t, ok := strings.CutSuffix(s, dot); ok {
			return t
		}
	}
	return s
}

// checkName checks a name in ASCII and lower case: NR-LDH labels and, as far
// as can be seen here, A-labels (RFC 5890 §2.3.2). It says whether there are
// A-labels, and what is wrong.
func checkName(s string) (hasACE bool, reason string) {
	switch {
	case s == "":
		return false, "is empty"
	case len(s) > maxDomain:
		return false, "is longer than a domain name may be"
	}
	rest, dotted := s, false
	for {
		label := rest
		dot := strings.IndexByte(rest, '.')
		if dot >= 0 {
			label, rest, dotted = rest[:dot], rest[dot+1:], true
		}
		isACE := strings.HasPrefix(label, ace)
		if reason := checkLabel(label, isACE); reason != "" {
			return false, reason
		}
		hasACE = hasACE || isACE
		if dot >= 0 {
			continue
		}
		// RFC 1123 §2.1: a name whose last label is a number can only be
		// meant as an IPv4 address.
		if dotted && isNumber(label) && !isIPv4(s) {
			return false, "is neither a domain name nor an IPv4 address"
		}
		return hasACE, ""
	}
}

func checkLabel(label string, isACE bool) (reason string) {
	switch {
	case label == "":
		return "has an empty label"
	case len(label) > maxLabel:
		return "has a label of more than 63 bytes"
	case label[0] == '-' || label[len(label)-1] == '-':
		return "has a label with a hyphen at its edge"
	case len(label) >= 4 && label[2:4] == "--" && !isACE:
		return "has a reserved label" // R-LDH, RFC 5890 §2.3.1
	}
	for i := 0; i < len(label); i++ {
		if classes[label[i]]&inDomain == 0 {
			return "holds a character that is not allowed"
		}
	}
	return ""
}

func isNumber(label string) bool { return strings.Trim(label, "0123456789") == "" }

func isIPv4(s string) bool {
	ip, err := netip.ParseAddr(s)
	return err == nil && ip.Is4()
}

// ipv6 returns the literal in the form of RFC 5952. A zone has a meaning on
// one machine only and is refused.
func ipv6(s string) (string, error) {
	inner, closed := strings.CutSuffix(s[1:], "]")
	ip, err := netip.ParseAddr(inner)
	if !closed || err != nil || !ip.Is6() || ip.Zone() != "" {
		return "", &Error{"domainpart", "is not an IPv6 address"}
	}
	canonical := ip.String()
	if canonical == inner {
		return s, nil
	}
	return "[" + canonical + "]", nil
}
