package sasl_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"testing"

	"kith/xmpp/sasl"
)

// TestOfferDigest: the example of XEP-0474 §6.3.
func TestOfferDigest(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		offer sasl.Offer
		want  string
	}{
		{sasl.Offer{Mechanisms: []string{"SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"}, Types: []string{"tls-server-end-point", "tls-exporter"}}, "G6k/rBLDqgOhRRaCuuatSDFkJ08="},
		{sasl.Offer{Mechanisms: []string{"SCRAM-SHA-1-PLUS", "SCRAM-SHA-1"}, Types: []string{"tls-exporter", "tls-server-end-point"}}, "G6k/rBLDqgOhRRaCuuatSDFkJ08="},
	} {
		if got := sasl.DigestSHA1(test.offer); got != test.want {
			t.Errorf("%v: %s, want %s", test.offer, got, test.want)
		}
	}
	if sasl.DigestSHA1(sasl.Offer{Mechanisms: []string{"A"}, Types: []string{"B"}}) == sasl.DigestSHA1(sasl.Offer{Mechanisms: []string{"A", "B"}}) {
		t.Error("a type counts as a mechanism")
	}
}

// TestVouch: what a client makes of what the server says of its offer (XEP-0474
// §4.2) and of TLS (XEP-0515 §4.2).
func TestVouch(t *testing.T) {
	t.Parallel()
	const first = "r=abcdef,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096"
	whole := []string{sasl.ScramSHA256, sasl.ScramSHA1}
	h := ",h=" + sasl.DigestSHA1(sasl.Offer{Mechanisms: whole})
	for _, test := range []struct {
		name      string
		offered   []string
		protected bool
		message   string
		want      error
	}{
		{"nothing said", whole, false, first, nil},
		{"nothing said any more", whole, true, first, sasl.ErrDowngrade},
		{"all came", whole, true, first + h, nil},
		{"in another order", []string{sasl.ScramSHA1, sasl.ScramSHA256}, false, first + h, nil},
		{"one was taken away", []string{sasl.ScramSHA1}, false, first + h, sasl.ErrDowngrade},
		{"one was added", append([]string{sasl.Plain}, whole...), false, first + h, sasl.ErrDowngrade},
		{"said twice", whole, false, first + h + h, sasl.ErrDowngrade},
		{"the same TLS", whole, false, first + h + ",t=0304", nil},
		{"another TLS", whole, false, first + h + ",t=0303", sasl.ErrDowngrade},
		{"another TLS, and nothing of the offer", whole, false, first + ",t=0303", sasl.ErrDowngrade},
		{"no TLS to speak of", whole, false, first + ",t=x", sasl.ErrDowngrade},
	} {
		o := sasl.ClientOptions{Offered: test.offered, OverTLS: true, TLS: tls.VersionTLS13, Protected: test.protected}
		c, err := sasl.NewClientNonce(sasl.ScramSHA1, sasl.Credentials{Username: "user", Password: "pencil"}, o, "abc")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if answer, err := c.Next([]byte(test.message)); !errors.Is(err, test.want) || (err != nil) != (answer == nil) {
			t.Errorf("%s: %v, answer %q, want %v", test.name, err, answer, test.want)
		}
	}
}

