// Package legacysession answers the request for a session of RFC 3921 §3, which
// means nothing any more: clients of that time send it all the same.
package legacysession

import (
	"context"

	"kith/server/module"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xmltree"
)

// Module is the module.
var Module = module.Define("legacysession", attach, module.RFC(3921, "the session of §3, without any effect"))

func attach(h *module.Host, _ struct{}) error {
	h.IQ(stanza.Set, xmltree.Name{Space: ns.Session, Local: "session"}, module.ToServer|module.ToAccount, begin)
	return nil
}

func begin(_ context.Context, t *module.Transit) (xmltree.Appender, error) {
	if !t.Own() {
		return nil, stanza.ErrServiceUnavailable
	}
	return nil, nil
}
