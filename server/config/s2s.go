package config

import (
	"net/netip"
	"time"

	"kith/xmpp/jid"
)

// S2S is the table [s2s].
type S2S struct {
	// Whether there are streams with other servers at all. Without, only users and components of this server reach each other.
	Enabled bool `toml:"enabled"`
	// The only domains that are spoken with, and those below them. Empty: all.
	Allow []jid.JID `toml:"allow" example:"[\"example.net\"]"`
	// Domains that are not spoken with, nor those below them, also where allow names them.
	Deny []jid.JID `toml:"deny" example:"[\"spam.example\"]"`
	// Whether another server needs a certificate for its domain that an authority has signed and that has not expired. With false
	// dialback (XEP-0220) is enough: whom the name service names is believed, which protects from little.
	RequireCertificate bool `toml:"require_certificate"`
	// Domains, and those below them, that need none all the same: for them dialback is enough.
	Dialback []jid.JID `toml:"dialback" example:"[\"old.example\"]"`
	// File with the authorities that other servers' certificates are verified by, in the place of the system's, PEM.
	CA string `toml:"ca" example:"\"/etc/kith/servers-ca.pem\""`
	// Whether addresses of private networks and of this machine may be connected to. Strangers choose the names that are looked
	// up, so that with true they can have the server knock at doors within your network.
	Private bool `toml:"private"`
	// The name server to ask, an address and a port. Not set: those of the system.
	Resolver netip.AddrPort `toml:"resolver" example:"\"127.0.0.1:53\""`
	// Whether other servers' domains may say in the name service which certificate they have (DANE, RFC 7673); that counts in the
	// place of authorities. It needs a resolver that validates (DNSSEC) and is believed: "auto", if resolver is set and is on this
	// machine (loopback); "on", wherever it is; "off", never.
	DANE DANE `toml:"dane"`
	// Whether one stream may carry stanzas both ways (XEP-0288), where the other server can do that, too.
	Bidi bool `toml:"bidi"`
	// What may wait to be sent from one domain to another; more is sent back.
	Queue Size `toml:"queue"`
	// How long a stanza waits for a stream before it is sent back.
	QueueAge time.Duration `toml:"queue_age"`
	// How long a stream is kept on which nothing is sent.
	Idle time.Duration `toml:"idle"`
}

// DANE says when the resolver is believed what it says of DNSSEC.
type DANE string

// Values of DANE.
const (
	DANEAuto DANE = "auto"
	DANEOn   DANE = "on"
	DANEOff  DANE = "off"
)

// Trusted reports whether the resolver is believed what it says of DNSSEC.
func (s S2S) Trusted() bool {
	return s.Resolver.IsValid() && (s.DANE == DANEOn || s.DANE == DANEAuto && s.Resolver.Addr().Unmap().IsLoopback())
}

func defaultS2S() S2S {
	return S2S{Enabled: true, RequireCertificate: true, DANE: DANEAuto, Bidi: true, Queue: 4 * MiB, QueueAge: time.Minute, Idle: 10 * time.Minute}
}

// servers checks the table [s2s].
func (d *decoder) servers(c *Config) {
	at := func(key string) path { return path{"s2s", key} }
	for key, list := range map[string][]jid.JID{"allow": c.S2S.Allow, "deny": c.S2S.Deny, "dialback": c.S2S.Dialback} {
		for i, j := range list {
			if j != j.Host() {
				d.invalid(at(key).index(i), `wanted a domain such as "example.org", got the address `+show(j.String()))
			}
		}
	}
	d.readable(at("ca"), c.S2S.CA)
	switch c.S2S.DANE {
	case DANEAuto, DANEOff:
	case DANEOn:
		if !c.S2S.Resolver.IsValid() {
			d.invalid(at("dane"), `wanted resolver with it, the name server that validates, such as "127.0.0.1:53"`)
		}
	default:
		d.invalid(at("dane"), `wanted "auto", "on" or "off", got `+show(string(c.S2S.DANE)))
	}
	d.positive(at("queue_age"), c.S2S.QueueAge)
	d.positive(at("idle"), c.S2S.Idle)
	d.least(at("queue"), int(c.S2S.Queue), 10_000)
	d.least(path{"limits", "stanza_server"}, int(c.Limits.StanzaServer), 10_000) // RFC 6120 §13.12
}