// TestUnknownBindings: where no type of channel binding is known that the server has,
// the client goes without, if the server vouches for having offered just that
// (XEP-0474 §7, the new rule 6). It does not show its password.
func TestUnknownBindings(t *testing.T) {
	t.Parallel()
	strange := []string{"tls-x", "tls-y"}
	offered := []string{sasl.ScramSHA256Plus, sasl.ScramSHA256, sasl.Plain}
	whole := &sasl.Offer{Mechanisms: offered, Types: strange}
	for _, test := range []struct {
		name    string
		offer   *sasl.Offer // that the server vouches for
		offered []string
		types   []string
		want    error
	}{
		{"vouched for", whole, offered, strange, nil},
		{"in another order", whole, []string{sasl.Plain, sasl.ScramSHA256, sasl.ScramSHA256Plus}, []string{"tls-y", "tls-x"}, nil},
		{"not vouched for", nil, offered, strange, sasl.ErrDowngrade},
		{"somebody has put others in the place of ours", &sasl.Offer{Mechanisms: offered, Types: []string{sasl.TLSExporter}}, offered, strange, sasl.ErrDowngrade},
		{"somebody has taken ours away", &sasl.Offer{Mechanisms: offered, Types: append([]string{sasl.TLSExporter}, strange...)}, offered, strange, sasl.ErrDowngrade},
		{"somebody has added them", &sasl.Offer{Mechanisms: offered}, offered, strange, sasl.ErrDowngrade},
		{"somebody has added them, and there are none", &sasl.Offer{Mechanisms: offered, Types: []string{}}, offered, strange, sasl.ErrDowngrade},
		{"only PLAIN is left", whole, []string{sasl.ScramSHA256Plus, sasl.Plain}, strange, sasl.ErrDowngrade},
	} {
		for _, sasl2 := range []bool{false, true} {
			co := sasl.ClientOptions{Offered: test.offered, BindingTypes: test.types, Bindings: both, OverTLS: true, SASL2: sasl2}
			so := serverOptions(both)
			// Both ends have the same types, but for what the server calls them.
			so.Offer, so.PlusOffered = test.offer, true
			c, s, err := pair(co, so)
			if err == nil {
				first, startErr := c.Start()
				if startErr != nil || !bytes.HasPrefix(first, []byte("n,,")) {
					t.Errorf("%s: the client begins with %q, %v", test.name, first, startErr)
				}
				var challenge []byte
				if challenge, _, err = s.Next(t.Context(), first); err == nil {
					var final []byte
					if final, err = c.Next(challenge); err == nil {
						if challenge, _, err = s.Next(t.Context(), final); err == nil {
							_, err = c.Next(challenge)
						}
					}
				}
			}
			if !errors.Is(err, test.want) || (err == nil) != (c != nil && c.Done() && s.Username() != "") {
				t.Errorf("%s, SASL2 %v: %v, want %v", test.name, sasl2, err, test.want)
			}
		}
	}
	// Who is asked to use a mechanism does not get round it.
	o := sasl.ClientOptions{Offered: offered, BindingTypes: strange, Bindings: both, OverTLS: true}
	if _, err := sasl.NewClient(sasl.Plain, sasl.Credentials{Username: "juliet", Password: "r0m30"}, o); !errors.Is(err, sasl.ErrDowngrade) {
		t.Errorf("PLAIN: %v, want ErrDowngrade", err)
	}
}

// TestDigestOfNoTypes: types that were announced and are none are not the same as
// none announced (XEP-0474 §6.1, the third step).
func TestDigestOfNoTypes(t *testing.T) {
	if sasl.DigestSHA1(sasl.Offer{Mechanisms: []string{"A"}}) == sasl.DigestSHA1(sasl.Offer{Mechanisms: []string{"A"}, Types: []string{}}) {
		t.Error("an empty list of types goes unnoticed")
	}
}

// oneToken is a backend with one token.
type oneToken struct {
	sasl.Backend
	user, mech string
	token      []byte
	asked      int
}

func (b *oneToken) Device(_ context.Context, username, mech string, proves func([]byte) bool) error {
	b.asked++
	if !proves(b.token) || username != b.user || mech != b.mech {
		return &sasl.Failure{Condition: sasl.NotAuthorized}
	}
	return nil
}

