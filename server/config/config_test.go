package config_test

import (
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"kith/server/config"
	"kith/xmpp/jid"
)

// write makes a file kith.toml and goes to its directory, so that messages have a short name.
func write(t *testing.T, text string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, content := range map[string]string{"kith.toml": text, "cert.pem": "c", "key.pem": "k"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatalf("write %s: %v", name, err)
		}
	}
}

const minimal = "hosts = [\"example.org\"]\n[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n"

func TestErrors(t *testing.T) {
	top := "hosts = [\"example.org\"]\n"
	local := "[listen]\nclient = [\"127.0.0.1:5222\"]\nclient_tls = []\nserver = []\nserver_tls = []\n"
	tests := []struct{ name, in, want string }{
		{"unknown key", "hosst = []\n" + minimal,
			`kith.toml:1:1: hosst: unknown key; the nearest known key is hosts`},
		{"unknown key in a table", minimal + "[listen]\n  cleint = []\n",
			`kith.toml:6:3: listen.cleint: unknown key; the nearest known key is listen.client`},
		{"unknown table", minimal + "[listn]\nclient = []\n",
			`kith.toml:5:2: listn: unknown key; the nearest known key is listen`},
		{"unknown key, nothing near", minimal + "[log]\nzzzzzzzz = 1\n",
			`kith.toml:6:1: log.zzzzzzzz: unknown key; known here: level, format`},
		{"key under a wrong table", minimal + "[log]\nhosts = []\n",
			`kith.toml:6:1: log.hosts: unknown key; hosts belongs at the top of the file, before the first [table]`},
		{"key of another table", "client_tls = []\n" + minimal,
			`kith.toml:1:1: client_tls: unknown key; client_tls belongs in [listen]`},
		{"not TOML", top + "data = \n",
			`kith.toml:2:8: not TOML: `},
		{"key twice", top + "data = \"a\"\ndata = \"b\"\n",
			`kith.toml:3:1: not TOML: `},
		{"string in place of list", "hosts = \"example.org\"\n" + local,
			`kith.toml:1:9: hosts: wanted a list, got "example.org"`},
		{"number in place of string", top + "data = 5\n" + local,
			`kith.toml:2:8: data: wanted a string, got 5`},
		{"table in place of address", top + "[listen]\nclient = [{a = 1}]\n",
			`kith.toml:3:11: listen.client[0]: wanted an IP address and a port such as "[::]:5222" or "127.0.0.1:5222", got a table`},
		{"address without port", top + "[listen]\nclient = [\"127.0.0.1:5222\", \"127.0.0.1\"]\nclient_tls = []\n",
			`kith.toml:3:29: listen.client[1]: wanted an IP address and a port such as "[::]:5222" or "127.0.0.1:5222", got "127.0.0.1"`},
		{"duration without unit", minimal + "[limits]\nlogin = 30\n",
			`kith.toml:6:9: limits.login: wanted a duration such as "30s", "5m", "12h" or "7d", got 30`},
		{"negative duration", minimal + "[limits]\nlogin = \"-1s\"\n",
			`kith.toml:6:9: limits.login: wanted more than 0s, got -1s`},
		{"size with a wrong unit", minimal + "[limits]\nstanza = \"256 XB\"\n",
			`kith.toml:6:10: limits.stanza: wanted a size such as "256KiB", got "256 XB"`},
		{"small stanzas", minimal + "[limits]\nstanza_before_login = 100\n",
			`kith.toml:6:23: limits.stanza_before_login: wanted at least 10000, got 100`},
		{"queue smaller than a stanza", minimal + "[limits]\nsession_queue = \"1KiB\"\n",
			`kith.toml:6:17: limits.session_queue: wanted at least the size of one stanza, 256KiB, got 1KiB`},
		{"host with a user", "hosts = [\"me@example.org\"]\n" + local,
			`kith.toml:1:10: hosts[0]: wanted a domain such as "example.org", got the address "me@example.org"`},
		{"host twice", "hosts = [\"example.org\", \"EXAMPLE.org\"]\n" + local,
			`kith.toml:1:25: hosts[1]: "example.org" is there twice`},
		{"host that is none", "hosts = [\"exa mple\"]\n" + local,
			`kith.toml:1:10: hosts[0]: wanted an address such as "example.org", got "exa mple": `},
		{"no hosts", local,
			`kith.toml: hosts: wanted at least one domain, such as hosts = ["example.org"]`},
		{"table of a host that is none of ours", minimal + "[host.\"exampel.org\"]\nregistration = \"open\"\n",
			`kith.toml:5:7: host."exampel.org": not one of the hosts; the nearest is example.org`},
		{"contact", minimal + "[host.\"example.org\"]\ncontact = { admin = [\"me\"] }\n",
			`kith.toml:6:22: host."example.org".contact.admin[0]: wanted a URI such as "xmpp:admin@example.org" or "mailto:abuse@example.org", got "me"`},
		{"same address twice", minimal + "[listen]\nclient = [\"127.0.0.1:1\"]\nadmin = [\"127.0.0.1:1\"]\n",
			`kith.toml:7:10: listen.admin[0]: "127.0.0.1:1" is used by listen.client[0] already`},
		{"certificate without key", top + "[tls]\ncertificate = \"cert.pem\"\n",
			`kith.toml:3:15: tls.certificate: wanted tls.key with it: a certificate serves only with its private key`},
		{"key without certificate", top + "[tls]\nkey = \"key.pem\"\n",
			`kith.toml:3:7: tls.key: wanted tls.certificate with it: a private key serves only with its certificate`},
		{"certificate that is not there", top + "[tls]\ncertificate = \"no.pem\"\nkey = \"key.pem\"\n",
			`kith.toml:3:15: tls.certificate: cannot read no.pem: no such file or directory`},
		{"no certificate", top,
			`kith.toml:1:10: hosts[0]: "example.org" has no certificate; set certificate and key in [tls] or in [host."example.org"], or listen on loopback only`},
		{"storage", minimal + "[storage]\nurl = \"mysql://secret@db\"\n",
			`kith.toml:6:7: storage.url: wanted "sqlite:FILE" or "postgres://USER:PASSWORD@HOST/NAME"`},
		{"storage twice", minimal + "[storage]\nurl = \"sqlite:a\"\nurl_file = \"key.pem\"\n",
			`kith.toml:7:1: storage.url_file: wanted either url or url_file, got both`},
		{"people without accounts", minimal + "[host.\"example.org\"]\nanonymous = \"yes\"\n",
			`kith.toml:6:13: host."example.org".anonymous: wanted "no", "local" or "everywhere", got "yes"`},
		{"no room for them", minimal + "[limits]\nanonymous = 0\n", `kith.toml:6:13: limits.anonymous: wanted at least 1, got 0`},
		{"registration", minimal + "[registration]\nmode = \"yes\"\n",
			`kith.toml:6:8: registration.mode: wanted "invite", "open" or "closed", got "yes"`},
		{"DANE", minimal + "[s2s]\ndane = \"yes\"\n",
			`kith.toml:6:8: s2s.dane: wanted "auto", "on" or "off", got "yes"`},
		{"DANE without a resolver", minimal + "[s2s]\ndane = \"on\"\n",
			`kith.toml:6:8: s2s.dane: wanted resolver with it, the name server that validates, such as "127.0.0.1:53"`},
		{"log level", minimal + "[log]\nlevel = \"loud\"\n",
			`kith.toml:6:9: log.level: wanted "debug", "info", "warn" or "error", got "loud"`},
		{"log format", minimal + "[log]\nformat = \"xml\"\n",
			`kith.toml:6:10: log.format: wanted "text" or "json", got "xml"`},
		{"module switch", minimal + "[modules.mam]\nenabled = \"no\"\n",
			`kith.toml:6:11: modules.mam.enabled: wanted true or false, got "no"`},
		{"module that is no table", minimal + "[modules]\nmam = false\n",
			`kith.toml:6:7: modules.mam: wanted a table, got false`},
		{"component without a host", minimal + "[[component]]\nsecret_file = \"key.pem\"\n",
			`kith.toml:5:3: component[0].host: wanted the component's domain, such as host = "irc.example.org"`},
		{"component without a secret", minimal + "[[component]]\nhost = \"irc.example.org\"\n",
			`kith.toml:5:3: component[0].secret_file: wanted a file with the secret that the component knows`},
		{"component whose secret is not there", minimal + "[[component]]\nhost = \"irc.example.org\"\nsecret_file = \"no\"\n",
			`kith.toml:7:15: component[0].secret_file: cannot read no: no such file or directory`},
		{"component with the name of a host", minimal + "[[component]]\nhost = \"EXAMPLE.org\"\nsecret_file = \"key.pem\"\n",
			`kith.toml:6:8: component[0].host: "example.org" is one of the hosts; a component has a domain of its own`},
		{"component with a user", minimal + "[[component]]\nhost = \"me@irc.example.org\"\nsecret_file = \"key.pem\"\n",
			`kith.toml:6:8: component[0].host: wanted a domain such as "irc.example.org", got the address "me@irc.example.org"`},
		{"component twice", minimal + "[[component]]\nhost = \"irc.example.org\"\nsecret_file = \"key.pem\"\n[[component]]\nhost = \"irc.example.org\"\nsecret_file = \"key.pem\"\n",
			`kith.toml:9:8: component[1].host: "irc.example.org" is there twice`},
		{"component listed by nobody", minimal + "[[component]]\nhost = \"irc.example.org\"\nsecret_file = \"key.pem\"\nlisted_by = [\"example.com\"]\n",
			`kith.toml:8:14: component[0].listed_by[0]: "example.com" is not one of the hosts`},
		{"component with a small queue", minimal + "[[component]]\nhost = \"irc.example.org\"\nsecret_file = \"key.pem\"\nqueue = 0\nconnections = 0\n",
			"kith.toml:8:9: component[0].queue: wanted at least the size of one stanza, 256KiB, got 0B\n" +
				"kith.toml:9:15: component[0].connections: wanted at least 1, got 0"},
		{"privileges that there are none of", minimal + "[[component]]\nhost = \"irc.example.org\"\nsecret_file = \"key.pem\"\n[component.privileges]\nroster = \"all\"\npresence = \"roster\"\n",
			"kith.toml:9:10: component[0].privileges.roster: wanted \"none\", \"get\", \"set\" or \"both\", got \"all\"\n" +
				"kith.toml:10:12: component[0].privileges.presence: \"roster\" needs a right to read rosters: wanted roster = \"get\" or \"both\" with it"},
		{"delegation delegated", minimal + "[[component]]\nhost = \"irc.example.org\"\nsecret_file = \"key.pem\"\ndelegate = { \"urn:xmpp:delegation:2\" = [], \"urn:xmpp:delegation:2:bare:disco#info:*\" = [] }\n",
			`kith.toml:8:14: component[0].delegate."urn:xmpp:delegation:2": "urn:xmpp:delegation:2" cannot be delegated; of what begins with it there are "urn:xmpp:delegation:2:bare:disco#info:*" and "urn:xmpp:delegation:2:bare:disco#items:*"`},
		{"delegated twice", minimal + "[[component]]\nhost = \"a.example.org\"\nsecret_file = \"key.pem\"\ndelegate = { a = [\"x\", \"y\"], b = [], c = [] }\n" +
			"[[component]]\nhost = \"b.example.org\"\nsecret_file = \"key.pem\"\ndelegate = { a = [\"y\", \"x\"], b = [\"z\"] }\n" +
			"[[component]]\nhost = \"b.example.net\"\nsecret_file = \"key.pem\"\ndelegate = { c = [] }\n",
			`kith.toml:12:14: component[1].delegate.a: "a.example.org" answers these requests already`},
		{"components beyond loopback", minimal + "[listen]\ncomponent = [\"192.0.2.1:5347\"]\n",
			`kith.toml:6:14: listen.component[0]: the streams of components are not encrypted here: wanted an address of loopback, such as "127.0.0.1:5347", got "192.0.2.1:5347"; for a component on another machine use component_tls`},
		{"components on all addresses", minimal + "[listen]\ncomponent = [\"[::]:5347\"]\n",
			`kith.toml:6:14: listen.component[0]: the streams of components are not encrypted here: wanted an address of loopback, such as "127.0.0.1:5347", got "[::]:5347"; for a component on another machine use component_tls`},
		{"components with TLS and no certificate", top + local + "component_tls = [\"192.0.2.1:5348\"]\n",
			`kith.toml:1:10: hosts[0]: "example.org" has no certificate; set certificate and key in [tls] or in [host."example.org"], or listen on loopback only`},
		{"two errors, in the order of the file", minimal + "[log]\nlevel = 1\n[limits]\nlogin = 2\n",
			"kith.toml:6:9: log.level: wanted \"debug\", \"info\", \"warn\" or \"error\", got 1\n" +
				"kith.toml:8:9: limits.login: wanted a duration such as \"30s\", \"5m\", \"12h\" or \"7d\", got 2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			write(t, tt.in)
			_, err := config.Load("kith.toml")
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Fatalf("Load of\n%s\nerror %v\nwant  %s", tt.in, err, tt.want)
			}
			// What other code says (the TOML parser, package jid) is not ours to fix here.
			if !strings.HasSuffix(tt.want, ": ") && err.Error() != tt.want {
				t.Errorf("Load of\n%s\nerror %v\nwant  %s", tt.in, err, tt.want)
			}
			if all, ok := errors.AsType[config.Errors](err); !ok || len(all.Unwrap()) != strings.Count(tt.want, "\n")+1 {
				t.Errorf("Load: error is a %T of %d, want an Errors of %d", err, len(all), strings.Count(tt.want, "\n")+1)
			}
		})
	}
}

