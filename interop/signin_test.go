//go:build interop

package interop_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"kith/client"
	"kith/xmpp/jid"
	"kith/xmpp/sasl"
	"kith/xmpp/stanza"
	xregister "kith/xmpp/xep/register"
)

// comes logs in by the library and returns how that ends: the mechanism, or the
// condition of the failure.
func comes(t *testing.T, s *server, user, password string, token func(context.Context) (string, error)) string {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(s.cert)
	ctx, cancel := context.WithTimeout(t.Context(), *patience)
	defer cancel()
	c, err := client.Dial(ctx, client.Config{
		JID: jid.MustParse(s.jid(user)), Password: password, Token: token, Address: s.addr(), TLS: &tls.Config{RootCAs: roots},
	})
	if f, ok := errors.AsType[*sasl.Failure](err); ok {
		return f.Condition
	}
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	return c.State().Mechanism
}

// issuer is an oidc-provider, on loopback.
type issuer struct {
	url  string
	port int
	proc *process
}

func startIssuer(t *testing.T) *issuer {
	t.Helper()
	if !exists(t, filepath.Join("issuer", "node_modules", "installed.json")) {
		unavailable(t, "oidc-provider is not installed")
	}
	i := &issuer{port: freePort(t)}
	i.url = "http://127.0.0.1:" + strconv.Itoa(i.port)
	i.start(t)
	return i
}

func (i *issuer) start(t *testing.T) {
	t.Helper()
	i.proc = spawn(t, exec.Command(program(t, "node"), filepath.Join("issuer", "issuer.mjs"), strconv.Itoa(i.port)))
	i.proc.awaitPort(t, strings.TrimPrefix(i.url, "http://"))
}

