// Package ping implements XEP-0199: XMPP Ping.
//
// An account answers nobody but itself: a pong from an account that exists, and
// none from one that does not, would tell strangers who exists.
package ping

import (
	"context"

	"kith/server/module"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/xping"
	"kith/xmpp/xmltree"
)

// Module is the module.
var Module = module.Define("ping", attach, module.XEP(199, "2.0.1"))

func attach(h *module.Host, _ struct{}) error {
	h.DiscoFeature(ns.Ping)
	h.AccountFeature(ns.Ping)
	h.IQ(stanza.Get, xping.Ping, module.ToServer, pong)
	h.IQ(stanza.Get, xping.Ping, module.ToAccount, pongToOwner)
	return nil
}

// pong is an empty result (XEP-0199 §4.2).
func pong(context.Context, *module.Transit) (xmltree.Appender, error) { return nil, nil }

func pongToOwner(_ context.Context, t *module.Transit) (xmltree.Appender, error) {
	if !t.Own() {
		return nil, stanza.ErrServiceUnavailable
	}
	return nil, nil
}
