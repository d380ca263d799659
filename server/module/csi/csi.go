// Package csi implements XEP-0352: Client State Indication.
//
// While nobody looks at a client, presence and chat states wait for it, the last
// of each contact only, and so do copies of what the account's other devices
// send. All else is sent at once, behind what waits from the same sender. The
// state itself, and what waits, is the session's.
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
	h.WhileInactive(wait)
	return nil
}

type feature struct{}

// AppendXML implements xmltree.Appender.
func (feature) AppendXML(w *xmltree.Writer) {
	w.Element(xmltree.Name{Space: ns.CSI, Local: "csi"}, "")
}

// wait says what becomes of a stanza for an inactive client (XEP-0352 §3.2).
func wait(st *stanza.Stanza) session.Wait {
	switch st.Kind {
	case stanza.Presence:
		if st.Type == "" || st.Type == stanza.Unavailable {
			return session.Presence
		}
	case stanza.Message:
		if st.Type == stanza.TypeError {
			return session.Urgent // something one has sent did not arrive
		}
		if stateOnly(st) {
			return session.State
		}
	}
	return session.Urgent
}

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
