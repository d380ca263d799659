package oidc_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"kith/server/account"
	"kith/server/account/oidc"
	"kith/server/config"
	"kith/xmpp/jid"
	"kith/xmpp/sasl"
)

const issuerURL = "https://issuer.example/staff"

// issuer is an issuer of tokens, in place of the network.
type issuer struct {
	mu    sync.Mutex // guards what follows
	keys  []jose.JSONWebKey
	about map[string]any
	delay time.Duration
	away  bool
	asked int // for keys
}

func newIssuer(keys ...jose.JSONWebKey) *issuer {
	return &issuer{keys: keys, about: map[string]any{"issuer": issuerURL, "jwks_uri": issuerURL + "/keys"}}
}

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.delay > 0 {
		select {
		case <-time.After(i.delay):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if i.away {
		i.asked++
		return nil, errors.New("no route to host")
	}
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.String() {
	case issuerURL + "/.well-known/openid-configuration":
		json.NewEncoder(w).Encode(i.about)
	case issuerURL + "/keys":
		i.asked++
		set := jose.JSONWebKeySet{}
		for _, k := range i.keys {
			set.Keys = append(set.Keys, k.Public())
		}
		json.NewEncoder(w).Encode(set)
	case issuerURL + "/moved":
		http.Redirect(w, r, "http://127.0.0.1/keys", http.StatusFound)
	case issuerURL + "/long":
		io.Copy(w, io.LimitReader(zeros{}, 2<<20))
	default:
		http.NotFound(w, r)
	}
	return w.Result(), nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func (i *issuer) set(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f()
}

// Keys take their time, so that each is made once.
var (
	rsaKey = sync.OnceValue(func() *rsa.PrivateKey { k, _ := rsa.GenerateKey(rand.Reader, 2048); return k })
	ecKeys = sync.OnceValue(func() (out [2]*ecdsa.PrivateKey) {
		for i := range out {
			out[i], _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		}
		return out
	})
)

func key(id string, k any) jose.JSONWebKey { return jose.JSONWebKey{Key: k, KeyID: id, Use: "sig"} }

// sign makes a token by hand: the header is what the test says it is.
func sign(t *testing.T, alg jose.SignatureAlgorithm, k any, header map[jose.HeaderKey]any, claims map[string]any) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: k}, &jose.SignerOptions{ExtraHeaders: header})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	o, err := s.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := o.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// claims of a token that is good, changed by more; nil takes a claim away.
func claims(more map[string]any) map[string]any {
	now := time.Now()
	c := map[string]any{
		"iss": issuerURL, "sub": "7", "aud": "kith", "preferred_username": "romeo",
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	}
	maps.Copy(c, more)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func conf() config.OIDC {
	return config.OIDC{Issuer: issuerURL, Audience: []string{"kith", "chat"}, Claim: "preferred_username", GroupsClaim: "groups"}
}

func open(t *testing.T, c config.OIDC, i *issuer) *oidc.Issuer {
	t.Helper()
	o, err := oidc.New(jid.MustParse("montague.example"), c, i)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// outcome is the name in a token, or why it is refused.
func outcome(p account.Person, err error) string {
	if r, ok := errors.AsType[*sasl.TokenRefusal](err); ok {
		return r.Status
	}
	if err != nil {
		return "away"
	}
	return p.Username
}

// TestTokens: nothing counts but what the issuer has signed for us and for now.
func TestTokens(t *testing.T) {
	own, other := rsaKey(), ecKeys()
	der, err := x509.MarshalPKIXPublicKey(own.Public())
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(key("a", own), key("b", other[0]), jose.JSONWebKey{Key: other[1], KeyID: "enc", Use: "enc"})
		o := open(t, conf(), i)
		kid := func(id string) map[jose.HeaderKey]any { return map[jose.HeaderKey]any{"kid": id} }
		by := func(more map[string]any) string { return sign(t, jose.RS256, own, kid("a"), claims(more)) }
		good := by(nil)
		head, rest, _ := strings.Cut(good, ".")
		payload, signature, _ := strings.Cut(rest, ".")
		raw := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
		forged, _ := json.Marshal(claims(map[string]any{"preferred_username": "tybalt"}))
		at := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
		type row struct{ what, token, want string }
		for _, test := range []row{
			{"good", good, "romeo"},
			{"of the other key", sign(t, jose.ES256, other[0], kid("b"), claims(nil)), "romeo"},
			{"PS256", sign(t, jose.PS256, own, kid("a"), claims(nil)), "romeo"},
			{"without the name of a key", sign(t, jose.RS256, own, nil, claims(nil)), "romeo"},
			{"for several", by(map[string]any{"aud": []string{"x", "chat"}}), "romeo"},
			{"name in capitals", by(map[string]any{"preferred_username": "Romeo"}), "romeo"},
			{"name with the host", by(map[string]any{"preferred_username": "romeo@Montague.example"}), "romeo"},
			{"not before, but by little", by(map[string]any{"nbf": at(time.Minute)}), "romeo"},

			{"none", "", sasl.InvalidToken},
			{"no token", "x", sasl.InvalidToken},
			{"for somebody else", by(map[string]any{"aud": "other"}), sasl.InvalidToken},
			{"for nobody", by(map[string]any{"aud": nil}), sasl.InvalidToken},
			{"for nobody at all", by(map[string]any{"aud": []string{}}), sasl.InvalidToken},
			{"audience in capitals", by(map[string]any{"aud": "KITH"}), sasl.InvalidToken},
			{"another issuer", by(map[string]any{"iss": "https://issuer.example/guests"}), sasl.InvalidToken},
			{"another issuer by a slash", by(map[string]any{"iss": issuerURL + "/"}), sasl.InvalidToken},
			{"no issuer", by(map[string]any{"iss": nil}), sasl.InvalidToken},
			{"expired", by(map[string]any{"exp": at(-time.Second)}), sasl.InvalidToken},
			{"never expires", by(map[string]any{"exp": nil}), sasl.InvalidToken},
			{"expires at no time", by(map[string]any{"exp": "tomorrow"}), sasl.InvalidToken},
			{"not before", by(map[string]any{"nbf": at(6 * time.Minute)}), sasl.InvalidToken},
			{"no subject", by(map[string]any{"sub": nil}), sasl.InvalidToken},
			{"no name", by(map[string]any{"preferred_username": nil}), sasl.InvalidToken},
			{"name that is none", by(map[string]any{"preferred_username": []string{"romeo"}}), sasl.InvalidToken},
			{"empty name", by(map[string]any{"preferred_username": ""}), sasl.InvalidToken},
			{"another host", by(map[string]any{"preferred_username": "romeo@capulet.example"}), sasl.InvalidToken},
			{"a host within", by(map[string]any{"preferred_username": "romeo@montague.example@capulet.example"}), sasl.InvalidToken},
			{"a name with a resource", by(map[string]any{"preferred_username": "romeo/x"}), sasl.InvalidToken},

			// RFC 8725 §2.1: what an algorithm is, is not the token's to say.
			{"alg none", raw(`{"alg":"none"}`) + "." + payload + ".", sasl.InvalidToken},
			{"alg none, and signed", raw(`{"alg":"none","kid":"a"}`) + "." + payload + "." + signature, sasl.InvalidToken},
			{"HMAC with the public key", sign(t, jose.HS256, der, kid("a"), claims(nil)), sasl.InvalidToken},
			{"HMAC with the modulus", sign(t, jose.HS256, own.N.Bytes(), kid("a"), claims(nil)), sasl.InvalidToken},
			{"changed", head + "." + raw(string(forged)) + "." + signature, sasl.InvalidToken},
			{"without a signature", head + "." + payload + ".", sasl.InvalidToken},
			{"of another key that goes by its name", sign(t, jose.ES256, other[1], kid("b"), claims(nil)), sasl.InvalidToken},
			{"of another kind of key", sign(t, jose.ES256, other[0], kid("a"), claims(nil)), sasl.InvalidToken},
			{"of a key for encryption", sign(t, jose.ES256, other[1], kid("enc"), claims(nil)), sasl.InvalidToken},
			{"with its own key", sign(t, jose.ES256, other[1], map[jose.HeaderKey]any{"jwk": jose.JSONWebKey{Key: other[1].Public()}}, claims(nil)), sasl.InvalidToken},
			{"as JSON", `{"payload":"` + payload + `","protected":"` + head + `","signature":"` + signature + `"}`, sasl.InvalidToken},
		} {
			p, err := o.Token(t.Context(), test.token)
			if got := outcome(p, err); got != test.want {
				t.Errorf("%s: %s (%v), want %s", test.what, got, err, test.want)
			}
			if r, ok := errors.AsType[*sasl.TokenRefusal](err); ok && r.Configuration != issuerURL+"/.well-known/openid-configuration" {
				t.Errorf("%s: the client is sent to %q", test.what, r.Configuration)
			}
			if err == nil && (p.Source != issuerURL || p.Subject != "7" || p.Vetted || p.Create || p.Adopt) {
				t.Errorf("%s: %+v", test.what, p)
			}
		}
		if i.asked != 1 {
			t.Errorf("the issuer was asked for keys %d times in a moment, want once", i.asked)
		}
	})
}

