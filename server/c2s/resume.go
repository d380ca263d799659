package c2s

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"kith/server/account"
	"kith/server/config"
	"kith/server/route"
	"kith/server/session"
	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpp/negotiate"
	"kith/xmpp/ns"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

// settleWithin is how long a resumption waits for what the old stream has read.
// What takes longer may come a second time.
const settleWithin = 5 * time.Second

// Resume implements negotiate.Resumer: the stream goes on with the session of
// another one (XEP-0198 §5).
func (c *client) Resume(ctx context.Context, user jid.JID, want negotiate.Resume,
	answer func(jid.JID, negotiate.Resumed) xmltree.Appender) (jid.JID, *negotiate.Failed, error) {
	c.proved(ctx, user)
	previd := want.PrevID
	s := c.server.resumable(previd)
	if s == nil || s.JID.Bare() != user { // another's looks like one that never was
		return jid.JID{}, c.server.past.of(user, previd), nil
	}
	// The old stream ends first, and what it has read is done: only then is it
	// known what the client has to send anew.
	select {
	case <-s.Leave(stream.ErrConflict):
	case <-ctx.Done():
		return jid.JID{}, nil, ctx.Err()
	}
	select {
	case <-s.In.Still():
	case <-time.After(settleWithin):
	case <-ctx.Done():
		return jid.JID{}, nil, ctx.Err()
	}
	handled, _ := s.In.H()
	settled, err := s.Resume(c.conn, want.H, xmltree.Marshal(answer(s.JID, negotiate.Resumed{PrevID: previd, H: handled}), ns.Client))
	if errors.Is(err, session.ErrGone) {
		return jid.JID{}, c.server.past.of(user, previd), nil
	}
	if err != nil {
		return jid.JID{}, nil, err
	}
	c.take(s)
	c.server.resumed.Add(1)
	by := c.means(user)
	c.server.router.Resumed(s, c.conn.RemoteAddr().String(), c.secure(), by)
	// Who revokes it from now on finds it.
	if err := c.stillValid(user, by); err != nil {
		return jid.JID{}, nil, err
	}
	c.server.router.Acknowledged(s, settled)
	return s.JID, nil, nil
}

// take makes s the session of the stream.
func (c *client) take(s *session.Session) {
	c.session, c.key = s, account.Key(s.JID)
	c.inbound.Store(s.In)
}

// enable begins stream management (XEP-0198 §3).
func (c *client) enable(want negotiate.Enable) {
	s := c.session
	answer := c.manage(s, want)
	c.server.router.Confirms(s)
	s.EnableAcks(xmltree.Marshal(answer, ns.Client))
	s.Flush(true)
}

// manage has what the client sends counted from now on, and lets the session be
// resumed if that is wanted.
func (c *client) manage(s *session.Session, want negotiate.Enable) (answer negotiate.Enabled) {
	within := c.config.Limits.Resume
	if !c.temporary.IsZero() { // who comes back could not prove to be the same
		within = 0
	}
	if want.Resume && within > 0 {
		if asked := time.Duration(want.Max) * time.Second; want.Max > 0 && asked < within {
			within = asked
		}
		answer = negotiate.Enabled{ID: session.NewResumeID(), Resume: true, Max: int(within / time.Second)}
		s.MakeResumable(answer.ID, within, func() { c.server.expired(s) })
		c.server.keep(s)
	}
	s.CountReceived()
	return answer
}

// left deals with the session of a stream that has ended with err: it waits for
// another stream, or it ends too.
func (c *client) left(err error) {
	c.cause = c.session.Cause()
	if lost(err) && c.session.Detach() {
		c.server.router.Inactive(c.session, true)
		return
	}
	c.server.over(c.session)
}

// lost reports whether a stream was lost rather than ended. XEP-0198 §5 is about
// streams that are terminated unexpectedly; who closes a stream, or breaks its
// rules, is done with it.
func lost(err error) bool {
	e := stream.ErrorFor(err)
	return err != nil && (e == nil || errors.Is(e, stream.ErrConnectionTimeout))
}

// forget lets nobody resume a session.
func (s *Server) forget(sess *session.Session) {
	if id := sess.ResumeID(); id != "" {
		s.mu.Lock()
		delete(s.resumables, id)
		s.mu.Unlock()
	}
}

// over ends a session for good.
func (s *Server) over(sess *session.Session) {
	s.forget(sess)
	s.router.Ended(sess)
	s.quiet.changed()
}

// expired ends a session that nobody has resumed in time.
func (s *Server) expired(sess *session.Session) {
	h, _ := sess.In.H()
	s.past.add(sess.ResumeID(), sess.JID.Bare(), h)
	s.over(sess)
}

// mostPast is how many sessions that were not resumed in time are remembered.
const mostPast = 4096

// past remembers how much of what they sent was handled, for clients that come
// back too late (XEP-0198 §5).
type past struct {
	mu    sync.Mutex // guards what follows
	ended map[string]handled
	order []string
}

type handled struct {
	user jid.JID
	h    uint32
}

func (p *past) add(id string, user jid.JID, h uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended == nil {
		p.ended = make(map[string]handled)
	}
	if len(p.order) == mostPast {
		delete(p.ended, p.order[0])
		p.order = p.order[1:]
	}
	p.ended[id], p.order = handled{user, h}, append(p.order, id)
}

// of is the answer to who wants to resume a session that is not there.
func (p *past) of(user jid.JID, id string) *negotiate.Failed {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, known := p.ended[id]
	known = known && e.user == user
	if !known {
		e = handled{}
	}
	return &negotiate.Failed{Condition: "item-not-found", Handled: known, H: e.h}
}

// keep lets a session be found when it is to be resumed.
func (s *Server) keep(sess *session.Session) {
	s.mu.Lock()
	s.resumables[sess.ResumeID()] = sess
	s.mu.Unlock()
}

func (s *Server) resumable(id string) *session.Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resumables[id]
}

// Restore takes up the sessions that waited for their clients when the server
// was stopped.
func (s *Server) Restore(ctx context.Context, db *storage.DB) error {
	list, err := s.router.Stored(ctx, db)
	if err != nil {
		return fmt.Errorf("restore sessions: %w", err)
	}
	l := &s.config.Load().Limits
	for _, st := range list {
		var sess *session.Session
		sess = session.Restore(st.Session, session.NewInbound(l.Credit, int(l.CreditBytes), nil), sessionLimits(l),
			func() { s.expired(sess) })
		s.keep(sess)
		s.watch(sess)
		s.router.Restore(sess, st)
	}
	return nil
}

// Store keeps, after Close, what waits for its client, for the next start. The lanes
// are to be at rest: what others have said in their last moments belongs to it, and what
// of other servers has come back.
func (s *Server) Store() {
	s.mu.Lock()
	list := make([]*session.Session, 0, len(s.resumables))
	for _, sess := range s.resumables {
		list = append(list, sess)
	}
	s.mu.Unlock()
	for _, sess := range list {
		if st, ok := sess.Store(); ok {
			s.router.Store(route.Stored{Session: st})
		}
	}
}

func sessionLimits(l *config.Limits) session.Limits {
	return session.Limits{QueueBytes: int(l.SessionQueue), UnackedBytes: int(l.Unacked), Unacked: l.UnackedStanzas}
}

// watch ends a session of which something could not be kept in time.
func (s *Server) watch(sess *session.Session) {
	sess.In.OnOverdue(func() {
		if sess.AcksEnabled() { // the client must not believe that what it sent is kept
			sess.Close(stream.ErrInternalServerError.With("what you sent could not be kept in time"))
		}
	})
}
