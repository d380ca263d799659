package config

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// OIDC is a table [oidc."example.org"].
type OIDC struct {
	// The issuer's URL, exactly as it stands in its tokens. https, or http on loopback. Its description is read below it, at
	// /.well-known/openid-configuration, when somebody logs in.
	Issuer string `toml:"issuer" example:"\"https://login.example.org/realms/staff\""`
	// File with the authority of the issuer's certificate, PEM, if the system does not know it.
	CA string `toml:"ca" example:"\"/etc/kith/issuer-ca.pem\""`
	// Whom a token has to be for (the claim aud): one of these. It should be a name that the issuer gives to tokens for this
	// server only.
	Audience []string `toml:"audience" example:"[\"kith\"]"`
	// The claim that holds the account's name. If its value has an @, what follows has to be the host, and the name is what
	// comes before. Of the claim email, only an address that the issuer says it has verified counts. Not set: "preferred_username".
	Claim string `toml:"claim" example:"\"email\""`
	// The scope that a token must have. Clients are told to ask for it.
	Scope string `toml:"scope" example:"\"xmpp\""`
	// The claim with a person's groups, a dot for each step down. Not set: "groups".
	GroupsClaim string `toml:"groups_claim" example:"\"realm_access.roles\""`
	// Only members of one of these groups may log in. Not set: everybody.
	Groups []string `toml:"groups" example:"[\"staff\"]"`
	// Members of one of these groups are administrators of the host, and nobody else who comes with a token is. Not set: tokens
	// change nothing about that.
	AdminGroups []string `toml:"admin_groups" example:"[\"it\"]"`
	// Whether somebody who has no account gets one by logging in.
	Create bool `toml:"create"`
	// Whether somebody gets the account of his name that was made here. Its password is forgotten then.
	Adopt bool `toml:"adopt"`
}

// LDAP is a table [ldap."example.org"].
type LDAP struct {
	// Where the directory listens, "ldaps://HOST" or "ldap://HOST"; of several the first that answers. With ldap:// TLS is begun
	// by STARTTLS, always, but for an address of loopback.
	URL []string `toml:"url" example:"[\"ldaps://ldap.example.org\"]"`
	// File with the authority of the directory's certificate, PEM, if the system does not know it.
	CA string `toml:"ca" example:"\"/etc/kith/ldap-ca.pem\""`
	// As whom people are looked up. Not set: as nobody.
	BindDN string `toml:"bind_dn" example:"\"cn=kith,ou=services,dc=example,dc=org\""`
	// File with the password of bind_dn.
	PasswordFile string `toml:"password_file" example:"\"/etc/kith/ldap-password\""`
	// Below which entry people are looked for.
	Base string `toml:"base" example:"\"ou=people,dc=example,dc=org\""`
	// How somebody is found below base: a filter (RFC 4515), with {name} where the account's name belongs. Who is not found
	// cannot log in. Not set: "(uid={name})".
	Filter string `toml:"filter" example:"\"(&(uid={name})(!(loginDisabled=TRUE)))\""`
	// In place of base: the entry of the account {name}. With a filter, the entry has to match it. Without bind_dn it is read by
	// its owner.
	DN string `toml:"dn" example:"\"uid={name},ou=people,dc=example,dc=org\""`
	// The attribute that stays the same for a person, and is never given to a second one. Not set: "entryUUID".
	ID string `toml:"id" example:"\"objectGUID\""`
	// Only members of this group may log in: an entry with member, uniqueMember or memberUid. Not set: everybody.
	Group string `toml:"group" example:"\"cn=chat,ou=groups,dc=example,dc=org\""`
	// Members of this group are administrators of the host, and nobody else is. Not set: the directory changes nothing about that.
	AdminGroup string `toml:"admin_group" example:"\"cn=it,ou=groups,dc=example,dc=org\""`
	// Whether somebody gets the account of his name that was made here. Its password is forgotten then.
	Adopt bool `toml:"adopt"`
	// Whether people may change their password in the directory from their client (XEP-0077), by RFC 3062. bind_dn has to be
	// allowed that there; the directory is not told the old password. Not set: they may not.
	PasswordChange bool `toml:"password_change"`
	// How many connections to the directory there are at most; who logs in waits for one. Not set: 4.
	Connections int `toml:"connections" example:"8"`
	// How long the directory may take for an answer. Not set: 5s.
	Timeout time.Duration `toml:"timeout" example:"\"10s\""`
	// How often those who have sessions are looked up again: who is not found any more is logged out. It needs bind_dn, unless
	// everybody may look people up. Not set: 15m.
	Recheck time.Duration `toml:"recheck" example:"\"5m\""`

	// Password is what is in PasswordFile.
	Password string `toml:"-"`
}

// Loopback reports whether the host of a URL is an address of this machine.
func Loopback(u *url.URL) bool {
	if u.Hostname() == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(u.Hostname())
	return err == nil && a.IsLoopback()
}

