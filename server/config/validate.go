package config

import (
	"errors"
	"iter"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"kith/xmpp/jid"
)

// validate checks what a type alone cannot say.
func (d *decoder) validate(c *Config) {
	d.hosts(c)
	d.hostTables(c)
	d.people(c)
	d.listeners(c)
	d.components(c)
	d.pair(path{"tls"}, c.TLS.Certificate, c.TLS.Key)
	d.readable(path{"tls", "client_ca"}, c.TLS.ClientCA)
	if !c.Local {
		d.certificates(c)
	}
	d.storage(c)
	d.servers(c)
	d.mode(path{"registration", "mode"}, c.Registration.Mode)
	d.least(path{"registration", "per_ip"}, c.Registration.PerIP, 0)
	d.positive(path{"registration", "per"}, c.Registration.Per)
	d.limits(&c.Limits)
	if c.Log.Format != "text" && c.Log.Format != "json" {
		d.invalid(path{"log", "format"}, `wanted "text" or "json", got `+show(c.Log.Format))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Modules)) {
		if v, ok := c.Modules[name].values[enabledKey]; ok {
			if _, ok := v.(bool); !ok {
				d.invalid(path{"modules", name, enabledKey}, "wanted true or false, got "+show(v))
			}
		}
	}
}

// invalid reports a value, where it stands or, if it stands nowhere, without a place.
func (d *decoder) invalid(at path, msg string) { d.fail(d.doc.valueAt(at), at, msg, nil) }

func (d *decoder) hosts(c *Config) {
	if len(c.Hosts) == 0 {
		d.invalid(path{"hosts"}, `wanted at least one domain, such as hosts = ["example.org"]`)
	}
	for i, h := range c.Hosts {
		at := path{"hosts"}.index(i)
		switch {
		case h.Host() != h:
			d.invalid(at, `wanted a domain such as "example.org", got the address `+show(h.String()))
		case slices.Contains(c.Hosts[:i], h):
			d.invalid(at, show(h.String())+" is there twice")
		}
	}
}

func (d *decoder) hostTables(c *Config) {
	for written, name := range d.perHost(c, "host") {
		at, h := path{"host", written}, c.Host[name]
		d.pair(at, h.Certificate, h.Key)
		if h.Registration != "" {
			d.mode(at.with("registration"), h.Registration)
		}
		switch h.Anonymous {
		case "", Nowhere, Here, Everywhere:
		default:
			d.invalid(at.with("anonymous"), `wanted "no", "local" or "everywhere", got `+show(string(h.Anonymous)))
		}
		d.contacts(at.with("contact"), h.Contact)
	}
}

// perHost goes through the tables [key."HOST"]: how the host is written, and what the server calls it. It reports those that are
// for no host, or for one that has such a table already.
func (d *decoder) perHost(c *Config, key string) iter.Seq2[string, string] {
	return func(yield func(written, name string) bool) {
		names := make([]string, len(c.Hosts))
		for i, h := range c.Hosts {
			names[i] = h.Domain()
		}
		seen := map[string]string{}
		for _, written := range slices.Sorted(maps.Keys(tableOf(d.doc.values, key))) {
			at := path{key, written}
			name := written
			if j, err := jid.Parse(written); err == nil && j.Host() == j {
				name = j.Domain()
			}
			if !slices.Contains(names, name) {
				msg := "not one of the hosts"
				if near := nearest(name, names); near != "" {
					msg += "; the nearest is " + near
				}
				d.fail(d.doc.keyAt(at), at, msg, nil)
				continue
			}
			if other := seen[name]; other != "" {
				d.fail(d.doc.keyAt(at), at, "the same host as "+show(other), nil)
			}
			seen[name] = written
			if !yield(written, name) {
				return
			}
		}
	}
}

// tableOf returns a table below values; what is none has been reported by then.
func tableOf(values map[string]any, key string) map[string]any {
	t, _ := values[key].(map[string]any)
	return t
}

func (d *decoder) contacts(at path, c Contact) {
	for key, list := range map[string][]string{
		"admin": c.Admin, "abuse": c.Abuse, "feedback": c.Feedback, "sales": c.Sales,
		"security": c.Security, "status": c.Status, "support": c.Support,
	} {
		for i, uri := range list {
			if u, err := url.Parse(uri); err != nil || u.Scheme == "" {
				d.invalid(at.with(key).index(i), `wanted a URI such as "xmpp:admin@example.org" or "mailto:abuse@example.org", got `+show(uri))
			}
		}
	}
}

// listener is a key of [listen] that is built.
type listener struct {
	key       string
	addresses []netip.AddrPort
	encrypted bool // speaks TLS to strangers, so that it needs a certificate
}

func (l Listen) all() []listener {
	return []listener{
		{"client", l.Client, true},
		{"client_tls", l.ClientTLS, true},
		{"server", l.Server, true},
		{"server_tls", l.ServerTLS, true},
		{"component", l.Component, false},
		{"component_tls", l.ComponentTLS, true},
		{"admin", l.Admin, false},
	}
}

func (d *decoder) listeners(c *Config) {
	used := map[netip.AddrPort]string{}
	for _, l := range c.Listen.all() {
		for i, a := range l.addresses {
			at := path{"listen", l.key}.index(i)
			switch other := used[a]; {
			case c.Local && !a.Addr().IsLoopback():
				d.invalid(at, "with --local every listener is on loopback, such as 127.0.0.1; use kith serve --config for others")
			case other != "" && a.Port() != 0: // port 0 is a free port, each time another
				d.invalid(at, show(a.String())+" is used by "+other+" already")
			}
			used[a] = at.String()
		}
	}
}

