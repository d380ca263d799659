package account

import (
	"slices"
	"strings"
	"sync"
	"time"

	"kith/xmpp/jid"
)

// Moment is when a log-in has begun, for Revoked.
type Moment uint64

// rememberRevoked is how long it is remembered at least that what an account was
// logged in to by has changed: far longer than a log-in may take.
const rememberRevoked = time.Hour

// revocations are the accounts of late which are no longer logged in to by what
// they were: another password, another owner, locked out; or not by a device, or an
// app password. Who has proved the old one a moment before gets nothing for it any
// more.
type revocations struct {
	mu    sync.Mutex // guards what follows
	now   Moment
	under map[revocation]int       // changes under way
	last  [2]map[revocation]Moment // when changes were done, those of this while and of the one before
	since time.Time                // the beginning of this while
}

type revocation struct {
	account jid.JID
	what    Access
}

// Moment returns now. It is to be asked before what is kept of an account is read.
func (s *Store) Moment() Moment {
	r := &s.revocations
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

// Revoked reports whether an account has been logged in to by something else since
// m, for a log-in by these accesses that is about to be over. It is to be asked when
// what the log-in has gained can be found by whoever revokes it.
func (s *Store) Revoked(j jid.JID, m Moment, by ...Access) bool {
	r := &s.revocations
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.under) == 0 && r.now <= m { // nobody's
		return false
	}
	if r.revoked(revocation{j, Everything}, m) {
		return true
	}
	return slices.ContainsFunc(by, func(a Access) bool { return r.revoked(revocation{j, a}, m) })
}

func (r *revocations) revoked(k revocation, m Moment) bool {
	return r.under[k] > 0 || r.last[0][k] > m || r.last[1][k] > m
}

// revoke notes that an account, or these accesses to it, are about to change. done
// is to be called once the change is there to be read.
func (s *Store) revoke(j jid.JID, what ...Access) (done func()) {
	r := &s.revocations
	var keys []revocation
	for _, a := range what {
		keys = append(keys, revocation{j.Clone(), Access(strings.Clone(string(a)))})
	}
	if len(what) == 0 {
		keys = []revocation{{j.Clone(), Everything}}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.under == nil {
		r.under = make(map[revocation]int)
	}
	for _, k := range keys {
		r.under[k]++
	}
	return func() { r.done(keys) }
}

func (r *revocations) done(keys []revocation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); r.last[0] == nil || now.Sub(r.since) > rememberRevoked {
		r.last[0], r.last[1], r.since = make(map[revocation]Moment), r.last[0], now
	}
	r.now++
	for _, k := range keys {
		if r.under[k]--; r.under[k] == 0 {
			delete(r.under, k)
		}
		r.last[0][k] = r.now
	}
}
