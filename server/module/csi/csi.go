// Package csi implements XEP-0352: Client State Indication.
//
// While nobody looks at a client, presence, chat states and what contacts publish
// of themselves wait for it, the last of each only. Receipts and markers wait too,
// and copies of what the account's other devices send, until the client is woken
// by something else. All else is sent at once, behind what waits from the same
// sender. The state itself, and what waits, is the session's.
package csi

import (
	"kith/server/archive"
	"kith/server/module"
	"kith/server/session"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xmltree"
)

// Module is the module.
var Module = module.Define("csi", attach, module.XEP(352, "1.0.0"))

func attach(h *module.Host, _ struct{}) error {
	h.StreamFeature(feature{})
	h.Inline(module.Inline{Feature: ns.CSI}) // the state is the stream's
	h.WhileInactive(wait)
	return nil
}

type feature struct{}

// AppendXML implements xmltree.Appender.
func (feature) AppendXML(w *xmltree.Writer) {
	w.Element(xmltree.Name{Space: ns.CSI, Local: "csi"}, "")
}

// wait says what becomes of a stanza for an inactive client (XEP-0352 §3.2).
func wait(st *stanza.Stanza) session.Waiting {
	switch {
	case st.Kind == stanza.Presence && (st.Type == "" || st.Type == stanza.Unavailable):
		return session.Waiting{Wait: session.Presence}
	case st.Kind != stanza.Message || st.Type == stanza.TypeError: // an error: something one has sent did not arrive
		return session.Waiting{}
	case stateOnly(st):
		return session.Waiting{Wait: session.State}
	case noteOnly(st):
		return session.Waiting{Wait: session.Whole}
	case st.Type == stanza.Headline && st.Has(nameEvent) && !st.Has(nameBody):
		return published(st)
	}
	// XEP-0085 §3: who sends a message is active, whatever came before.
	return session.Waiting{Over: st.Has(nameBody)}
}

var nameBody = xmltree.Name{Space: ns.Client, Local: "body"}

// stateOnly reports whether a message says nothing but what its sender is doing
// (XEP-0085).
func stateOnly(st *stanza.Stanza) bool {
	if archive.Classify(st) != archive.Nothing {
		return false
	}
	for c := range st.Children() {
		if c.Name().Space == ns.ChatStates {
			return true
		}
	}
	return false
}

// noteOnly reports whether a message says nothing but what became of another:
// that it arrived (XEP-0184), or was seen (XEP-0333). Nobody is called for that,
// but each counts: they name messages.
func noteOnly(st *stanza.Stanza) bool {
	note := false
	for c := range st.Children() {
		switch n := c.Name(); n.Space {
		case ns.Receipts:
			note = note || n.Local == "received"
		case ns.Markers:
			note = note || n.Local != "markable"
		case ns.ChatStates, ns.Hints, ns.StanzaID, ns.Delay:
		case ns.Client:
			if n.Local != "thread" {
				return false
			}
		default:
			return false
		}
	}
	return note
}
