// Package version implements XEP-0092: Software Version.
package version

import (
	"context"
	"runtime"

	"kith/server/module"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	xversion "kith/xmpp/xep/version"
	"kith/xmpp/xmltree"
)

// Module is the module.
var Module = module.Define("version", attach, module.XEP(92, "1.1"))

// Config is the table [modules.version].
type Config struct {
	// Whether to tell on which operating system the server runs. It helps those who look for its weak points (XEP-0092 §5).
	ShowOS bool `toml:"show_os"`
}

func attach(h *module.Host, c Config) error {
	h.DiscoFeature(ns.Version)
	q := xversion.Query{Name: "Kith", Version: h.Version}
	if c.ShowOS {
		q.OS = runtime.GOOS
	}
	h.IQ(stanza.Get, xversion.Name, module.ToServer, func(context.Context, *module.Transit) (xmltree.Appender, error) {
		return q, nil
	})
	return nil
}
