// Package mfa holds the words of Multi-Factor Authentication with TOTP, a
// specification that has no number yet.
package mfa

import (
	"strings"

	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

// Names of its elements.
var (
	NameSetup = xmltree.Name{Space: ns.MFA, Local: "setup"}
	NameCode  = xmltree.Name{Space: ns.MFA, Local: "code"}
)

// Task is the name of the task by which a client gives a code (XEP-0388 §2.6.3).
const Task = "TOTP"

// Setup is what the two ends say to each other while a second factor is set up: a
// client nothing, then a code; a server the secret, as a URI.
type Setup string

// AppendXML implements xmltree.Appender.
func (s Setup) AppendXML(w *xmltree.Writer) { w.Element(NameSetup, string(s)) }

// Code is a code, as a client gives it in the task. The specification is older
// than the elements of XEP-0388 that tasks consist of, and names none.
type Code string

// AppendXML implements xmltree.Appender.
func (c Code) AppendXML(w *xmltree.Writer) { w.Element(NameCode, string(c)) }

// ParseCode reads the code in an element of a task; "" if there is none.
func ParseCode(el xmltree.Element) Code {
	return Code(strings.Clone(strings.TrimSpace(el.Child(NameCode).Text())))
}
