package route

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"

	"kith/server/account"
	"kith/server/archive"
	"kith/server/cluster"
	"kith/server/module"
	"kith/server/session"
	"kith/server/storage"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

//go:embed migrations
var files embed.FS

// Migrations returns the tables of this package.
func Migrations() storage.Migrations {
	sub, err := fs.Sub(files, "migrations")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	return storage.Migrations{Name: "route", FS: sub}
}

// Purges delete what is kept of a deleted account.
var Purges = []account.Purge{`DELETE FROM session WHERE owner = $1`}

// Stored is a session that waits for its client while the server is not running:
// both halves of it.
type Stored struct {
	Session  session.Stored
	Remote   string // the client's address
	Device   string // see account.Resource
	Means    *account.Means
	Presence []byte // the last broadcast, if available
	Priority int8
	Slots    map[string]json.RawMessage
}

// Store has the owner of a session that was taken from its node keep it until the
// server runs again.
func (r *Router) Store(st Stored) { r.cluster.Send(keyOf(st.Session.JID), &storing{router: r, st: st}) }

type storing struct {
	router *Router
	st     Stored
}

// Handle implements cluster.Item.
func (s *storing) Handle(t *cluster.Turn, ac cluster.Actor) {
	a := ac.(*account.Actor)
	res := a.Resource(s.st.Session.ID)
	host := s.router.Host(s.st.Session.JID.Domain())
	if res == nil || host == nil || !a.Exists() {
		return
	}
	s.st.Remote, s.st.Slots, s.st.Presence = res.Remote, make(map[string]json.RawMessage), nil
	s.st.Device, s.st.Means = res.Device, res.Means
	if res.Available() {
		s.st.Presence, s.st.Priority = res.Presence.Whole(), res.Priority
	}
	for _, list := range [][]session.Entry{s.st.Session.Unacked, s.st.Session.Queue, s.st.Session.Behind} {
		leaveToOthers(a, list)
	}
	var err error
	for _, k := range host.Kept() {
		err = errors.Join(err, k.Keep(res, s.st.Slots))
	}
	state, jsonErr := json.Marshal(&s.st)
	if err = errors.Join(err, jsonErr); err != nil {
		s.Fail(t, err)
		return
	}
	t.Write(`INSERT INTO session (id, owner, state) VALUES ($1, $2, $3)`, s.st.Session.ResumeID, a.ID(), state)
}

// leaveToOthers makes a message that others have as well of no value but for this
// session: after the restart nobody knows of the others, nor that one of them has
// acknowledged it.
func leaveToOthers(a *account.Actor, list []session.Entry) {
	for i := range list {
		switch e := &list[i]; {
		case e.Owed && !archive.OnItsWay(a, e.Store):
			e.Copy, e.Owed = true, false
		case e.Shared != nil && *e.Shared > 1:
			*e.Shared--
			e.Copy, e.Shared = true, nil
		}
	}
}

// Fail implements cluster.Item.
func (s *storing) Fail(_ *cluster.Turn, err error) {
	s.router.log.Error("session cannot be resumed after the restart", "session", s.st.Session.JID, "error", err)
}

// Stored returns the sessions that wait for their clients, once: they are not
// stored any more.
func (r *Router) Stored(ctx context.Context, db *storage.DB) (list []Stored, err error) {
	err = db.Write(ctx, func(tx *storage.Tx) error {
		list = nil
		for row, err := range tx.Query(`DELETE FROM session RETURNING state`) {
			if err != nil {
				return err
			}
			var b []byte
			if err := row.Scan(&b); err != nil {
				return err
			}
			var st Stored
			if err := json.Unmarshal(b, &st); err != nil {
				r.log.Error("stored session cannot be read; it is skipped", "error", err)
				continue
			}
			list = append(list, st)
		}
		return nil
	})
	return list, err
}

// Restore makes a session that was stored known to the owner of its account.
func (r *Router) Restore(s *session.Session, st Stored) {
	r.cluster.Send(keyOf(s.JID), &restoring{router: r, session: s, st: st})
}

type restoring struct {
	router  *Router
	session *session.Session
	st      Stored
}

// Handle implements cluster.Item. To those who saw it the session never was away.
func (s *restoring) Handle(t *cluster.Turn, ac cluster.Actor) {
	a := ac.(*account.Actor)
	host := s.router.Host(s.session.JID.Domain())
	switch {
	case host == nil || !a.Exists() || a.Disabled():
		t.After(cluster.EffectFunc(func(*cluster.Turn) { s.session.Close(ErrNoAccount) }))
		return
	}
	res := a.Resource(s.session.ID)
	if res == nil {
		res = s.attach(a, host)
	}
	tr := &module.Transit{Host: host, Turn: t, Account: a, Sender: res}
	for _, f := range host.Facts.Restored {
		f(tr, res)
	}
	t.After(cluster.EffectFunc(func(*cluster.Turn) {
		if !res.Behind { // nobody hands older messages over to it
			s.session.Follow(math.MaxInt, math.MaxInt)
		}
	}))
}

// attach makes a resource of what was stored.
func (s *restoring) attach(a *account.Actor, host *module.Host) *account.Resource {
	res := &account.Resource{ID: s.session.ID, JID: s.session.JID, Out: s.session, Remote: s.st.Remote, Since: s.session.Begun,
		Device: s.st.Device, Means: s.st.Means, Confirms: true, Inactive: true}
	if s.st.Presence != nil {
		st, err := parseStored(s.st.Presence)
		if err != nil {
			s.router.log.Error("stored presence cannot be read", "session", res.JID, "error", err)
		} else {
			res.Presence, res.Priority = st, s.st.Priority
		}
	}
	for _, k := range host.Kept() {
		if err := k.Recall(res, s.st.Slots); err != nil {
			s.router.log.Error("a part of a stored session cannot be read", "session", res.JID, "error", err)
		}
	}
	a.Add(res)
	s.router.online.add(res.JID, 1)
	for _, id := range archive.Had.Get(res) {
		archive.Given(a, id)
	}
	for _, list := range [][]session.Entry{s.st.Session.Unacked, s.st.Session.Queue, s.st.Session.Behind} {
		for _, e := range list {
			archive.Given(a, e.Store)
			if e.Owed {
				archive.Carry(a, res.ID, e.Store, e.Transit)
			}
		}
	}
	return res
}

// Fail implements cluster.Item.
func (s *restoring) Fail(_ *cluster.Turn, err error) {
	s.router.log.Error("session cannot be resumed", "session", s.session.JID, "error", err)
	s.session.Close(stream.ErrInternalServerError)
}

func parseStored(b []byte) (*stanza.Stanza, error) {
	el, err := xmltree.ParseIn(ns.Client, b, xmltree.StoredLimits())
	if err != nil {
		return nil, fmt.Errorf("parse stanza of ours: %w", err)
	}
	return stanza.Parse(el)
}
