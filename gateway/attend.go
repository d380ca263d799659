package gateway

import (
	"context"
	"sync"

	"kith/xmpp/jid"
	"kith/xmpp/stanza"
)

// Attendance is told when people come and go (XEP-0100 §4.4, §4.5). user is a bare
// address.
type Attendance struct {
	// Registered says who uses the gateway. Presence of others is not noticed, and who
	// asks for the gateway's gets none.
	Registered func(ctx context.Context, user jid.JID) bool
	// LogIn is called with the first device of somebody's that is available.
	LogIn func(ctx context.Context, user jid.JID)
	// LogOut is called when the last one is not any more.
	LogOut func(ctx context.Context, user jid.JID)
}

// attendance knows whose devices are available.
type attendance struct {
	Attendance
	g *Component

	mu      sync.Mutex // guards devices
	devices map[jid.JID]map[jid.JID]bool
}

// Attend has presence that is sent to the component's own address looked after;
// the rest goes to the handler of presence. It comes behind HandlePresence.
func (g *Component) Attend(a Attendance) {
	at := &attendance{Attendance: a, g: g, devices: make(map[jid.JID]map[jid.JID]bool)}
	next := g.presence
	g.HandlePresence(func(ctx context.Context, st *stanza.Stanza) error {
		if st.To == g.config.Domain {
			at.presence(ctx, st)
			return nil
		}
		if next == nil {
			return nil
		}
		return next(ctx, st)
	})
}

// presence handles what is sent to the gateway itself.
func (at *attendance) presence(ctx context.Context, st *stanza.Stanza) {
	user := st.From.Bare().Clone()
	known := st.From.Local() != "" && at.Registered(ctx, user)
	switch st.Type {
	case stanza.Subscribe:
		if known {
			at.g.put(at.g.presenceTo(stanza.Subscribed, user))
		} else {
			at.g.put(at.g.presenceTo(stanza.Unsubscribed, user))
		}
	case stanza.Probe:
		if known && at.there(user) {
			at.g.put(at.g.presenceTo("", st.From))
		}
	case "":
		if known && at.come(user, st.From) {
			at.LogIn(ctx, user)
			at.g.put(at.g.presenceTo("", user))
		}
	case stanza.Unavailable, stanza.TypeError: // RFC 6121 §4.4.2: who cannot be reached is gone
		if at.leave(user, st.From) {
			at.LogOut(ctx, user)
			at.g.put(at.g.presenceTo(stanza.Unavailable, user))
		}
	}
}

func (at *attendance) there(user jid.JID) bool {
	at.mu.Lock()
	defer at.mu.Unlock()
	return len(at.devices[user]) > 0
}

// come notes a device and reports whether it is the first.
func (at *attendance) come(user, device jid.JID) bool {
	at.mu.Lock()
	defer at.mu.Unlock()
	if at.devices[user] == nil {
		at.devices[user] = make(map[jid.JID]bool)
	}
	at.devices[user][device.Clone()] = true
	return len(at.devices[user]) == 1
}

// leave forgets a device, with a bare address all, and reports whether the last one
// has gone.
func (at *attendance) leave(user, device jid.JID) bool {
	at.mu.Lock()
	defer at.mu.Unlock()
	if len(at.devices[user]) == 0 {
		return false
	}
	delete(at.devices[user], device)
	if !device.IsBare() && len(at.devices[user]) > 0 {
		return false
	}
	delete(at.devices, user)
	return true
}
