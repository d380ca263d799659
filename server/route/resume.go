package route

import (
	"kith/server/account"
	"kith/server/archive"
	"kith/server/cluster"
	"kith/server/session"
)

// note tells the owner of an account something of one of its sessions. Nothing
// becomes of it if the session has ended.
type note struct {
	id session.ID
	f  func(t *cluster.Turn, a *account.Actor, r *account.Resource)
}

func (r *Router) note(s *session.Session, f func(*cluster.Turn, *account.Actor, *account.Resource)) {
	r.cluster.Send(keyOf(s.JID), &note{s.ID, f})
}

// Handle implements cluster.Item.
func (n *note) Handle(t *cluster.Turn, ac cluster.Actor) {
	a := ac.(*account.Actor)
	if res := a.Resource(n.id); res != nil {
		n.f(t, a, res)
	}
}

// Fail implements cluster.Item: what is noted can do without, as after a crash.
func (n *note) Fail(*cluster.Turn, error) {}

// Confirms says that the client of a session acknowledges from now on what it
// gets.
func (r *Router) Confirms(s *session.Session) {
	r.note(s, func(_ *cluster.Turn, _ *account.Actor, res *account.Resource) { res.Confirms = true })
}

// Inactive says whether nobody looks at the client of a session.
func (r *Router) Inactive(s *session.Session, on bool) {
	r.note(s, func(_ *cluster.Turn, _ *account.Actor, res *account.Resource) { res.Inactive = on })
}

// Resumed says that a session has another stream, whose client has logged in by
// other means, perhaps.
func (r *Router) Resumed(s *session.Session, remote, secure string, by *account.Means) {
	r.note(s, func(_ *cluster.Turn, _ *account.Actor, res *account.Resource) {
		res.Remote, res.Secure, res.Means, res.Inactive = remote, secure, res.Means.Again(by), false
	})
}

// Acknowledged says what the client of a session has acknowledged.
func (r *Router) Acknowledged(s *session.Session, settled []session.Entry) {
	var ids []int64
	for _, e := range settled {
		if e.Owed {
			ids = append(ids, e.Store)
		}
	}
	if len(ids) > 0 {
		r.note(s, func(t *cluster.Turn, a *account.Actor, _ *account.Resource) { archive.Acknowledged(t, a, ids) })
	}
}
