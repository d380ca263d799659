// Package config holds the one configuration tree of the server: its keys, their defaults, and the reading of kith.toml.
//
// The comment on each field is the manual's text (docs/manual/configuration.md is generated from it), so it speaks to
// whoever runs a server. A field tagged later:"true" is promised and not built yet: setting it is an error. One tagged
// restart:"true" cannot be applied by a reload, one tagged secret:"true" is not shown.
// A *Config is not changed after Load has returned it; a reload loads another one.
package config

import (
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"kith/xmpp/jid"
)

//go:generate go run ./manual -out ../../docs/manual/configuration.md

// Config is everything the server can be told.
type Config struct {
	// The domains this server is responsible for. What comes after the @ in the addresses of its users.
	Hosts []jid.JID `toml:"hosts" example:"[\"example.org\"]"`
	// The directory in which the server keeps what it owns: database, keys it made, the socket for commands.
	// Nobody but the user that runs the server should be able to read it.
	Data string `toml:"data" restart:"true"`

	// Where the server listens. Each key is a list of addresses; an empty list turns the listener off.
	Listen Listen `toml:"listen" restart:"true"`
	// Certificates for every host that has none of its own.
	TLS TLS `toml:"tls"`
	// What differs for one of the hosts.
	Host map[string]Host `toml:"host" example:"host.\"example.org\""`
	// An issuer of tokens (OpenID Connect) whose people log in to one of the hosts (SASL OAUTHBEARER). See [sign-in](sign-in.md).
	OIDC map[string]OIDC `toml:"oidc" example:"oidc.\"example.org\""`
	// A directory (LDAP) that knows the people of one of the hosts, and their passwords. See [sign-in](sign-in.md).
	LDAP map[string]LDAP `toml:"ldap" example:"ldap.\"example.org\""`
	// Where accounts, rosters and archives are kept.
	Storage Storage `toml:"storage" restart:"true"`
	// Who may make an account over the network.
	Registration Registration `toml:"registration"`
	// Other servers: who is spoken with, and how.
	S2S S2S `toml:"s2s"`
	// External components (XEP-0114), one table for each.
	Component []Component `toml:"component" secret:"true"`
	// What one peer may cost the server. The values are generous for people and tight for machines.
	Limits Limits `toml:"limits"`
	// What the server writes to standard error about its own work.
	Log Log `toml:"log"`
	// Modules, a table for each. Every module knows the key enabled; false turns it off.
	Modules map[string]Table `toml:"modules" example:"modules.NAME"`
	// Gateways to other networks, a table for each.
	Gateway map[string]Table `toml:"gateway" example:"gateway.NAME" later:"true"`
	// Several nodes as one server.
	Cluster Table `toml:"cluster" later:"true"`

	// Local says that this is the configuration of serve --local: loopback only, TLS offered and not required.
	Local bool `toml:"-"`
	// File is the file that was read; empty if there was none.
	File string `toml:"-"`

	given string // data directory of the command line
	doc   *document
}

// Listen is the table [listen].
type Listen struct {
	// Clients, with STARTTLS.
	Client []netip.AddrPort `toml:"client"`
	// Clients, with TLS from the first byte (XEP-0368).
	ClientTLS []netip.AddrPort `toml:"client_tls"`
	// Other servers, with STARTTLS.
	Server []netip.AddrPort `toml:"server"`
	// Other servers, with TLS from the first byte (XEP-0368).
	ServerTLS []netip.AddrPort `toml:"server_tls"`
	// HTTPS: WebSocket, BOSH, upload, web chat, host-meta.
	HTTPS []netip.AddrPort `toml:"https" later:"true"`
	// External components (XEP-0114) of this machine. Their streams are not encrypted, so that these are addresses of
	// loopback. It is open if there is a component in the configuration when the server starts.
	Component []netip.AddrPort `toml:"component"`
	// External components, with TLS from the first byte: for those of other machines. It is open like component.
	ComponentTLS []netip.AddrPort `toml:"component_tls" example:"[\"[::]:5348\"]"`
	// Health and metrics, for the operator, over plain HTTP. Keep it on loopback, or behind a proxy that asks who is there.
	Admin []netip.AddrPort `toml:"admin"`
}

