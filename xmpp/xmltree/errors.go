package xmltree

import (
	"errors"
	"strconv"
)

// ErrIncomplete says that the decoder needs more bytes: Feed it and ask again.
var ErrIncomplete = errors.New("xmltree: more bytes needed")

// Kind classifies what is wrong with the XML of a peer. Its value is the
// defined condition of the stream error that the peer must get (RFC 6120 §4.9.3).
type Kind string

// The kinds of a SyntaxError.
const (
	NotWellFormed      Kind = "not-well-formed"      // RFC 6120 §4.9.3.13: XML or its namespaces are broken
	RestrictedXML      Kind = "restricted-xml"       // RFC 6120 §4.9.3.18: comment, PI, DTD, entity
	BadFormat          Kind = "bad-format"           // RFC 6120 §4.9.3.1: XML, but not a stream of elements
	BadNamespacePrefix Kind = "bad-namespace-prefix" // RFC 6120 §4.9.3.2: prefix on the content namespace
	InvalidNamespace   Kind = "invalid-namespace"    // RFC 6120 §4.9.3.10: stream namespace inside a stanza
	BadEncoding        Kind = "unsupported-encoding" // RFC 6120 §4.9.3.22: anything but UTF-8
	PolicyViolation    Kind = "policy-violation"     // RFC 6120 §4.9.3.14: a limit was passed
)

// SyntaxError says why and where the input was refused.
// It is final: nothing can be read after it.
type SyntaxError struct {
	Kind   Kind
	Msg    string
	Offset int64 // of the offending byte, counted from the start of the stream or document
}

func (e *SyntaxError) Error() string {
	return "xmltree: " + string(e.Kind) + ": " + e.Msg + " at byte " + strconv.FormatInt(e.Offset, 10)
}
