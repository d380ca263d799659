package config_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"kith/server/config"
	"kith/xmpp/jid"
)

const (
	oidcTable = "[oidc.\"example.org\"]\nissuer = \"https://issuer.example\"\naudience = [\"kith\"]\n"
	ldapTable = "[ldap.\"example.org\"]\nurl = [\"ldaps://ldap.example\"]\nbase = \"ou=people\"\n"
)

func TestPeopleErrors(t *testing.T) {
	in := func(table, from, to string) string { return minimal + strings.Replace(table, from, to, 1) }
	for _, test := range []struct{ name, in, want string }{
		{"another host", in(oidcTable, "example.org", "example.net"), `oidc."example.net": not one of the hosts; the nearest is example.org`},
		{"a host twice", in(oidcTable, "[", "[oidc.\"EXAMPLE.org\"]\nissuer = \"https://issuer.example\"\naudience = [\"x\"]\n["), `the same host as "EXAMPLE.org"`},
		{"unknown key", in(oidcTable, "audience", "audiences"), `unknown key; the nearest known key is oidc."example.org".audience`},
		{"no issuer", in(oidcTable, "https://issuer.example", ""), `wanted the URL of an issuer such as "https://login.example.org/realms/staff", got ""`},
		{"an issuer in the open", in(oidcTable, "https", "http"), `wanted the URL of an issuer`},
		{"a file", in(oidcTable, "https://issuer.example", "file:///etc/passwd"), `wanted the URL of an issuer`},
		{"an issuer with a password", in(oidcTable, "https://", "https://me:secret@"), `wanted the URL of an issuer`},
		{"any audience", in(oidcTable, "audience = [\"kith\"]", ""), `wanted at least one name: a token that is for somebody else must not let anybody in here`},
		{"an empty audience", in(oidcTable, "\"kith\"", "\"\""), `wanted a name, got ""`},
		{"no authority", in(oidcTable, "audience", "ca = \"no.pem\"\naudience"), `cannot read no.pem`},

		{"no URL", in(ldapTable, "\"ldaps://ldap.example\"", ""), `wanted at least one URL such as "ldaps://ldap.example.org"`},
		{"http", in(ldapTable, "ldaps:", "https:"), `wanted "ldaps://HOST" or "ldap://HOST", got "https://ldap.example"`},
		{"a socket", in(ldapTable, "ldaps://ldap.example", "ldapi://x"), `wanted "ldaps://HOST" or "ldap://HOST"`},
		{"a base in the URL", in(ldapTable, "ldap.example\"", "ldap.example/ou=people\""), `wanted "ldaps://HOST" or "ldap://HOST"`},
		{"neither base nor dn", in(ldapTable, "base = \"ou=people\"", ""), `wanted either base or dn`},
		{"base and dn", in(ldapTable, "base", "dn = \"uid={name}\"\nbase"), `wanted either base or dn`},
		{"a filter for everybody", in(ldapTable, "base", "filter = \"(uid=*)\"\nbase"), `wanted {name} in it, got "(uid=*)"`},
		{"a dn for everybody", in(ldapTable, "base = \"ou=people\"", "dn = \"uid=x\""), `wanted {name} in it, got "uid=x"`},
		{"a name without a password", in(ldapTable, "base", "bind_dn = \"cn=kith\"\nbase"), `wanted password_file with it`},
		{"a password without a name", in(ldapTable, "base", "password_file = \"key.pem\"\nbase"), `wanted bind_dn with it`},
		{"passwords changed by nobody", in(ldapTable, "base", "password_change = true\nbase"), `wanted bind_dn with it: the directory has to let somebody change passwords`},
		{"an empty password", in(ldapTable, "base", "bind_dn = \"cn=kith\"\npassword_file = \"empty\"\nbase"), `is empty`},
		{"a password that is not there", in(ldapTable, "base", "bind_dn = \"cn=kith\"\npassword_file = \"no\"\nbase"), `cannot read no`},
		{"many connections", in(ldapTable, "base", "connections = 65\nbase"), `wanted 1 to 64, got 65`},
		{"no time", in(ldapTable, "base", "timeout = \"-1s\"\nbase"), `wanted more than 0s`},
		{"registration", in(ldapTable, "[", "[host.\"example.org\"]\nregistration = \"open\"\n["), `wanted no registration at example.org, whose accounts come from the directory`},
		{"tokens, and nobody to look people up", in(ldapTable+oidcTable, "base = \"ou=people\"", "dn = \"uid={name}\""), `wanted bind_dn with it: who comes with a token is looked up in the directory`},
	} {
		t.Run(test.name, func(t *testing.T) {
			write(t, test.in)
			if err := os.WriteFile("empty", []byte("\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := config.Load("kith.toml")
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v\nwant %s", err, test.want)
			}
		})
	}
}

func TestPeopleDefaults(t *testing.T) {
	write(t, strings.Replace(minimal, `"]`, `", "bücher.example"]`, 1)+
		strings.ReplaceAll(oidcTable, "example.org", "BÜCHER.example")+"ca = \"cert.pem\"\n"+
		ldapTable+"bind_dn = \"cn=kith\"\npassword_file = \"key.pem\"\n")
	c, err := config.Load("kith.toml")
	if err != nil {
		t.Fatal(err)
	}
	host := jid.MustParse("bücher.example")
	o, l := c.OIDC[host.Domain()], c.LDAP["example.org"]
	if o.Claim != "preferred_username" || o.GroupsClaim != "groups" || o.Create || o.Adopt || o.CA != "cert.pem" {
		t.Errorf("oidc: %+v", o)
	}
	if l.Filter != "(uid={name})" || l.ID != "entryUUID" || l.Connections != 4 || l.Timeout != 5*time.Second || l.Password != "k" || l.Adopt {
		t.Errorf("ldap: %+v", l)
	}
	if got := c.RegistrationMode(jid.MustParse("example.org")); got != config.Closed {
		t.Errorf("registration at a host that has a directory: %s", got)
	}
	if got := c.RegistrationMode(host); got != config.Invite {
		t.Errorf("registration at a host that has an issuer: %s", got)
	}
}
