//go:build interop

package interop_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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
	s := kithForSlidge(t)
	module, err := filepath.Abs("slidge")
	if err != nil {
		t.Fatal(err)
	}
	startSlidge(t, s, module, "verona")
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

// TestSlidgeDemo: the same with slidge's own demo module, which wants a code at the
// registration. That is a chat with the gateway, for clients that know no forms.
func TestSlidgeDemo(t *testing.T) {
	t.Parallel()
	s := kithForSlidge(t)
	demo := filepath.Join(cacheDir(t), "slidge", "demo")
	if !exists(t, filepath.Join(demo, "superduper")) {
		unavailable(t, "slidge's demo module is not there")
	}
	startSlidge(t, s, demo, "superduper")
	p := startPuppet(t, slixmpp, s)
	romeo := p.mustOpen(t, "romeo", "orchard", true)
	romeo.do(t, order{Do: "roster"})
	romeo.do(t, order{Do: "presence"})
	awaitComponent(t, romeo, slidgeDomain)
	answers := []string{"register", "slidger", "any", "666"}
	for i, asked := 0, true; asked; i++ {
		say := "yes" // to all preferences
		if i < len(answers) {
			say = answers[i]
		}
		romeo.do(t, order{Do: "message", To: slidgeDomain, Type: "chat", Body: say, Stanza: strconv.Itoa(i)})
		romeo.inbox().await(t, "what slidge says to "+say, func(e event) bool {
			asked = strings.HasSuffix(e.Body, "(or 'abort')")
			return e.Event == "message" && e.From == slidgeDomain && (asked || strings.HasPrefix(e.Body, "Success"))
		})
	}
	baba := "111@" + slidgeDomain
	romeo.inbox().await(t, "presence of a contact", func(e event) bool {
		return e.Event == "presence" && e.From == baba+"/slidge" && e.Type == ""
	})
	romeo.inbox().await(t, "a message from it", func(e event) bool {
		return e.Event == "message" && e.From == baba+"/slidge" && e.Body == "Hey!"
	})
	romeo.do(t, order{Do: "message", To: baba, Type: "chat", Body: "hello", Stanza: "hello"})
	romeo.inbox().await(t, "its answer", func(e event) bool {
		return e.Event == "message" && e.From == baba+"/slidge" && e.Body == "A reply"
	})
}

// kithForSlidge has a component with the privileges that slidge asks for.
func kithForSlidge(t *testing.T) *server {
	t.Helper()
	secret := filepath.Join(t.TempDir(), "secret")
	writeFile(t, secret, componentSecret)
	return startKithOn(t, "", "[[component]]", "host = "+strconv.Quote(slidgeDomain), "secret_file = "+strconv.Quote(secret),
		"[component.privileges]", `roster = "both"`, `message = "outgoing"`, `presence = "managed_entity"`,
		`iq = { "http://jabber.org/protocol/pubsub" = "both", "http://jabber.org/protocol/pubsub#owner" = "set" }`)
}

// startSlidge starts a gateway of slidge's with a module that is in a directory.
func startSlidge(t *testing.T, s *server, dir, module string) {
	t.Helper()
	venv := filepath.Join(cacheDir(t), "slidge")
	if !exists(t, filepath.Join(venv, "installed.txt")) {
		unavailable(t, "slidge is not installed")
	}
	host, port, err := net.SplitHostPort(s.components)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(venv, "bin", "python"), "-m", "slidge", "--jid", slidgeDomain, "--secret", componentSecret,
		"--server", host, "--port", port, "--home-dir", filepath.Join(t.TempDir(), "slidge"), "--legacy-module", module)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+dir, "PYTHONDONTWRITEBYTECODE=1")
	spawn(t, cmd)
}
