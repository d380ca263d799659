package push

import (
	"context"
	"strings"
	"time"

	"kith/server/account"
	"kith/server/cluster"
	"kith/server/module"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
	xpush "kith/xmpp/xep/push"
)

const (
	// answerWithin is how long a service may take to answer.
	answerWithin = time.Minute
	// How long the pause is after an error that passes, at first and at last; each
	// time it is twice as long.
	firstPause, lastPause = time.Minute, 6 * time.Hour
	// mostFailures is how many such errors in a row end a registration: with these
	// pauses, about two days of them.
	mostFailures = 16
)

// device is what there is to tell a device. It is gone with the account's actor,
// as it would be after a crash.
type device struct {
	count   int            // messages that it does not have, as far as is known
	last    time.Time      // when the last of them came
	news    bool           // some of them it was not told of
	waiting int            // messages that out may have delivered
	out     account.Outlet // the way they went
	sender  jid.JID        // of the last message
	body    string         // of the last message

	asked    string    // the id of the notification that waits for its answer; "" if none does
	until    time.Time // for that long
	failures int       // in a row
	after    time.Time // before that, it is not told anything
	wake     time.Time // when it is looked at next, if that is not over
}

// devices are an account's, by where they are notified.
var devices = account.NewSlot[map[xpush.Service]*device]("devices to be notified")

// deviceOf returns what there is to tell a device. It is used in effects.
func deviceOf(a *account.Actor, s xpush.Service) *device {
	all := devices.Live(a)
	if all == nil {
		all = make(map[xpush.Service]*device)
		devices.SetLive(a, all)
	}
	if all[s] == nil {
		all[s] = new(device)
	}
	return all[s]
}

// away reports whether a session has no stream.
func away(r *account.Resource) bool {
	_, away := r.Out.Away()
	return away
}

// doubt tells what a way to a client knows of what was not acknowledged: see
// session.Session.Unsure. A way that knows nothing has no doubt.
func doubt(o account.Outlet) (since time.Time, unsure bool) {
	if u, ok := o.(interface{ Unsure() (time.Time, bool) }); ok {
		return u.Unsure()
	}
	return time.Time{}, false
}

// ended reports whether a session has ended and its owner is about to hear of it.
func ended(o account.Outlet) bool {
	e, ok := o.(interface{ Ended() bool })
	return ok && e.Ended()
}

// silent reports whether a client that is connected has not answered for so long
// that nobody may be there.
func (m *push) silent(r *account.Resource, now time.Time) bool {
	since, unsure := doubt(r.Out)
	return unsure && !since.IsZero() && now.Sub(since) >= m.config.Patience
}

// arrived looks at a message that is about to be delivered or was kept. It is in
// an effect.
func (m *push) arrived(_ context.Context, t *module.Transit) error {
	list := slot.Durable(t.Account)
	if len(list) == 0 || t.Account.Disabled() || !matters(t) {
		return nil
	}
	a, now := t.Account, t.Turn.Now()
	for _, g := range list {
		r := a.Named(g.resource)
		if !concerns(t, r) {
			continue
		}
		d := deviceOf(a, g.Service)
		if m.config.IncludeSender {
			d.sender = t.From.Clone()
		}
		if m.config.IncludeBody {
			d.body = strings.Clone(body(t.Stanza))
		}
		if r == nil || away(r) || ended(r.Out) || m.silent(r, now) || len(t.Targets) == 0 && !r.Available() {
			d.returned(r)
			d.waiting, d.last = d.waiting+1, now
			d.missed()
			m.tell(t.Turn, a, g, d)
			continue
		}
		if _, unsure := doubt(r.Out); !unsure {
			d.caughtUp()
		}
		d.waiting, d.out, d.last = d.waiting+1, r.Out, now
		m.schedule(t.Turn, g, d, now.Add(m.config.Patience))
	}
	return nil
}

// bound sees a device log in: it gets what it does not have.
func bound(t *module.Transit, r *account.Resource) {
	a := t.Account
	t.Turn.After(cluster.EffectFunc(func(*cluster.Turn) {
		for _, g := range slot.Durable(a) {
			if d := devices.Live(a)[g.Service]; d != nil && g.resource == r.JID.Resource() {
				d.caughtUp()
			}
		}
	}))
}

// missed notes that what was on its way did not get there.
func (d *device) missed() {
	d.count, d.news = d.count+d.waiting, true
	d.waiting, d.out = 0, nil
}

// returned notes, of a session that has no stream, that it had one since the last
// message: then it got what it had not.
func (d *device) returned(r *account.Resource) {
	if r == nil {
		return
	}
	since, away := r.Out.Away()
	if !away || !since.After(d.last) {
		return
	}
	d.count = 0
	if _, unsure := doubt(r.Out); !unsure {
		d.caughtUp()
	}
}

// caughtUp notes that the device has everything.
func (d *device) caughtUp() { d.count, d.news, d.waiting, d.out = 0, false, 0, nil }

