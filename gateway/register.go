package gateway

import (
	"context"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xep/register"
	"kith/xmpp/xmltree"
)

// Registrar keeps who uses a gateway (XEP-0077, XEP-0100 §4). user is a bare
// address. Errors of RFC 6120 are told.
type Registrar interface {
	// Form returns what somebody has to tell, with what he has told before; then
	// Registered is set.
	Form(ctx context.Context, user jid.JID) (*register.Query, error)
	// Register takes what somebody has told, for the first time or anew.
	Register(ctx context.Context, user jid.JID, told *register.Query) error
	// Unregister forgets somebody: item-not-found if he is not registered.
	Unregister(ctx context.Context, user jid.JID) error
}

// Registration has people register with the component's own address. Who has, is
// asked for his presence (XEP-0100 §4.1.1); who is no more is told so (§4.3.1).
func (g *Component) Registration(r Registrar) {
	g.Feature(ns.Register)
	own := func(f func(ctx context.Context, user jid.JID, q *register.Query) (xmltree.Appender, error)) IQFunc {
		return func(ctx context.Context, iq *stanza.Stanza) (xmltree.Appender, error) {
			q, err := register.Parse(iq.Payload())
			switch {
			case iq.To != g.config.Domain:
				return nil, stanza.ErrServiceUnavailable
			case iq.From.Local() == "":
				return nil, stanza.ErrForbidden // who registers is a person
			case err != nil:
				return nil, stanza.ErrBadRequest
			}
			return f(ctx, iq.From.Bare(), q)
		}
	}
	g.HandleIQ(stanza.Get, register.Name, own(func(ctx context.Context, user jid.JID, _ *register.Query) (xmltree.Appender, error) {
		q, err := r.Form(ctx, user)
		if err != nil {
			return nil, err
		}
		return q, nil
	}))
	g.HandleIQ(stanza.Set, register.Name, own(func(ctx context.Context, user jid.JID, q *register.Query) (xmltree.Appender, error) {
		if q.Remove {
			if err := r.Unregister(ctx, user); err != nil {
				return nil, err
			}
			// XEP-0100 §4.3.1: the gateway is no longer a contact.
			for _, typ := range []string{stanza.Unsubscribe, stanza.Unsubscribed, stanza.Unavailable} {
				g.put(g.presenceTo(typ, user))
			}
			return nil, nil
		}
		if err := r.Register(ctx, user, q); err != nil {
			return nil, err
		}
		g.put(g.presenceTo(stanza.Subscribe, user))
		return nil, nil
	}))
}

// presenceTo makes presence of the component's own.
func (g *Component) presenceTo(typ string, to jid.JID) *stanza.Stanza {
	st := stanza.New(stanza.Presence, typ, g.config.Domain, to)
	st.ID = stream.NewID()
	return st
}
