package route

import (
	"strings"

	"kith/server/cluster"
	"kith/xmpp/stanza"
)

// Remote takes what leaves for a domain that is not ours: an external component,
// another server.
type Remote interface {
	// Send puts a stanza into the queue towards its recipient's domain, in the order
	// of the calls for two addresses. It does not block. The stanza does not change
	// any more. An error, mostly a *stanza.Error, says why it was not taken; what is
	// lost after it was taken, Remote sends back itself, with Router.Bounce.
	Send(st *stanza.Stanza) error
}

// remotes are who takes what is not ours.
type remotes struct {
	by     map[string]Remote // by domain; those below it go there too
	others Remote            // nil: there is no way to other servers
}

// SetRemotes says who takes stanzas for domains that are not ours: by names
// external components, whose domains below theirs go there too; others takes the
// rest, and may be nil.
func (r *Router) SetRemotes(by map[string]Remote, others Remote) {
	r.remotes.Store(&remotes{by, others})
}

// remote returns who takes what leaves for a domain, nil if nobody does. A domain
// that is a host's, or lies below one and is no component's, never goes to other
// servers.
func (r *Router) remote(domain string) Remote {
	rs := r.remotes.Load()
	for at := domain; at != ""; {
		if c := rs.by[at]; c != nil {
			return c
		}
		if r.Host(at) != nil {
			return nil
		}
		_, at, _ = strings.Cut(at, ".")
	}
	return rs.others
}

// Local reports whether a domain is one of ours: a host's, a component's, or one
// below a component's.
func (r *Router) Local(domain string) bool {
	if r.Host(domain) != nil {
		return true
	}
	rs := r.remotes.Load()
	for at := domain; at != ""; _, at, _ = strings.Cut(at, ".") {
		if rs.by[at] != nil {
			return true
		}
		if r.Host(at) != nil {
			return false
		}
	}
	return false
}

// leave sends a stanza on to a domain that is not ours, after the commit. What
// cannot go there goes to refuse, in an effect.
func (r *Router) leave(t *cluster.Turn, st *stanza.Stanza, refuse func(*cluster.Turn, error)) {
	st = st.Copy()
	t.After(cluster.EffectFunc(func(t *cluster.Turn) {
		if err := r.dispatch(st); err != nil {
			refuse(t, err)
		}
	}))
}

// origin waits for the end of a stanza's way.
type origin interface {
	// arrived is called once, from any goroutine, when the stanza is where it
	// belongs or was sent back: refused.
	arrived(refused bool)
}

// done is a function as an origin.
type done func()

func (d done) arrived(bool) { d() }

// Accept takes a stanza in that another server or a component has sent; whether
// it may say so was checked. finished is called once, from any goroutine, when
// the stanza is where it belongs: on disk, in a queue, or sent back.
//
// It is for one of our hosts, or for another Remote.
func (r *Router) Accept(st *stanza.Stanza, finished func()) {
	if r.Host(st.To.Domain()) != nil {
		it := r.arriving(st)
		it.origin = done(finished)
		r.cluster.Send(keyOf(st.To), it)
		return
	}
	defer finished()
	if err := r.dispatch(st); err != nil {
		r.Bounce(st, err)
	}
}

// Bounce sends a stanza back to its sender, who is at one of our hosts or at a
// Remote, unless it is one that must not be answered (RFC 6120 §8.3.1).
func (r *Router) Bounce(st *stanza.Stanza, why error) {
	if !st.MayBounce() {
		return
	}
	r.bad.Add(1)
	_ = r.dispatch(st.ErrorReply(r.errorFor(why))) // nobody takes an error back
}

// dispatch sends a stanza of ours on its way from outside the lanes.
func (r *Router) dispatch(st *stanza.Stanza) error {
	if r.Host(st.To.Domain()) != nil {
		r.cluster.Send(keyOf(st.To), r.arriving(st))
		return nil
	}
	if to := r.remote(st.To.Domain()); to != nil {
		return to.Send(st)
	}
	return stanza.ErrRemoteServerNotFound // RFC 6120 §10.4
}
