package server_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"kith/client"
	"kith/server/account/ldap/ldaptest"
	"kith/xmpp/jid"
	"kith/xmpp/sasl"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/mfa"
	"kith/xmpp/xep/register"
	"kith/xmpptest"
)

// tokens is an issuer of tokens on loopback.
type tokens struct {
	url string
	key *ecdsa.PrivateKey
}

func newTokens(t *testing.T) *tokens {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &tokens{key: key}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]string{"issuer": i.url, "jwks_uri": i.url + "/keys"})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public()}}})
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	i.url = s.URL
	return i
}

func (i *tokens) sign(t *testing.T, claims map[string]any) string {
	t.Helper()
	all := map[string]any{"iss": i.url, "aud": "kith", "exp": time.Now().Add(time.Minute).Unix()}
	for k, v := range claims {
		all[k] = v
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: i.key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// company runs a server for three hosts, whose people come from here and by token,
// from a directory and by token, and from here only. Its issuer and its directory
// are on loopback, so that there is no bubble.
func company(t *testing.T, more string) (*xmpptest.Server, *tokens, *ldaptest.Directory) {
	t.Helper()
	issuer, directory := newTokens(t), ldaptest.Listen(t)
	for _, name := range []string{"mercutio", "tybalt"} {
		directory.Passwords["uid="+name] = xmpptest.Password
		directory.Entries["(uid="+name+")"] = []string{"uid=" + name}
	}
	directory.Passwords["cn=kith"] = "service"
	directory.Groups["cn=it"] = []string{"uid=tybalt"}
	file := filepath.Join(t.TempDir(), "ldap-password")
	if err := os.WriteFile(file, []byte("service\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := xmpptest.New(t, xmpptest.Config(fmt.Sprintf(`
		limits.login_failures = 1000
		registration.mode = "open"
		oidc."montague.example" = { issuer = %[1]q, audience = ["kith"], create = true, scope = "xmpp" }
		oidc."capulet.example" = { issuer = %[1]q, audience = ["kith"] }
		[ldap."capulet.example"]
		url = ["ldap://127.0.0.1:%[2]s"]
		bind_dn = "cn=kith"
		password_file = %[3]q
		base = "ou=people"
		admin_group = "cn=it"
	`, issuer.url, directory.Port(), file)), xmpptest.Config(more))
	return s, issuer, directory
}

// TestSignInAuthzid: every mechanism, with every kind of authorization identity, at
// hosts of every kind. Who may not act as somebody cannot, and what is not offered
// is refused.
func TestSignInAuthzid(t *testing.T) {
	s, issuer, _ := company(t, "")
	for _, j := range []string{"mercutio@shakespeare.lit", "tybalt@shakespeare.lit", "tybalt@montague.example"} {
		s.Account(jid.MustParse(j))
	}
	s.Account(jid.MustParse("benvolio@montague.example"))
	token := issuer.sign(t, map[string]any{"sub": "1", "preferred_username": "mercutio", "scope": "xmpp"})
	passwords := []string{
		sasl.Plain, sasl.ScramSHA1, sasl.ScramSHA256, sasl.ScramSHA512, sasl.ScramSHA1Plus, sasl.ScramSHA256Plus, sasl.ScramSHA512Plus,
	}
	login := func(domain, mechanism, name, authzid string) string {
		c, err := s.Open(name, domain, true)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Cut()
		c.Expect("<stream:stream ...>")
		features := c.Expect("<stream:features>...</stream:features>")
		if !strings.Contains(string(features.Raw()), ">"+mechanism+"<") {
			c.MustSend(auth(mechanism, "x"))
			c.Expect("<failure " + saslNS + "><invalid-mechanism/></failure>")
			return "not offered"
		}
		return authenticate(t, c, mechanism, sasl.Credentials{Username: name, Password: xmpptest.Password, Token: token, Authzid: authzid})
	}
	for _, backend := range []struct {
		domain  string
		name    string // who has a password there
		offered map[string]bool
	}{
		{"shakespeare.lit", "mercutio", map[string]bool{sasl.OAuthBearer: false}},
		{"montague.example", "benvolio", nil},
		{"capulet.example", "mercutio", map[string]bool{
			sasl.ScramSHA1: false, sasl.ScramSHA256: false, sasl.ScramSHA512: false,
			sasl.ScramSHA1Plus: false, sasl.ScramSHA256Plus: false, sasl.ScramSHA512Plus: false,
		}},
	} {
		for _, m := range append(passwords, sasl.OAuthBearer) {
			name := backend.name
			if m == sasl.OAuthBearer {
				name = "mercutio"
			}
			offered, listed := backend.offered[m]
			offered = offered || !listed
			for authzid, want := range map[string]string{
				"":                                    "success",
				name + "@" + backend.domain:           "success",
				"tybalt@" + backend.domain:            "invalid-authzid",
				"nobody@" + backend.domain:            "invalid-authzid",
				name + "@verona.example":              "invalid-authzid",
				backend.domain:                        "invalid-authzid",
				name:                                  "invalid-authzid",
				name + "@" + backend.domain + "/x":    "invalid-authzid",
				"tybalt@" + backend.domain + ",other": "invalid-authzid",
			} {
				if !offered {
					want = "not offered"
				}
				if got := login(backend.domain, m, name, authzid); got != want {
					t.Errorf("%s at %s with authzid %q: %s, want %s", m, backend.domain, authzid, got, want)
				}
			}
		}
	}
	if got := login("montague.example", sasl.OAuthBearer, "tybalt", "tybalt@montague.example"); got != "invalid-authzid" {
		t.Errorf("another's token: %s, want invalid-authzid", got)
	}
}

// dial logs in with the library, as a program does.
func dial(t *testing.T, s *xmpptest.Server, account, password string, token func(context.Context) (string, error)) (*client.Client, error) {
	t.Helper()
	j := jid.MustParse(account)
	c, err := client.NewOnConn(t.Context(), s.Dial(true), client.Config{JID: j, Password: password, Token: token, DirectTLS: true, TLS: s.TLS(j.Domain())})
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// TestSignInByToken: an account is made by the first log-in, a token that is not good
// enough is answered with where there is a better one (RFC 7628 §3.2.2), and one
// that is used up by the issuer's going away is not said to be bad.
func TestSignInByToken(t *testing.T) {
	s, issuer, _ := company(t, "")
	with := func(claims map[string]any) func(context.Context) (string, error) {
		return func(context.Context) (string, error) { return issuer.sign(t, claims), nil }
	}
	good := map[string]any{"sub": "1", "preferred_username": "mercutio", "scope": "openid xmpp"}
	c, err := dial(t, s, "mercutio@montague.example/x", "", with(good))
	if err != nil || c.State().Mechanism != sasl.OAuthBearer {
		t.Fatalf("a good token: %v", err)
	}
	_, err = dial(t, s, "mercutio@montague.example", "", with(map[string]any{"sub": "1", "preferred_username": "mercutio"}))
	r, told := errors.AsType[*sasl.TokenRefusal](err)
	if !told || r.Status != sasl.InsufficientScope || r.Scope != "xmpp" || r.Configuration != issuer.url+"/.well-known/openid-configuration" ||
		!errors.Is(err, &sasl.Failure{Condition: sasl.NotAuthorized}) {
		t.Errorf("without the scope: %v", err)
	}
	good["exp"] = time.Now().Add(-time.Second).Unix()
	if _, err := dial(t, s, "mercutio@montague.example", "", with(good)); !errors.Is(err, &sasl.Failure{Condition: sasl.NotAuthorized}) {
		t.Errorf("expired: %v", err)
	}
	// A token of somebody else's is no way into an account with a password.
	s.Account(jid.MustParse("romeo@montague.example"))
	_, err = dial(t, s, "romeo@montague.example", "", with(map[string]any{"sub": "2", "preferred_username": "romeo", "scope": "xmpp"}))
	if !errors.Is(err, &sasl.Failure{Condition: sasl.NotAuthorized}) || !strings.Contains(s.TakeLog(), "was made here") {
		t.Errorf("an account with a password: %v; want it refused, and the log to say why", err)
	}
	if _, err := dial(t, s, "romeo@montague.example", xmpptest.Password, nil); err != nil {
		t.Errorf("by password at the same host: %v", err)
	}
	refused := errors.New("no browser here")
	if _, err := dial(t, s, "mercutio@montague.example", "", func(context.Context) (string, error) { return "", refused }); !errors.Is(err, refused) {
		t.Errorf("no token to be had: %v", err)
	}
	// The session outlives the token, and may not set a password (RFC 7628 §5).
	change(t, c, "not-allowed")
}

// change asks for another password (XEP-0077 §3.3).
func change(t *testing.T, c *client.Client, want string) {
	t.Helper()
	iq := stanza.New(stanza.IQ, stanza.Set, jid.JID{}, c.JID().Host(), &register.Query{Fields: []register.Field{
		{Name: register.Username, Value: c.JID().Local()}, {Name: register.Password, Value: "new"},
	}})
	_, err := c.SendIQ(t.Context(), iq)
	if e, ok := errors.AsType[*stanza.Error](err); !ok || e.Condition != want {
		t.Errorf("a new password for %s: %v, want %s", c.JID().Bare(), err, want)
	}
}

// TestSignInByDirectory: the directory makes accounts and administrators, and takes
// them away.
func TestSignInByDirectory(t *testing.T) {
	s, issuer, directory := company(t, "")
	c, err := dial(t, s, "tybalt@capulet.example/x", xmpptest.Password, nil)
	if err != nil || c.State().Mechanism != sasl.Plain {
		t.Fatalf("a password of the directory's: %v", err)
	}
	list, err := s.Accounts().List(t.Context())
	if err != nil || len(list) != 1 || !list[0].Admin {
		t.Errorf("accounts: %+v, %v; want one, an administrator's", list, err)
	}
	change(t, c, "not-allowed")
	// The directory has second factors of its own: ours would never be asked for.
	_, err = c.SendIQ(t.Context(), stanza.New(stanza.IQ, stanza.Set, jid.JID{}, jid.JID{}, mfa.Setup("")))
	if !errors.Is(err, stanza.ErrServiceUnavailable) {
		t.Errorf("a second factor: %v, want service-unavailable", err)
	}
	token := func(context.Context) (string, error) {
		return issuer.sign(t, map[string]any{"sub": "1", "preferred_username": "tybalt"}), nil
	}
	if _, err := dial(t, s, "tybalt@capulet.example", "", token); err != nil {
		t.Errorf("the same person by token: %v", err)
	}
	for _, password := range []string{"guess", " "} {
		if _, err := dial(t, s, "tybalt@capulet.example", password, nil); !errors.Is(err, &sasl.Failure{Condition: sasl.NotAuthorized}) {
			t.Errorf("password %q: %v", password, err)
		}
	}
	// Registration is not offered there, whatever holds elsewhere.
	for domain, want := range map[string]bool{"capulet.example": false, "shakespeare.lit": true} {
		o, err := s.Open("stranger", domain, true)
		if err != nil {
			t.Fatal(err)
		}
		o.Expect("<stream:stream ...>")
		if got := strings.Contains(string(o.Expect("<stream:features>...</stream:features>").Raw()), "iq-register"); got != want {
			t.Errorf("registration at %s: offered %v, want %v", domain, got, want)
		}
		o.Cut()
	}

	directory.Set(func() { delete(directory.Groups, "cn=it"); delete(directory.Entries, "(uid=mercutio)") })
	if _, err := dial(t, s, "tybalt@capulet.example", xmpptest.Password, nil); err != nil {
		t.Error(err)
	}
	if list, err := s.Accounts().List(t.Context()); err != nil || len(list) != 1 || list[0].Admin {
		t.Errorf("accounts: %+v, %v; want no administrator any more", list, err)
	}
	directory.Set(func() { delete(directory.Entries, "(uid=tybalt)") })
	for what, f := range map[string]func() error{
		"password": func() error { _, err := dial(t, s, "tybalt@capulet.example", xmpptest.Password, nil); return err },
		"token":    func() error { _, err := dial(t, s, "tybalt@capulet.example", "", token); return err },
	} {
		if err := f(); !errors.Is(err, &sasl.Failure{Condition: sasl.NotAuthorized}) {
			t.Errorf("who has left, by %s: %v", what, err)
		}
	}
	directory.Set(func() { directory.Codes["search"] = 52 })
	if _, err := dial(t, s, "tybalt@capulet.example", xmpptest.Password, nil); !errors.Is(err, &sasl.Failure{Condition: sasl.TemporaryAuthFailure}) {
		t.Errorf("without the directory: %v, want temporary-auth-failure", err)
	}
	if log := s.TakeLog(); !strings.Contains(log, "look tybalt up") || strings.Contains(log, xmpptest.Password) {
		t.Errorf("the log does not say why, or tells a password:\n%s", log)
	}
}

// TestSignInGuessing: the directory is spared those who guess.
func TestSignInGuessing(t *testing.T) {
	s, _, directory := company(t, "limits.login_failures = 2\nlimits.login_backoff = \"1h\"\nlimits.login_backoff_max = \"1h\"")
	conditions := map[string]int{}
	for range 6 {
		_, err := dial(t, s, "mercutio@capulet.example", "guess", nil)
		f, _ := errors.AsType[*sasl.Failure](err)
		if f == nil {
			t.Fatal(err)
		}
		conditions[f.Condition]++
	}
	asked := strings.Count(strings.Join(directory.Took(), "\n"), "bind uid=mercutio")
	if conditions[sasl.NotAuthorized] != asked || asked > 3 || conditions[sasl.TemporaryAuthFailure] != 6-asked {
		t.Errorf("of six guesses %d came to the directory: %v", asked, conditions)
	}
}

// TestSignInReload: where people come from changes with the configuration.
func TestSignInReload(t *testing.T) {
	s, _, directory := company(t, "")
	if _, err := dial(t, s, "mercutio@capulet.example", xmpptest.Password, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reload(`ldap."capulet.example".filter = "(mail={name})"`); err != nil {
		t.Fatal(err)
	}
	if _, err := dial(t, s, "mercutio@capulet.example", xmpptest.Password, nil); !errors.Is(err, &sasl.Failure{Condition: sasl.NotAuthorized}) {
		t.Errorf("by another filter: %v", err)
	}
	directory.Set(func() { directory.Entries["(mail=mercutio)"] = []string{"uid=mercutio"} })
	if _, err := dial(t, s, "mercutio@capulet.example", xmpptest.Password, nil); err != nil {
		t.Error(err)
	}
}

// TestRefusedTokens: a token that is refused counts when its client is told, whether it
// waits for the failure or tries another at once.
func TestRefusedTokens(t *testing.T) {
	for name, waits := range map[string]bool{"one by one": true, "at once": false} {
		t.Run(name, func(t *testing.T) {
			s, _, _ := company(t, "limits.login_failures = 1\nlimits.login_backoff = \"1h\"\nlimits.login_backoff_max = \"1h\"")
			open := func() *xmpptest.Client {
				c, err := s.Open("thief", "montague.example", true)
				if err != nil {
					t.Fatal(err)
				}
				c.Expect("<stream:stream ...>")
				c.Expect("<stream:features>...</stream:features>")
				return c
			}
			c := open()
			tries := 0
			for ; tries < 10; tries++ {
				c.MustSend(auth(sasl.OAuthBearer, "n,,\x01auth=Bearer guess\x01\x01"))
				el, ok := c.Next()
				if !ok || el.Name().Local != "challenge" {
					if !ok || el.First().Name().Local != sasl.TemporaryAuthFailure {
						t.Errorf("told %s, %v", el.Raw(), c.Err())
					}
					break
				}
				if waits {
					c.MustSend("<response " + saslNS + ">AQ==</response>")
					c.Expect("<failure " + saslNS + "><not-authorized/></failure>")
					c.Cut()
					c = open()
				}
			}
			c.Cut()
			if tries != 5 { // an address is forgiven four times as much as an account
				t.Errorf("%d tokens are looked at", tries)
			}
		})
	}
}
