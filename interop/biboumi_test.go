//go:build interop

package interop_test

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBiboumi: people on XMPP and on IRC talk in a channel, through a gateway that
// others wrote, which is a component of the server.
func TestBiboumi(t *testing.T) {
	t.Parallel()
	eachServerWith(t, setup{component: componentDomain}, func(t *testing.T, s *server) {
		irc := startIRC(t)
		startBiboumi(t, s)
		p := startPuppet(t, slixmpp, s)
		romeo := p.mustOpen(t, "romeo", "orchard", true)
		romeo.do(t, order{Do: "presence"})
		info := romeo.do(t, order{Do: "iq", To: componentDomain, Ask: "info"})
		if len(info.Identities) == 0 || !strings.HasPrefix(info.Identities[0], "conference/irc") {
			t.Errorf("biboumi is %v", info.Identities)
		}

		room := "#verona%" + irc + "@" + componentDomain
		romeo.do(t, order{Do: "presence", To: room + "/romeo", Room: true})
		romeo.inbox().await(t, "himself in the channel", func(e event) bool {
			return e.Event == "presence" && e.From == room+"/romeo" && e.Type == ""
		})
		juliet := newIRCUser(t, irc, "juliet")
		juliet.say("JOIN #verona")
		romeo.inbox().await(t, "juliet in the channel", func(e event) bool {
			return e.Event == "presence" && e.From == room+"/juliet" && e.Type == ""
		})
		for i := range 10 {
			romeo.do(t, order{Do: "message", To: room, Type: "groupchat", Body: fmt.Sprint("wherefore ", i), Stanza: fmt.Sprint("r", i)})
			juliet.await(t, fmt.Sprint("PRIVMSG #verona :wherefore ", i))
			juliet.say(fmt.Sprint("PRIVMSG #verona :a rose ", i))
			want := fmt.Sprint("a rose ", i)
			romeo.inbox().await(t, want, func(e event) bool {
				return e.Event == "message" && e.From == room+"/juliet" && e.Type == "groupchat" && e.Body == want
			})
		}
		juliet.say("PRIVMSG romeo :good night")
		romeo.inbox().await(t, "a private message", func(e event) bool {
			return e.Event == "message" && e.Type == "chat" && strings.HasPrefix(e.From, "juliet") && e.Body == "good night" || e.From == room+"/juliet" && e.Body == "good night"
		})
		juliet.say("QUIT :parting")
		romeo.inbox().await(t, "juliet gone", func(e event) bool {
			return e.Event == "presence" && e.From == room+"/juliet" && e.Type == "unavailable"
		})
		romeo.do(t, order{Do: "presence", To: room + "/romeo", Type: "unavailable"})
		romeo.inbox().await(t, "himself gone", func(e event) bool {
			return e.Event == "presence" && e.From == room+"/romeo" && e.Type == "unavailable"
		})
	})
}

// startIRC starts an ngircd. Its port is the one that gateways take for granted, so
// that it has a loopback address of its own.
func startIRC(t *testing.T) (host string) {
	t.Helper()
	path := program(t, "ngircd")
	var b [3]byte
	rand.Read(b[:])
	host = net.IPv4(127, b[0]|1, b[1], b[2]|1).String()
	file := filepath.Join(t.TempDir(), "ngircd.conf")
	writeFile(t, file, "[Global]\nName = irc.localhost\nInfo = test\nListen = "+host+"\nPorts = 6667\nMotdPhrase = hail\n"+
		"[Limits]\nMaxConnectionsIP = 0\n[Options]\nDNS = no\nIdent = no\nPAM = no\n")
	p := spawn(t, exec.Command(path, "-n", "-f", file))
	p.awaitPort(t, net.JoinHostPort(host, "6667"))
	return host
}

// startBiboumi starts the gateway.
func startBiboumi(t *testing.T, s *server) {
	t.Helper()
	path := program(t, "biboumi")
	host, port, err := net.SplitHostPort(s.components)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "biboumi.cfg")
	writeFile(t, file, "hostname="+componentDomain+"\npassword="+componentSecret+"\nxmpp_server_ip="+host+"\nport="+port+
		"\ndb_name="+filepath.Join(dir, "biboumi.sqlite")+"\nlog_level=1\nidentd_port=0\nadmin=\n")
	spawn(t, exec.Command(path, file))
}

// ircUser is somebody on IRC.
type ircUser struct {
	conn  net.Conn
	lines chan string
}

func newIRCUser(t *testing.T, host, nick string) *ircUser {
	t.Helper()
	conn, err := net.Dial("tcp", net.JoinHostPort(host, "6667"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	u := &ircUser{conn: conn, lines: make(chan string, 1000)}
	go func() {
		defer close(u.lines)
		for in := bufio.NewScanner(conn); in.Scan(); {
			if ping, ok := strings.CutPrefix(in.Text(), "PING "); ok {
				u.say("PONG " + ping)
				continue
			}
			u.lines <- in.Text()
		}
	}()
	u.say("NICK " + nick)
	u.say("USER " + nick + " 0 * :" + nick)
	u.await(t, " 001 "+nick)
	return u
}

// say sends a line; that it cannot be sent shows when nothing comes back.
func (u *ircUser) say(line string) { fmt.Fprintf(u.conn, "%s\r\n", line) }

// await waits for a line with that in it.
func (u *ircUser) await(t *testing.T, part string) {
	t.Helper()
	timeout := time.After(*patience)
	for {
		select {
		case line, ok := <-u.lines:
			if !ok {
				t.Fatalf("IRC: the connection has ended; want %q", part)
			}
			if strings.Contains(line, part) {
				return
			}
		case <-timeout:
			t.Fatalf("IRC: no %q", part)
		}
	}
}