// completePeople fills in what holds where a table says nothing: a map's entry has no defaults.
func (d *decoder) completePeople(c *Config, relative func(*string)) {
	def := func(s *string, what string) {
		if *s == "" {
			*s = what
		}
	}
	c.OIDC, c.LDAP = canonical(c.OIDC), canonical(c.LDAP)
	for name, o := range c.OIDC {
		relative(&o.CA)
		def(&o.Claim, "preferred_username")
		def(&o.GroupsClaim, "groups")
		c.OIDC[name] = o
	}
	for name, l := range c.LDAP {
		relative(&l.CA)
		relative(&l.PasswordFile)
		if l.DN == "" {
			def(&l.Filter, "(uid={name})")
		}
		def(&l.ID, "entryUUID")
		if l.Connections == 0 {
			l.Connections = 4
		}
		if l.Timeout == 0 {
			l.Timeout = 5 * time.Second
		}
		if l.Recheck == 0 {
			l.Recheck = 15 * time.Minute
		}
		if text, err := readSome(l.PasswordFile); err == nil { // else validate says so
			l.Password = strings.TrimRight(string(text), "\r\n")
		}
		c.LDAP[name] = l
	}
}

// people checks where people come from.
func (d *decoder) people(c *Config) {
	for written, name := range d.perHost(c, "oidc") {
		d.oidc(path{"oidc", written}, c.OIDC[name])
	}
	for written, name := range d.perHost(c, "ldap") {
		d.ldap(path{"ldap", written}, c.LDAP[name])
		if h := c.Host[name]; h.Registration != "" && h.Registration != Closed {
			at := path{"ldap", written}
			d.fail(d.doc.keyAt(at), at, "wanted no registration at "+name+", whose accounts come from the directory", nil)
		}
		if _, both := c.OIDC[name]; both && c.LDAP[name].DN != "" && c.LDAP[name].BindDN == "" {
			at := path{"ldap", written}
			d.invalid(at.with("dn"), "wanted bind_dn with it: who comes with a token is looked up in the directory")
		}
	}
}

func (d *decoder) oidc(at path, o OIDC) {
	u, err := url.Parse(o.Issuer)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !Loopback(u)) {
		got := ", got " + show(o.Issuer)
		if u == nil || u.User != nil { // which may be a password
			got = ""
		}
		d.invalid(at.with("issuer"), `wanted the URL of an issuer such as "https://login.example.org/realms/staff"`+got)
	}
	d.readable(at.with("ca"), o.CA)
	if len(o.Audience) == 0 {
		d.invalid(at.with("audience"), "wanted at least one name: a token that is for somebody else must not let anybody in here")
	}
	for i, a := range o.Audience {
		if a == "" {
			d.invalid(at.with("audience").index(i), `wanted a name, got ""`)
		}
	}
}

func (d *decoder) ldap(at path, l LDAP) {
	if len(l.URL) == 0 {
		d.invalid(at.with("url"), `wanted at least one URL such as "ldaps://ldap.example.org"`)
	}
	for i, text := range l.URL {
		u, err := url.Parse(text)
		if err != nil || u.Hostname() == "" || u.User != nil || u.Scheme != "ldaps" && u.Scheme != "ldap" || strings.Trim(u.Path, "/") != "" {
			d.invalid(at.with("url").index(i), `wanted "ldaps://HOST" or "ldap://HOST", got `+show(text))
		}
	}
	d.readable(at.with("ca"), l.CA)
	d.readable(at.with("password_file"), l.PasswordFile)
	switch {
	// RFC 4513 §5.1.2: a name without a password is not an identity.
	case l.BindDN != "" && l.PasswordFile == "":
		d.invalid(at.with("bind_dn"), "wanted password_file with it")
	case l.BindDN == "" && l.PasswordFile != "":
		d.invalid(at.with("password_file"), "wanted bind_dn with it")
	case l.BindDN != "" && l.Password == "":
		d.invalid(at.with("password_file"), l.PasswordFile+" is empty")
	}
	switch {
	case l.Base == "" && l.DN == "", l.Base != "" && l.DN != "":
		d.invalid(at.with("base"), "wanted either base or dn")
	case l.Base != "" && !strings.Contains(l.Filter, "{name}"):
		d.invalid(at.with("filter"), "wanted {name} in it, got "+show(l.Filter))
	case l.DN != "" && !strings.Contains(l.DN, "{name}"):
		d.invalid(at.with("dn"), "wanted {name} in it, got "+show(l.DN))
	}
	if l.PasswordChange && l.BindDN == "" {
		d.invalid(at.with("password_change"), "wanted bind_dn with it: the directory has to let somebody change passwords")
	}
	if l.Connections < 1 || l.Connections > 64 {
		d.invalid(at.with("connections"), "wanted 1 to 64, got "+strconv.Itoa(l.Connections))
	}
	d.positive(at.with("timeout"), l.Timeout)
	if l.Recheck < time.Minute {
		d.invalid(at.with("recheck"), "wanted at least 1m, got "+l.Recheck.String())
	}
}
