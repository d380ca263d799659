package sasl_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"kith/xmpp/sasl"
)

const (
	goodToken = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==" // that of RFC 7628 §4.1
	discovery = "https://example.com/.well-known/openid-configuration"
)

// tokens is a TokenBackend that takes one token.
type tokens struct {
	*accounts
	owner string
	err   error
}

func (b tokens) Token(_ context.Context, token string) (string, error) {
	switch {
	case b.err != nil:
		return "", b.err
	case token == goodToken:
		return b.owner, nil
	}
	return "", &sasl.TokenRefusal{Status: sasl.InvalidToken, Scope: "example_scope", Configuration: discovery}
}

func oauthServer(t *testing.T, b sasl.Backend) sasl.Server {
	t.Helper()
	o := serverOptions(nil)
	o.Tokens = true
	s, err := sasl.NewServer(sasl.OAuthBearer, b, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const refusal = `{"status":"invalid_token","scope":"example_scope","openid-configuration":"` + discovery + `"}`

func TestOAuthServer(t *testing.T) {
	t.Parallel()
	ok := "auth=Bearer " + goodToken + "^"
	for _, test := range []struct{ message, want string }{
		{"n,,^" + ok + "^", "juliet"},
		{"y,,^" + ok + "^", "juliet"},
		{"n,a=juliet@capulet.example,^host=server.example.com^port=5222^" + ok + "^", "juliet"},
		{"n,a=JULIET@capulet.example,^" + ok + "^", "juliet"}, // the same account
		{"n,,^x=^" + ok + "qs=a=b^^", "juliet"},               // RFC 7628 §3.1: others are ignored
		{"n,,^auth=bEaReR " + goodToken + "^^", "juliet"},     // §4: however it is written
		{"n,,^auth=Bearer   " + goodToken + "^^", "juliet"},

		{"n,a=romeo@capulet.example,^" + ok + "^", sasl.InvalidAuthzid},
		{"n,a=juliet@montague.example,^" + ok + "^", sasl.InvalidAuthzid},
		{"n,a=juliet@capulet.example/balcony,^" + ok + "^", sasl.InvalidAuthzid},
		{"n,a=capulet.example,^" + ok + "^", sasl.InvalidAuthzid},
		{"n,a=juliet,^" + ok + "^", sasl.InvalidAuthzid},

		{"n,a=user@example.com,^host=server.example.com^port=143^auth=^^", refusal}, // §4.3
		{"n,,^^", refusal},
		{"n,,^auth=Bearer ^^", refusal},
		{"n,,^auth=Bearer other^^", refusal},
		{"n,,^auth=Basic " + goodToken + "^^", refusal},
		{"n,,^auth=Bearer " + goodToken + " x^^", refusal},
		{"n,,^auth=Bearer " + goodToken + ",x^^", refusal},
		{"n,,^auth=" + goodToken + "^^", refusal},

		{"", sasl.MalformedRequest},
		{"^", sasl.MalformedRequest},
		{"n,,", sasl.MalformedRequest},
		{"n,,^", sasl.MalformedRequest},
		{"n,,^" + ok, sasl.MalformedRequest},
		{"n,,^" + ok + "^^", sasl.MalformedRequest},
		{"n,,^" + ok + ok + "^", sasl.MalformedRequest},
		{"n,," + ok + "^", sasl.MalformedRequest},
		{"n,^" + ok + "^", sasl.MalformedRequest},
		{"^" + ok + "^", sasl.MalformedRequest},
		{"p=tls-exporter,,^" + ok + "^", sasl.MalformedRequest},
		{"n,a=,^" + ok + "^", sasl.MalformedRequest},
		{"n,a=j=ul,^" + ok + "^", sasl.MalformedRequest},
		{"n,,^1=x^" + ok + "^", sasl.MalformedRequest},
		{"n,,^=x^" + ok + "^", sasl.MalformedRequest},
		{"n,,^x^" + ok + "^", sasl.MalformedRequest},
		{"n,,^x=\x00^" + ok + "^", sasl.MalformedRequest},
		{"n,,^x=\u00e9^" + ok + "^", sasl.MalformedRequest},
		{"n,,^x=\xff^" + ok + "^", sasl.MalformedRequest},
		{"n,,^x=" + strings.Repeat("x", 16<<10) + "^" + ok + "^", sasl.MalformedRequest},
	} {
		s := oauthServer(t, tokens{accounts: newAccounts(), owner: "juliet"})
		answer, done, err := s.Next(t.Context(), []byte(strings.ReplaceAll(test.message, "^", "\x01")))
		got := condition(err) + string(answer) + s.Username()
		if got != test.want || done != (test.want == "juliet") {
			t.Errorf("%.100q: %q, %v, want %q", test.message, got, done, test.want)
		}
		// Whatever comes behind is an end, and never a success.
		for i, want := range []string{sasl.NotAuthorized, sasl.MalformedRequest} {
			if test.want != refusal {
				want = sasl.MalformedRequest
			}
			_, done, err := s.Next(t.Context(), []byte("n,,\x01auth=Bearer "+goodToken+"\x01\x01"))
			if done || condition(err) != want {
				t.Errorf("%.100q, then %d more: %v, %v, want %s", test.message, i+1, done, err, want)
			}
		}
	}
}

// An initial response may come after an empty challenge (RFC 6120 §6.4.2).
func TestOAuthWithoutInitial(t *testing.T) {
	t.Parallel()
	s := oauthServer(t, tokens{accounts: newAccounts(), owner: "juliet"})
	if challenge, done, err := s.Next(t.Context(), nil); challenge == nil || len(challenge) > 0 || done || err != nil {
		t.Fatalf("nothing: %q, %v, %v, want an empty challenge", challenge, done, err)
	}
	if _, done, err := s.Next(t.Context(), []byte("n,,\x01auth=Bearer "+goodToken+"\x01\x01")); !done || err != nil {
		t.Errorf("%v, %v, want it done", done, err)
	}
}

func TestOAuthBothEnds(t *testing.T) {
	t.Parallel()
	away := errors.New("no route to host")
	for _, test := range []struct {
		name, token, authzid, owner string
		err                         error
		want                        string
		told                        bool // what the server thinks of the token
	}{
		{"", goodToken, "", "juliet", nil, "", false},
		{"authzid", goodToken, "a,b=c@capulet.example", "a,b=c", nil, "", false},
		{"other", "other", "", "juliet", nil, sasl.NotAuthorized, true},
		{"away", goodToken, "", "juliet", away, sasl.TemporaryAuthFailure, false},
		{"disabled", goodToken, "", "juliet", &sasl.Failure{Condition: sasl.AccountDisabled}, sasl.AccountDisabled, false},
	} {
		o := sasl.ClientOptions{Offered: []string{sasl.OAuthBearer, sasl.Plain}, OverTLS: true, BindingTypes: []string{"tls-exporter"}, Bindings: both}
		who := sasl.Credentials{Username: "juliet", Token: test.token, Authzid: test.authzid}
		if m, err := sasl.Choose(who, o); m != sasl.OAuthBearer {
			t.Fatalf("Choose: %q, %v", m, err)
		}
		c, err := sasl.NewClient(sasl.OAuthBearer, who, o)
		if err != nil {
			t.Fatal(err)
		}
		s := oauthServer(t, tokens{newAccounts(), test.owner, test.err})
		err = run(t, c, s)
		if condition(err) != test.want || c.Done() != (test.want == "" || !test.told) || (s.Username() != "") != (test.want == "") {
			t.Errorf("%s: %v, done %v, user %q; want %q", test.name, err, c.Done(), s.Username(), test.want)
		}
		r, told := errors.AsType[*sasl.TokenRefusal](sasl.Explain(c, errors.New("x")))
		if told != test.told || told && (r.Status != sasl.InvalidToken || r.Configuration != discovery || r.Scope != "example_scope") {
			t.Errorf("%s: the client was told %+v", test.name, r)
		}
	}
}

// RFC 7628 §3: never without TLS; and only where tokens are taken.
func TestOAuthOffered(t *testing.T) {
	t.Parallel()
	b := tokens{accounts: newAccounts()}
	for _, test := range []struct {
		b    sasl.Backend
		o    sasl.ServerOptions
		want string
	}{
		{b, sasl.ServerOptions{Domain: domain, OverTLS: true, Tokens: true}, ""},
		{b, sasl.ServerOptions{Domain: domain, Tokens: true}, sasl.EncryptionRequired},
		{b, sasl.ServerOptions{Domain: domain, OverTLS: true}, sasl.InvalidMechanism},
		{newAccounts(), sasl.ServerOptions{Domain: domain, OverTLS: true, Tokens: true}, sasl.InvalidMechanism},
	} {
		_, err := sasl.NewServer(sasl.OAuthBearer, test.b, test.o)
		if condition(err) != test.want {
			t.Errorf("NewServer(%+v): %v, want %q", test.o, err, test.want)
		}
		if offered := slices.Contains(sasl.Mechanisms(test.o), sasl.OAuthBearer); offered != (test.o.OverTLS && test.o.Tokens) {
			t.Errorf("Mechanisms(%+v): offered: %v", test.o, offered)
		}
	}
	offered := []string{sasl.OAuthBearer, sasl.ScramSHA256}
	for _, test := range []struct {
		who  sasl.Credentials
		tls  bool
		want string
	}{
		{sasl.Credentials{Username: "juliet", Token: "x"}, true, sasl.OAuthBearer},
		{sasl.Credentials{Username: "juliet", Token: "x", Password: "y"}, true, sasl.OAuthBearer},
		{sasl.Credentials{Username: "juliet", Token: "x", Password: "y"}, false, sasl.ScramSHA256},
		{sasl.Credentials{Username: "juliet", Password: "y"}, true, sasl.ScramSHA256},
		{sasl.Credentials{Username: "juliet", Token: "x"}, false, ""},
	} {
		got, _ := sasl.Choose(test.who, sasl.ClientOptions{Offered: offered, OverTLS: test.tls})
		if got != test.want {
			t.Errorf("Choose(%+v), TLS %v: %q, want %q", test.who, test.tls, got, test.want)
		}
	}
	for _, token := range []string{"", "=", "a b", "a\x01b", "a,b", "\u00e9"} {
		_, err := sasl.NewClient(sasl.OAuthBearer, sasl.Credentials{Username: "juliet", Token: token}, sasl.ClientOptions{OverTLS: true})
		if err == nil {
			t.Errorf("NewClient sends %q as a token", token)
		}
	}
	if _, err := sasl.NewClient(sasl.OAuthBearer, sasl.Credentials{Username: "juliet", Token: "x"}, sasl.ClientOptions{}); err == nil {
		t.Error("NewClient sends a token without TLS")
	}
}

// The client takes one word about its token, and no success behind it.
func TestOAuthClient(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		challenges []string
		wrong      bool
	}{
		{[]string{refusal}, false},
		{[]string{`{"status":"invalid_token","other":[1,{}]}`}, false},
		{[]string{refusal, refusal}, true},
		{[]string{"no"}, true},
		{[]string{`"no"`}, true},
	} {
		c, err := sasl.NewClient(sasl.OAuthBearer, sasl.Credentials{Username: "juliet", Token: "x"}, sasl.ClientOptions{OverTLS: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Start(); err != nil || !c.Done() {
			t.Fatalf("Start: %v, done %v", err, c.Done())
		}
		var answer []byte
		for _, challenge := range test.challenges {
			answer, err = c.Next([]byte(challenge))
		}
		if c.Done() || (err != nil) != test.wrong || err == nil && string(answer) != "\x01" {
			t.Errorf("%q: %q, %v, done %v", test.challenges, answer, err, c.Done())
		}
	}
}

// FuzzOAuthServer: no bytes authenticate anybody but those that hold the token, and
// what is told of others is JSON.
func FuzzOAuthServer(f *testing.F) {
	for _, s := range []string{
		"n,,\x01auth=Bearer x\x01\x01", "n,a=a@b,\x01host=h\x01port=1\x01auth=Bearer x\x01\x01", "\x01", "y,,\x01\x01", "p=a,,\x01\x01",
	} {
		f.Add([]byte(s), []byte("\x01"))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		s := oauthServer(t, tokens{accounts: newAccounts(), owner: "juliet"})
		for _, message := range [][]byte{first, second} {
			answer, done, err := s.Next(t.Context(), message)
			if done && !strings.Contains(string(message), goodToken) {
				t.Fatalf("%q, %q authenticate %q", first, second, s.Username())
			}
			if len(answer) > 0 && !json.Valid(answer) {
				t.Fatalf("%q: %q is no JSON", first, answer)
			}
			if err != nil && condition(err) == "" {
				t.Fatalf("%q: %v is no Failure", first, err)
			}
		}
	})
}
