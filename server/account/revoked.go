package account

import (
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
// they were: another password, another owner, locked out. Who has proved the old
// one a moment before gets nothing for it any more.
type revocations struct {
	mu    sync.Mutex // guards what follows
	now   Moment
	under map[jid.JID]int       // changes under way
	last  [2]map[jid.JID]Moment // when changes were done, those of this while and of the one before
	since time.Time             // the beginning of this while
}

// Moment returns now. It is to be asked before what is kept of an account is read.
func (s *Store) Moment() Moment {
	r := &s.revocations
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

// Revoked reports whether an account has been logged in to by something else since
// m, for a log-in that is about to be over. It is to be asked when what the log-in
// has gained can be found by whoever revokes it.
func (s *Store) Revoked(j jid.JID, m Moment) bool {
	r := &s.revocations
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.under[j] > 0 || r.last[0][j] > m || r.last[1][j] > m
}

// revoke notes that an account is about to change. done is to be called once the
// change is there to be read.
func (s *Store) revoke(j jid.JID) (done func()) {
	r := &s.revocations
	j = j.Clone()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.under == nil {
		r.under = make(map[jid.JID]int)
	}
	r.under[j]++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.under[j]--; r.under[j] == 0 {
			delete(r.under, j)
		}
		if now := time.Now(); r.last[0] == nil || now.Sub(r.since) > rememberRevoked {
			r.last[0], r.last[1], r.since = make(map[jid.JID]Moment), r.last[0], now
		}
		r.now++
		r.last[0][j] = r.now
	}
}
