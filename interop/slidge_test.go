//go:build interop

package interop_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

// slidgeDomain is that of a gateway of slidge's, below the host whose people it may
// act for.
const slidgeDomain = "verona.localhost"

// TestSlidge: a gateway that others wrote, with its privileges (XEP-0356): who
// registers has its contacts in the roster, subscribed; they talk, and what he says
// on the other network is on all his devices.
func TestSlidge(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	writeFile(t, secret, componentSecret)
	s := startKithOn(t, "", "[[component]]", "host = "+strconv.Quote(slidgeDomain), "secret_file = "+strconv.Quote(secret),
		"[component.privileges]", `roster = "both"`, `message = "outgoing"`, `presence = "managed_entity"`,
		`iq = { "http://jabber.org/protocol/pubsub" = "both", "http://jabber.org/protocol/pubsub#owner" = "set" }`)
	startSlidge(t, s)
	p := startPuppet(t, slixmpp, s)
	romeo := p.mustOpen(t, "romeo", "orchard", true)
	romeo.do(t, order{Do: "roster"})
	romeo.do(t, order{Do: "presence"})
	garden := p.mustOpen(t, "romeo", "garden", false)
	garden.do(t, order{Do: "presence"})
	for _, h := range []*hand{romeo, garden} {
		h.do(t, order{Do: "carbons"})
	}

	t.Log("registration")
	info := romeo.do(t, order{Do: "iq", To: slidgeDomain, Ask: "info"})
	if !slices.Contains(info.Identities, "gateway/verona") {
		t.Errorf("slidge is %v", info.Identities)
	}
	if got := romeo.condition(t, order{Do: "iq", To: slidgeDomain, Ask: "register", Name: "rom", Body: "wrong"}); got == "" {
		t.Error("registered with a wrong password")
	}
	romeo.do(t, order{Do: "iq", To: slidgeDomain, Ask: "register", Name: "rom", Body: "hush"})
	for _, jid := range []string{slidgeDomain, "mercutio@" + slidgeDomain, "benvolio@" + slidgeDomain} {
		romeo.inbox().await(t, jid+" in the roster", func(e event) bool {
			return e.Event == "roster" && e.Item.JID == jid && e.Item.Subscription == "both"
		})
		romeo.inbox().await(t, "presence of "+jid, func(e event) bool {
			return e.Event == "presence" && (e.From == jid || e.From == jid+"/slidge") && e.Type == ""
		})
	}

	t.Log("messages")
	mercutio := "mercutio@" + slidgeDomain
	romeo.do(t, order{Do: "message", To: mercutio, Type: "chat", Body: "hark", Stanza: "1"})
	for _, h := range []*hand{romeo, garden} {
		h.inbox().await(t, "the answer", func(e event) bool {
			return e.Event == "message" && e.From == mercutio+"/slidge" && e.Body == "you said hark"
		})
	}
	garden.inbox().await(t, "a copy of the question", func(e event) bool {
		return e.Event == "carbon" && e.Type == "sent" && e.To == mercutio && e.Body == "hark"
	})

	t.Log("what is said elsewhere")
	romeo.do(t, order{Do: "message", To: mercutio, Type: "chat", Body: "elsewhere anon", Stanza: "2"})
	for _, h := range []*hand{romeo, garden} {
		h.inbox().await(t, "what he has said himself", func(e event) bool {
			return e.Event == "carbon" && e.Type == "sent" && e.To == mercutio && e.Body == "anon"
		})
	}
	if got := romeo.do(t, order{Do: "history", Ask: "forwards", To: mercutio, Count: 10}); !slices.Contains(got.Bodies, "anon") {
		t.Errorf("the archive has %q", got.Bodies)
	}

	t.Log("commands")
	if got := romeo.do(t, order{Do: "iq", To: slidgeDomain, Ask: "commands"}); len(got.Bodies) == 0 {
		t.Error("no commands")
	}

	t.Log("end")
	romeo.do(t, order{Do: "iq", To: slidgeDomain, Ask: "register"})
	romeo.inbox().await(t, "mercutio gone", func(e event) bool {
		return e.Event == "presence" && e.From == mercutio && e.Type == "unavailable" || e.From == mercutio+"/slidge" && e.Type == "unavailable"
	})
}

// startSlidge starts a gateway of slidge's.
func startSlidge(t *testing.T, s *server) {
	t.Helper()
	venv := filepath.Join(cacheDir(t), "slidge")
	if !exists(t, filepath.Join(venv, "installed.txt")) {
		unavailable(t, "slidge is not installed")
	}
	host, port, err := net.SplitHostPort(s.components)
	if err != nil {
		t.Fatal(err)
	}
	module, err := filepath.Abs("slidge")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(venv, "bin", "python"), "-m", "slidge", "--jid", slidgeDomain, "--secret", componentSecret,
		"--server", host, "--port", port, "--home-dir", filepath.Join(t.TempDir(), "slidge"), "--legacy-module", "verona")
	cmd.Env = append(os.Environ(), "PYTHONPATH="+module, "PYTHONDONTWRITEBYTECODE=1")
	spawn(t, cmd)
}