// TLS is the table [tls].
type TLS struct {
	// Get certificates by ACME (Let's Encrypt and others).
	ACME bool `toml:"acme" later:"true"`
	// File with the certificate and its chain, PEM.
	Certificate string `toml:"certificate" example:"\"/etc/kith/fullchain.pem\""`
	// File with the certificate's private key, PEM.
	Key string `toml:"key" example:"\"/etc/kith/privkey.pem\""`
	// File with the authority, one or several, whose certificates clients may log in with (SASL EXTERNAL), PEM. It has to be
	// one that gives certificates to your people only, and names their addresses in them (id-on-xmppAddr).
	ClientCA string `toml:"client_ca" example:"\"/etc/kith/people-ca.pem\""`
}

// Host is a table [host."example.org"].
type Host struct {
	// File with this host's certificate and chain, PEM.
	Certificate string `toml:"certificate" example:"\"/etc/kith/example.org.pem\""`
	// File with the private key of this host's certificate, PEM.
	Key string `toml:"key" example:"\"/etc/kith/example.org.key\""`
	// Who may make an account on this host: "invite", "open" or "closed". Not set: as in [registration].
	Registration Mode `toml:"registration" example:"\"closed\""`
	// Whether people may come without an account (SASL ANONYMOUS), and whom they reach: "no", nobody comes so; "local", whoever is
	// on this server; "everywhere", other servers' people too. They get an address that lasts as long as they stay, and
	// nothing of them is stored. Not set: "no". See [accounts](accounts.md).
	Anonymous Reach `toml:"anonymous" example:"\"local\""`
	// Addresses that people can turn to (XEP-0157), lists of URIs: admin, abuse, feedback, sales, security, status, support.
	Contact Contact `toml:"contact" example:"{ admin = [\"xmpp:admin@example.org\"], abuse = [\"mailto:abuse@example.org\"] }"`
}

// Contact lists where to write to (XEP-0157 §2), by purpose.
type Contact struct {
	// To whoever runs the server.
	Admin []string `toml:"admin"`
	// To report abuse.
	Abuse []string `toml:"abuse"`
	// To say what is good and bad.
	Feedback []string `toml:"feedback"`
	// To buy something.
	Sales []string `toml:"sales"`
	// To report a weakness.
	Security []string `toml:"security"`
	// Where the state of the service is shown.
	Status []string `toml:"status"`
	// To ask for help.
	Support []string `toml:"support"`
}

// Storage is the table [storage].
type Storage struct {
	// The database: "sqlite:FILE", relative to the data directory, or "postgres://USER:PASSWORD@HOST/NAME".
	URL string `toml:"url" secret:"true"`
	// File that holds the URL, in place of url, so that the password is not in the configuration.
	URLFile string `toml:"url_file" example:"\"/etc/kith/database-url\""`
}

// Mode says who may make an account over the network.
type Mode string

// The modes of registration; the empty Mode is that of the table above.
const (
	Open   Mode = "open"   // anybody
	Closed Mode = "closed" // nobody; accounts are made with kith account create
	Invite Mode = "invite" // who has an invitation, made with kith invite
)

// Reach says whom people without an account reach.
type Reach string

// The reaches; the empty one is Nowhere.
const (
	Nowhere    Reach = "no"         // nobody logs in without an account
	Here       Reach = "local"      // who is on this server: its hosts, their services, its components
	Everywhere Reach = "everywhere" // other servers too
)

// Registration is the table [registration].
type Registration struct {
	// "invite": whoever has an invitation, made with kith invite (XEP-0445). "open": anybody (XEP-0077). "closed": nobody;
	// accounts are made with kith account create.
	Mode Mode `toml:"mode"`
	// How many accounts may be made from one address (an IPv4 address, an IPv6 /64) in the time per; 0 is no limit.
	PerIP int `toml:"per_ip"`
	// The time in which per_ip counts.
	Per time.Duration `toml:"per"`
}

