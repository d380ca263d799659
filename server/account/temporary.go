package account

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sync"

	"kith/server/limit"
	"kith/xmpp/jid"
	"kith/xmpp/sasl"
)

// temporaries are the accounts that last as long as a session (XEP-0175). They are
// in no table, and have no id by which anything could be kept: for whoever stores
// something they do not exist.
type temporaries struct {
	slots *limit.Slots

	mu      sync.Mutex         // guards what follows
	by      map[jid.JID]string // the source of each
	made    int64
	refused int64
}

// uuid returns a random UUID (RFC 9562 §5.4), of which 122 bits are nobody's to
// guess. XEP-0175 §3 recommends it; none comes twice.
func uuid() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// reUUID is what temporary accounts are called.
var reUUID = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// reserved reports whether nobody else is to be called so: who has been known by a
// name for an hour must not be followed by somebody who has made it his own.
func (s *Store) reserved(j jid.JID) bool {
	return s.peopleOf(j.Domain()).Anonymous && reUUID.MatchString(j.Local()) || s.Temporary(j)
}

// LimitTemporary bounds how many temporary accounts there are, in all and of one
// source.
func (s *Store) LimitTemporary(all, each int) { s.temporary.slots.Resize(all, each) }

// addTemporary makes a temporary account. It is there until Vanish is called.
func (s *Store) addTemporary(domain, source string) (jid.JID, error) {
	t := &s.temporary
	if !t.slots.Take(source) {
		t.mu.Lock()
		t.refused++
		t.mu.Unlock()
		return jid.JID{}, &sasl.Failure{Condition: sasl.TemporaryAuthFailure, Text: "too many are here without an account; try again later"}
	}
	j, err := jid.New(uuid(), domain, "")
	if err != nil {
		t.slots.Free(source)
		return jid.JID{}, fmt.Errorf("make a temporary account: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.by[j] = source
	t.made++
	return j, nil
}

// Temporary reports whether an account is there for as long as its session only.
func (s *Store) Temporary(j jid.JID) bool {
	s.temporary.mu.Lock()
	defer s.temporary.mu.Unlock()
	_, ok := s.temporary.by[j.Bare()]
	return ok
}

func (t *temporaries) all() []jid.JID {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Keys(t.by))
}

// Vanish ends a temporary account. One that is not there is left alone.
func (s *Store) Vanish(j jid.JID) {
	t := &s.temporary
	t.mu.Lock()
	source, ok := t.by[j.Bare()]
	delete(t.by, j.Bare())
	t.mu.Unlock()
	if ok {
		t.slots.Free(source)
	}
}

// TemporaryStats are figures of temporary accounts.
type TemporaryStats struct {
	Accounts int   // now
	Made     int64 // since the start
	Refused  int64 // since the start, for there were too many
}

// TemporaryStats returns the figures.
func (s *Store) TemporaryStats() TemporaryStats {
	t := &s.temporary
	t.mu.Lock()
	defer t.mu.Unlock()
	return TemporaryStats{len(t.by), t.made, t.refused}
}

// Anonymous makes an account for somebody who has none, by the source of his
// address. It lasts until Vanish is called.
func (b Backend) Anonymous(_ context.Context, source string) (jid.JID, error) {
	if !b.s.peopleOf(b.domain).Anonymous { // any more, perhaps
		return jid.JID{}, &sasl.Failure{Condition: sasl.InvalidMechanism}
	}
	return b.s.addTemporary(b.domain, source)
}
