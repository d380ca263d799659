package archive

import (
	"context"
	"maps"
	"slices"

	"kith/server/account"
	"kith/server/cluster"
	"kith/server/session"
	"kith/server/storage"
)

// CountByHost returns how many messages of each domain's accounts wait for a client
// to take them.
func CountByHost(ctx context.Context, db *storage.DB) (map[string]int, error) {
	counts := make(map[string]int)
	err := db.Read(ctx, func(r *storage.Reader) error {
		clear(counts)
		for row, err := range r.Query(`SELECT substr(jid, length(rtrim(jid, replace(jid, '@', ''))) + 1), CAST(sum(n) AS bigint)
			FROM (SELECT owner, count(*) AS n FROM offline GROUP BY owner) AS waiting JOIN account ON account.id = waiting.owner
			WHERE jid IS NOT NULL GROUP BY 1`) {
			if err != nil {
				return err
			}
			var domain string
			var n int64
			if err := row.Scan(&domain, &n); err != nil {
				return err
			}
			counts[domain] = int(n)
		}
		return nil
	})
	return counts, err
}

// carried is a marked message on its way to clients that acknowledge what they
// get. The first of them to do so settles it.
type carried struct {
	transit bool         // it was kept for its delivery only
	by      []session.ID // who may yet do so
}

// onTheWay are the marked messages that sessions carry. After a crash it is
// empty, and the marks say what has to be delivered again.
var onTheWay = account.NewSlot[map[int64]*carried]("messages to be acknowledged")

// Confirmed reports whether each of the sessions acknowledges what it gets, so
// that a mark can wait for that.
func Confirmed(targets []*account.Resource) bool {
	return len(targets) > 0 && !slices.ContainsFunc(targets, func(r *account.Resource) bool { return !r.Confirms })
}

// Carry notes that a marked message is on its way to a session. It is used in
// effects.
func Carry(a *account.Actor, by session.ID, id int64, transit bool) {
	m := onTheWay.Live(a)
	if m == nil {
		m = make(map[int64]*carried)
		onTheWay.SetLive(a, m)
	}
	if m[id] == nil {
		m[id] = &carried{transit: transit}
	}
	if !slices.Contains(m[id].by, by) {
		m[id].by = append(m[id].by, by)
	}
}

// Carried returns the ids of the marked messages that are on their way.
func Carried(a *account.Actor) map[int64]struct{} {
	ids := make(map[int64]struct{}, len(onTheWay.Live(a)))
	for id := range maps.Keys(onTheWay.Live(a)) {
		ids[id] = struct{}{}
	}
	return ids
}

// OnItsWay reports whether a marked message is on its way to a session.
func OnItsWay(a *account.Actor, id int64) bool { return onTheWay.Live(a)[id] != nil }

// Dropped notes that a session has ended without acknowledging a message, and
// reports whether it is to be delivered to others: it is not if another session
// has acknowledged it, or may do so. Release follows.
func Dropped(a *account.Actor, by session.ID, id int64) bool {
	c := onTheWay.Live(a)[id]
	if c == nil {
		return false
	}
	c.by = slices.DeleteFunc(c.by, func(s session.ID) bool { return s == by })
	return len(c.by) == 0
}

// Release notes that a message which no session carries any more is not on its
// way. It is used in effects: up to then who looks takes it to be, since it may be
// in the same batch that it is given to another session.
func Release(a *account.Actor, id int64) {
	if c := onTheWay.Live(a)[id]; c != nil && len(c.by) == 0 {
		delete(onTheWay.Live(a), id)
	}
}

// Acknowledged takes the marks from messages that a client has acknowledged.
func Acknowledged(t *cluster.Turn, a *account.Actor, ids []int64) {
	taken := make([]int64, 0, len(ids))
	var drop []int64
	for _, id := range ids {
		if c := onTheWay.Live(a)[id]; c != nil {
			taken = append(taken, id)
			if c.transit {
				drop = append(drop, id)
			}
		}
	}
	TakenAll(t, a, taken, drop)
	t.After(cluster.EffectFunc(func(*cluster.Turn) {
		for _, id := range ids {
			delete(onTheWay.Live(a), id)
		}
	}))
}
