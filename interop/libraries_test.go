//go:build interop

package interop_test

import "testing"

func TestSlixmpp(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s *server) { walk(t, s, slixmpp) })
}

func TestXMPPJS(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s *server) { walk(t, s, xmppjs) })
}

// TestMixed: libraries that have nothing in common but the protocol.
func TestMixed(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s *server) {
		p := meet(t, s, slixmpp, xmppjs)
		steps(t, []step{{"iq", p.iq}, {"messages", p.messages}, {"talk", p.talk}})
	})
}