func TestNotInThisVersion(t *testing.T) {
	for in, key := range map[string]string{
		"[listen]\nhttps = [\"[::]:443\"]\n": "6:1: listen.https",
		"acme = true\n":                      "5:1: tls.acme",
		"[gateway.sms]\nx = 1\n":             "5:2: gateway",
		"[cluster]\n":                        "5:2: cluster",
	} {
		write(t, minimal+in)
		want := "kith.toml:" + key + ": not in this version"
		if _, err := config.Load("kith.toml"); err == nil || err.Error() != want || !errors.Is(err, config.ErrNotInThisVersion) {
			t.Errorf("Load of %q: error %v, want %s", in, err, want)
		}
	}
	// Turning off what is not there is true.
	write(t, minimal+"acme = false\n[listen]\nserver = []\nhttps = []\n")
	if _, err := config.Load("kith.toml"); err != nil {
		t.Errorf("Load with acme = false, server = [], https = []: %v, want no error", err)
	}
}

func TestComponent(t *testing.T) {
	write(t, minimal+"[[component]]\nhost = \"IRC.example.org\"\nsecret_file = \"irc.secret\"\nqueue_age = \"0s\"\n")
	if err := os.WriteFile("irc.secret", []byte(" hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load("kith.toml")
	if err != nil {
		t.Fatal(err)
	}
	want := config.Component{Host: jid.MustParse("irc.example.org"), SecretFile: "irc.secret", Connections: 1, Queue: config.MiB, Secret: "hush"}
	want.Privileges.RosterPush = true
	if len(c.Component) != 1 || !reflect.DeepEqual(c.Component[0], want) {
		t.Errorf("Load: components %+v, want %+v", c.Component, want)
	}
	for _, tt := range []struct {
		listed []string
		host   string
		want   bool
	}{
		{nil, "example.org", true}, {nil, "xample.org", false}, {nil, "example.com", false},
		{[]string{"example.com"}, "example.org", false}, {[]string{"example.com"}, "example.com", true},
	} {
		comp := want
		for _, l := range tt.listed {
			comp.ListedBy = append(comp.ListedBy, jid.MustParse(l))
		}
		if got := comp.IsListedBy(jid.MustParse(tt.host)); got != tt.want {
			t.Errorf("listed by %v: IsListedBy(%s) = %v, want %v", tt.listed, tt.host, got, tt.want)
		}
	}
	// A secret is not shown when it changes.
	if err := os.WriteFile("irc.secret", []byte("hushed"), 0o600); err != nil {
		t.Fatal(err)
	}
	next, changes, err := c.Reload()
	if err != nil || len(changes) != 1 || changes[0] != (config.Change{Key: "component"}) || next.Component[0].Secret != "hushed" {
		t.Errorf("Reload with another secret: %+v, %v; want one change of component, without values", changes, err)
	}
	if added, removed, changed := config.ComponentChanges(c, next); added != nil || removed != nil || !slices.Equal(changed, []string{"irc.example.org"}) {
		t.Errorf("ComponentChanges = %v, %v, %v; want irc.example.org changed", added, removed, changed)
	}
}

func TestFileErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("dir", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("film", make([]byte, 5<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"none.toml": "read configuration none.toml: no such file or directory; name the right file with --config, or try without one: kith serve --local",
		"dir":       "read configuration dir: is a directory; name the file in it",
		"film":      "read configuration film: too long for a configuration; name the right file with --config",
	} {
		if _, err := config.Load(file); err == nil || err.Error() != want {
			t.Errorf("Load(%q): error %v\nwant %s", file, err, want)
		}
		if _, err := config.LoadLocal("", file); err == nil || err.Error() != want {
			t.Errorf("LoadLocal(%q): error %v\nwant %s", file, err, want)
		}
	}
}

func TestLoad(t *testing.T) {
	write(t, `
hosts = ["Example.org", "bücher.example"]
data = "d"

[listen]
client = ["[::]:5222", "192.0.2.1:5222"]
client_tls = []

[tls]
certificate = "cert.pem"
key = "key.pem"

[host."Bücher.example"]
certificate = "cert.pem"
key = "key.pem"
registration = "open"
contact = { abuse = ["mailto:abuse@example.org"] }

[storage]
url = "sqlite:x.db"

[registration]
mode = "closed"
per = "7d"

[limits]
stanza = "1MiB"
stanza_before_login = "20kB"
sessions = 3

[log]
level = "debug"
format = "json"

[modules.mam]
enabled = false
`)
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(filepath.Join(dir, "kith.toml"))
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	buecher := jid.MustParse("bücher.example")
	cert, key := c.Certificate(buecher)
	for _, check := range []struct {
		name      string
		got, want any
	}{
		{"hosts", c.Hosts, []jid.JID{jid.MustParse("example.org"), buecher}},
		{"client", c.Listen.Client, []netip.AddrPort{netip.MustParseAddrPort("[::]:5222"), netip.MustParseAddrPort("192.0.2.1:5222")}},
		{"client_tls", len(c.Listen.ClientTLS), 0},
		{"admin", c.Listen.Admin, config.Default().Listen.Admin},
		{"data", c.Data, filepath.Join(dir, "d")},
		{"StorageURL", c.StorageURL(), "sqlite:" + filepath.Join(dir, "d", "x.db")},
		{"certificate", cert, filepath.Join(dir, "cert.pem")},
		{"key", key, filepath.Join(dir, "key.pem")},
		{"mode", c.RegistrationMode(c.Hosts[0]), config.Closed},
		{"mode of host", c.RegistrationMode(buecher), config.Open},
		{"contact", c.Host["bücher.example"].Contact.Abuse, []string{"mailto:abuse@example.org"}},
		{"per", c.Registration.Per, 7 * 24 * time.Hour},
		{"stanza", c.Limits.Stanza, config.MiB},
		{"stanza_before_login", c.Limits.StanzaBeforeLogin, config.Size(20_000)},
		{"sessions", c.Limits.Sessions, 3},
		{"depth", c.Limits.Depth, 64},
		{"level", c.Log.Level, slog.LevelDebug},
		{"format", c.Log.Format, "json"},
		{"mam", c.ModuleEnabled("mam"), false},
		{"ping", c.ModuleEnabled("ping"), true},
		{"local", c.Local, false},
	} {
		if !reflect.DeepEqual(check.got, check.want) {
			t.Errorf("%s = %v, want %v", check.name, check.got, check.want)
		}
	}
}

func TestSecretFile(t *testing.T) {
	write(t, minimal+"[storage]\nurl_file = \"url\"\n")
	if err := os.WriteFile("url", []byte("postgres://kith:secret@db/kith\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load("kith.toml")
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	if got, want := c.StorageURL(), "postgres://kith:secret@db/kith"; got != want {
		t.Errorf("StorageURL() = %q, want %q", got, want)
	}
}

func TestLoadLocal(t *testing.T) {
	c, err := config.LoadLocal("", "")
	if err != nil {
		t.Fatalf("LoadLocal: %v", err)
	}
	if c.Data != ".kith" || !c.Local || c.Registration.Mode != config.Open || c.Registration.PerIP != 0 ||
		c.Hosts[0].String() != "localhost" || c.StorageURL() != "sqlite:.kith/kith.db" {
		t.Errorf("LoadLocal() = %+v, want localhost in .kith with open registration", c)
	}
	for _, a := range append(c.Listen.Client, append(c.Listen.ClientTLS, c.Listen.Admin...)...) {
		if !a.Addr().IsLoopback() {
			t.Errorf("LoadLocal() listens on %v, want loopback only", a)
		}
	}

	write(t, "data = \"elsewhere\"\n[listen]\nclient = [\"127.0.0.1:15222\"]\n")
	if c, err = config.LoadLocal("", "kith.toml"); err != nil {
		t.Fatalf("LoadLocal: %v", err)
	}
	if got := c.Listen.Client[0].Port(); got != 15222 || c.Listen.ClientTLS[0].Port() != 5223 || c.Data != "elsewhere" {
		t.Errorf("LoadLocal with a file: port %d, TLS port %d, data %s, want 15222, 5223, elsewhere", got, c.Listen.ClientTLS[0].Port(), c.Data)
	}
	if c, err = config.LoadLocal("flag", "kith.toml"); err != nil || c.Data != "flag" {
		t.Errorf("LoadLocal(flag): data %s, error %v, want flag, as on the command line", c.Data, err)
	}

	write(t, "[listen]\nclient = [\"0.0.0.0:5222\"]\n")
	want := `kith.toml:2:11: listen.client[0]: with --local every listener is on loopback, such as 127.0.0.1; use kith serve --config for others`
	if _, err = config.LoadLocal("", "kith.toml"); err == nil || err.Error() != want {
		t.Errorf("LoadLocal on 0.0.0.0: error %v\nwant %s", err, want)
	}
}

type mam struct {
	Keep    time.Duration `toml:"keep"`
	PerPage int
	Nested  struct {
		On bool `toml:"on"`
	} `toml:"nested"`
}

func (m *mam) Validate() error {
	if m.PerPage > 100 {
		return errors.New("per_page: wanted at most 100")
	}
	return nil
}

func TestModule(t *testing.T) {
	tests := []struct{ in, want string }{
		{"enabled = true\nkeep = \"7d\"\nper_page = 5\nnested = { on = true }\n", ""},
		{"kep = \"7d\"\n", `kith.toml:6:1: modules.mam.kep: unknown key; the nearest known key is modules.mam.keep`},
		{"enabeld = false\n", `kith.toml:6:1: modules.mam.enabeld: unknown key; the nearest known key is modules.mam.enabled`},
		{"keep = 7\n", `kith.toml:6:8: modules.mam.keep: wanted a duration such as "30s", "5m", "12h" or "7d", got 7`},
		{"[modules.mam.nested]\non = 1\n", `kith.toml:7:6: modules.mam.nested.on: wanted true or false, got 1`},
		{"per_page = 500\n", `kith.toml:5:10: modules.mam: per_page: wanted at most 100`},
	}
	for _, tt := range tests {
		write(t, minimal+"[modules.mam]\n"+tt.in)
		c, err := config.Load("kith.toml")
		if err != nil {
			t.Errorf("Load of %q: %v, want no error: modules are decoded later", tt.in, err)
			continue
		}
		got := mam{Keep: time.Hour, PerPage: 10}
		err = c.Module("mam", &got)
		switch {
		case tt.want == "" && err != nil, tt.want != "" && (err == nil || err.Error() != tt.want):
			t.Errorf("Module of %q: error %v, want %s", tt.in, err, tt.want)
		case tt.want == "" && (got.Keep != 7*24*time.Hour || got.PerPage != 5 || !got.Nested.On):
			t.Errorf("Module of %q = %+v", tt.in, got)
		}
	}

	none := mam{Keep: time.Hour, PerPage: 10}
	if err := config.Local("").Module("mam", &none); err != nil || none.Keep != time.Hour {
		t.Errorf("Module without a table = %+v, %v, want the defaults", none, err)
	}
}

func TestCheckModules(t *testing.T) {
	write(t, minimal+"[modules.carbon]\n[modules.muc]\n[modules.ping]\n")
	c, err := config.Load("kith.toml")
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	want := "kith.toml:5:10: modules.carbon: not in this version; the nearest known module is carbons\n" +
		"kith.toml:6:10: modules.muc: not in this version"
	if err := c.CheckModules([]string{"ping", "carbons"}); err == nil || err.Error() != want {
		t.Errorf("CheckModules: error %v\nwant %s", err, want)
	}
	if err := config.Local("").CheckModules(nil); err != nil {
		t.Errorf("CheckModules without tables: %v, want no error", err)
	}
}

func TestSize(t *testing.T) {
	for in, want := range map[string]config.Size{
		"0": 0, "17": 17, "17B": 17, "10kB": 10_000, "256KiB": 256 << 10, "1 MiB": 1 << 20, "2GB": 2e9, "1GiB": 1 << 30,
		"": -1, "kB": -1, "-1": -1, "1KB": -1, "1.5MiB": -1, "9999999999GiB": -1, "1kBkB": -1,
	} {
		var got config.Size
		err := got.UnmarshalText([]byte(in))
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("Size of %q = %d, error %v, want %d (-1: an error)", in, got, err, want)
		}
		var again config.Size
		if err == nil && (again.UnmarshalText([]byte(got.String())) != nil || again != got) {
			t.Errorf("Size of %q is written %q, which is read as %d", in, got, again)
		}
	}
}

// FuzzLoad: whatever is in the file, Load returns a configuration or Errors with a place, and does not panic.
func FuzzLoad(f *testing.F) {
	f.Add(minimal)
	f.Add("[[component]]\n[component.x]\n[[component]]\na.b.c=[{d=[[1]]}]\n[modules.x]\ny=1\n")
	f.Add("hosts=[[\"a\"]]\nhost.\"A\".contact.admin=[1979-05-27]\n[limits]\nstanza=9e9\n[listen]\nclient=[{}]")
	f.Fuzz(func(t *testing.T, text string) {
		file := filepath.Join(t.TempDir(), "kith.toml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(file)
		if err != nil {
			if all, ok := errors.AsType[config.Errors](err); !ok || len(all) == 0 {
				t.Errorf("Load of %q: error %v (%T), want Errors", text, err, err)
			}
			return
		}
		for name := range c.Modules {
			var m mam
			_ = c.Module(name, &m) // any error will do
		}
	})
}
