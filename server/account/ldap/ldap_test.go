package ldap_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"kith/server/account"
	"kith/server/account/ldap"
	"kith/server/account/ldap/ldaptest"
	"kith/server/config"
	"kith/xmpp/sasl"
)

// soon is how long tests wait for a directory that does not answer.
const soon = 300 * time.Millisecond

const kith = "cn=kith"

func conf(d *ldaptest.Directory) config.LDAP {
	return config.LDAP{
		URL: []string{"ldap://127.0.0.1:" + d.Port()}, BindDN: kith, Password: "service", Base: "ou=people", Filter: "(uid={name})",
		ID: "entryUUID", Connections: 2, Timeout: soon,
	}
}

func open(t *testing.T, c config.LDAP) *ldap.Directory {
	t.Helper()
	o, err := ldap.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	return o
}

// people has romeo and juliet, and two of one name.
func people(t *testing.T) *ldaptest.Directory {
	t.Helper()
	d := ldaptest.Listen(t)
	d.Passwords = map[string]string{kith: "service", "uid=romeo": "r0m30", "uid=juliet": "x", "cn=bare": "x"}
	d.Entries = map[string][]string{
		"(uid=romeo)": {"uid=romeo"}, "(uid=juliet)": {"uid=juliet"}, "(uid=twin)": {"uid=a", "uid=b"}, "(uid=bare)": {"cn=bare"},
	}
	return d
}

// outcome is how a question ends: "" well, the condition of a refusal, or "away".
func outcome(err error) string {
	if f, ok := errors.AsType[*sasl.Failure](err); ok {
		return f.Condition
	}
	if err != nil {
		return "away"
	}
	return ""
}

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		what, name, password string
		change               func(*config.LDAP)
		codes                map[string]uint16
		want                 string
	}{
		{"his password", "romeo", "r0m30", nil, nil, ""},
		{"another", "romeo", "guess", nil, nil, sasl.NotAuthorized},
		{"nobody", "nobody", "r0m30", nil, nil, sasl.NotAuthorized},
		{"two of the name", "twin", "x", nil, nil, sasl.NotAuthorized},
		// RFC 4513 §5.1.2
		{"no password", "romeo", "", nil, nil, sasl.NotAuthorized},
		{"no name", "", "r0m30", nil, nil, sasl.NotAuthorized},
		{"no entry that can be told again", "bare", "x", nil, nil, "away"},
		{"the server's own password is wrong", "romeo", "r0m30", func(c *config.LDAP) { c.Password = "old" }, nil, "away"},
		{"nothing below the base", "romeo", "r0m30", func(c *config.LDAP) { c.Base = "ou=none" }, nil, "away"},
		{"busy", "romeo", "r0m30", nil, map[string]uint16{"search": goldap.LDAPResultBusy}, "away"},
		{"too many", "romeo", "r0m30", nil, map[string]uint16{"search": goldap.LDAPResultSizeLimitExceeded}, sasl.NotAuthorized},
		{"a filter that is none", "romeo", "r0m30", func(c *config.LDAP) { c.Filter = "uid={name}" }, nil, "away"},
		{"by his own name", "romeo", "r0m30", func(c *config.LDAP) { c.Base, c.BindDN, c.DN, c.Filter = "", "", "uid={name}", "" }, nil, ""},
		{"by his own name, another", "romeo", "guess", func(c *config.LDAP) { c.Base, c.BindDN, c.DN, c.Filter = "", "", "uid={name}", "" }, nil, sasl.NotAuthorized},
		{"by his own name, none", "romeo", "", func(c *config.LDAP) { c.Base, c.BindDN, c.DN, c.Filter = "", "", "uid={name}", "" }, nil, sasl.NotAuthorized},
		{"by a name, looked up", "romeo", "r0m30", func(c *config.LDAP) { c.Base, c.DN = "", "uid={name}" }, nil, ""},
		{"by a name that is not there", "nobody", "r0m30", func(c *config.LDAP) { c.Base, c.DN = "", "uid={name}" }, nil, sasl.NotAuthorized},
		{"looked up by nobody", "romeo", "r0m30", func(c *config.LDAP) { c.BindDN = "" }, nil, ""},
		{"the service unavailable to it", "romeo", "r0m30", nil, map[string]uint16{"bind": goldap.LDAPResultUnwillingToPerform}, "away"},
		{"the group", "romeo", "r0m30", func(c *config.LDAP) { c.Group = "cn=chat" }, nil, ""},
		{"another group", "juliet", "x", func(c *config.LDAP) { c.Group = "cn=chat" }, nil, sasl.NotAuthorized},
		{"a group that is not there", "juliet", "x", func(c *config.LDAP) { c.Group = "cn=none" }, nil, sasl.NotAuthorized},
	} {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			d := people(t)
			d.Groups["cn=chat"] = []string{"uid=romeo"}
			d.Codes = test.codes
			c := conf(d)
			if test.change != nil {
				test.change(&c)
			}
			p, err := open(t, c).Check(t.Context(), test.name, test.password)
			if outcome(err) != test.want {
				t.Errorf("%v, want %q", err, test.want)
			}
			if err == nil && (p.Subject != "id of uid="+test.name || p.Source != "ldap" || p.Username != test.name || !p.Vetted || !p.Create) {
				t.Errorf("%+v", p)
			}
			if test.password == "" && len(d.Took()) > 0 {
				t.Error("the directory was asked about an empty password")
			}
		})
	}
}

