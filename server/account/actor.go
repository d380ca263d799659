package account

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"kith/server/cluster"
	"kith/server/session"
	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
)

// Outlet is the way to a session, on whichever node its socket is.
type Outlet interface {
	cluster.Flusher
	// Send queues a stanza; false means that the session has ended.
	Send(session.Entry) bool
	// Close ends the session's stream with an error.
	Close(err error)
	// Away reports since when the session has had no stream; false if it has one.
	Away() (since time.Time, away bool)
}

// Slot names a value of type T that a module keeps in an actor or a resource. It
// is compared by identity.
type Slot[T any] struct{ name *string }

// NewSlot returns a slot; the name is for people who debug.
func NewSlot[T any](name string) Slot[T] { return Slot[T]{&name} }

type values []struct {
	key *string
	v   any
}

func (vs values) get(key *string) any {
	for i := range vs {
		if vs[i].key == key {
			return vs[i].v
		}
	}
	return nil
}

func (vs *values) set(key *string, v any) {
	for i := range *vs {
		if (*vs)[i].key == key {
			(*vs)[i].v = v
			return
		}
	}
	*vs = append(*vs, struct {
		key *string
		v   any
	}{key, v})
}

// Resource is a session as the owner of its account sees it.
type Resource struct {
	ID       session.ID
	JID      jid.JID
	Out      Outlet
	Remote   string         // address of the client, for lists
	Secure   string         // version of TLS, "" without, for lists
	Since    time.Time      // for lists
	Device   string         // its client's installation, see Store.Device; "": not known
	Means    *Means         // by what it has logged in; nil: by the password, and its client does not say what it is
	Presence *stanza.Stanza // the last broadcast, if available; nil: connected only
	Priority int8
	Confirms bool // its client acknowledges what it gets (XEP-0198)
	Inactive bool // nobody looks at it (XEP-0352), or it has no stream
	Behind   bool // older messages are being handed over to it
	vals     values
}

// Available reports whether the resource has sent available presence.
func (r *Resource) Available() bool { return r.Presence != nil }

// Get returns the resource's value of a slot, the zero value if none was set.
func (s Slot[T]) Get(r *Resource) T {
	v, _ := r.vals.get(s.name).(T)
	return v
}

// Set sets the resource's value of a slot.
func (s Slot[T]) Set(r *Resource, v T) { r.vals.set(s.name, v) }

// Durable returns the account's value of a slot, which a Part loaded; it is
// forgotten with what is durable when a commit fails.
func (s Slot[T]) Durable(a *Actor) T {
	v, _ := a.state.vals.get(s.name).(T)
	return v
}

// SetDurable sets the account's value of a slot. The step that does so writes
// the rows that say the same.
func (s Slot[T]) SetDurable(a *Actor, v T) { a.state.vals.set(s.name, v) }

// Load sets the value of a slot while a Part loads it.
func (s Slot[T]) Load(st *State, v T) { st.vals.set(s.name, v) }

// Live returns the account's value of a slot that is kept nowhere: it stays when
// the durable state is forgotten, and goes with the actor.
func (s Slot[T]) Live(a *Actor) T {
	v, _ := a.vals.get(s.name).(T)
	return v
}

// SetLive sets the account's value of a slot that is kept nowhere.
func (s Slot[T]) SetLive(a *Actor, v T) { a.vals.set(s.name, v) }

// State is what the store says of an account.
type State struct {
	ID        int64 // 0: there is no such account, or it is a temporary one
	Disabled  bool
	Admin     bool
	Temporary bool  // it lasts as long as its session; nothing of it is stored
	last      int64 // log-in that is noted, Unix milliseconds; 0: none
	vals      values
}

// Part reads what an engine keeps of an account. It is called for accounts that
// exist, and for temporary ones, of which there is nothing to be read.
type Part func(r *storage.Reader, st *State) error

