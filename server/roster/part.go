package roster

import (
	"context"
	"fmt"

	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
	xroster "kith/xmpp/xep/roster"
)

// Part returns the stanzas by which an account ends all its subscriptions and
// requests, and those of others to it. It reads outside the lane.
func Part(ctx context.Context, db *storage.DB, id int64, owner jid.JID) ([]*stanza.Stanza, error) {
	var out []*stanza.Stanza
	err := db.Read(ctx, func(r *storage.Reader) error {
		out = nil
		for row, err := range r.Query(`SELECT jid, listed, name, groups, subscription, ask, approved, version, request
			FROM roster_item WHERE owner = $1 AND (subscription <> $2 OR ask OR request IS NOT NULL)`, id, xroster.None) {
			if err != nil {
				return err
			}
			i, err := read(row)
			if err != nil {
				return err
			}
			if i == nil {
				continue
			}
			if i.State&(To|PendingOut) != 0 {
				out = append(out, stanza.New(stanza.Presence, stanza.Unsubscribe, owner, i.JID))
			}
			if i.State&(From|PendingIn) != 0 {
				out = append(out, stanza.New(stanza.Presence, stanza.Unsubscribed, owner, i.JID))
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read subscriptions of %s: %w", owner, err)
	}
	return out, nil
}
