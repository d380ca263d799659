// Package route takes stanzas where they belong: by domain to an account, a
// service or another server; at an account through the stages of its host to the
// sessions that RFC 6121 §8.5 chooses.
//
// A Leaving acts in the lane of the sender, an Arriving in the lane of the
// recipient. Both may run twice, when a commit fails: they work on a copy of the
// stanza they were given.
package route

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"

	"kith/server/account"
	"kith/server/cluster"
	"kith/server/module"
	"kith/server/session"
	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
)

// Router is the one table by domain, and the loader of the actors.
type Router struct {
	accounts *account.Store
	parts    []account.Part
	log      *slog.Logger
	cluster  *cluster.Local
	hosts    atomic.Pointer[hosts]
	remotes  atomic.Pointer[remotes]
	online   online
	asks     inquiries

	delivered, kept, bad atomic.Int64
}

// New returns a router without hosts. parts are what engines keep of an account.
func New(accounts *account.Store, log *slog.Logger, parts ...account.Part) *Router {
	r := &Router{accounts: accounts, parts: parts, log: log}
	r.hosts.Store(new(hosts))
	r.remotes.Store(new(remotes))
	return r
}

// Start gives the router the cluster whose loader it is.
func (r *Router) Start(c *cluster.Local) { r.cluster = c }

// Stats are figures since the start, and the sessions of now.
type Stats struct {
	Sessions  int64
	Delivered int64 // stanzas put into sessions' queues
	Kept      int64 // messages stored for nobody was there
	Bounced   int64
}

// Stats returns the figures.
func (r *Router) Stats() Stats {
	return Stats{int64(r.online.sessions("")), r.delivered.Load(), r.kept.Load(), r.bad.Load()}
}

// Load implements cluster.Loader.
func (r *Router) Load(ctx context.Context, k cluster.Key) (any, error) {
	j, err := jid.Parse(string(k))
	if err != nil {
		return nil, err
	}
	if j.Local() == "" {
		return new(account.State), nil // the host itself: it has no account
	}
	return r.accounts.Load(ctx, j, r.parts)
}

// New implements cluster.Loader.
func (r *Router) New(k cluster.Key, state any, prev cluster.Actor) cluster.Actor {
	p, _ := prev.(*account.Actor)
	if p != nil {
		return account.NewActor(p.JID, state.(*account.State), p)
	}
	return account.NewActor(jid.MustParse(strings.Clone(string(k))), state.(*account.State), nil)
}

// Changed makes the owner of an account read it anew, after its rows were
// changed outside its lane. Sessions of an account that is gone or locked end.
func (r *Router) Changed(j jid.JID) { r.cluster.SendLive(account.Key(j), reload{r}) }

type reload struct{ r *Router }

func (it reload) Handle(t *cluster.Turn, _ cluster.Actor) { t.Forget(); t.After(it) }

func (reload) Fail(*cluster.Turn, error) {} // not in memory: it will be read when it is needed

// Committed has the account looked at once it has been read anew.
func (it reload) Committed(t *cluster.Turn) { t.Send(t.Key(), expel{}) }

// expel ends the sessions of an account that may not log in.
type expel struct{}

func (expel) Handle(_ *cluster.Turn, ac cluster.Actor) {
	a := ac.(*account.Actor)
	if a.Known() && !a.Disabled() {
		return
	}
	for _, res := range a.Resources() {
		res.Out.Close(ErrNoAccount)
	}
}

func (expel) Fail(*cluster.Turn, error) {}

// Rekeyed ends the sessions of an account that has got another password, but for
// the one that has changed it.
//
// The error is reset (RFC 6120 §4.9.3.16): what the streams were secured by is
// revoked, and they have to be negotiated anew. With not-authorized clients take
// themselves for locked out.
func (r *Router) Rekeyed(j jid.JID, by session.ID) { r.cluster.Send(account.Key(j), rekeyed{r, by}) }

type rekeyed struct {
	r  *Router
	by session.ID
}

// Handle implements cluster.Item.
func (k rekeyed) Handle(t *cluster.Turn, ac cluster.Actor) {
	k.Strand(t, ac)
	a := ac.(*account.Actor)
	if host := k.r.Host(a.JID.Domain()); host != nil && a.Exists() {
		tr := &module.Transit{Host: host, Turn: t, Account: a}
		for _, f := range host.Facts.Rekeyed {
			f(tr, a.Resource(k.by))
		}
	}
}

// Strand implements cluster.Stranded: what is alive ends also while the store
// fails.
func (k rekeyed) Strand(_ *cluster.Turn, ac cluster.Actor) bool {
	for _, res := range ac.(*account.Actor).Resources() {
		if res.ID != k.by {
			res.Out.Close(stream.ErrReset.With("the password was changed"))
		}
	}
	return false
}