// Log is the table [log].
type Log struct {
	// The least severity that is written: "debug", "info", "warn" or "error". What people say to each other is never written.
	Level slog.Level `toml:"level"`
	// "text" for people, "json" for machines.
	Format string `toml:"format" restart:"true"`
}

// Default returns what holds where a configuration says nothing.
func Default() *Config {
	return &Config{
		Data: "/var/lib/kith",
		Listen: Listen{
			Client:    []netip.AddrPort{netip.AddrPortFrom(netip.IPv6Unspecified(), 5222)},
			ClientTLS: []netip.AddrPort{netip.AddrPortFrom(netip.IPv6Unspecified(), 5223)},
			Server:    []netip.AddrPort{netip.AddrPortFrom(netip.IPv6Unspecified(), 5269)},
			ServerTLS: []netip.AddrPort{netip.AddrPortFrom(netip.IPv6Unspecified(), 5270)},
			Component: []netip.AddrPort{loopback(5347)},
			Admin:     []netip.AddrPort{loopback(5280)},
		},
		Storage:      Storage{URL: "sqlite:kith.db"},
		Registration: Registration{Mode: Invite, PerIP: 3, Per: time.Hour},
		S2S:          defaultS2S(),
		Limits:       defaultLimits(),
		Log:          Log{Level: slog.LevelInfo, Format: "text"},
	}
}

// Local returns the configuration of serve --local: a server for localhost that only this machine can reach, on which
// anybody may make as many accounts as he likes, with its data in the given directory (empty: .kith).
func Local(dataDir string) *Config {
	if dataDir == "" {
		dataDir = ".kith"
	}
	c := Default()
	c.Local = true
	c.Data = dataDir
	c.Hosts = []jid.JID{jid.MustParse("localhost")}
	c.Listen = Listen{
		Client:    []netip.AddrPort{loopback(5222)},
		ClientTLS: []netip.AddrPort{loopback(5223)},
		Server:    []netip.AddrPort{loopback(5269)},
		ServerTLS: []netip.AddrPort{loopback(5270)},
		Component: []netip.AddrPort{loopback(5347)},
		Admin:     []netip.AddrPort{loopback(5280)},
	}
	c.Registration = Registration{Mode: Open, Per: time.Hour}
	// Whoever tries a server or measures it does so from one address, and as fast as he can.
	c.Limits.BeforeLoginPerIP = c.Limits.BeforeLogin
	c.Limits.StanzaRate, c.Limits.ByteRate = 0, 0
	return c
}

func loopback(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
}

// StorageURL returns the database's URL, with the file of a SQLite database below the data directory.
func (c *Config) StorageURL() string {
	file, ok := strings.CutPrefix(c.Storage.URL, "sqlite:")
	if !ok || filepath.IsAbs(file) {
		return c.Storage.URL
	}
	return "sqlite:" + filepath.Join(c.Data, file)
}

// Certificate returns the files with the certificate and the key of a host; both are empty if it has none.
func (c *Config) Certificate(host jid.JID) (certificate, key string) {
	if h := c.Host[host.Domain()]; h.Certificate != "" {
		return h.Certificate, h.Key
	}
	return c.TLS.Certificate, c.TLS.Key
}

// RegistrationMode returns who may make an account on a host: nobody, where a directory knows who has one.
func (c *Config) RegistrationMode(host jid.JID) Mode {
	if _, ok := c.LDAP[host.Domain()]; ok {
		return Closed
	}
	if h := c.Host[host.Domain()]; h.Registration != "" {
		return h.Registration
	}
	return c.Registration.Mode
}

// AnonymousReach returns whom people without an account reach on a host. Without the module that holds them to it, there are
// none.
func (c *Config) AnonymousReach(host jid.JID) Reach {
	if r := c.Host[host.Domain()].Anonymous; r != "" && c.ModuleEnabled("anonymous") {
		return r
	}
	return Nowhere
}
