package route

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"kith/server/access"
	"kith/server/account"
	"kith/server/cluster"
	"kith/server/session"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xmltree"
)

// SessionInfo is what a list shows of a session.
type SessionInfo struct {
	JID      jid.JID   `json:"jid"`
	Since    time.Time `json:"since"`    // of its log-in, or of the server's start
	Remote   string    `json:"remote"`   // address of the client
	TLS      string    `json:"tls"`      // version, "" without
	Acks     bool      `json:"acks"`     // XEP-0198 is enabled
	Inactive bool      `json:"inactive"` // nobody looks at the client (XEP-0352)
	Waiting  bool      `json:"waiting"`  // the stream is lost, the client may resume it
	Show     string    `json:"show"`     // "available", "away", "chat", "dnd", "xa"; "" without presence
	Priority int8      `json:"priority"` // of the presence
	Queued   int       `json:"queued"`   // bytes that wait to be written
	Unacked  int       `json:"unacked"`  // stanzas that wait to be acknowledged
}

// askAtOnce is how many accounts are asked before their answers are waited for:
// a lane has other things to do than to fill a list.
const askAtOnce = 256

// Sessions lists the sessions of a full or bare address, of a host, or with the
// zero JID all, in the order of the addresses. Each owner is asked in its lane.
// What comes and goes meanwhile may be in it or not.
func (r *Router) Sessions(ctx context.Context, of jid.JID) ([]SessionInfo, error) {
	list := []SessionInfo{}
	for page := range slices.Chunk(r.accountsOf(of), askAtOnce) {
		answers := make(chan []SessionInfo, len(page))
		for _, j := range page {
			ask(r, j, func(_ *cluster.Turn, a *account.Actor) []SessionInfo { return describe(a, of) }, answers)
		}
		for range page {
			select {
			case some := <-answers:
				list = append(list, some...)
			case <-ctx.Done():
				return nil, fmt.Errorf("list sessions: %w", ctx.Err())
			}
		}
	}
	slices.SortStableFunc(list, func(a, b SessionInfo) int { return strings.Compare(a.JID.Bare().String(), b.JID.Bare().String()) })
	return list, nil
}

// accountsOf returns the accounts with sessions that an address or a host covers.
func (r *Router) accountsOf(of jid.JID) []jid.JID {
	if of.Local() != "" {
		return []jid.JID{of.Bare()}
	}
	all := r.online.accounts(of.Domain())
	slices.SortFunc(all, func(a, b jid.JID) int { return strings.Compare(a.String(), b.String()) })
	return all
}

// Online implements module.Online.
func (r *Router) Online(domain string) []jid.JID { return r.accountsOf(jid.MustParse(domain)) }

// SendMany implements module.Online.
func (r *Router) SendMany(keys []cluster.Key, it cluster.Item, live bool) {
	r.cluster.SendMany(keys, it, live)
}

// describe copies what a list shows of an account's sessions.
func describe(a *account.Actor, of jid.JID) (list []SessionInfo) {
	for _, res := range a.Resources() {
		if of.IsFull() && of != res.JID {
			continue
		}
		i := SessionInfo{JID: res.JID, Since: res.Since.UTC(), Remote: res.Remote, TLS: res.Secure,
			Inactive: res.Inactive, Priority: res.Priority, Show: show(res.Presence)}
		if s, ok := res.Out.(*session.Session); ok {
			i.Acks = s.AcksEnabled()
			_, i.Waiting = s.Away()
			i.Queued, i.Unacked = s.Queued()
		}
		list = append(list, i)
	}
	return list
}

var nameShow = xmltree.Name{Space: ns.Client, Local: "show"}

// show says how available a presence is (RFC 6121 §4.7.2.1).
func show(presence *stanza.Stanza) string {
	if presence == nil {
		return ""
	}
	for c := range presence.Children() {
		if c.Is(nameShow) {
			return strings.Clone(strings.TrimSpace(c.Text()))
		}
	}
	return "available"
}

// CloseSessions ends the sessions of a bare address, or the one of a full address,
// with a stream error, and returns how many there were.
func (r *Router) CloseSessions(ctx context.Context, of jid.JID, why error) (n int, err error) {
	answer := make(chan int, 1)
	ask(r, of, func(t *cluster.Turn, a *account.Actor) (n int) {
		for _, res := range a.Resources() {
			if of.IsFull() && of != res.JID {
				continue
			}
			n++
			t.After(cluster.EffectFunc(func(*cluster.Turn) { res.Out.Close(why) }))
		}
		return n
	}, answer)
	select {
	case n = <-answer:
		return n, nil
	case <-ctx.Done():
		return 0, fmt.Errorf("close sessions of %s: %w", of, ctx.Err())
	}
}

// Clients copies what the owner of an account knows of its sessions, for a list of
// what has access to it.
func (r *Router) Clients(ctx context.Context, j jid.JID) ([]access.Session, error) {
	answer := make(chan []access.Session, 1)
	ask(r, j, func(_ *cluster.Turn, a *account.Actor) []access.Session { return access.Sessions(a) }, answer)
	select {
	case list := <-answer:
		return list, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("list the clients of %s: %w", j, ctx.Err())
	}
}

// ask has f look at an account in its lane. Its answer, the zero value if nobody
// is there, goes to answers, which must have room.
func ask[T any](r *Router, j jid.JID, f func(*cluster.Turn, *account.Actor) T, answers chan<- T) {
	r.cluster.SendLive(account.Key(j), question[T]{f, answers})
}

type question[T any] struct {
	f       func(*cluster.Turn, *account.Actor) T
	answers chan<- T
}

// Handle implements cluster.Item. The answer is given once, after the commit.
func (q question[T]) Handle(t *cluster.Turn, ac cluster.Actor) {
	answer := q.f(t, ac.(*account.Actor))
	t.After(cluster.EffectFunc(func(*cluster.Turn) { q.answers <- answer }))
}

// Fail implements cluster.Item.
func (q question[T]) Fail(*cluster.Turn, error) {
	var nothing T
	q.answers <- nothing
}
