//go:build interop

package interop_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

var nbxmpp = library{
	name:     "nbxmpp",
	known:    []string{"SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"},
	outlives: true,
	command: func(t *testing.T, _ *server) *exec.Cmd {
		venv := filepath.Join(cacheDir(t), "nbxmpp")
		if !exists(t, filepath.Join(venv, "installed.txt")) {
			unavailable(t, "nbxmpp is not installed")
		}
		cmd := exec.Command(filepath.Join(venv, "bin", "python"), filepath.Join("nbxmpp", "puppet.py"))
		cmd.Env = append(os.Environ(), "GIO_USE_PROXY_RESOLVER=dummy")
		return cmd
	},
}

// TestNbxmpp: Gajim's library, which logs in by XEP-0388 where it is offered, binds and
// resumes behind that as of old, and speaks with slixmpp.
func TestNbxmpp(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s *server) {
		p := &pair{s: s, left: startPuppet(t, nbxmpp, s), right: startPuppet(t, slixmpp, s)}
		register(t, s, "juliet")
		p.romeo = p.right.mustOpenResumable(t, "romeo", "home", true)
		p.juliet = p.left.mustOpenResumable(t, "juliet", "balcony", false)
		if s.restores && p.juliet.opened.Profile != "urn:xmpp:sasl:2" {
			t.Errorf("logged in by %s", p.juliet.opened.Profile)
		}
		p.juliet.do(t, order{Do: "presence"})
		p.romeo.do(t, order{Do: "presence", Priority: 5})
		p.juliet.do(t, order{Do: "iq", Ask: "ping", To: s.domain})
		if !p.juliet.do(t, order{Do: "resumable"}).Resumable {
			t.Fatal("the stream cannot be resumed")
		}
		p.juliet.do(t, order{Do: "flood", To: p.romeo.jid, Tag: "hark", First: 1, Count: 20})
		p.romeo.expectFlood(t, p.juliet, "hark", 20)
		p.juliet.cut(t)
		p.romeo.do(t, order{Do: "flood", To: p.juliet.bare(), Tag: "soft", First: 1, Count: 20})
		p.romeo.do(t, order{Do: "iq", Ask: "ping", To: s.domain})
		if !p.juliet.resume(t) {
			t.Fatal("not resumed")
		}
		p.juliet.expectFlood(t, p.romeo, "soft", 20)
		if _, err := p.left.openAs(order{}, "juliet", "chamber", "not hers"); err == nil {
			t.Error("logged in with a wrong password")
		}
	})
}
