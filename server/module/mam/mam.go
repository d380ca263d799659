// Package mam implements XEP-0313: Message Archive Management, for the archives of
// accounts, with the preferences of XEP-0441, the order of XEP-0413, the ids of
// XEP-0359, and the trim command that is proposed for archives.
//
// A message is recorded as it came, before our own id is added to it: the id is
// in the row. A page is read outside the lane and delivered in it, to the session
// that has asked. One page of a session is under way at a time; the next is read
// when the client has taken it, so that nobody's queue overflows. What a client
// asks meanwhile waits, up to a bound.
package mam

import (
	"context"
	"errors"
	"time"

	"kith/server/account"
	"kith/server/archive"
	"kith/server/config"
	"kith/server/module"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	xmam "kith/xmpp/xep/mam"
	"kith/xmpp/xep/order"
)

// Module is the module.
var Module = module.Define("mam", attach,
	module.XEP(313, "1.1.3").Partly("archives of accounts; messages of rooms are in none"),
	module.XEP(441, "0.2.0"),
	module.XEP(413, "0.2.1").Partly("in archives"),
	module.XEP(59, "1.0"),
	module.XEP(297, "1.0"),
	module.XEP(359, "0.7.0"),
	module.XEP(334, "1.0.0").Partly("what is kept; no-copy concerns carbons"))

// Config is the table [modules.mam].
type Config struct {
	// How long messages are kept, such as "365d"; "0s" is for ever. Messages that wait for delivery do so for at most 30 days, and no longer than this.
	Keep time.Duration `toml:"keep"`
	// How much is kept for each account; the oldest messages go first, except those that wait for delivery. 0 is no limit.
	Size config.Size `toml:"size"`
	// Whether people may delete their older messages from their client.
	Trim bool `toml:"trim"`
	// How many messages a client gets at once that does not say how many it wants.
	Page int `toml:"page"`
	// How many messages a client gets at once at most.
	PageMax int `toml:"page_max"`
}

// Default sets what holds where the configuration says nothing.
func (c *Config) Default() {
	*c = Config{Size: config.GiB, Trim: true, Page: 50, PageMax: 200}
}

// Validate refuses what cannot be meant.
func (c *Config) Validate() error {
	switch {
	case c.Keep < 0:
		return errors.New("keep must not be negative")
	case c.Keep > 0 && c.Keep < time.Hour:
		return errors.New("keep must be at least an hour, or 0s for ever")
	case c.Page < 1 || c.PageMax < c.Page:
		return errors.New("page must be at least 1 and page_max not less")
	}
	return nil
}

// archives is the module at a host.
type archives struct {
	host   *module.Host
	lanes  module.Lanes
	ids    *archive.IDs
	config Config
	rows   int // of a page, at most
	bytes  int // of a page, unless one message has more
}

// pageBytes bounds a page where the limits of a session are generous.
const pageBytes = 128 << 10

// sweepEvery is how often archives are looked through for what need not be kept.
const sweepEvery = 24 * time.Hour

func attach(h *module.Host, c Config) error {
	lanes, ok := h.Router.(module.Lanes)
	if !ok {
		return errors.New("the host's router is no way into the lanes")
	}
	ids, err := archive.OpenIDs(context.Background(), h.Accounts)
	if err != nil {
		return err
	}
	l := &h.Config.Limits
	m := &archives{
		host: h, lanes: lanes, ids: ids, config: c,
		// A page leaves most of a session's queue to what else is sent to it.
		rows:  max(1, min(c.PageMax, l.UnackedStanzas/4)),
		bytes: min(pageBytes, int(min(l.SessionQueue, l.Unacked)/4)),
	}
	h.AccountFeature(ns.StanzaID, ns.MAM, xmam.FeatureExtended, xmam.FeatureGroupchatField, ns.RSM, ns.OrderBy, order.Feature(ns.MAM))
	h.Keep(archive.CaughtUp)
	h.Inline(module.Inline{Enable: m.bound})
	h.IQ(stanza.Get, xmam.NameQuery, module.ToAccount, m.fields)
	h.IQ(stanza.Set, xmam.NameQuery, module.ToAccount, m.query)
	h.Query(stanza.Get, xmam.NameMetadata, module.ToAccount, m.metadata)
	h.IQ(stanza.Get, xmam.NamePrefs, module.ToAccount, m.preferences)
	h.IQ(stanza.Set, xmam.NamePrefs, module.ToAccount, m.prefer)
	if c.Trim {
		h.AccountFeature(ns.MAMTrim)
		h.IQ(stanza.Set, xmam.NameTrim, module.ToAccount, m.trim)
	}
	if h.Domain == h.Config.Hosts[0] { // the archives of all hosts are in one table
		h.Every(module.Job{Name: "trim archives", Every: sweepEvery, Run: m.sweep})
	}
	leaving, arriving := &h.Stages.Leaving, &h.Stages.Arriving
	leaving.Stamp = append(leaving.Stamp, dropForged)
	leaving.Record = append(leaving.Record, recordSent)
	arriving.Stamp = append(arriving.Stamp, dropForged)
	arriving.Record = append(arriving.Record, m.recordReceived)
	return nil
}

// owned refuses what others ask (XEP-0313 §8.1). Who is not subscribed gets the
// words that an account gets that does not exist.
func owned(t *module.Transit) error {
	switch {
	case t.Own() && t.Sender != nil:
		return nil
	case t.Sees(t.From):
		return stanza.ErrForbidden
	}
	return stanza.ErrServiceUnavailable
}

// current reports whether a session that has asked for something is still there.
func current(a *account.Actor, r *account.Resource) bool { return a.Resource(r.ID) == r }
