package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"kith/server/config"
)

const before = `
hosts = ["verona.example"]
data = "verona"
[listen]
client = ["127.0.0.1:5222"]
client_tls = []
server = []
server_tls = []
[storage]
url = "postgres://kith:secret@localhost/kith"
[registration]
mode = "invite"
[modules.mam]
enabled = true
[host."verona.example"]
contact = { admin = ["xmpp:escalus@verona.example"] }
`

func TestReload(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kith.toml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(before)
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name     string
		from, to string // what is replaced in the file
		want     []config.Change
	}{
		{"nothing", "", "", nil},
		{"order and words", "[registration]\nmode = \"invite\"\n", "", nil},
		{"host", `["verona.example"]`, `["verona.example", "mantua.example"]`,
			[]config.Change{{Key: "hosts", Old: "verona.example", New: "verona.example, mantua.example"}}},
		{"mode", `"invite"`, `"open"`, []config.Change{{Key: "registration.mode", Old: "invite", New: "open"}}},
		{"limit", "[modules.mam]", "[limits]\nstanza = \"128KiB\"\nlogin = \"5s\"\n[modules.mam]", []config.Change{
			{Key: "limits.stanza", Old: "256KiB", New: "128KiB"}, {Key: "limits.login", Old: "30s", New: "5s"}}},
		{"module off", "enabled = true", "enabled = false", []config.Change{{Key: "modules.mam.enabled", Old: "true", New: "false"}}},
		{"a module's table", "[modules.mam]\nenabled = true", "[modules.roster]\ncontacts = 10",
			[]config.Change{{Key: "modules.mam.enabled", Old: "true", New: "not set"}, {Key: "modules.roster.contacts", Old: "not set", New: "10"}}},
		{"contact", "escalus@", "montague@", []config.Change{{Key: `host."verona.example".contact.admin`,
			Old: "xmpp:escalus@verona.example", New: "xmpp:montague@verona.example"}}},
		{"level", "[modules.mam]", "[log]\nlevel = \"debug\"\n[modules.mam]", []config.Change{{Key: "log.level", Old: "info", New: "debug"}}},
		{"format", "[modules.mam]", "[log]\nformat = \"json\"\n[modules.mam]",
			[]config.Change{{Key: "log.format", Old: "text", New: "json", Restart: true}}},
		{"address", ":5222", ":5322", []config.Change{{Key: "listen.client", Old: "127.0.0.1:5222", New: "127.0.0.1:5322", Restart: true}}},
		{"data", `"verona"`, `"mantua"`, []config.Change{{Key: "data", Old: filepath.Join(filepath.Dir(file), "verona"),
			New: filepath.Join(filepath.Dir(file), "mantua"), Restart: true}}},
		{"a secret", "kith:secret", "kith:other", []config.Change{{Key: "storage.url", Restart: true}}},
	} {
		write(strings.Replace(before, tt.from, tt.to, 1))
		next, got, err := c.Reload()
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: changes %+v, %v; want %+v", tt.name, got, err, tt.want)
			continue
		}
		// What only a start can apply is as it was, and told again the next time.
		if next.Data != c.Data || !reflect.DeepEqual(next.Listen, c.Listen) || next.StorageURL() != c.StorageURL() || next.Log.Format != c.Log.Format {
			t.Errorf("%s: what holds until a restart is another", tt.name)
		}
		_, again, err := next.Reload()
		if err != nil || len(again) != 0 && !again[0].Restart || len(got) == 1 && got[0].Restart && !reflect.DeepEqual(again, got) {
			t.Errorf("%s, once more: changes %+v, %v", tt.name, again, err)
		}
	}

	write(strings.Replace(before, "mode", "mood", 1))
	if _, _, err := c.Reload(); err == nil || !strings.Contains(err.Error(), "kith.toml:12:1: registration.mood: unknown key; the nearest known key is registration.mode") {
		t.Errorf("a file with a mistake: %v", err)
	}

	// A directory named on the command line holds, whatever the file says.
	write(before)
	c.SetData("mantua")
	if next, got, err := c.Reload(); err != nil || got != nil || next.Data != "mantua" {
		t.Errorf("with a data directory of the command line: %+v, %v, want no change", got, err)
	}
	local, err := config.LoadLocal("verona", "")
	if err != nil {
		t.Fatal(err)
	}
	if next, got, err := local.Reload(); err != nil || got != nil || next.Data != "verona" {
		t.Errorf("a local server: %+v, %v, want no change", got, err)
	}
}
