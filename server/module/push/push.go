// Package push implements XEP-0357: Push Notifications.
//
// A device that has asked for it is told by its app's push service that there is a
// message for it: when the message came while the device had no session, or one
// without a stream, or when its client owes the answer to what it was asked about
// it (XEP-0198). What other devices of the account do makes no difference.
//
// A notification is published in the name of the host, so that the service learns
// nothing of the account but what its node stands for, and by default it tells the
// number of messages only. Each node gets one at a time, and another only after
// its answer and a while; what comes meanwhile is told together. Errors that do
// not pass end a registration (§7.1), the others make the pauses longer.
//
// Registrations are stored. What is to be told is state of the account that lives
// as long as the account is in memory; it changes in effects only.
package push

import (
	"context"
	"errors"
	"slices"
	"time"

	"kith/server/account"
	"kith/server/module"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	xpush "kith/xmpp/xep/push"
	"kith/xmpp/xmltree"
)

// Module is the module.
var Module = module.Define("push", attach, module.XEP(357, "0.4.1"))

// Config is the table [modules.push].
type Config struct {
	// Whether notifications name the sender of the last message. The push service, and whoever delivers for it, learn it then.
	IncludeSender bool `toml:"include_sender"`
	// Whether notifications contain the text of the last message, unless it is encrypted. The push service, and whoever delivers for it, can read it then.
	IncludeBody bool `toml:"include_body"`
	// What stands in the place of the text where that is not included, such as "New message". Some apps alert people only if something does; it says nothing of the message.
	Alert string `toml:"alert"`
	// How long a device that was notified is not notified again ("10s" if nothing is said); what comes meanwhile is told together.
	Interval time.Duration `toml:"interval"`
	// How long a client that is connected may take to acknowledge a message before its device is notified ("10s" if nothing is said; XEP-0198).
	Patience time.Duration `toml:"patience"`
	// How many notifications may be asked for on each account: devices, or apps on them (10 if nothing is said). In the place of one too many goes the oldest whose device is not connected.
	Registrations int `toml:"registrations"`
}

// Default sets what holds where the configuration says nothing.
func (c *Config) Default() {
	*c = Config{Interval: 10 * time.Second, Patience: 10 * time.Second, Registrations: 10}
}

// Validate refuses what cannot be meant.
func (c *Config) Validate() error {
	switch {
	case c.Interval < time.Second:
		return errors.New("interval must be at least 1s")
	case c.Patience < time.Second:
		return errors.New("patience must be at least 1s")
	case c.Registrations < 1:
		return errors.New("registrations must be at least 1")
	case len(c.Alert) > longestBody:
		return errors.New("alert is too long")
	}
	return nil
}

// What a client may have sent with each notification, in bytes: it is sent to
// whom the client says.
const (
	longestNode    = 512
	longestOptions = 1024
	longestBody    = 1024
)

// push is the module at a host.
type push struct {
	host   *module.Host
	lanes  module.Lanes
	config Config
}

func attach(h *module.Host, c Config) error {
	lanes, ok := h.Router.(module.Lanes)
	if !ok {
		return errors.New("the host's router is no way into the lanes")
	}
	m := &push{host: h, lanes: lanes, config: c}
	h.AccountFeature(ns.Push)
	h.IQ(stanza.Set, xpush.NameEnable, module.ToAccount, m.enable)
	h.IQ(stanza.Set, xpush.NameDisable, module.ToAccount, disable)
	h.Facts.Bound = append(h.Facts.Bound, bound)
	h.Facts.Rekeyed = append(h.Facts.Rekeyed, rekeyed)
	h.Facts.Withdrawn = append(h.Facts.Withdrawn, withdrawn)
	arriving := &h.Stages.Arriving
	arriving.Stamp = append(arriving.Stamp, revoked)
	arriving.Copy = append(arriving.Copy, m.arrived)
	return nil
}

// enable has notifications sent for the device that asks (XEP-0357 §5).
func (m *push) enable(_ context.Context, t *module.Transit) (xmltree.Appender, error) {
	if err := t.Owned(); err != nil {
		return nil, err
	}
	e, err := xpush.ParseEnable(t.Payload())
	if err != nil {
		return nil, stanza.ErrBadRequest
	}
	var options []byte
	if e.Options != nil {
		options = xmltree.Marshal(e.Options, ns.Client)
	}
	switch {
	case e.JID.Bare() == t.Account.JID, slices.Contains(m.host.Config.Hosts, e.JID.Bare()): // nobody there would take it
		return nil, stanza.ErrNotAcceptable.With("This is not the address of a push service.")
	case len(e.Node) > longestNode:
		return nil, stanza.ErrNotAcceptable.With("The name of the node is too long.")
	case len(options) > longestOptions:
		return nil, stanza.ErrNotAcceptable.With("There are too many options.")
	}
	if err := m.makeRoom(t, e.Service); err != nil {
		return nil, err
	}
	m.put(t, e.Service, options)
	return nil, nil
}

// makeRoom sees to it that there is room for a registration. Apps that were
// removed never say so: the oldest goes whose device is not here.
func (m *push) makeRoom(t *module.Transit, s xpush.Service) error {
	list := slot.Durable(t.Account)
	if list.find(s) != nil || len(list) < m.config.Registrations {
		return nil
	}
	var oldest *registration
	for _, g := range list {
		if r := t.Account.Named(g.resource); r != nil && !away(r) {
			continue
		}
		if oldest == nil || g.since.Before(oldest.since) {
			oldest = g
		}
	}
	if oldest == nil {
		return stanza.ErrResourceConstraint.With("This account has as many push notifications as it may have.")
	}
	remove(t.Turn, t.Account, func(g *registration) bool { return g == oldest })
	return nil
}

// disable ends the notifications to a node, or to all nodes of a service
// (XEP-0357 §6).
func disable(_ context.Context, t *module.Transit) (xmltree.Appender, error) {
	if err := t.Owned(); err != nil {
		return nil, err
	}
	d, err := xpush.ParseDisable(t.Payload())
	if err != nil {
		return nil, stanza.ErrBadRequest
	}
	remove(t.Turn, t.Account, func(g *registration) bool {
		return g.JID == d.JID && (d.Node == "" || g.Node == d.Node)
	})
	return nil, nil
}

// revoked takes the word of a service that it wants no more notifications for a
// node (XEP-0357 §8). It is meant for the server.
func revoked(_ context.Context, t *module.Transit) error {
	list := slot.Durable(t.Account)
	if len(list) == 0 || t.Kind != stanza.Message {
		return nil
	}
	node, is := xpush.Revoked(t.Child(xpush.NamePubSub))
	if !is {
		return nil
	}
	g := list.find(xpush.Service{JID: t.From, Node: node})
	if g == nil {
		return nil
	}
	remove(t.Turn, t.Account, func(o *registration) bool { return o == g })
	return module.Stop
}

// rekeyed forgets the other devices with their sessions: who has taken the
// password along is not to learn any more when there are messages. Those devices
// ask anew when they log in.
func rekeyed(t *module.Transit, by *account.Resource) {
	remove(t.Turn, t.Account, func(g *registration) bool { return by == nil || g.resource != by.JID.Resource() })
}

// withdrawn ends the notifications of devices whose access was taken away.
func withdrawn(t *module.Transit, what []account.Access) {
	remove(t.Turn, t.Account, func(g *registration) bool { return g.access.Among(what) })
}