// look sees what became of what was on its way, and tells what there is to tell.
func (m *push) look(turn *cluster.Turn, a *account.Actor, g *registration, d *device) {
	r, now := a.Named(g.resource), turn.Now()
	if d.waiting > 0 {
		since, unsure := doubt(d.out)
		switch {
		case r == nil || r.Out != d.out || away(r):
			// Another session gets what this one has left.
			if unsure && (r == nil || away(r)) {
				d.missed()
			}
			d.waiting, d.out = 0, nil
		case !unsure:
			d.caughtUp()
		case m.silent(r, now):
			d.missed()
		case since.IsZero():
			m.schedule(turn, g, d, now.Add(m.config.Patience))
		default:
			m.schedule(turn, g, d, since.Add(m.config.Patience))
		}
	}
	if r != nil && !away(r) && !m.silent(r, now) {
		d.count, d.news = 0, false // it is here
	}
	m.tell(turn, a, g, d)
}

// tell publishes a notification if there is something to tell, when the time has
// come (XEP-0357 §7).
func (m *push) tell(turn *cluster.Turn, a *account.Actor, g *registration, d *device) {
	now := turn.Now()
	switch {
	case !d.news || d.asked != "" && now.Before(d.until):
		return
	case now.Before(d.after):
		m.schedule(turn, g, d, d.after)
		return
	}
	p := &xpush.Publish{Node: g.Node, Options: g.options, Summary: xpush.Summary{Messages: d.count, Sender: d.sender, Body: d.body}}
	if p.Summary.Body == "" {
		p.Summary.Body = m.config.Alert
	}
	t := &module.Transit{Host: m.host, Turn: turn, Account: a}
	st := stanza.New(stanza.IQ, stanza.Set, m.host.Domain, g.JID, p)
	d.asked = m.host.Router.Ask(t, st, answerWithin, func(turn *cluster.Turn, ac cluster.Actor, answer *stanza.Stanza) {
		m.heard(turn, ac.(*account.Actor), g.Service, answer)
	})
	d.news, d.until, d.after = false, now.Add(2*answerWithin), now.Add(m.config.Interval)
}

// heard takes the answer of a service (XEP-0357 §7.1).
func (m *push) heard(turn *cluster.Turn, a *account.Actor, s xpush.Service, answer *stanza.Stanza) {
	g, d := slot.Durable(a).find(s), devices.Live(a)[s]
	if g == nil || d == nil || d.asked != answer.ID {
		return // it was disabled, or enabled anew
	}
	failed := answer.Type != stanza.Result
	if failed {
		err := stanza.ErrorOf(answer)
		if !passes(err) || d.failures+1 >= mostFailures {
			m.host.Log.Info("push notifications ended by an error", "account", a.JID, "service", s.JID, "error", err)
			remove(turn, a, func(o *registration) bool { return o == g })
			return
		}
	}
	turn.After(cluster.EffectFunc(func(turn *cluster.Turn) {
		d.asked = ""
		if failed {
			d.after = turn.Now().Add(pause(d.failures))
			d.failures++
			d.news = true
		} else {
			d.failures = 0
		}
		m.tell(turn, a, g, d)
	}))
}

// passes reports whether an error may be gone after a while: by its type, or
// because it is about the way to the service and not from there.
func passes(err *stanza.Error) bool {
	switch err.Condition {
	case "remote-server-not-found", "remote-server-timeout", "internal-server-error", "resource-constraint":
		return true
	}
	return err.Type == stanza.Wait
}

// pause is how long nothing is told after so many failures and one more.
func pause(failures int) time.Duration { return min(firstPause<<failures, lastPause) }

// schedule sees to it that a device is looked at by then. A timer that was set for
// later finds nothing new.
func (m *push) schedule(turn *cluster.Turn, g *registration, d *device, at time.Time) {
	now := turn.Now()
	if d.wake.After(now) && !at.Before(d.wake) {
		return
	}
	d.wake = at
	key, w := turn.Key(), &wake{m, g.Service, d}
	time.AfterFunc(max(at.Sub(now), time.Millisecond), func() { m.lanes.Send(key, w) })
}

// wake looks at a device.
type wake struct {
	*push
	service xpush.Service
	device  *device
}

// Handle implements cluster.Item. The actor may be another by now, which knows
// nothing of what there is to tell.
func (w *wake) Handle(t *cluster.Turn, ac cluster.Actor) {
	a := ac.(*account.Actor)
	t.After(cluster.EffectFunc(func(turn *cluster.Turn) {
		g := slot.Durable(a).find(w.service)
		if g == nil {
			return
		}
		if d := deviceOf(a, w.service); *d == (device{}) {
			devices.Live(a)[w.service] = w.device
		} else if d != w.device {
			return
		}
		w.look(turn, a, g, w.device)
	}))
}

// Fail implements cluster.Item. The next message makes up for it.
func (w *wake) Fail(_ *cluster.Turn, err error) {
	w.host.Log.Error("a device was not notified", "service", w.service.JID, "error", err)
}
