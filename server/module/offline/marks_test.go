package offline_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"kith/server/account"
	"kith/server/archive"
	"kith/server/cluster"
	"kith/server/session"
	"kith/server/storage"
)

// inLane does something with an account in its lane.
type inLane func(*cluster.Turn, *account.Actor)

func (f inLane) Handle(t *cluster.Turn, a cluster.Actor) { f(t, a.(*account.Actor)) }

func (inLane) Fail(*cluster.Turn, error) {}

// waiting returns the ids of the marked messages.
func (h *house) waiting() (list []int64) {
	h.Helper()
	err := h.db.Read(context.Background(), func(r *storage.Reader) error {
		for row, err := range r.Query(`SELECT id FROM offline ORDER BY id`) {
			var id int64
			if err == nil {
				err = row.Scan(&id)
			}
			if err != nil {
				return err
			}
			list = append(list, id)
		}
		return nil
	})
	if err != nil {
		h.Fatal(err)
	}
	return list
}

// A mark that is set while a page is read, in the midst of those that the page has, is
// in it or stays.
func TestMarkedMeanwhile(t *testing.T) {
	for range 10 {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t, nil)
			h.leave(40)
			id := h.waiting()[20]
			juliet := h.connect("juliet/balcony", session.Limits{})
			key := account.Key(juliet.JID)
			h.cluster.Send(key, inLane(func(t *cluster.Turn, a *account.Actor) { archive.TakenAll(t, a, []int64{id}, nil) }))
			synctest.Wait()
			h.wantMarked(39)
			again := inLane(func(t *cluster.Turn, a *account.Actor) { archive.Missed(t, a, id) })
			h.cluster.Send(key, juliet.leaving(`<presence/>`), inLane(func(t *cluster.Turn, _ *account.Actor) {
				t.After(cluster.EffectFunc(func(t *cluster.Turn) { t.Send(key, again) })) // when the page is asked for
			}))
			got := ids(juliet.received())
			if left := h.waiting(); slices.Contains(got, 20) == slices.Contains(left, id) {
				t.Errorf("got %v, and %v are left: message 20 must be in one of them", got, left)
			}
		})
	}
}

// The marks of what a session has from the archive stay, though a page has what came
// before and behind them.
func TestMarksBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		romeo := h.connect("romeo/orchard", session.Limits{})
		var messages []string
		for i := range 80 {
			hint := ""
			if i%2 == 1 {
				hint = "<no-permanent-store xmlns='urn:xmpp:hints'/>"
			}
			messages = append(messages, fmt.Sprintf(`<message to='juliet@%s' type='chat' id='%d'><body>hark</body>%s</message>`, capulet, i, hint))
		}
		romeo.send(messages...)
		romeo.end()
		juliet := h.connect("juliet/balcony", session.Limits{})
		h.cluster.Send(account.Key(juliet.JID), inLane(func(_ *cluster.Turn, a *account.Actor) {
			archive.CaughtUp.Set(a.Resource(juliet.ID), archive.Last(a))
		}))
		juliet.send(`<presence/>`)
		got := ids(juliet.received())
		if len(got) != 40 || slices.ContainsFunc(got, func(id int) bool { return id%2 == 0 }) {
			t.Errorf("got %v, want the forty that are in no archive", got)
		}
		h.wantMarked(40)
	})
}