// Fail implements cluster.Item.
func (k rekeyed) Fail(_ *cluster.Turn, err error) {
	k.r.log.Error("modules did not learn that a password was changed", "error", err)
}

// Withdrawn ends the sessions of an account that have it by one of these accesses,
// but for one.
func (r *Router) Withdrawn(j jid.JID, what []account.Access, but session.ID) {
	r.cluster.Send(account.Key(j), withdrawn{r, what, but})
}

type withdrawn struct {
	r    *Router
	what []account.Access
	but  session.ID
}

// Handle implements cluster.Item.
func (w withdrawn) Handle(t *cluster.Turn, ac cluster.Actor) {
	w.Strand(t, ac)
	a := ac.(*account.Actor)
	if host := w.r.Host(a.JID.Domain()); host != nil && a.Exists() {
		tr := &module.Transit{Host: host, Turn: t, Account: a}
		for _, f := range host.Facts.Withdrawn {
			f(tr, w.what)
		}
	}
}

// Strand implements cluster.Stranded.
func (w withdrawn) Strand(_ *cluster.Turn, ac cluster.Actor) bool {
	why := stream.ErrReset.With("the access was revoked")
	if slices.Contains(w.what, account.Everything) { // there is nothing to come back for
		why = ErrNoAccount
	}
	for _, res := range ac.(*account.Actor).Resources() {
		if res.ID != w.but && res.By(w.what) {
			res.Out.Close(why)
		}
	}
	return false
}

// Fail implements cluster.Item.
func (w withdrawn) Fail(_ *cluster.Turn, err error) {
	w.r.log.Error("modules did not learn that an access was revoked", "error", err)
}

// keyOf returns the actor that a stanza to j is for.
func keyOf(j jid.JID) cluster.Key { return cluster.Key(j.Bare().String()) }

// Route implements module.Router: a stanza that the server makes leaves after
// the commit. What the server says itself, nobody takes back.
func (r *Router) Route(t *module.Transit, st *stanza.Stanza) {
	r.route(t, st, func(*cluster.Turn, error) {})
}

// route is Route; refuse learns, in the lane, why it cannot go where it should.
func (r *Router) route(t *module.Transit, st *stanza.Stanza, refuse func(*cluster.Turn, error)) {
	if t.Account != nil && st.To.IsFull() && st.To.Bare() == t.Account.JID && st.Kind == stanza.IQ {
		if res := t.Account.Named(st.To.Resource()); res != nil {
			r.deliver(t.Turn, res, st, 0)
			return
		}
	}
	switch {
	case r.Host(st.To.Domain()) != nil:
		t.Turn.Send(keyOf(st.To), r.arriving(st))
	case t.Host != nil && t.Host.ServiceOf(st.To.Host()) != nil:
		tr := *t
		tr.Stanza = st
		if err := t.Host.ServiceOf(st.To.Host()).Take(context.Background(), &tr); err != nil && !errors.Is(err, module.Stop) {
			refuse(t.Turn, r.errorFor(err)) // and the log has it
		}
	default:
		r.leave(t.Turn, st, refuse)
	}
}

// Take routes stanzas that the server makes outside the lanes.
func (r *Router) Take(sts ...*stanza.Stanza) {
	for _, st := range sts {
		_ = r.dispatch(st) // what the server says itself, nobody takes back
	}
}

// deliver puts a stanza into a session's queue after the commit.
func (r *Router) deliver(t *cluster.Turn, res *account.Resource, st *stanza.Stanza, id int64) {
	e := session.Entry{Kind: st.Kind, To: st.To.String(), Tail: st.Tail(), Store: id}
	t.After(cluster.EffectFunc(func(t *cluster.Turn) {
		if res.Out.Send(e) {
			t.Dirty(res.Out)
		}
	}))
}

// errorFor returns what a sender is told of an error.
func (r *Router) errorFor(err error) *stanza.Error {
	var se *stanza.Error
	switch {
	case errors.As(err, &se):
		return se
	case errors.Is(err, storage.ErrUnavailable):
		return stanza.ErrResourceConstraint.With("The server cannot store anything at the moment. Try again later.")
	case errors.Is(err, cluster.ErrPanic): // logged where it happened
	default:
		r.log.Error("stanza not handled", "error", err)
	}
	return stanza.ErrInternalServerError
}

// run runs steps and reports whether the stanza goes on. What it is refused with
// goes to refuse.
func (r *Router) run(s module.Steps, t *module.Transit, refuse func(error)) bool {
	if len(s) == 0 {
		return true
	}
	err := s.Run(context.Background(), t)
	if err == nil {
		return true
	}
	if !errors.Is(err, module.Stop) {
		refuse(err)
	}
	return false
}

// Send implements module.Lanes.
func (r *Router) Send(k cluster.Key, items ...cluster.Item) { r.cluster.Send(k, items...) }