// TestClaims: what the configuration wants of a token.
func TestClaims(t *testing.T) {
	k := ecKeys()[0]
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(key("a", k))
		email := func(c *config.OIDC) { c.Claim = "email" }
		scope := func(c *config.OIDC) { c.Scope = "xmpp" }
		groups := func(c *config.OIDC) { c.Groups, c.GroupsClaim = []string{"staff"}, "realm_access.roles" }
		admins := func(c *config.OIDC) { c.AdminGroups = []string{"it"} }
		for _, test := range []struct {
			what string
			conf func(*config.OIDC)
			more map[string]any
			want string
			role account.Role
		}{
			{"email", email, map[string]any{"email": "r.montague@montague.example", "email_verified": true}, "r.montague", 0},
			{"email not verified", email, map[string]any{"email": "tybalt@montague.example", "email_verified": false}, sasl.InvalidToken, 0},
			{"email that may be verified", email, map[string]any{"email": "tybalt@montague.example"}, sasl.InvalidToken, 0},
			{"email elsewhere", email, map[string]any{"email": "tybalt@capulet.example", "email_verified": true}, sasl.InvalidToken, 0},
			{"scope", scope, map[string]any{"scope": "openid xmpp"}, "romeo", 0},
			{"scope as a list", scope, map[string]any{"scp": []string{"openid", "xmpp"}}, "romeo", 0},
			{"no scope", scope, nil, sasl.InsufficientScope, 0},
			{"another scope", scope, map[string]any{"scope": "openid xmpp2"}, sasl.InsufficientScope, 0},
			{"a group", groups, map[string]any{"realm_access": map[string]any{"roles": []string{"x", "staff"}}}, "romeo", 0},
			{"a claim of that name", groups, map[string]any{"realm_access.roles": "staff"}, "romeo", 0},
			{"another group", groups, map[string]any{"realm_access": map[string]any{"roles": []string{"x"}}}, sasl.InvalidToken, 0},
			{"a group elsewhere", groups, map[string]any{"groups": []string{"staff"}, "realm_access": "staff"}, sasl.InvalidToken, 0},
			{"administrator", admins, map[string]any{"groups": []string{"it"}}, "romeo", account.Admin},
			{"no administrator", admins, map[string]any{"groups": []string{"IT", "i"}}, "romeo", account.User},
		} {
			c := conf()
			test.conf(&c)
			token := sign(t, jose.ES256, k, map[jose.HeaderKey]any{"kid": "a"}, claims(test.more))
			p, err := open(t, c, i).Token(t.Context(), token)
			if got := outcome(p, err); got != test.want || p.Role != test.role {
				t.Errorf("%s: %s, role %d (%v), want %s, %d", test.what, got, p.Role, err, test.want, test.role)
			}
			if r, ok := errors.AsType[*sasl.TokenRefusal](err); ok && r.Scope != c.Scope {
				t.Errorf("%s: the client is told the scope %q, want %q", test.what, r.Scope, c.Scope)
			}
		}
	})
}

