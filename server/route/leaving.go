package route

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"kith/server/account"
	"kith/server/cluster"
	"kith/server/module"
	"kith/server/session"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

// ErrNoAccount ends the sessions of an account that is gone or locked.
var ErrNoAccount = stream.ErrNotAuthorized

// Leaving is a stanza that a session has sent, on its way through the lane of
// its owner.
type Leaving struct {
	module.Transit
	router *Router
	from   *session.Session
	asker  *cluster.Asker
	read   stanza.Stanza // as it was read, with the sender stamped
	work   stanza.Stanza // the copy that the steps act on
	ticket session.Ticket
	bad    *stanza.Error // it is not fit to be handled
	passed bool          // a message: it has left for its recipient
	holds  int           // how many of what it is spread to have to arrive
	gone   bool          // a message: it leaves for another domain after the commit
	ends   atomic.Uint32 // how the two owners of a message have ended, see ending
}

// ending tells the two ends of a message's way apart, which come in any order.
type ending = uint32

const (
	senderFailed ending = 1 << iota
	recipientDone
	recipientRefused
)

// Leaving makes an item of an element that a session has sent; the sender's
// address is stamped on it (RFC 6120 §8.1.2.1). It takes a ticket of the
// session's credit. An error ends the stream.
func (r *Router) Leaving(s *session.Session, asker *cluster.Asker, el xmltree.Element, now time.Time) (*Leaving, error) {
	l := &Leaving{router: r, from: s, asker: asker}
	if err := l.read.Read(el); err != nil {
		if l.read.Kind == 0 {
			return nil, stream.ErrUnsupportedStanzaType
		}
		l.bad = r.errorFor(err)
	}
	if from := l.read.From; !from.IsZero() && from != s.JID && from != s.JID.Bare() {
		return nil, stream.ErrInvalidFrom
	}
	l.read.From = s.JID
	s.In.Take(&l.ticket, el.Len(), now)
	return l, nil
}

// Unfit is Leaving for a stanza that goes no further than its owner's lane, which
// bounces it with why. Of its element the start tag is enough.
func (r *Router) Unfit(s *session.Session, asker *cluster.Asker, el xmltree.Element, why *stanza.Error, now time.Time) (*Leaving, error) {
	l, err := r.Leaving(s, asker, el, now)
	if err != nil {
		return nil, err
	}
	l.bad = why
	return l, nil
}

// Key is the owner of the sender.
func (l *Leaving) Key() cluster.Key { return keyOf(l.from.JID) }

// Handle implements cluster.Item.
func (l *Leaving) Handle(t *cluster.Turn, ac cluster.Actor) {
	a := ac.(*account.Actor)
	res := a.Resource(l.from.ID)
	host := l.router.Host(l.from.JID.Domain())
	if res == nil || host == nil { // replaced by another session: its stream is being closed
		l.from.In.Break()
		l.ticket.Done()
		return
	}
	l.read.CopyTo(&l.work)
	l.Transit = module.Transit{Stanza: &l.work, Host: host, Turn: t, Account: a, Sender: res}
	l.holds = 0
	t.After(l)
	if l.bad != nil {
		l.refuse(l.bad)
		return
	}
	st := &host.Stages.Leaving
	if !l.run(st.Check) || !l.run(st.Stamp) {
		return
	}
	switch l.Kind {
	case stanza.Message:
		l.message(a, st.Record)
	case stanza.Presence:
		if l.To.IsZero() {
			l.run(st.Broadcast)
			return
		}
		if l.run(st.Directed) {
			l.forward()
			l.run(st.Follow)
		}
	case stanza.IQ:
		l.iq(a)
	}
	l.spread()
}

func (l *Leaving) run(s module.Steps) bool { return l.router.run(s, &l.Transit, l.refuse) }

// message records and passes it on. One without an address is for the sender's
// own account (RFC 6120 §10.3.1).
func (l *Leaving) message(a *account.Actor, record module.Steps) {
	if l.To.IsZero() {
		l.work.To = a.JID
		l.work.Changed()
	}
	if l.run(record) {
		l.forward()
	}
}