// Load reads the state of an account, all of it from one snapshot.
func (s *Store) Load(ctx context.Context, j jid.JID, parts []Part) (*State, error) {
	st := new(State)
	temporary := s.Temporary(j)
	err := s.db.Read(ctx, func(r *storage.Reader) error {
		*st = State{}
		err := r.QueryRow(`SELECT id, disabled, admin, last_login FROM account WHERE jid = $1`, j.String()).
			Scan(&st.ID, &st.Disabled, &st.Admin, &st.last)
		if st.Temporary = temporary; temporary && errors.Is(err, storage.ErrNotFound) {
			err = nil
		}
		if errors.Is(err, storage.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, p := range parts {
			if err := p(r, st); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load account %s: %w", j, err)
	}
	return st, nil
}

// Actor is an account while anybody deals with it: what its devices share. It
// belongs to its lane.
type Actor struct {
	JID       jid.JID
	resources []*Resource
	vals      values
	state     *State
}

// NewActor makes an actor of what was loaded. The sessions of prev and its live
// values stay, if it is not nil.
func NewActor(j jid.JID, st *State, prev *Actor) *Actor {
	a := &Actor{JID: j, state: st}
	if prev != nil {
		a.resources, a.vals = prev.resources, prev.vals
	}
	return a
}

// ID is the account's number, which is never another's; 0 if it does not exist.
func (a *Actor) ID() int64 { return a.state.ID }

// Exists reports whether there is such an account, of which something may be
// stored; it may be locked.
func (a *Actor) Exists() bool { return a.state.ID != 0 }

// Temporary reports whether the account lasts as long as its session. Then it does
// not exist: whoever keeps something of accounts keeps nothing of it.
func (a *Actor) Temporary() bool { return a.state.Temporary }

// Known reports whether somebody is meant by the address, for whoever is there: an
// account that exists, or a temporary one.
func (a *Actor) Known() bool { return a.Exists() || a.Temporary() }

// Vanish makes a temporary account one that never was, once it has no session. It
// is used in effects.
func (a *Actor) Vanish() { a.state, a.vals = new(State), nil }

// Disabled reports whether the account is locked out.
func (a *Actor) Disabled() bool { return a.state.Disabled }

// Admin reports whether the account may administer the server.
func (a *Actor) Admin() bool { return a.state.Admin }

// lastWithin is how exactly it is noted when somebody was last here: not each
// log-in is worth a row.
const lastWithin = time.Hour

// LoggedIn notes a log-in.
func (a *Actor) LoggedIn(t *cluster.Turn) {
	now := t.Now().UnixMilli()
	if !a.Exists() || now-a.state.last < lastWithin.Milliseconds() {
		return
	}
	a.state.last = now
	t.Write(`UPDATE account SET last_login = $2 WHERE id = $1`, a.ID(), now)
}

// Busy implements cluster.Actor: an account with a session stays in memory.
func (a *Actor) Busy() bool { return len(a.resources) > 0 }

// Size implements cluster.Actor.
func (a *Actor) Size() int {
	n := 400 + len(a.JID.String()) + 64*len(a.state.vals)
	for _, v := range a.state.vals {
		if sized, ok := v.v.(interface{ Size() int }); ok {
			n += sized.Size()
		}
	}
	return n
}

// Add attaches a resource.
func (a *Actor) Add(r *Resource) { a.resources = append(a.resources, r) }

// Remove detaches a resource and returns it; nil if there is none of that id.
func (a *Actor) Remove(id session.ID) *Resource {
	for i, r := range a.resources {
		if r.ID == id {
			// A new slice: who goes over the old one is not disturbed.
			a.resources = slices.Concat(a.resources[:i], a.resources[i+1:])
			return r
		}
	}
	return nil
}

// Resources returns the account's sessions in the order of their log-in. The
// slice must not be changed.
func (a *Actor) Resources() []*Resource { return a.resources }

// Resource returns the session of that id, nil if there is none.
func (a *Actor) Resource(id session.ID) *Resource {
	for _, r := range a.resources {
		if r.ID == id {
			return r
		}
	}
	return nil
}

// Named returns the session bound to a resource, nil if there is none.
func (a *Actor) Named(resource string) *Resource {
	for _, r := range a.resources {
		if r.JID.Resource() == resource {
			return r
		}
	}
	return nil
}

// Available goes over the sessions that have sent available presence.
func (a *Actor) Available() iter.Seq[*Resource] {
	return func(yield func(*Resource) bool) {
		for _, r := range a.resources {
			if r.Available() && !yield(r) {
				return
			}
		}
	}
}