// TestRotation: a new key counts when it is used, an old one for no longer than the
// issuer says, and made-up names of keys cost the issuer little.
func TestRotation(t *testing.T) {
	k := ecKeys()
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(key("a", k[0]))
		o := open(t, conf(), i)
		try := func(id string, k *ecdsa.PrivateKey) string {
			return outcome(o.Token(t.Context(), sign(t, jose.ES256, k, map[jose.HeaderKey]any{"kid": id}, claims(nil))))
		}
		expect := func(what, got, want string, asked int) {
			t.Helper()
			if got != want || i.asked != asked {
				t.Errorf("%s: %s, the issuer was asked %d times; want %s, %d", what, got, i.asked, want, asked)
			}
		}
		if i.asked != 0 {
			t.Error("the issuer is asked before anybody comes")
		}
		expect("the first token", try("a", k[0]), "romeo", 1)
		time.Sleep(time.Minute)
		i.set(func() { i.keys = append(i.keys, key("b", k[1])) })
		expect("a new key", try("b", k[1]), "romeo", 2)
		for n := range 100 {
			try(fmt.Sprint(n), k[1])
			time.Sleep(100 * time.Millisecond)
		}
		expect("a hundred names of keys in ten seconds", try("a", k[0]), "romeo", 2)
		time.Sleep(10 * time.Second)
		expect("one later", try("x", k[1]), sasl.InvalidToken, 3)
		i.set(func() { i.keys = i.keys[1:] })
		expect("a key that was withdrawn a moment ago", try("a", k[0]), "romeo", 3)
		time.Sleep(time.Hour)
		expect("an hour later", try("a", k[0]), sasl.InvalidToken, 4)
		expect("the other", try("b", k[1]), "romeo", 4)
	})
}

