package route

import (
	"slices"

	"kith/server/account"
	"kith/server/cluster"
	"kith/server/module"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
)

// RouteMany implements module.Router: all recipients share one stanza.
func (r *Router) RouteMany(t *module.Transit, to []jid.JID, st *stanza.Stanza, live bool) {
	keys := make([]cluster.Key, 0, len(to))
	for _, j := range to {
		if j.Local() != "" && j.IsBare() && r.Host(j.Domain()) != nil {
			keys = append(keys, cluster.Key(j.String()))
			continue
		}
		one := st.Copy()
		one.Readdress(j)
		r.Route(t, one)
	}
	st.Tail() // before others read it
	t.Turn.SendMany(keys, &fan{router: r, st: st, live: live}, live)
}

// fan is presence on its way to many accounts. Several lanes handle it at the
// same time; none of them changes it.
type fan struct {
	router *Router
	st     *stanza.Stanza
	live   bool
}

// Handle implements cluster.Item. Where nobody is there to see it, it costs
// nothing.
func (f *fan) Handle(t *cluster.Turn, ac cluster.Actor) {
	owner := ac.(*account.Actor)
	if f.live && !slices.ContainsFunc(owner.Resources(), (*account.Resource).Available) {
		return
	}
	a := f.router.arriving(f.st)
	a.read.Readdress(owner.JID)
	a.Handle(t, ac)
}

// Fail implements cluster.Item: who is not there misses nothing, and what the
// server says of itself is not sent back.
func (f *fan) Fail(*cluster.Turn, error) {}