// token gets one, for a resource of issuer.mjs.
func (i *issuer) token(t *testing.T, user, resource, scope string) func(context.Context) (string, error) {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "resource": {"https://resources.example/" + resource}, "scope": {scope}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, i.url+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(user, "secret")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Token string `json:"access_token"`
		Error string `json:"error_description"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Token == "" {
		t.Fatalf("a token for %s: %v %s", user, err, answer.Error)
	}
	return func(context.Context) (string, error) { return answer.Token, nil }
}

// TestIssuer: the tokens of a certified issuer let in whom they are for, while they
// hold, also after the issuer has got another key or is away.
func TestIssuer(t *testing.T) {
	t.Parallel()
	i := startIssuer(t)
	s := startKithOn(t, "", "[oidc.localhost]", "issuer = "+strconv.Quote(i.url), `audience = ["kith"]`, "create = true", `scope = "xmpp"`)
	register(t, s, "romeo")
	mercutio := i.token(t, "mercutio", "kith", "xmpp")
	brief := i.token(t, "mercutio", "kith?ttl=1", "xmpp")
	for _, test := range []struct {
		what, user, password string
		token                func(context.Context) (string, error)
		want                 string
	}{
		{"his token", "mercutio", "", mercutio, sasl.OAuthBearer},
		{"by ES256", "mercutio", "", i.token(t, "mercutio", "kith?alg=ES256", "xmpp"), sasl.OAuthBearer},
		{"another's", "tybalt", "", mercutio, sasl.InvalidAuthzid},
		{"for somebody else", "mercutio", "", i.token(t, "mercutio", "other", "xmpp"), sasl.NotAuthorized},
		{"without the scope", "mercutio", "", i.token(t, "mercutio", "kith", ""), sasl.NotAuthorized},
		{"an account with a password", "romeo", "", i.token(t, "romeo", "kith", "xmpp"), sasl.NotAuthorized},
		{"by password", "romeo", passwordOf("romeo"), nil, "SCRAM-SHA-512-PLUS"},
	} {
		if got := comes(t, s, test.user, test.password, test.token); got != test.want {
			t.Errorf("%s: %s, want %s", test.what, got, test.want)
		}
	}
	time.Sleep(2100 * time.Millisecond) // until the issuer's own token has expired
	if got := comes(t, s, "mercutio", "", brief); got != sasl.NotAuthorized {
		t.Errorf("expired: %s, want %s", got, sasl.NotAuthorized)
	}

	i.proc.stop()
	if got := comes(t, s, "mercutio", "", mercutio); got != sasl.OAuthBearer {
		t.Errorf("by a key that is known, without the issuer: %s, want %s", got, sasl.OAuthBearer)
	}
	i.start(t) // with other keys
	fresh := i.token(t, "mercutio", "kith", "xmpp")
	// The issuer is asked again after a while, not at once.
	got := ""
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end) && got != sasl.OAuthBearer; time.Sleep(time.Second) {
		got = comes(t, s, "mercutio", "", fresh)
	}
	if got != sasl.OAuthBearer {
		t.Errorf("by another key: %s, want %s", got, sasl.OAuthBearer)
	}
	if got := comes(t, s, "mercutio", "", mercutio); got != sasl.NotAuthorized {
		t.Errorf("by a key that was withdrawn: %s, want %s", got, sasl.NotAuthorized)
	}

	i.proc.stop()
	s.proc.stop()
	s.proc = s.start(t)
	if got := comes(t, s, "mercutio", "", fresh); got != sasl.TemporaryAuthFailure {
		t.Errorf("after a start without the issuer: %s, want %s", got, sasl.TemporaryAuthFailure)
	}
	if got := comes(t, s, "romeo", passwordOf("romeo"), nil); got != "SCRAM-SHA-512-PLUS" {
		t.Errorf("by password, without the issuer: %s", got)
	}
}

// The directory's people. The password of each is his own name.
const people = `
dn: dc=example,dc=org
objectClass: domain
dc: example

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: cn=kith,dc=example,dc=org
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: kith
userPassword: service

dn: cn=it,dc=example,dc=org
objectClass: groupOfNames
cn: it
member: uid=tybalt,ou=people,dc=example,dc=org
`

func person(name, more string) string {
	return fmt.Sprintf("\ndn: uid=%[1]s,ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: %[1]s\ncn: %[1]s\nsn: %[1]s\nuserPassword: %[1]s\n%[2]s", name, more)
}

// directory is a slapd with a configuration and entries of its own.
type directory struct {
	dir, ca, port, secure string
	address               string // of this machine, not of loopback; "" if it has none
	path, conf            string
	proc                  *process
}

func startSlapd(t *testing.T) *directory {
	t.Helper()
	path := "/usr/sbin/slapd" // which is in the PATH of root only
	if !exists(t, path) {
		unavailable(t, "slapd is not installed")
	}
	d := &directory{dir: t.TempDir(), path: path, port: strconv.Itoa(freePort(t)), secure: strconv.Itoa(freePort(t)), address: globalAddress(t)}
	d.ca = filepath.Join(d.dir, "ca.pem")
	key := filepath.Join(d.dir, "key.pem")
	selfSigned(t, "localhost", d.ca, key, net.ParseIP(d.address))
	d.conf = filepath.Join(d.dir, "slapd.conf")
	writeFile(t, d.conf, strings.Join([]string{
		"include /etc/ldap/schema/core.schema", "include /etc/ldap/schema/cosine.schema", "include /etc/ldap/schema/inetorgperson.schema",
		"modulepath /usr/lib/ldap", "moduleload back_mdb",
		"pidfile " + filepath.Join(d.dir, "slapd.pid"), "argsfile " + filepath.Join(d.dir, "slapd.args"),
		"TLSCertificateFile " + d.ca, "TLSCertificateKeyFile " + key,
		// RFC 4513 §5.1.2: a directory that lets in whoever shows no password.
		"allow bind_anon_cred bind_anon_dn",
		"database mdb", "suffix dc=example,dc=org", "directory " + d.dir, "maxsize 10485760",
		`access to dn.exact="uid=tybalt,ou=people,dc=example,dc=org" attrs=userPassword by anonymous auth by * none`,
		`access to attrs=userPassword by dn.exact="cn=kith,dc=example,dc=org" =w by anonymous auth by * none`,
		`access to * by dn.exact="cn=kith,dc=example,dc=org" read by self read by * none`, "",
	}, "\n"))
	d.load(t, people+person("mercutio", "")+person("tybalt", "")+person("romeo", "")+person("gone", "employeeType: left\n"))
	d.start(t)
	return d
}

// load adds entries while slapd does not run.
func (d *directory) load(t *testing.T, ldif string) {
	t.Helper()
	file := filepath.Join(d.dir, "entries.ldif")
	writeFile(t, file, ldif)
	cmd := exec.Command(d.path, "-Tadd", "-f", d.conf, "-l", file)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("slapadd: %v\n%s", err, out)
	}
}

func (d *directory) start(t *testing.T) {
	t.Helper()
	urls := "ldap://127.0.0.1:" + d.port + " ldaps://127.0.0.1:" + d.secure
	if d.address != "" {
		urls += " ldap://" + d.address + ":" + d.port
	}
	d.proc = spawn(t, exec.Command(d.path, "-f", d.conf, "-h", urls, "-d", "0"))
	d.proc.awaitPort(t, "127.0.0.1:"+d.port)
}

// lines are the configuration of a host that asks the directory at a URL.
func (d *directory) lines(t *testing.T, url string, more ...string) []string {
	t.Helper()
	password := filepath.Join(d.dir, "password")
	writeFile(t, password, "service\n")
	return append([]string{
		"[ldap.localhost]", "url = [" + strconv.Quote(url) + "]", "ca = " + strconv.Quote(d.ca),
		`bind_dn = "cn=kith,dc=example,dc=org"`, "password_file = " + strconv.Quote(password),
		`admin_group = "cn=it,dc=example,dc=org"`,
	}, more...)
}

// TestSlapd: the passwords of OpenLDAP's let in those whom it knows, and nobody else.
func TestSlapd(t *testing.T) {
	t.Parallel()
	d := startSlapd(t)
	base := `base = "ou=people,dc=example,dc=org"`
	filter := `filter = "(&(uid={name})(!(employeeType=left)))"`
	own := []string{"[ldap.localhost]", `url = ["ldap://127.0.0.1:` + d.port + `"]`, `dn = "uid={name},ou=people,dc=example,dc=org"`, `filter = "(!(employeeType=left))"`}
	ways := map[string][]string{
		"ldaps":            d.lines(t, "ldaps://localhost:"+d.secure, base, filter),
		"loopback":         d.lines(t, "ldap://127.0.0.1:"+d.port, base, filter),
		"names, looked up": d.lines(t, "ldap://127.0.0.1:"+d.port, `dn = "uid={name},ou=people,dc=example,dc=org"`, filter),
		"names":            own,
	}
	if d.address != "" {
		ways["STARTTLS"] = d.lines(t, "ldap://"+d.address+":"+d.port, base, filter)
	}
	for way, lines := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			s := startKithOn(t, "", lines...)
			for _, test := range []struct{ user, password, want string }{
				{"mercutio", "mercutio", sasl.Plain},
				{"Mercutio", "mercutio", sasl.Plain},
				{"mercutio", "tybalt", sasl.NotAuthorized},
				{"mercutio", " ", sasl.NotAuthorized},
				{"nobody", "nobody", sasl.NotAuthorized},
				{"gone", "gone", sasl.NotAuthorized},
				{"*", "mercutio", sasl.NotAuthorized},
				{"merc*", "mercutio", sasl.NotAuthorized},
				{"x)(uid=mercutio", "mercutio", sasl.NotAuthorized},
				{"*)(|(uid=*", "mercutio", sasl.NotAuthorized},
				{"mercutio,ou=people", "mercutio", sasl.NotAuthorized},
				{"mercutio+uid=tybalt", "mercutio", sasl.NotAuthorized},
				{`mercutio\`, "mercutio", sasl.NotAuthorized},
			} {
				if got := comes(t, s, test.user, test.password, nil); got != test.want {
					t.Errorf("%s with %q: %s, want %s", test.user, test.password, got, test.want)
				}
			}
			c, err := dial(s, tls.VersionTLS13)
			if err != nil {
				t.Fatal(err)
			}
			defer c.conn.Close()
			if got := strings.Join(c.mechanisms(), " "); got != sasl.Plain {
				t.Errorf("offered: %s, want PLAIN", got)
			}
			// RFC 4513 §5.1.2
			if err := c.plain("mercutio", ""); err == nil || !strings.Contains(err.Error(), nsSASL) {
				t.Errorf("an empty password: %v, want a SASL failure", err)
			}
		})
	}
}

// TestSlapdPassword: people change their passwords in OpenLDAP, where both it and the
// configuration allow it.
func TestSlapdPassword(t *testing.T) {
	d := startSlapd(t)
	base := `base = "ou=people,dc=example,dc=org"`
	change := func(s *server, user, password, to string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), *patience)
		defer cancel()
		roots := x509.NewCertPool()
		roots.AddCert(s.cert)
		c, err := client.Dial(ctx, client.Config{JID: jid.MustParse(s.jid(user)), Password: password, Address: s.addr(), TLS: &tls.Config{RootCAs: roots}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = c.SendIQ(ctx, stanza.New(stanza.IQ, stanza.Set, jid.JID{}, jid.MustParse(s.domain), &xregister.Query{
			Fields: []xregister.Field{{Name: xregister.Username, Value: user}, {Name: xregister.Password, Value: to}}}))
		if e, ok := errors.AsType[*stanza.Error](err); ok {
			return e.Condition
		}
		if err != nil {
			t.Fatal(err)
		}
		return ""
	}
	s := startKithOn(t, "", d.lines(t, "ldaps://localhost:"+d.secure, base)...)
	if got := change(s, "mercutio", "mercutio", "plague"); got != stanza.ErrNotAllowed.Condition {
		t.Errorf("where nobody has said that they may: %q, want not-allowed", got)
	}
	s = startKithOn(t, "", d.lines(t, "ldaps://localhost:"+d.secure, base, "password_change = true")...)
	if got := change(s, "mercutio", "mercutio", "plague"); got != "" {
		t.Errorf("mercutio: %s", got)
	}
	if got := change(s, "tybalt", "tybalt", "plague"); got != stanza.ErrNotAllowed.Condition {
		t.Errorf("where the directory does not let us: %q, want not-allowed", got)
	}
	for _, test := range []struct{ user, password, want string }{
		{"mercutio", "plague", sasl.Plain}, {"mercutio", "mercutio", sasl.NotAuthorized}, {"tybalt", "tybalt", sasl.Plain},
	} {
		if got := comes(t, s, test.user, test.password, nil); got != test.want {
			t.Errorf("%s with %q: %s, want %s", test.user, test.password, got, test.want)
		}
	}
}

// TestSlapdClient: a client that others wrote has nothing to do with where its
// password is checked.
func TestSlapdClient(t *testing.T) {
	t.Parallel()
	d := startSlapd(t)
	s := startKithOn(t, "", d.lines(t, "ldaps://localhost:"+d.secure, `base = "ou=people,dc=example,dc=org"`)...)
	p := startPuppet(t, slixmpp, s)
	if _, err := p.open("mercutio", "x", "mercutio", false); err != nil {
		t.Error(err)
	}
	if _, err := p.open("tybalt", "x", "mercutio", false); conditionOf(t, err) != sasl.NotAuthorized {
		t.Errorf("another's password: %v", err)
	}
	if _, err := p.open("benvolio", "x", "benvolio", true); err == nil {
		t.Error("somebody has registered at a host that has a directory")
	}
}

// TestSlapdAway: without the directory nobody is told that his password is wrong,
// and when it is back it is asked again. Who has left it is gone.
func TestSlapdAway(t *testing.T) {
	t.Parallel()
	d := startSlapd(t)
	s := startKithOn(t, "", d.lines(t, "ldaps://localhost:"+d.secure, `base = "ou=people,dc=example,dc=org"`)...)
	if got := comes(t, s, "romeo", "romeo", nil); got != sasl.Plain {
		t.Fatal(got)
	}
	d.proc.stop()
	if got := comes(t, s, "romeo", "romeo", nil); got != sasl.TemporaryAuthFailure {
		t.Errorf("without the directory: %s, want %s", got, sasl.TemporaryAuthFailure)
	}
	del := exec.Command(d.path, "-Tmodify", "-f", d.conf)
	del.Stdin = strings.NewReader("dn: uid=romeo,ou=people,dc=example,dc=org\nchangetype: delete\n")
	if out, err := del.CombinedOutput(); err != nil {
		t.Fatalf("slapmodify: %v\n%s", err, out)
	}
	d.start(t)
	got := ""
	for end := time.Now().Add(*patience); time.Now().Before(end) && got != sasl.Plain; time.Sleep(100 * time.Millisecond) {
		got = comes(t, s, "mercutio", "mercutio", nil)
	}
	if got != sasl.Plain {
		t.Errorf("when it is back: %s, want %s", got, sasl.Plain)
	}
	if got := comes(t, s, "romeo", "romeo", nil); got != sasl.NotAuthorized {
		t.Errorf("who has left: %s, want %s", got, sasl.NotAuthorized)
	}
}

// globalAddress is an address of this machine that is not of loopback, "" if it has
// none.
func globalAddress(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	return ""
}
