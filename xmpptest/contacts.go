package xmpptest

import (
	"fmt"

	"kith/xmpp/jid"
	"kith/xmpp/stanza"
)

// Befriend subscribes accounts to each other's presence, all to all. It is done
// by sessions of its own; what others receive of that is forgotten.
func (s *Server) Befriend(accounts ...jid.JID) error {
	clients := make([]*Client, len(accounts))
	for i, j := range accounts {
		full, err := j.Bare().WithResource("befriending")
		if err != nil {
			return err
		}
		if clients[i], err = s.Connect(full); err != nil {
			return err
		}
	}
	for _, typ := range []string{stanza.Subscribe, stanza.Subscribed} {
		for i, c := range clients {
			for n, j := range accounts {
				if n == i {
					continue
				}
				if err := c.logged.Send(stanza.New(stanza.Presence, typ, jid.JID{}, j.Bare())); err != nil {
					return fmt.Errorf("%s sends %s: %w", c.Name, typ, err)
				}
			}
		}
		s.Settle()
	}
	for _, c := range clients {
		c.over = true
		c.Close()
	}
	s.Drain()
	for _, c := range clients {
		c.server.forget(c)
	}
	return nil
}

// befriend is the statement.
func (r *run) befriend(actors []string) error {
	accounts := make([]jid.JID, len(actors))
	for i, actor := range actors {
		j, err := r.address(actor)
		if err != nil {
			return err
		}
		accounts[i] = j
	}
	return r.server.Befriend(accounts...)
}
