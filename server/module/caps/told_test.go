package caps

import (
	"testing"

	"kith/server/account"
	"kith/server/caps"
	"kith/server/module"
	"kith/server/session"
	"kith/xmpp/jid"
)

// The modules learn of a session that is still there what is known of it, and
// what was known before.
func TestTold(t *testing.T) {
	romeo := jid.MustParse("romeo@montague.example")
	a := account.NewActor(romeo, &account.State{ID: 1}, nil)
	r := &account.Resource{ID: session.NewID(), JID: jid.MustParse("romeo@montague.example/foo")}
	a.Add(r)
	was := new(caps.Known)
	h, calls := new(module.Host), 0
	h.Facts.Capable = append(h.Facts.Capable, func(t2 *module.Transit, r2 *account.Resource, was2 *caps.Known) {
		calls++
		if t2.Account != a || t2.Sender != r || t2.Host != h || r2 != r || was2 != was {
			t.Errorf("told %+v of %v, which was %v", t2, r2, was2)
		}
	})
	m := &capabilities{host: h}
	(&told{m, r.ID, was}).Handle(nil, a)
	if calls != 1 {
		t.Errorf("told %d times, want once", calls)
	}
	a.Remove(r.ID)
	(&told{m, r.ID, was}).Handle(nil, a)
	if calls != 1 {
		t.Error("told of a session that has ended")
	}
}
