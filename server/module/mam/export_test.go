package mam

import (
	"context"

	"kith/server/archive"
	"kith/server/module"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
)

// Answerer returns what makes the answer to a query and tells of how many stanzas
// it consists.
func Answerer(ctx context.Context, h *module.Host) (func(archive.Filter, archive.Page) int, error) {
	ids, err := archive.OpenIDs(ctx, h.Accounts)
	if err != nil {
		return nil, err
	}
	owner, address := jid.MustParse("romeo@montague.example"), jid.MustParse("romeo@montague.example/orchard")
	return func(f archive.Filter, p archive.Page) int {
		p.Count, p.Each = counted, overhead
		q := &request{
			archives: &archives{host: h, ids: ids}, owner: owner, address: address, queryID: "f27",
			iq: stanza.New(stanza.IQ, stanza.Set, address, owner), filter: f, page: p,
		}
		return len(q.answer(ctx))
	}, nil
}
