// Package disco implements XEP-0030: Service Discovery, for the host and for the
// accounts, and XEP-0128: Service Discovery Extensions.
//
// What there is to tell is known when it is asked for, since modules behind this
// one attach later. An account tells its owner and who is subscribed to its
// presence (XEP-0030 §8).
package disco

import (
	"context"

	"kith/server/module"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	xdisco "kith/xmpp/xep/disco"
	"kith/xmpp/xmltree"
)

// Module is the module.
var Module = module.Define("disco", attach,
	module.XEP(30, "2.5.0"),
	module.XEP(128, "1.0.1"))

func attach(h *module.Host, _ struct{}) error {
	h.DiscoFeature(ns.DiscoInfo, ns.DiscoItems)
	h.AccountFeature(ns.DiscoInfo, ns.DiscoItems)
	for i := range h.Config.Component {
		if c := &h.Config.Component[i]; c.IsListedBy(h.Domain) {
			h.DiscoItem(module.DiscoItem{JID: c.Host, Name: c.Name})
		}
	}
	h.IQ(stanza.Get, xdisco.NameInfo, module.ToServer, hostInfo)
	h.IQ(stanza.Get, xdisco.NameItems, module.ToServer, hostItems)
	h.IQ(stanza.Get, xdisco.NameInfo, module.ToAccount, accountInfo)
	h.IQ(stanza.Get, xdisco.NameItems, module.ToAccount, accountItems)
	return nil
}

func hostInfo(_ context.Context, t *module.Transit) (xmltree.Appender, error) {
	if name := t.Payload().Attr("node"); name != "" {
		return nodeInfo(t, module.ToServer, name)
	}
	return t.Host.Info(), nil
}

func hostItems(_ context.Context, t *module.Transit) (xmltree.Appender, error) {
	if name := t.Payload().Attr("node"); name != "" {
		return nodeItems(t, module.ToServer, name)
	}
	items := new(xdisco.Items) // if there are none, it is empty (XEP-0030 §4.1)
	for _, it := range t.Host.Disco().Items {
		items.Items = append(items.Items, xdisco.Item{JID: it.JID, Name: it.Name})
	}
	return items, nil
}

func accountInfo(_ context.Context, t *module.Transit) (xmltree.Appender, error) {
	if err := known(t); err != nil {
		return nil, err
	}
	if name := t.Payload().Attr("node"); name != "" {
		return nodeInfo(t, module.ToAccount, name)
	}
	if t.Account.Temporary() { // XEP-0175 §5; what else accounts have, it has not
		return &xdisco.Info{
			Identities: []xdisco.Identity{{Category: "account", Type: "anonymous"}},
			Features:   []string{ns.DiscoInfo, ns.DiscoItems},
		}, nil
	}
	return t.Host.AccountInfo(), nil
}

// accountItems are the account's available resources (XEP-0030 §4.1).
func accountItems(_ context.Context, t *module.Transit) (xmltree.Appender, error) {
	if err := known(t); err != nil {
		return nil, err
	}
	if name := t.Payload().Attr("node"); name != "" {
		return nodeItems(t, module.ToAccount, name)
	}
	items := new(xdisco.Items)
	for r := range t.Account.Available() {
		items.Items = append(items.Items, xdisco.Item{JID: r.JID})
	}
	return items, nil
}

// nodeInfo and nodeItems answer for a node (XEP-0030 §3.2, §4.2).
func nodeInfo(t *module.Transit, to module.Target, name string) (xmltree.Appender, error) {
	info, _, err := t.Host.DiscoNode(t, to, name)
	if err == nil && info == nil {
		err = stanza.ErrItemNotFound
	}
	if err != nil {
		return nil, err
	}
	info.Node = name
	return info, nil
}

func nodeItems(t *module.Transit, to module.Target, name string) (xmltree.Appender, error) {
	_, items, err := t.Host.DiscoNode(t, to, name)
	if err == nil && items == nil {
		err = stanza.ErrItemNotFound
	}
	if err != nil {
		return nil, err
	}
	items.Node = name
	return items, nil
}

// known refuses strangers in the words that an account gets that does not exist,
// whatever they ask for (XEP-0030 §9). The text wants an empty list of items for
// both; RFC 6121 §8.5.1 wants the error, and what matters is that the two cannot
// be told apart.
func known(t *module.Transit) error {
	if !t.Sees(t.From) {
		return stanza.ErrServiceUnavailable
	}
	return nil
}
