//go:build interop

package interop_test

import (
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xmltree"
)

// TestFederationBlackHole: a server that takes connections and says nothing, or no
// longer, holds up nobody but those who write to it. What waits for it comes when it
// is back, or goes back in time.
func TestFederationBlackHole(t *testing.T) {
	t.Parallel()
	for _, other := range others {
		t.Run(other.name, func(t *testing.T) {
			t.Parallel()
			f := newFederation(t)
			here := f.kith(t, "kith.fed.example", manner{lines: `queue_age = "5s"`})
			there, third := other.start(f, t, "other.fed.example", manner{}), f.kith(t, "third.fed.example", manner{})
			hole := jid.MustParse("x@hole.fed.example")
			f.swallow(t, hole.Domain())
			romeo, juliet, nurse := here.logIn(t, "romeo", true), there.logIn(t, "juliet", true), third.logIn(t, "nurse", true)
			for _, p := range []*fellow{romeo, juliet, nurse} {
				p.presence("", jid.JID{})
			}
			juliet.hears(romeo.say(juliet.JID(), "before"))

			lost := romeo.say(hole, "lost") // a stream that never begins
			begun := time.Now()
			there.proc.freeze(t, true) // one that there was
			waits := romeo.say(juliet.JID(), "while")
			nurse.hears(romeo.say(nurse.JID(), "beside"))
			if err := romeo.asks(nurse.JID().Host(), xmltree.Name{Space: ns.Ping, Local: "ping"}); err != nil {
				t.Errorf("ping to the third: %v", err)
			}
			if took := time.Since(begun); took > 4*time.Second {
				t.Errorf("what goes to a third server took %v", took)
			}
			there.proc.freeze(t, false)
			juliet.hears(waits)
			romeo.hears(juliet.say(romeo.JID(), "behind"))
			st := romeo.hears(lost)
			if e := stanza.ErrorOf(st); st.Type != stanza.TypeError || e.Condition != stanza.ErrRemoteServerTimeout.Condition {
				t.Errorf("what went nowhere came back as %s %v", st.Type, e)
			}
		})
	}
}

// swallow makes a domain that of a server which takes connections and never answers.
func (f *federation) swallow(t *testing.T, domain string) {
	t.Helper()
	p := f.where(t, domain, manner{})
	l, err := net.Listen("tcp", netip.AddrPortFrom(p.ip, uint16(p.starttls)).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			if _, err := l.Accept(); err != nil {
				return
			}
		}
	}()
}

// freeze has a program and all it has started stand still, or go on.
func (p *process) freeze(t *testing.T, on bool) {
	t.Helper()
	sig := syscall.SIGCONT
	if on {
		sig = syscall.SIGSTOP
		t.Cleanup(func() { p.freeze(t, false) }) // whatever happens
	}
	if err := syscall.Kill(-p.cmd.Process.Pid, sig); err != nil && !p.ended() {
		t.Fatal(err)
	}
}
