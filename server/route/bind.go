package route

import (
	"context"
	"fmt"
	"slices"
	"time"

	"kith/server/account"
	"kith/server/archive"
	"kith/server/cluster"
	"kith/server/module"
	"kith/server/session"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xep/carbons"
	"kith/xmpp/xmltree"
)

// Bind makes a session known to the owner of its account and returns when stanzas
// to it may arrive. A session of the same resource is ended: the newer one knows
// better that the older is dead (RFC 6120 §7.7.2.2). It returns what is to be said
// of what the client has asked for with its resource.
func (r *Router) Bind(ctx context.Context, s *session.Session, w Wanted) (answers []xmltree.Appender, err error) {
	b := &bind{router: r, session: s, Wanted: w, answer: make(chan error, 1)}
	r.cluster.Send(keyOf(s.JID), b)
	select {
	case err := <-b.answer:
		if err != nil {
			return nil, err
		}
	case <-ctx.Done():
		r.Ended(s)
		return nil, ctx.Err()
	}
	for _, ask := range b.inline {
		a, err := ask(ctx)
		if err != nil {
			r.Ended(s)
			return nil, fmt.Errorf("answer %s what it asked for with its resource: %w", s.JID, err)
		}
		if a != nil {
			answers = append(answers, a)
		}
	}
	return answers, nil
}

// Wanted says how a session is to be bound.
type Wanted struct {
	Limit int // sessions that the account may have
	// Device is what its client's installation is called; "" if that is not known.
	// Earlier sessions of the same one are ended (XEP-0386 §3.2).
	Device   string
	Means    *account.Means                   // by what its client has logged in, see account.Resource
	Confirms bool                             // its client acknowledges what it gets from the beginning
	Inactive bool                             // nobody looks at it
	Asked    func(func(xmltree.Element) bool) // for what the client asks besides; nil: it is not one that does
}

type bind struct {
	Wanted
	router  *Router
	session *session.Session
	answer  chan error   // buffered: the lane never waits
	old     []*departure // of the sessions in whose place it comes
	inline  []func(context.Context) (xmltree.Appender, error)
	room    *departure // and of one that makes room for it
}

// Handle implements cluster.Item.
func (b *bind) Handle(t *cluster.Turn, ac cluster.Actor) {
	a, s := ac.(*account.Actor), b.session
	host := b.router.Host(s.JID.Domain())
	if host == nil || !a.Known() || a.Disabled() {
		b.say(t, stanza.ErrNotAllowed)
		return
	}
	for _, old := range a.Resources() {
		if same := old.JID == s.JID || b.Device != "" && old.Device == b.Device; same && old.ID != s.ID {
			b.old = append(b.old, &departure{resource: old})
		}
	}
	for _, d := range b.old {
		b.end(t, host, a, d, stream.ErrConflict)
	}
	if a.Resource(s.ID) == nil {
		if a.Temporary() && len(a.Resources()) > 0 { // it lasts as long as its session: it has one
			b.say(t, stanza.ErrNotAllowed)
			return
		}
		if b.room == nil && len(a.Resources()) >= b.Limit {
			if b.room = longestAway(a); b.room == nil {
				b.say(t, stanza.ErrResourceConstraint.With("This account has as many sessions as it may have."))
				return
			}
		}
		b.end(t, host, a, b.room, stream.ErrResourceConstraint)
		a.Add(&account.Resource{ID: s.ID, JID: s.JID, Out: s, Remote: s.Remote, Secure: s.Secure, Since: s.Begun,
			Device: b.Device, Means: b.Means, Confirms: b.Confirms, Inactive: b.Inactive})
		b.router.online.add(s.JID, 1)
	}
	res := a.Resource(s.ID)
	tr := &module.Transit{Host: host, Turn: t, Account: a, Sender: res}
	for _, f := range host.Facts.Bound {
		f(tr, res)
	}
	if b.Asked != nil {
		b.inline = host.EnableInline(tr, b.Asked)
	}
	b.say(t, nil)
	t.After(cluster.EffectFunc(func(t *cluster.Turn) { t.Send(t.Key(), loggedIn{}) }))
	// Whoever takes the host away from now on finds the session.
	t.After(cluster.EffectFunc(func(t *cluster.Turn) { homeless{b.router}.Handle(t, a) }))
}

// end ends a session in whose place the new one comes, if there is one.
func (b *bind) end(t *cluster.Turn, host *module.Host, a *account.Actor, d *departure, why *stream.Error) {
	if d != nil {
		b.router.unbind(t, host, a, d)
		t.After(cluster.EffectFunc(func(*cluster.Turn) { d.resource.Out.Close(why) }))
	}
}

// longestAway returns the departure of the session that has been without a stream
// for longest, nil if there is none. It makes room: a client that comes back
// without resuming would use up its account's sessions.
func longestAway(a *account.Actor) *departure {
	var d *departure
	var since time.Time
	for _, r := range a.Resources() {
		if at, away := r.Out.Away(); away && (d == nil || at.Before(since)) {
			d, since = &departure{resource: r}, at
		}
	}
	return d
}

// loggedIn notes a log-in. Nobody waits for it, and where nothing can be stored it
// is not noted.
type loggedIn struct{}

