package stream

import (
	"crypto/rand"
	"encoding/base64"
	"strings"

	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

// Header is what the open tag of a stream says (RFC 6120 §4.7).
type Header = xmltree.Header

// Version is the version of XMPP that we speak (RFC 6120 §4.7.5).
const Version = "1.0"

// NewID makes an identifier of 128 random bits: that of a stream, which nobody
// may guess (RFC 6120 §4.7.3), among others.
func NewID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails, says crypto/rand
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// AtLeast1 reports whether a version attribute stands for XMPP 1.0 or later.
// A header without one is of version 0.9 (RFC 6120 §4.7.5 rule 4).
func AtLeast1(version string) bool {
	major, minor, ok := strings.Cut(version, ".")
	return ok && digits(major) && digits(minor) && strings.Trim(major, "0") != ""
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// appendHeader writes the XML declaration and the open tag. Attributes that are
// "" are left out, but for from in an answer: there an empty one says that the
// host is not ours (RFC 6120 §4.9.1.3).
func appendHeader(b []byte, h Header, answer bool) []byte {
	b = append(b, "<?xml version='1.0'?><stream:stream"...)
	if answer || h.From != "" {
		b = xmltree.AppendAttr(b, "from", h.From)
	}
	for _, a := range [...]struct{ name, value string }{
		{"to", h.To}, {"id", h.ID}, {"version", h.Version}, {"xml:lang", h.Lang},
	} {
		if a.value != "" {
			b = xmltree.AppendAttr(b, a.name, a.value)
		}
	}
	content := h.Content
	if content == "" {
		content = ns.Client
	}
	b = xmltree.AppendAttr(b, "xmlns", content)
	if content == ns.Server {
		b = xmltree.AppendAttr(b, "xmlns:db", ns.Dialback) // XEP-0220 §2.4.1
	}
	b = xmltree.AppendAttr(b, "xmlns:stream", ns.Stream)
	return append(b, '>')
}
