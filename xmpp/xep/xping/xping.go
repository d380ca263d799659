// Package xping holds the words of XEP-0199: XMPP Ping.
package xping

import (
	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

// Ping is the name of the payload that asks for a pong, which is an empty result.
var Ping = xmltree.Name{Space: ns.Ping, Local: "ping"}

// Request is the payload itself.
type Request struct{}

// AppendXML implements xmltree.Appender.
func (Request) AppendXML(w *xmltree.Writer) {
	w.Open(Ping)
	w.Close()
}
