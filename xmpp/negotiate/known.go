package negotiate

import (
	"strings"

	"kith/xmpp/jid"
	"kith/xmpp/sasl"
)

// Known remembers what a client has seen of servers, so that nobody in between can
// make it content with less (XEP-0474 §7). It must be kept as long as the account
// is.
type Known interface {
	// Seen returns what was remembered of the account's server, the zero value if
	// nothing was.
	Seen(account jid.JID) Seen
	// Remember is called after a log-in has succeeded, if there is more to be known
	// than before.
	Remember(account jid.JID, s Seen)
}

// Seen is what a server is held to.
type Seen struct {
	Proved    bool // the password was proved, or a certificate taken, and not shown: PLAIN is refused
	Protected bool // SCRAM vouched for the offer: it has to
	Bound     bool // with channel binding
}

func (s SASL) known(st *State) Seen {
	if s.Known == nil {
		return Seen{}
	}
	return s.Known.Seen(st.own)
}

// remember notes how a log-in has gone.
func (s SASL) remember(st *State, c sasl.Client) {
	if s.Known == nil {
		return
	}
	before := s.Known.Seen(st.own)
	now := before
	if m := c.Mechanism(); strings.HasPrefix(m, "SCRAM-") {
		now.Proved = true
		now.Bound = now.Bound || isPlus(m)
	} else if m == sasl.External { // XEP-0474 §7
		now.Proved = true
	}
	if v, ok := c.(interface{ Vouched() bool }); ok && v.Vouched() {
		now.Protected = true
	}
	if now != before {
		s.Known.Remember(st.own, now)
	}
}
