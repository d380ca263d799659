// Package time implements XEP-0202: Entity Time.
package time

import (
	"context"

	"kith/server/module"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/xtime"
	"kith/xmpp/xmltree"
)

// Module is the module.
var Module = module.Define("time", attach, module.XEP(202, "2.0"), module.XEP(82, "1.1.1"))

func attach(h *module.Host, _ struct{}) error {
	h.DiscoFeature(ns.Time)
	h.IQ(stanza.Get, xtime.Name, module.ToServer, now)
	return nil
}

// now tells the time in UTC, whatever the machine's zone is: that would tell
// where it stands (XEP-0202 §6).
func now(_ context.Context, t *module.Transit) (xmltree.Appender, error) {
	return xtime.Time{UTC: t.Turn.Now()}, nil
}
