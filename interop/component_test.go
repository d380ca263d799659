//go:build interop

package interop_test

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// componentDomain is that of the tests' components.
const componentDomain = "other.localhost"

// TestSlixmppComponent: a component of slixmpp's, and a user of it.
func TestSlixmppComponent(t *testing.T) {
	t.Parallel()
	eachComponentServer(t, func(t *testing.T, s *server) {
		python := slixmpp.command(t, s).Path
		host, port, err := net.SplitHostPort(s.components)
		if err != nil {
			t.Fatal(err)
		}
		spawn(t, exec.Command(python, filepath.Join("slixmpp", "echo.py"), componentDomain, componentSecret, host, port))
		echoes(t, s, "client/bot", "all ears")
	})
}

// TestSlixmppComponentTLS: the same as one on another machine would, with TLS from
// the first byte. It asks for the certificate of its own domain.
func TestSlixmppComponentTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	cert, key := ca.issue(t, "localhost", certificate{also: componentDomain})
	secret := filepath.Join(t.TempDir(), "secret")
	writeFile(t, secret, componentSecret)
	port := strconv.Itoa(freePort(t))
	s := startKithOn(t, "", "component_tls = ["+strconv.Quote("127.0.0.1:"+port)+"]",
		"[tls]", "certificate = "+strconv.Quote(cert), "key = "+strconv.Quote(key),
		"[[component]]", "host = "+strconv.Quote(componentDomain), "secret_file = "+strconv.Quote(secret))
	s.caFile = ca.file
	python := slixmpp.command(t, s).Path
	spawn(t, exec.Command(python, filepath.Join("slixmpp", "echo.py"), componentDomain, componentSecret, "127.0.0.1", port, ca.file))
	echoes(t, s, "client/bot", "all ears")
}

// eachComponentServer is eachServer with a component, and ejabberd.
func eachComponentServer(t *testing.T, test func(t *testing.T, s *server)) {
	with := setup{component: componentDomain}
	eachServerWith(t, with, test)
	t.Run("ejabberd", func(t *testing.T) { test(t, startEjabberd(t, with)) })
}

// awaitComponent waits for a component to be there. Kith has what is for it wait;
// others do not.
func awaitComponent(t *testing.T, h *hand, domain string) {
	t.Helper()
	for begun := time.Now(); ; {
		_, err := h.puppet.tell(order{Client: h.name, Do: "iq", To: domain, Ask: "info"})
		if err == nil {
			return
		}
		if time.Since(begun) > *patience {
			t.Fatalf("%s is not there: %v", domain, err)
		}
		time.Sleep(20 * time.Millisecond) // the component, a process, is on its way
	}
}

// echoes has a user find a component, talk to it and see its presence.
func echoes(t *testing.T, s *server, identity, status string) *hand {
	t.Helper()
	p := startPuppet(t, slixmpp, s)
	romeo := p.mustOpen(t, "romeo", "orchard", true)
	romeo.do(t, order{Do: "presence"})
	if s.name != "kith" {
		awaitComponent(t, romeo, componentDomain)
	}
	ghost := "ghost@" + componentDomain
	for i := range 20 {
		romeo.do(t, order{Do: "message", To: ghost, Type: "chat", Body: fmt.Sprint("boo ", i), Stanza: fmt.Sprint("m", i)})
		want := fmt.Sprint("you said boo ", i)
		romeo.inbox().await(t, want, func(e event) bool {
			return e.Event == "message" && e.From == ghost && e.Body == want
		})
	}
	info := romeo.do(t, order{Do: "iq", To: componentDomain, Ask: "info"})
	if !slices.Contains(info.Identities, identity) {
		t.Errorf("the component is %v, want %s", info.Identities, identity)
	}
	romeo.do(t, order{Do: "iq", To: componentDomain, Ask: "ping"})
	romeo.do(t, order{Do: "presence", To: ghost, Type: "subscribe"})
	romeo.inbox().await(t, "presence of "+ghost, func(e event) bool {
		return e.Event == "presence" && strings.HasPrefix(e.From, ghost) && e.Status == status
	})
	return romeo
}