// TestIssuerAway: without the issuer nobody is told that his token is bad; and keys
// that are known hold on for a day.
func TestIssuerAway(t *testing.T) {
	k := ecKeys()
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(key("a", k[0]))
		i.away = true
		o := open(t, conf(), i)
		try := func(id string) string {
			return outcome(o.Token(t.Context(), sign(t, jose.ES256, k[0], map[jose.HeaderKey]any{"kid": id}, claims(nil))))
		}
		for range 10 {
			if got := try("a"); got != "away" {
				t.Errorf("at first: %s, want away", got)
			}
		}
		if i.asked != 1 {
			t.Errorf("asked %d times, want once", i.asked)
		}
		i.set(func() { i.away = false })
		time.Sleep(time.Minute)
		if got := try("a"); got != "romeo" {
			t.Errorf("when it is back: %s, want romeo", got)
		}
		i.set(func() { i.away = true })
		time.Sleep(23 * time.Hour)
		if got := try("a"); got != "romeo" {
			t.Errorf("away for 23 hours: %s, want romeo", got)
		}
		if got := try("b"); got != "away" {
			t.Errorf("another key meanwhile: %s, want away", got)
		}
		time.Sleep(2 * time.Hour)
		if got := try("a"); got != "away" {
			t.Errorf("away for a day: %s, want away", got)
		}
	})
}

// TestIssuerAnswers: what an issuer must not answer is none.
func TestIssuerAnswers(t *testing.T) {
	k := ecKeys()
	for what, about := range map[string]map[string]any{
		"another issuer":   {"issuer": "https://issuer.example/", "jwks_uri": issuerURL + "/keys"},
		"no keys":          {"issuer": issuerURL},
		"keys in the open": {"issuer": issuerURL, "jwks_uri": "http://issuer.example/keys"},
		"a file":           {"issuer": issuerURL, "jwks_uri": "file:///etc/passwd"},
		"a redirection":    {"issuer": issuerURL, "jwks_uri": issuerURL + "/moved"},
		"too much":         {"issuer": issuerURL, "jwks_uri": issuerURL + "/long"},
		"nothing there":    {"issuer": issuerURL, "jwks_uri": issuerURL + "/none"},
	} {
		synctest.Test(t, func(t *testing.T) {
			i := newIssuer(key("a", k[0]))
			i.about = about
			o := open(t, conf(), i)
			if got := outcome(o.Token(t.Context(), sign(t, jose.ES256, k[0], nil, claims(nil)))); got != "away" {
				t.Errorf("%s: %s, want away", what, got)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(key("a", k[0]))
		i.delay = time.Minute
		o := open(t, conf(), i)
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		token := sign(t, jose.ES256, k[0], nil, claims(nil))
		done := make(chan struct{})
		go func() {
			defer close(done)
			o.Token(t.Context(), token)
		}()
		synctest.Wait()
		if got := outcome(o.Token(ctx, token)); got != "away" || time.Since(begun) != 3*time.Second {
			t.Errorf("a slow issuer: %s after %v, want away after 3s, when the log-in is over", got, time.Since(begun))
		}
		<-done
		if d := time.Since(begun); d != 10*time.Second {
			t.Errorf("the issuer is waited for for %v, want 10s", d)
		}
	})
}