// TestInjection: what a stranger types is the value of one assertion, and of one
// attribute of a DN, whatever is in it. (RFC 4515 §3, RFC 4514 §2.4)
func TestInjection(t *testing.T) {
	names := []string{
		"*", "r*", "romeo)(uid=*", "*)(|(uid=*", "romeo))(|(uid=juliet", `romeo\2a`, `\`, `romeo\`, "romeo)(&)", "&(uid=romeo)",
		"romeo,ou=admins", "romeo+uid=juliet", "#romeo", "uid=romeo", `"romeo"`, "a;b", "<x>", "romé", "\x00", " romeo ", "{name}",
	}
	d := people(t)
	o := open(t, conf(d))
	for _, name := range names {
		p, err := o.Check(t.Context(), name, "r0m30")
		if outcome(err) != sasl.NotAuthorized {
			t.Errorf("%q: %+v, %v", name, p, err)
		}
		asked := d.Took()
		if i := slices.IndexFunc(asked, func(s string) bool { return s[0] == '(' }); i < 0 {
			t.Errorf("%q was not looked up: %q", name, asked)
		} else if want := "(uid=" + goldap.EscapeFilter(name) + ")"; asked[i] != want {
			t.Errorf("%q was looked up as %s, want %s", name, asked[i], want)
		}
	}
	c := conf(d)
	c.Base, c.BindDN, c.DN, c.Filter = "", "", "uid={name},ou=people", ""
	o = open(t, c)
	for _, name := range names {
		if p, err := o.Check(t.Context(), name, "r0m30"); outcome(err) != sasl.NotAuthorized {
			t.Errorf("%q as a DN: %+v, %v", name, p, err)
		}
		for _, dn := range d.Took() {
			got, err := goldap.ParseDN(strings.TrimPrefix(dn, "bind "))
			if err != nil || len(got.RDNs) != 2 || len(got.RDNs[0].Attributes) != 1 || got.RDNs[0].Attributes[0].Value != name {
				t.Errorf("%q was bound as %q (%v)", name, dn, err)
			}
		}
	}
}

// TestFind: without a password it is only asked who somebody is.
func TestFind(t *testing.T) {
	d := people(t)
	d.Groups["cn=it"] = []string{"uid=romeo"}
	c := conf(d)
	c.AdminGroup = "cn=it"
	o := open(t, c)
	for name, want := range map[string]string{"romeo": "", "nobody": sasl.NotAuthorized, "": sasl.NotAuthorized, "twin": sasl.NotAuthorized} {
		if p, err := o.Find(t.Context(), name); outcome(err) != want || err == nil && p.Role != account.Admin {
			t.Errorf("%s: %+v, %v, want %q", name, p, err, want)
		}
	}
	if p, err := o.Find(t.Context(), "juliet"); err != nil || p.Role != account.User {
		t.Errorf("juliet: %+v, %v", p, err)
	}
	c.DN, c.Base, c.BindDN = "uid={name}", "", ""
	if _, err := open(t, c).Find(t.Context(), "romeo"); outcome(err) != sasl.NotAuthorized {
		t.Errorf("where only its owner can read an entry: %v", err)
	}
}

// TestNobodyCostsAsMuch: as much is asked about who does not exist as about who
// has another password.
func TestNobodyCostsAsMuch(t *testing.T) {
	d := people(t)
	o := open(t, conf(d))
	var counts []int
	for _, name := range []string{"romeo", "juliet", "nobody"} {
		o.Check(t.Context(), name, "guess")
		counts = append(counts, len(d.Took()))
	}
	if counts[1] != counts[2] {
		t.Errorf("questions: %v, want the last two the same", counts)
	}
}

// TestIdentity: a connection that somebody's password was checked on is the
// server's own again before it is asked the next question.
func TestIdentity(t *testing.T) {
	d := people(t)
	o := open(t, conf(d))
	for _, password := range []string{"r0m30", "guess", "r0m30"} {
		o.Check(t.Context(), "romeo", password)
	}
	if _, err := o.Find(t.Context(), "romeo"); err != nil {
		t.Fatal(err)
	}
	want := strings.Split(strings.Repeat("bind cn=kith;(uid=romeo);bind uid=romeo;", 3)+"bind cn=kith;(uid=romeo)", ";")
	if got := d.Took(); !slices.Equal(got, want) || d.Accepted() != 1 {
		t.Errorf("over %d connections: %q, want %q", d.Accepted(), got, want)
	}
}

// TestAway: a directory that does not answer refuses nobody, is not asked again at
// once, and serves again when it is back.
func TestAway(t *testing.T) {
	d := people(t)
	o := open(t, conf(d))
	check := func() string {
		_, err := o.Check(t.Context(), "romeo", "r0m30")
		return outcome(err)
	}
	if got := check(); got != "" {
		t.Fatal(got)
	}
	d.HangUp()
	if got := check(); got != "" || d.Accepted() != 2 {
		t.Errorf("after a connection was dropped: %q, %d connections; want it to succeed over a second one", got, d.Accepted())
	}
	d.Set(func() { d.Silent = true })
	begun := time.Now()
	if got := check(); got != "away" || time.Since(begun) > 10*soon {
		t.Errorf("silent: %q after %v, want away within the time that it has", got, time.Since(begun))
	}
	d.Set(func() { d.Silent = false })
	if got := check(); got != "" {
		t.Errorf("when it is back: %q", got)
	}

	gone := conf(d)
	gone.URL = []string{"ldap://127.0.0.1:1"}
	o = open(t, gone)
	_, first := o.Check(t.Context(), "romeo", "r0m30")
	_, second := o.Check(t.Context(), "romeo", "r0m30")
	if outcome(first) != "away" || outcome(second) != "away" || !strings.Contains(second.Error(), "a moment ago") {
		t.Errorf("nothing there: %v; then %v", first, second)
	}
	gone.URL = append(gone.URL, conf(d).URL...)
	if p, err := open(t, gone).Check(t.Context(), "romeo", "r0m30"); err != nil {
		t.Errorf("the first of two URLs does not answer: %+v, %v", p, err)
	}
}

// TestBounded: of many who log in at once some wait, for no longer than they can.
func TestBounded(t *testing.T) {
	d := people(t)
	o := open(t, conf(d))
	var wg sync.WaitGroup
	for n := range 50 {
		wg.Go(func() {
			if _, err := o.Check(t.Context(), "romeo", "r0m30"); err != nil {
				t.Errorf("%d: %v", n, err)
			}
		})
	}
	wg.Wait()
	if d.Accepted() > 2 {
		t.Errorf("%d connections, want 2 at most", d.Accepted())
	}
	d.Set(func() { d.Silent = true })
	for range 2 {
		wg.Go(func() { o.Check(t.Context(), "romeo", "r0m30") })
	}
	ctx, cancel := context.WithTimeout(t.Context(), soon/3)
	defer cancel()
	for len(d.Took()) < 2 {
		time.Sleep(time.Millisecond) // until both connections are taken, over a real network
	}
	if _, err := o.Check(ctx, "romeo", "r0m30"); outcome(err) != "away" || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a connection: %v, want the deadline", err)
	}
	wg.Wait()
}

// TestTLSRequired: but to loopback nothing is said before TLS.
func TestTLSRequired(t *testing.T) {
	d := people(t)
	c := conf(d)
	c.URL = []string{"ldap://" + net.JoinHostPort(reachable(t), d.Port())}
	if _, err := open(t, c).Check(t.Context(), "romeo", "r0m30"); outcome(err) != "away" {
		t.Error(err)
	}
	if asked := d.Took(); !slices.Equal(asked, []string{"starttls"}) {
		t.Errorf("asked %q, want starttls", asked)
	}
}

// reachable is an address of this machine that is not of loopback.
func reachable(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	t.Skip("this machine has no address but those of loopback")
	return ""
}
