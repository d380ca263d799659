//go:build interop

package interop_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"testing"
	"time"
)

// TestPush: a device asks for notifications, logs out, and slixmpp as the push
// service of its app is told of what comes, until it wants no more (XEP-0357).
func TestPush(t *testing.T) {
	t.Parallel()
	python := slixmpp.command(t, nil).Path
	dir := t.TempDir()
	const service, secret = "push.localhost", "a shared secret"
	writeFile(t, filepath.Join(dir, "secret"), secret)
	s := &server{name: "kith", host: "127.0.0.1", port: freePort(t), domain: "localhost", caFile: filepath.Join(dir, "cert.pem")}
	components := freePort(t)
	file := filepath.Join(dir, "kith.toml")
	writeFile(t, file, fmt.Sprintf(`[listen]
client = [%q]
component = ["127.0.0.1:%d"]
client_tls = []
server = []
server_tls = []
https = []
admin = []
[[component]]
host = %q
secret_file = %q
[modules.push]
interval = "1s"
`, s.addr(), components, service, filepath.Join(dir, "secret")))
	s.proc = spawn(t, exec.Command(kith(t), "serve", "--local", "--data", filepath.Join(dir, "data"), "--config", file))
	s.proc.awaitPort(t, s.addr())
	s.cert = shownCertificate(t, s)
	writeFile(t, s.caFile, certificatePEM(s.cert.Raw))

	cmd := exec.Command(python, filepath.Join("slixmpp", "push.py"), s.host, strconv.Itoa(s.port), strconv.Itoa(components), s.domain, s.caFile, service, secret)
	cmd.Stderr = os.Stderr
	cmd.WaitDelay = time.Second
	timer := time.AfterFunc(2**patience, func() { cmd.Process.Kill() })
	out, err := cmd.Output()
	timer.Stop()
	if err != nil {
		t.Fatalf("push.py: %v\n%s", err, out)
	}
	type told struct {
		From    string            `json:"from"`
		Node    string            `json:"node"`
		Payload string            `json:"payload"`
		Summary map[string]string `json:"summary"`
		Options map[string]string `json:"options"`
	}
	var got struct {
		Announced bool   `json:"announced"`
		Told      []told `json:"told"`
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("push.py said %q: %v", out, err)
	}
	if !got.Announced {
		t.Error("the account does not say that there are notifications")
	}
	one := func(n string) told {
		return told{
			From: "localhost", Node: "yxs32uqsflafdk3iuqo", Payload: "{urn:xmpp:push:0}notification",
			Summary: map[string]string{"FORM_TYPE": "urn:xmpp:push:summary", "message-count": n},
			Options: map[string]string{"FORM_TYPE": "http://jabber.org/protocol/pubsub#publish-options", "secret": "eruio234vzxc2kla-91"},
		}
	}
	if want := []told{one("1"), one("2")}; !reflect.DeepEqual(got.Told, want) {
		t.Errorf("the service was told\n%+v, want\n%+v", got.Told, want)
	}
}