// iq is answered here when it is for the sender's own account or for the host
// (RFC 6120 §10.3.3, §10.5.1), so that it needs no other lane.
func (l *Leaving) iq(a *account.Actor) {
	switch {
	case l.To.IsZero() || l.To == a.JID:
		l.router.answer(&l.Transit, l.asker, module.ToAccount, l.refuse)
	case l.To.Local() == "" && l.To.Domain() == l.Host.Domain.Domain():
		l.router.answer(&l.Transit, l.asker, module.ToServer, l.refuse)
	default:
		l.forward()
	}
}

// forward routes by domain.
func (l *Leaving) forward() {
	host := l.router.Host(l.To.Domain())
	switch {
	case host != nil && l.To.Local() != "":
		l.pass()
	case host != nil && l.Kind == stanza.Presence: // the host takes no interest
	case host != nil && l.Kind == stanza.IQ:
		l.Transit.Host = host
		l.router.answer(&l.Transit, l.asker, module.ToServer, l.refuse)
	case host != nil: // RFC 6120 §10.5.1: a message to the host itself
		l.refuse(stanza.ErrServiceUnavailable)
	default:
		if s := l.Host.ServiceOf(l.To.Host()); s != nil {
			if err := s.Take(context.Background(), &l.Transit); err != nil && !errors.Is(err, module.Stop) {
				l.refuse(err)
			}
			return
		}
		l.gone = l.Kind == stanza.Message
		l.router.leave(l.Turn, &l.work, l.back)
	}
}

// pass sends it to the recipient's owner. A message does not wait for the
// sender's own commit; it is done when the recipient has it.
func (l *Leaving) pass() {
	it := l.router.arriving(&l.work)
	it.asker = l.asker
	if l.Kind != stanza.Message {
		l.Turn.Send(keyOf(l.To), it)
		return
	}
	if !l.passed {
		l.passed = true
		l.ticket.Hold()
		it.origin = l
		l.Turn.Pass(keyOf(l.To), it)
	}
}

// arrived is called when the recipient's owner is done with a message.
func (l *Leaving) arrived(refused bool) {
	o := recipientDone
	if refused {
		o |= recipientRefused
	}
	if l.ends.Or(o)&senderFailed != 0 {
		l.settle()
	}
	l.ticket.Done()
}

// settle ends a message that the sender's archive could not take. If the
// recipient refused it too, the sender has been told. Otherwise the recipient has
// it and the sender's archive has not: only a stream that ends without
// acknowledging it makes the client look.
func (l *Leaving) settle() {
	if l.ends.Load()&recipientRefused == 0 {
		l.from.In.Break()
		l.from.Close(stream.ErrInternalServerError)
	}
	l.ticket.Done()
}

// refuse tells the sender's session why its stanza went nowhere.
func (l *Leaving) refuse(err error) {
	if !l.read.MayBounce() {
		return // RFC 6120 §8.3.1: no error for an error
	}
	l.router.bad.Add(1)
	if l.read.Kind == stanza.Message {
		l.router.count(l.from.JID.Domain()).bounced.Add(1)
	}
	reply := l.read.ErrorReply(l.router.errorFor(err))
	e := session.Entry{Kind: reply.Kind, To: reply.To.String(), Tail: reply.Tail()}
	l.Turn.After(cluster.EffectFunc(func(t *cluster.Turn) {
		if l.from.Send(e) {
			t.Dirty(l.from)
		}
	}))
}

// back is refuse in an effect.
func (l *Leaving) back(t *cluster.Turn, err error) {
	l.Turn = t
	l.refuse(err)
}

// Committed copies the message to the sender's other sessions; this owner's part
// is done.
func (l *Leaving) Committed(t *cluster.Turn) {
	if l.passed || l.gone {
		l.router.run(l.Host.Stages.Leaving.Copy, &l.Transit, func(error) {})
	}
	for range l.holds {
		l.ticket.Hold()
	}
	l.ticket.Done()
	l.Account, l.Sender, l.Turn = nil, nil, nil
}

// Fail implements cluster.Item.
func (l *Leaving) Fail(t *cluster.Turn, err error) {
	switch {
	case l.passed:
		if l.ends.Or(senderFailed)&recipientDone != 0 {
			l.settle()
		}
		return
	case errors.Is(err, cluster.ErrClosed): // it was not acknowledged, and will not be
		l.from.In.Break()
		l.ticket.Done()
		return
	}
	l.Turn = t
	l.refuse(err)
	t.After(cluster.EffectFunc(func(*cluster.Turn) { l.ticket.Done() }))
}
