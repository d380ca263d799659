// Package retraction implements XEP-0424: Message Retraction, for what accounts
// say to each other. A retraction is a message like any other: it is archived,
// copied to other devices, and waits for those who are away. What it retracts is
// replaced by a tombstone in the archive of each side, and among what waits.
//
// Only the sender of a message can retract it: in an account's archive it is
// looked for among the messages from whoever sent the retraction, or among those
// that the account itself has sent. It is looked for outside the lane, one
// retraction of an archive at a time, and replaced in it. Where that fails, or the
// server stops before it has come to it, the message stays; the retraction is in
// the archive all the same, and clients that read it know what to do.
package retraction

import (
	"context"
	"errors"
	"strings"

	"kith/server/account"
	"kith/server/archive"
	"kith/server/cluster"
	"kith/server/module"
	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/retract"
)

// Module is the module. Its steps come behind those that record.
var Module = module.Define("retraction", attach,
	module.XEP(424, "0.4.2").Partly("between accounts; messages through rooms stay as they are"))

// retraction is the module at a host.
type retraction struct {
	host  *module.Host
	lanes module.Lanes
}

func attach(h *module.Host, _ struct{}) error {
	lanes, ok := h.Router.(module.Lanes)
	if !ok {
		return errors.New("the host's router is no way into the lanes")
	}
	m := &retraction{h, lanes}
	if h.Config.ModuleEnabled("mam") { // XEP-0424 §2, §4: without an archive nothing is promised
		h.DiscoFeature(ns.Retract, retract.FeatureTombstone)
		h.AccountFeature(ns.Retract, retract.FeatureTombstone)
	}
	h.Stages.Leaving.Record = append(h.Stages.Leaving.Record, m.sent)
	h.Stages.Arriving.Record = append(h.Stages.Arriving.Record, m.received)
	return nil
}

// sent retracts a message that the account has sent. What it sent to itself is
// retracted when that arrives.
func (m *retraction) sent(_ context.Context, t *module.Transit) error {
	if t.To.Bare() != t.Account.JID && t.Store != 0 {
		m.begin(t, t.To, true)
	}
	return nil
}

// received retracts a message that somebody has sent to the account.
func (m *retraction) received(_ context.Context, t *module.Transit) error {
	if !t.Settled && archive.Classify(t.Stanza) != archive.Nothing {
		m.begin(t, t.From, false)
	}
	return nil
}

// begin has the message looked for once the retraction is committed.
func (m *retraction) begin(t *module.Transit, peer jid.JID, outgoing bool) {
	r, err := retract.Parse(t.Child(retract.Name))
	if err != nil || t.Kind != stanza.Message || !t.Account.Exists() || peer.IsZero() {
		return
	}
	if t.ID == "" { // XEP-0424 §4: a tombstone names it
		return
	}
	s := &search{retraction: m, key: t.Turn.Key(), Retraction: archive.Retraction{
		Owner: t.Account.ID(), Floor: archive.Floor(t.Account), Before: t.Store,
		Peer: peer.Bare().Clone(), Outgoing: outgoing,
		ID: strings.Clone(r.ID), By: strings.Clone(t.ID), At: t.Turn.Now(),
		Archived: t.Store != 0 && !t.Brief,
	}}
	if s.Before == 0 {
		s.Before = archive.Last(t.Account) + 1
	}
	owner := t.Account
	t.Turn.After(cluster.EffectFunc(func(turn *cluster.Turn) {
		s.line = lineOf(owner)
		s.line.add(turn, s)
	}))
}

// waiting is how many retractions of an archive may wait for their turn. The
// messages of further ones stay.
const waiting = 64

// line are the retractions of an archive that are not done. It belongs to the
// effects of the lane.
type line struct {
	asker    cluster.Asker
	searches []*search
	busy     bool
}

var lines = account.NewSlot[*line]("messages to be retracted")

func lineOf(a *account.Actor) *line {
	l := lines.Live(a)
	if l == nil {
		l = new(line)
		lines.SetLive(a, l)
	}
	return l
}

// add has a retraction wait for its turn.
func (l *line) add(t *cluster.Turn, s *search) {
	if len(l.searches) >= waiting {
		s.host.Log.Warn("too many retractions at once; a message stays as it is", "account", s.key)
		return
	}
	l.searches = append(l.searches, s)
	if !l.busy {
		l.next(t)
	}
}

// next begins with the next one.
func (l *line) next(t *cluster.Turn) {
	if l.busy = len(l.searches) > 0; !l.busy {
		l.searches = nil
		return
	}
	s := l.searches[0]
	l.searches[0] = nil
	l.searches = l.searches[1:]
	send := func() { s.lanes.Send(s.key, s) }
	t.Query(&l.asker, s.key, func(ctx context.Context) func() {
		s.err = s.host.DB.Read(ctx, func(r *storage.Reader) (err error) {
			s.found, s.tombstone, err = s.Find(r)
			return err
		})
		return send
	}, func(err error) { s.err = err; send() })
}

// search is a retraction under way: it looks for the message, and then goes into
// the lane to replace it.
type search struct {
	*retraction
	archive.Retraction
	key       cluster.Key
	line      *line
	found     int64
	tombstone []byte
	err       error
}

// Handle implements cluster.Item.
func (s *search) Handle(t *cluster.Turn, ac cluster.Actor) {
	t.After(s)
	a := ac.(*account.Actor)
	switch {
	case s.err != nil:
		s.complain(s.err)
	case s.found != 0 && a.ID() == s.Owner:
		archive.Bury(t, a, s.found, s.tombstone)
	}
}

// Committed implements cluster.Effect.
func (s *search) Committed(t *cluster.Turn) { s.line.next(t) }

// Fail implements cluster.Item.
func (s *search) Fail(t *cluster.Turn, err error) {
	s.complain(err)
	t.After(s)
}

func (s *search) complain(err error) {
	s.host.Log.Error("message not retracted; it stays in the archive", "account", s.key, "error", err)
}
