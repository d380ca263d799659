package module

import (
	"context"
	"errors"

	"kith/server/account"
	"kith/server/cluster"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
)

// Stages are the steps on a stanza's way; the fields are the order.
type Stages struct {
	// Leaving steps act in the lane of the sender, on what one of its sessions
	// sent.
	Leaving struct {
		Check     Steps // may refuse: blocking, roles, limits
		Stamp     Steps // takes away what only a server may say
		Broadcast Steps // presence that is addressed to nobody (RFC 6121 §4.2.2)
		Directed  Steps // presence that is addressed to somebody: subscriptions too (§3, §4.6)
		// here presence is passed on
		Follow Steps // what goes behind directed presence
		Record Steps // the sender's archive
		Copy   Steps // to the sender's other sessions
	}
	// Arriving steps act in the lane of the recipient.
	Arriving struct {
		Check Steps
		Stamp Steps
		// Manage acts on subscriptions and probes (RFC 6121 §3, §4.3), also those for
		// an account that does not exist. It sets the Targets.
		Manage Steps
		// here the Targets of everything else are chosen: RFC 6121 §8.5
		Record Steps
		// here the batch is committed; what follows writes no rows
		Copy Steps
		// here it is delivered to the Targets
		Missed Steps // nobody took it
	}
}

// Step acts on a stanza: nil lets it go on, Stop ends its way quietly, a
// *stanza.Error sends it back.
type Step func(ctx context.Context, t *Transit) error

// Steps run in order until one returns an error.
type Steps []Step

// Stop ends a stanza's way without a word.
var Stop = errors.New("stop")

// Run runs the steps.
func (s Steps) Run(ctx context.Context, t *Transit) error {
	for _, step := range s {
		if err := step(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// Transit is a stanza on its way through one owner's lane. The stanza itself is
// this owner's: steps may edit it, others have their own.
type Transit struct {
	*stanza.Stanza
	Host    *Host
	Turn    *cluster.Turn
	Account *account.Actor      // the owner in whose lane we are; nil at a service or the host itself
	Sender  *account.Resource   // the session that sent it; nil for what arrives
	Targets []*account.Resource // the sessions it is delivered to
	Store   int64               // its id in the owner's archive; 0 if it is not kept
	Settled bool                // it was recorded before: this is another try to deliver it
	Owed    bool                // a mark in the store says that nobody is sure to have it
	Brief   bool                // it is stored for its delivery only
	Spread  []*stanza.Stanza    // what leaves in the place of one that a session sent and a step has stopped, one for each recipient
}

// Write adds a row to what the batch commits.
func (t *Transit) Write(sql string, args ...any) { t.Turn.Write(sql, args...) }

// Send routes a stanza of ours once the batch is committed.
func (t *Transit) Send(st *stanza.Stanza) { t.Host.Router.Route(t, st) }

// SendMany routes one stanza of ours to many accounts once the batch is
// committed; it must not change any more. With live, accounts that nobody is
// logged in to need not see it.
func (t *Transit) SendMany(to []jid.JID, st *stanza.Stanza, live bool) {
	t.Host.Router.RouteMany(t, to, st, live)
}

// Deliver puts a stanza into a session's queue once the batch is committed. to
// is what the session sees as its address; "" leaves it out.
func (t *Transit) Deliver(r *account.Resource, to string, st *stanza.Stanza) {
	e := t.Host.Entry(st, to, r)
	t.Turn.After(cluster.EffectFunc(func(turn *cluster.Turn) {
		if r.Out.Send(e) {
			turn.Dirty(r.Out)
		}
	}))
}