// pair checks that a certificate and its key come together, and are there to be read.
func (d *decoder) pair(at path, certificate, key string) {
	switch {
	case certificate != "" && key == "":
		d.invalid(at.with("certificate"), "wanted "+at.with("key").String()+" with it: a certificate serves only with its private key")
	case certificate == "" && key != "":
		d.invalid(at.with("key"), "wanted "+at.with("certificate").String()+" with it: a private key serves only with its certificate")
	}
	d.readable(at.with("certificate"), certificate)
	d.readable(at.with("key"), key)
}

func (d *decoder) readable(at path, file string) {
	if file == "" {
		return
	}
	if _, err := readSome(file); err != nil {
		d.fail(d.doc.valueAt(at), at, "cannot read "+file+": "+why(err).Error(), err)
	}
}

// certificates makes sure that strangers get a certificate to trust. On loopback the server makes one itself.
func (d *decoder) certificates(c *Config) {
	strangers := false
	for _, l := range c.Listen.all() {
		strangers = strangers || l.encrypted &&
			slices.ContainsFunc(l.addresses, func(a netip.AddrPort) bool { return !a.Addr().IsLoopback() })
	}
	if !strangers {
		return
	}
	for i, h := range c.Hosts {
		// Half a pair has been reported already.
		if file, key := c.Certificate(h); file == "" && key == "" {
			d.invalid(path{"hosts"}.index(i), show(h.Domain())+` has no certificate; set certificate and key in [tls] or in [host."`+h.Domain()+`"], or listen on loopback only`)
		}
	}
}

func (d *decoder) storage(c *Config) {
	at := path{"storage", "url"}
	if c.Storage.URLFile != "" {
		at = path{"storage", "url_file"}
	}
	scheme, rest, _ := strings.Cut(c.Storage.URL, ":")
	if rest != "" && slices.Contains([]string{"sqlite", "postgres", "postgresql"}, scheme) {
		return
	}
	// The URL may hold a password, so it is not shown.
	d.invalid(at, `wanted "sqlite:FILE" or "postgres://USER:PASSWORD@HOST/NAME"`)
}

func (d *decoder) mode(at path, m Mode) {
	switch m {
	case Open, Closed, Invite:
	default:
		d.invalid(at, `wanted "invite", "open" or "closed", got `+show(string(m)))
	}
}

func (d *decoder) limits(l *Limits) {
	at := func(key string) path { return path{"limits", key} }
	d.least(at("stanza_before_login"), int(l.StanzaBeforeLogin), 10_000) // RFC 6120 §13.12
	if l.Stanza < l.StanzaBeforeLogin {
		d.invalid(at("stanza"), "wanted at least stanza_before_login, "+l.StanzaBeforeLogin.String()+", got "+l.Stanza.String())
	}
	d.least(at("depth_before_login"), l.DepthBeforeLogin, 4)
	if l.Depth < l.DepthBeforeLogin {
		d.invalid(at("depth"), "wanted at least depth_before_login, "+strconv.Itoa(l.DepthBeforeLogin)+", got "+strconv.Itoa(l.Depth))
	}
	for key, n := range map[string]int{
		"elements": l.Elements, "attributes": l.Attributes, "namespaces": l.Namespaces, "handshakes": l.Handshakes,
		"before_login_per_ip": l.BeforeLoginPerIP, "before_login": l.BeforeLogin, "login_failures": l.LoginFailures,
		"sessions": l.Sessions, "unacked_stanzas": l.UnackedStanzas, "credit": l.Credit,
		"anonymous": l.Anonymous, "anonymous_per_ip": l.AnonymousPerIP,
	} {
		d.least(at(key), n, 1)
	}
	for key, t := range map[string]time.Duration{
		"handshake": l.Handshake, "login": l.Login, "login_backoff": l.LoginBackoff, "login_backoff_max": l.LoginBackoffMax,
		"ping_after": l.PingAfter, "ping_wait": l.PingWait, "resume": l.Resume,
	} {
		d.positive(at(key), t)
	}
	// Each of these has to hold one stanza of the largest size, or it could never be sent.
	for key, size := range map[string]Size{
		"session_queue": l.SessionQueue, "unacked": l.Unacked, "credit_bytes": l.CreditBytes, "byte_burst": l.ByteBurst,
	} {
		if size < l.Stanza {
			d.invalid(at(key), "wanted at least the size of one stanza, "+l.Stanza.String()+", got "+size.String())
		}
	}
	d.least(at("stanza_rate"), l.StanzaRate, 0)
	d.least(at("stanza_burst"), l.StanzaBurst, 1)
}

func (d *decoder) least(at path, n, least int) {
	if n < least {
		d.invalid(at, "wanted at least "+strconv.Itoa(least)+", got "+strconv.Itoa(n))
	}
}

var errNotPositive = errors.New("not positive")

func (d *decoder) positive(at path, t time.Duration) {
	if t <= 0 {
		d.fail(d.doc.valueAt(at), at, "wanted more than 0s, got "+t.String(), errNotPositive)
	}
}
