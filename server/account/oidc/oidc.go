// Package oidc verifies the tokens of an issuer by OpenID Connect (JWT, RFC 7519,
// RFC 9068): it implements account.Issuer.
//
// A token counts if it is signed by a key that the issuer publishes, by an
// algorithm with a public key, and says that it is from this issuer, for this
// server, and that its time is now. The issuer is asked for its keys when somebody
// comes with a token: that it cannot be reached keeps nothing from starting, and
// nobody from logging in whose token is signed by a key that is known.
package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"

	"kith/server/account"
	"kith/server/config"
	"kith/xmpp/jid"
	"kith/xmpp/sasl"
)

// algorithms are those with a public key. HMAC is not among them: its key would be
// the one that everybody can read.
var algorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512,
	oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
}

// Issuer verifies tokens for one host.
type Issuer struct {
	conf config.OIDC
	host jid.JID
	keys *keys
}

// New returns an issuer for a host. It is not asked for anything yet. Requests to
// it go by transport; nil: over the network.
func New(host jid.JID, conf config.OIDC, transport http.RoundTripper) (*Issuer, error) {
	k, err := newKeys(conf, transport)
	if err != nil {
		return nil, err
	}
	return &Issuer{conf, host, k}, nil
}

// Why a token is refused, for the log.
var (
	errNone     = errors.New("no token")
	errAudience = errors.New("the token is for somebody else")
	errScope    = errors.New("the token lacks the scope")
	errGroup    = errors.New("not a member of a group that may log in")
	errName     = errors.New("the token names no account of this host")
	errVerified = errors.New("the address of the token is not verified by the issuer")
)

// Token implements account.Issuer.
func (i *Issuer) Token(ctx context.Context, token string) (account.Person, error) {
	if token == "" {
		return account.Person{}, i.refuse(sasl.InvalidToken, errNone)
	}
	by := &attempt{keys: i.keys}
	verifier := oidc.NewVerifier(i.conf.Issuer, by, &oidc.Config{SkipClientIDCheck: true, SupportedSigningAlgs: algorithms})
	t, err := verifier.Verify(ctx, token)
	switch {
	case by.away != nil:
		return account.Person{}, fmt.Errorf("verify a token: %w", by.away)
	case err != nil:
		return account.Person{}, i.refuse(sasl.InvalidToken, err)
	case !slices.ContainsFunc(t.Audience, func(a string) bool { return slices.Contains(i.conf.Audience, a) }):
		return account.Person{}, i.refuse(sasl.InvalidToken, errAudience)
	case t.Subject == "":
		return account.Person{}, i.refuse(sasl.InvalidToken, errName)
	}
	var c claims
	if err := t.Claims(&c); err != nil {
		return account.Person{}, i.refuse(sasl.InvalidToken, err)
	}
	return i.person(t.Subject, c)
}

// person returns for whom verified claims speak.
func (i *Issuer) person(subject string, c claims) (account.Person, error) {
	if i.conf.Scope != "" && !slices.Contains(c.scopes(), i.conf.Scope) {
		return account.Person{}, i.refuse(sasl.InsufficientScope, errScope)
	}
	groups := c.list(i.conf.GroupsClaim)
	member := func(of []string) bool {
		return slices.ContainsFunc(groups, func(g string) bool { return slices.Contains(of, g) })
	}
	if len(i.conf.Groups) > 0 && !member(i.conf.Groups) {
		return account.Person{}, i.refuse(sasl.InvalidToken, errGroup)
	}
	name, err := i.name(c)
	if err != nil {
		return account.Person{}, i.refuse(sasl.InvalidToken, err)
	}
	p := account.Person{
		Source: i.conf.Issuer, Subject: subject, Username: name, Create: i.conf.Create, Adopt: i.conf.Adopt,
	}
	if len(i.conf.AdminGroups) > 0 {
		p.Role = account.User
		if member(i.conf.AdminGroups) {
			p.Role = account.Admin
		}
	}
	return p, nil
}

// name returns the localpart of the account that the claims name.
func (i *Issuer) name(c claims) (string, error) {
	value, _ := c.at(i.conf.Claim).(string)
	if i.conf.Claim == "email" { // which people may choose as they like, until it is verified
		if ok, _ := c["email_verified"].(bool); !ok {
			return "", errVerified
		}
	}
	local := value
	if at := strings.LastIndexByte(value, '@'); at >= 0 {
		domain, err := jid.New("", value[at+1:], "")
		if err != nil || domain.Domain() != i.host.Domain() {
			return "", fmt.Errorf("%w: %s", errName, value)
		}
		local = value[:at]
	}
	j, err := jid.New(local, i.host.Domain(), "")
	if err != nil || j.Local() == "" {
		return "", fmt.Errorf("%w: %s %q", errName, i.conf.Claim, value)
	}
	return j.Local(), nil
}

// refuse tells a client where there are better tokens (RFC 7628 §3.2.2).
func (i *Issuer) refuse(status string, err error) error {
	return &sasl.TokenRefusal{Status: status, Scope: i.conf.Scope, Configuration: i.keys.about(), Err: err}
}

// claims are what a token says.
type claims map[string]any

// at returns a claim; a dot in its name is a step down, unless there is a claim of
// that very name.
func (c claims) at(name string) any {
	if v, ok := c[name]; ok {
		return v
	}
	first, rest, down := strings.Cut(name, ".")
	if in, ok := c[first].(map[string]any); ok && down {
		return claims(in).at(rest)
	}
	return nil
}

// list returns a claim of several strings, or of one.
func (c claims) list(name string) (out []string) {
	switch v := c.at(name).(type) {
	case string:
		return []string{v}
	case []any:
		for _, x := range v {
			if s, ok := x.(string); ok {
				out = append(out, s)
			}
		}
	}
	return out
}

// scopes: RFC 9068 §2.2.3 has one string with spaces; others write a list, or scp.
func (c claims) scopes() (out []string) {
	for _, name := range []string{"scope", "scp"} {
		for _, s := range c.list(name) {
			out = append(out, strings.Fields(s)...)
		}
	}
	return out
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *claims) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, (*map[string]any)(c)) }