// TestToken: both ends of HT, and what must not pass.
func TestToken(t *testing.T) {
	t.Parallel()
	exporter := []sasl.Binding{{Type: sasl.TLSExporter, Data: []byte("exported")}, {Type: sasl.TLSServerEndPoint, Data: []byte("certificate")}}
	other := []sasl.Binding{{Type: sasl.TLSExporter, Data: []byte("somebody between")}, {Type: sasl.TLSServerEndPoint, Data: []byte("certificate")}}
	change := func(i int) func([]byte) []byte {
		return func(b []byte) []byte {
			b = bytes.Clone(b)
			b[(i+len(b))%len(b)] ^= 1
			return b
		}
	}
	for _, test := range []struct {
		name           string
		mech           string
		client, server []sasl.Binding
		user           string
		token          string
		message        func([]byte) []byte
		want           string // "": success
	}{
		{"unbound", sasl.TokenUnbound, nil, exporter, "juliet", "t0ken", nil, ""},
		{"exporter", sasl.TokenExporter, exporter, exporter, "juliet", "t0ken", nil, ""},
		{"end point", sasl.TokenEndPoint, exporter, exporter, "juliet", "t0ken", nil, ""},
		{"somebody between", sasl.TokenExporter, other, exporter, "juliet", "t0ken", nil, sasl.NotAuthorized},
		{"no binding there", sasl.TokenExporter, exporter, nil, "juliet", "t0ken", nil, sasl.InvalidMechanism},
		{"another token", sasl.TokenUnbound, nil, nil, "juliet", "token", nil, sasl.NotAuthorized},
		{"another user", sasl.TokenUnbound, nil, nil, "romeo", "t0ken", nil, sasl.NotAuthorized},
		{"no user", sasl.TokenUnbound, nil, nil, "juliet", "t0ken", func(b []byte) []byte { return b[6:] }, sasl.NotAuthorized},
		{"changed proof", sasl.TokenUnbound, nil, nil, "juliet", "t0ken", change(-1), sasl.NotAuthorized},
		{"short proof", sasl.TokenUnbound, nil, nil, "juliet", "t0ken", func(b []byte) []byte { return b[:len(b)-1] }, sasl.MalformedRequest},
		{"long proof", sasl.TokenUnbound, nil, nil, "juliet", "t0ken", func(b []byte) []byte { return append(b, 0) }, sasl.MalformedRequest},
		{"nothing", sasl.TokenUnbound, nil, nil, "juliet", "t0ken", func([]byte) []byte { return nil }, sasl.MalformedRequest},
		{"no text", sasl.TokenUnbound, nil, nil, "juliet", "t0ken", func(b []byte) []byte { return append([]byte("\xff"), b...) }, sasl.MalformedRequest},
	} {
		backend := &oneToken{user: "juliet", mech: test.mech, token: []byte("t0ken")}
		c, err := sasl.NewTokenClient(test.mech, test.user, []byte(test.token), sasl.ClientOptions{Bindings: test.client, OverTLS: true})
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		message, err := c.Start()
		if err != nil {
			t.Fatal(err)
		}
		if test.message != nil {
			message = test.message(message)
		}
		var answer []byte
		var done bool
		s, err := sasl.NewServer(test.mech, backend, sasl.ServerOptions{Domain: "capulet.example", Bindings: test.server, OverTLS: true})
		if err == nil {
			answer, done, err = s.Next(t.Context(), message)
		}
		got := ""
		if f, ok := errors.AsType[*sasl.Failure](err); ok {
			got = f.Condition
		}
		if got != test.want || done != (test.want == "") || done != (answer != nil) {
			t.Errorf("%s: %v, done %v, want %q", test.name, err, done, test.want)
		}
		if s != nil && (s.Username() == "juliet") != done {
			t.Errorf("%s: %q is in", test.name, s.Username())
		}
		if done {
			if _, err := c.Next(change(0)(answer)); err == nil || c.Done() {
				t.Errorf("%s: the client believes another proof", test.name)
			}
			if _, _, err := s.Next(t.Context(), message); err == nil {
				t.Errorf("%s: the exchange goes on", test.name)
			}
		}
	}
	for name, o := range map[string]sasl.ServerOptions{
		"without TLS": {Domain: "capulet.example"},
		"no such":     {Domain: "capulet.example", OverTLS: true},
	} {
		mech := sasl.TokenUnbound
		if name == "no such" {
			mech = "HT-SHA-256-UNIQ"
		}
		if _, err := sasl.NewServer(mech, &oneToken{}, o); err == nil {
			t.Errorf("%s: there is a server", name)
		}
	}
}