// Handle implements cluster.Item.
func (loggedIn) Handle(t *cluster.Turn, ac cluster.Actor) { ac.(*account.Actor).LoggedIn(t) }

// Fail implements cluster.Item.
func (loggedIn) Fail(*cluster.Turn, error) {}

func (b *bind) say(t *cluster.Turn, err error) {
	t.After(cluster.EffectFunc(func(*cluster.Turn) { b.answer <- err }))
}

// Fail implements cluster.Item.
func (b *bind) Fail(t *cluster.Turn, err error) { b.answer <- b.router.errorFor(err) }

// Ended makes it known to the owner that a session has ended, with what it could
// not deliver: messages are tried again, on another session or later; requests
// are answered; the rest is dropped.
func (r *Router) Ended(s *session.Session) {
	r.cluster.Send(keyOf(s.JID), &ended{router: r, session: s, rest: s.End()})
}

type ended struct {
	router  *Router
	session *session.Session
	rest    []session.Entry
	sifted  bool // what others have, or may yet acknowledge, is not in rest
	owed    []int64
	left    *departure
}

// Handle implements cluster.Item.
func (e *ended) Handle(t *cluster.Turn, ac cluster.Actor) {
	a := ac.(*account.Actor)
	host := e.router.lastHost(e.session.JID.Domain())
	if host == nil {
		return
	}
	if res := a.Resource(e.session.ID); res != nil {
		e.left = &departure{resource: res}
	}
	if !e.sifted { // once: it changes what is on its way
		e.sifted = true
		// Who gets the older messages in its place gets the owed ones among them.
		behind := e.left != nil && e.left.resource.Behind
		for _, entry := range e.rest {
			if entry.Owed {
				e.owed = append(e.owed, entry.Store)
			}
		}
		e.rest = slices.DeleteFunc(e.rest, func(entry session.Entry) bool {
			switch {
			case entry.Owed:
				return !archive.Dropped(a, e.session.ID, entry.Store) || behind
			case entry.Shared != nil:
				*entry.Shared--
				return *entry.Shared > 0
			}
			return false
		})
	}
	t.After(cluster.EffectFunc(func(*cluster.Turn) {
		for _, id := range e.owed {
			archive.Release(a, id)
		}
	}))
	if e.left != nil {
		e.router.unbind(t, host, a, e.left)
	}
	for _, entry := range e.rest {
		if again := e.router.handBack(entry); again != nil {
			again.Handle(t, a)
		}
	}
}

// Fail implements cluster.Item. What was not delivered is in the archive, if it
// is anywhere; the log says that it is not marked.
func (e *ended) Fail(_ *cluster.Turn, err error) {
	if len(e.rest) > 0 {
		e.router.log.Error("undelivered stanzas of an ended session are not noted", "session", e.session.JID, "stanzas", len(e.rest), "error", err)
	}
}

// departure is a session that leaves its account, and what is said for it: the
// same when it is handled again after a failed commit.
type departure struct {
	resource *account.Resource
	presence *stanza.Stanza
}

// unbind takes a session from its account. To those to whom it was available its
// owner says for it that it no longer is (RFC 6121 §4.5.2, §4.6.3).
func (r *Router) unbind(t *cluster.Turn, host *module.Host, a *account.Actor, d *departure) {
	res := d.resource
	if a.Remove(res.ID) != nil {
		r.online.add(res.JID, -1)
	}
	if d.presence == nil {
		d.presence = stanza.New(stanza.Presence, stanza.Unavailable, res.JID, jid.JID{})
	}
	tr := &module.Transit{Stanza: d.presence, Host: host, Turn: t, Account: a, Sender: res}
	r.run(host.Stages.Leaving.Broadcast, tr, func(error) {})
	for _, f := range host.Facts.Unbound {
		f(tr, res)
	}
	if a.Temporary() && !a.Busy() {
		t.After(cluster.EffectFunc(func(*cluster.Turn) {
			r.accounts.Vanish(a.JID)
			a.Vanish()
		}))
	}
}

// handBack makes an item of an entry that no session took; nil if it has no
// lasting value. A request is answered by choosing among no sessions. A copy has
// some only if its message is owed: then that is handed back.
func (r *Router) handBack(e session.Entry) *Arriving {
	if e.Kind == stanza.Presence || e.Copy && !e.Owed {
		return nil
	}
	el, err := xmltree.ParseIn(ns.Client, append(stanza.AppendHead(nil, e.Kind, e.To), e.Tail...), xmltree.StoredLimits())
	if err != nil {
		r.log.Error("stanza of ours cannot be read", "error", err)
		return nil
	}
	if e.Copy {
		el = carbons.Forwarded(el.Child(carbons.NameReceived))
	}
	st, err := stanza.Parse(el)
	switch {
	case st.Kind == stanza.IQ && !st.IsRequest():
		return nil // it may be our answer to something malformed
	case err != nil:
		r.log.Error("stanza of ours cannot be handed back", "error", err)
		return nil
	case st.Kind == stanza.Message && archive.Classify(st) == archive.Nothing:
		return nil
	}
	a := r.arriving(st)
	a.store, a.owed, a.brief, a.again = e.Store, e.Owed, e.Transit, st.Kind == stanza.Message
	return a
}
