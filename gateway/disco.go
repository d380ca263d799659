package gateway

import (
	"context"
	"slices"

	"kith/xmpp/jid"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/disco"
	"kith/xmpp/xmltree"
)

// InfoFunc says what one of the component's addresses, or a node of it, is and can
// do, to who asks (XEP-0030 §3). nil stands for item-not-found.
type InfoFunc func(ctx context.Context, from, to jid.JID, node string) (*disco.Info, error)

// ItemsFunc says what belongs to it (XEP-0030 §4).
type ItemsFunc func(ctx context.Context, from, to jid.JID, node string) (*disco.Items, error)

// Feature announces features of the component's own address.
func (g *Component) Feature(names ...string) { g.features = append(g.features, names...) }

// Info has f speak for addresses other than the component's own, and for nodes
// that are no commands.
func (g *Component) Info(f InfoFunc) { g.info = f }

// Items has f list what belongs to an address, commands apart.
func (g *Component) Items(f ItemsFunc) { g.items = f }

// Own is what the component says of itself.
func (g *Component) Own() *disco.Info {
	features := slices.Clone(g.features)
	slices.Sort(features)
	return &disco.Info{Identities: slices.Clone(g.config.Identities), Features: slices.Compact(features)}
}

func (g *Component) answerInfo(ctx context.Context, iq *stanza.Stanza) (xmltree.Appender, error) {
	node := iq.Payload().Attr("node")
	if iq.To == g.config.Domain {
		if node == "" {
			return g.Own(), nil
		}
		if info := g.commands.info(iq.From, node); info != nil {
			return info, nil
		}
	}
	if g.info == nil {
		return nil, stanza.ErrItemNotFound
	}
	info, err := g.info(ctx, iq.From, iq.To, node)
	if err == nil && info == nil {
		err = stanza.ErrItemNotFound
	}
	if err != nil {
		return nil, err
	}
	info.Node = node
	return info, nil
}

func (g *Component) answerItems(ctx context.Context, iq *stanza.Stanza) (xmltree.Appender, error) {
	node := iq.Payload().Attr("node")
	if iq.To == g.config.Domain {
		if items := g.commands.items(g.config.Domain, iq.From, node); items != nil {
			return items, nil
		}
	}
	if g.items == nil {
		return &disco.Items{Node: node}, nil // XEP-0030 §4.1: nothing belongs to it
	}
	items, err := g.items(ctx, iq.From, iq.To, node)
	if err == nil && items == nil {
		err = stanza.ErrItemNotFound
	}
	if err != nil {
		return nil, err
	}
	items.Node = node
	return items, nil
}
