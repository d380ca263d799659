package route

import (
	"kith/server/cluster"
	"kith/server/session"
	"kith/xmpp/stanza"
)

// spread sends on what leaves in the place of the stanza that the session sent
// (XEP-0033), each to one recipient, after the commit. The stanza is done when all
// of them are: they count against the credit of its stream.
func (l *Leaving) spread() {
	for _, st := range l.Spread {
		switch host := l.router.Host(st.To.Domain()); {
		case host != nil && st.To.Local() != "":
			it := l.router.arriving(st)
			it.asker, it.origin = l.asker, done(l.ticket.Done)
			l.holds++
			l.Turn.Send(keyOf(st.To), it)
		case host != nil:
			l.Turn.After(cluster.EffectFunc(func(t *cluster.Turn) { l.backOne(t, st, stanza.ErrServiceUnavailable) }))
		case l.Host.ServiceOf(st.To.Host()) != nil:
			l.router.Route(&l.Transit, st)
		default:
			l.router.leave(l.Turn, st, func(t *cluster.Turn, err error) { l.backOne(t, st, err) })
		}
	}
}

// backOne tells the session why one of the recipients did not get it.
func (l *Leaving) backOne(t *cluster.Turn, st *stanza.Stanza, err error) {
	if !st.MayBounce() {
		return
	}
	reply := st.ErrorReply(l.router.errorFor(err))
	if l.from.Send(session.Entry{Kind: reply.Kind, To: reply.To.String(), Tail: reply.Tail()}) {
		t.Dirty(l.from)
	}
}
