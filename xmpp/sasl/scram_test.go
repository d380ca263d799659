package sasl_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"kith/xmpp/sasl"
)

// vector is an exchange whose nonces are known.
type vector struct {
	name, mech                                   string
	credentials                                  sasl.Credentials
	domain, salt                                 string
	iterations                                   int
	bindings                                     []sasl.Binding
	serverNonce                                  string
	clientFirst, serverFirst, final, serverFinal string
}

func unbase64(s string) string {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func vectors() []vector {
	counting := make([]byte, 32)
	for i := range counting {
		counting[i] = byte(i)
	}
	user := sasl.Credentials{Username: "user", Password: "pencil"}
	return []vector{{
		name: "RFC 5802 §5", mech: sasl.ScramSHA1, credentials: user,
		domain: "localhost", salt: unbase64("QSXCR+Q6sek8bf92"), iterations: 4096,
		serverNonce: "3rfcNHYJY1ZVvWVs7j",
		clientFirst: "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
		serverFirst: "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
		final:       "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
		serverFinal: "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
	}, {
		name: "RFC 7677 §3", mech: sasl.ScramSHA256, credentials: user,
		domain: "localhost", salt: unbase64("W22ZaJ0SNY7soEsUEjb6gQ=="), iterations: 4096,
		serverNonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
		clientFirst: "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
		serverFirst: "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
		final:       "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		serverFinal: "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
	}, {
		// No RFC has vectors for SHA-512; these two were computed with
		// Python's hashlib.
		name: "SHA-512", mech: sasl.ScramSHA512, credentials: user,
		domain: "localhost", salt: unbase64("W22ZaJ0SNY7soEsUEjb6gQ=="), iterations: 4096,
		serverNonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
		clientFirst: "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
		serverFirst: "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
		final:       "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ==",
		serverFinal: "v=ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw==",
	}, {
		name: "binding, authzid and escapes", mech: sasl.ScramSHA512Plus,
		credentials: sasl.Credentials{Username: "us,er=", Password: "pencil", Authzid: "us,er=@example.com"},
		domain:      "example.com", salt: "0123456789abcdef", iterations: 10_000,
		bindings:    []sasl.Binding{{Type: sasl.TLSExporter, Data: counting}},
		serverNonce: "def",
		clientFirst: "p=tls-exporter,a=us=2Cer=3D@example.com,n=us=2Cer=3D,r=abc",
		serverFirst: "r=abcdef,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=10000",
		final:       "c=cD10bHMtZXhwb3J0ZXIsYT11cz0yQ2VyPTNEQGV4YW1wbGUuY29tLAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f,r=abcdef,p=2vmmLvxGuYp365OKlhnJ9PBryj9RZKFLMM9x/IKWmZuqSSah7hfqwtnRd+21f1Tdcb6wjM7W1azKvO68r0n0aA==",
		serverFinal: "v=cVT7RB2xl9z4JCNVLgY84ayY3ugzEiH5dYgxSazwy8sLub8k+aoWDei2u2ER41+3zkpA7TwmtZtRP27tS2KxxA==",
	}}
}

func TestVectors(t *testing.T) {
	t.Parallel()
	for _, v := range vectors() {
		t.Run(v.name, func(t *testing.T) {
			o := offer(v.bindings)
			o.Offered = []string{v.mech}
			_, nonce, _ := strings.Cut(v.clientFirst, ",r=")
			c, err := sasl.NewClientNonce(v.mech, v.credentials, o, nonce)
			if err != nil {
				t.Fatal(err)
			}
			s := v.server(t)
			step := func(what, got, want string, err error) {
				t.Helper()
				if got != want || err != nil {
					t.Fatalf("%s = %q, %v, want %q", what, got, err, want)
				}
			}
			first, err := c.Start()
			step("client-first-message", string(first), v.clientFirst, err)
			challenge, _, err := s.Next(t.Context(), first)
			step("server-first-message", string(challenge), v.serverFirst, err)
			final, err := c.Next(challenge)
			step("client-final-message", string(final), v.final, err)
			success, done, err := s.Next(t.Context(), final)
			step("server-final-message", string(success), v.serverFinal, err)
			if c.Done() {
				t.Error("the client is done before it has seen the server's signature")
			}
			if _, err := c.Next(success); err != nil || !c.Done() || !done || s.Username() != v.credentials.Username {
				t.Errorf("end: %v, client %v, server %v as %q", err, c.Done(), done, s.Username())
			}
		})
	}
}

func (v vector) server(t *testing.T) sasl.Server {
	t.Helper()
	hash := strings.TrimSuffix(strings.TrimPrefix(v.mech, "SCRAM-"), "-PLUS")
	o := serverOptions(v.bindings)
	o.Domain, o.MinIterations = v.domain, v.iterations
	keys := sasl.WeakKeys(hash, v.credentials.Password, []byte(v.salt), v.iterations)
	s, err := sasl.NewServer(v.mech, keysOnly{newAccounts(), keys}, o)
	if err != nil {
		t.Fatal(err)
	}
	sasl.SetNonce(s, v.serverNonce)
	return s
}

// TestServerMessages sends what a client should not send. The messages are
// those of the vector of RFC 7677 or, bound, of the last one.
func TestServerMessages(t *testing.T) {
	t.Parallel()
	const malformed, no = sasl.MalformedRequest, sasl.NotAuthorized
	plain, bound := vectors()[1], vectors()[3]
	for _, test := range []struct {
		name         string
		v            vector
		first, final func(string) string
		want         string
	}{
		{"nothing changed", plain, nil, nil, ""},
		{"nothing changed, bound", bound, nil, nil, ""},
		{"another proof", plain, nil, replace("p=dHz", "p=eHz"), no},
		{"another nonce", plain, nil, replace("k0,p=", "k1,p="), no},
		{"nonce cut to the client's", plain, nil, replace("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", ""), no},
		{"another flag in c", plain, nil, replace("c=biws", "c=eSws"), no},
		{"same c, coded otherwise", plain, nil, replace("c=biws", "c=biw s"), no},
		{"no channel data", bound, nil, set("c=cD10bHMtZXhwb3J0ZXIsYT11cz0yQ2VyPTNEQGV4YW1wbGUuY29tLA==,r=abcdef,p=" + strings.Repeat("A", 86) + "=="), no},
		{"other channel data", bound, nil, replace("HR4f,", "HR4e,"), no},
		{"extension", plain, replace("NEkqO", "NEkqO,x=y"), replace(",p=", ",z=1,p="), no}, // changes the proof
		{"mandatory extension first", plain, replace("n,,n=", "n,,m=x,n="), nil, malformed},
		{"mandatory extension behind", plain, replace("NEkqO", "NEkqO,m=x"), nil, malformed},
		{"mandatory extension in the end", plain, nil, replace(",p=", ",m=x,p="), malformed},
		{"known attribute as extension", plain, replace("NEkqO", "NEkqO,n=romeo"), nil, malformed},
		{"not an extension", plain, replace("NEkqO", "NEkqO,x"), nil, malformed},
		{"empty extension", plain, replace("NEkqO", "NEkqO,x="), nil, malformed},
		{"comma at the end", plain, replace("NEkqO", "NEkqO,"), nil, malformed},
		{"no user", plain, replace("n=user,", ""), nil, malformed},
		{"empty user", plain, replace("n=user,", "n=,"), nil, malformed},
		{"wrong escape", plain, replace("n=user,", "n=us=2cer,"), nil, malformed},
		{"open escape", plain, replace("n=user,", "n=user=,"), nil, malformed},
		{"NUL in user", plain, replace("n=user,", "n=us\x00er,"), nil, malformed},
		{"user that no JID can have", plain, replace("n=user,", "n=us er,"), nil, no},
		{"order of attributes", plain, set("n,,r=abc,n=user"), nil, malformed},
		{"no nonce", plain, set("n,,n=user"), nil, malformed},
		{"empty nonce", plain, set("n,,n=user,r="), nil, malformed},
		{"nonce with a space", plain, set("n,,n=user,r=a b"), nil, malformed},
		{"nonce that is not ASCII", plain, set("n,,n=user,r=\u00e9"), nil, malformed},
		{"not UTF-8", plain, set("n,,n=us\xffer,r=abc"), nil, malformed},
		{"no header", plain, set("n=user,r=abc"), nil, malformed},
		{"unknown flag", plain, set("x,,n=user,r=abc"), nil, malformed},
		{"non-standard flag", plain, set("F,n,,n=user,r=abc"), nil, malformed},
		{"long flag", plain, set("nn,,n=user,r=abc"), nil, malformed},
		{"binding of no type", bound, replace("p=tls-exporter", "p="), nil, malformed},
		{"binding of a strange type", bound, replace("p=tls-exporter", "p=tls_exporter"), nil, malformed},
		{"not an authzid", plain, replace("n,,", "n,b=c,"), nil, malformed},
		{"empty authzid", plain, replace("n,,", "n,a=,"), nil, malformed},
		{"too long", plain, set("n,,n=" + strings.Repeat("u", 20_000) + ",r=abc"), nil, malformed},
		{"no proof", plain, nil, replace(",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", ""), malformed},
		{"empty proof", plain, nil, replace("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", ""), malformed},
		{"short proof", plain, nil, replace("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "dHzb"), malformed},
		{"long proof", plain, nil, replace("dHzb", "dHzbdHzb"), malformed},
		{"proof with a line end", plain, nil, replace("dHzb", "dH\nzb"), malformed},
		{"proof with loose bits", plain, nil, replace("AndVQ=", "AndVR="), malformed},
		{"something behind the proof", plain, nil, replace("AndVQ=", "AndVQ=,x=y"), malformed},
		{"first again", plain, nil, set(plain.clientFirst), malformed},
		{"nothing", plain, nil, set(""), malformed},

		// RFC 5802 §6.
		{"y where -PLUS was not offered", plain, replace("n,,", "y,,"), nil, no}, // only the proof is wrong
		{"p for a mechanism without", plain, replace("n,,", "p=tls-exporter,,"), nil, malformed},
		{"n for -PLUS", bound, replace("p=tls-exporter", "n"), nil, malformed},
		{"y for -PLUS", bound, replace("p=tls-exporter", "y"), nil, no},
		{"type that we do not have", bound, replace("p=tls-exporter", "p=tls-server-end-point"), nil, no},
		{"tls-unique", bound, replace("p=tls-exporter", "p=tls-unique"), nil, no},
	} {
		s := test.v.server(t)
		first, final := test.v.clientFirst, test.v.final
		if test.first != nil {
			first = test.first(first)
		}
		if test.final != nil {
			final = test.final(final)
		}
		_, done, err := s.Next(t.Context(), []byte(first))
		if err == nil {
			_, done, err = s.Next(t.Context(), []byte(final))
		}
		if condition(err) != test.want || done != (test.want == "") || (s.Username() == "") == done {
			t.Errorf("%s: %v, %v, want %q", test.name, done, err, test.want)
		}
	}
}

// TestClientMessages sends what a server should not send.
func TestClientMessages(t *testing.T) {
	t.Parallel()
	v := vectors()[1]
	for _, test := range []struct {
		name         string
		first, final func(string) string
		want         error
	}{
		{"nothing changed", nil, nil, nil},
		{"optional extension", replace("i=4096", "i=4096,z=abc"), nil, sasl.ErrServer}, // changes the signature
		{"extension with the signature", nil, replace("95G4=", "95G4=,x=y"), nil},
		{"mandatory extension", func(s string) string { return "m=x," + s }, nil, sasl.ErrServer},
		{"mandatory extension behind", replace("i=4096", "i=4096,m=x"), nil, sasl.ErrServer},
		{"nonce of another", replace("r=rOpr", "r=sOpr"), nil, sasl.ErrServer},
		{"nonce of ours alone", replace("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", ""), nil, sasl.ErrServer},
		{"part of our nonce", set("r=rOpr,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"), nil, sasl.ErrServer},
		{"no salt", replace("W22ZaJ0SNY7soEsUEjb6gQ==", ""), nil, sasl.ErrServer},
		{"salt that is not base64", replace("W22Z", "W2$Z"), nil, sasl.ErrServer},
		{"few iterations", replace("i=4096", "i=4095"), nil, sasl.ErrServer},
		{"one iteration", replace("i=4096", "i=1"), nil, sasl.ErrServer},
		{"no iteration", replace("i=4096", "i=0"), nil, sasl.ErrServer},
		{"negative", replace("i=4096", "i=-4096"), nil, sasl.ErrServer},
		{"leading zero", replace("i=4096", "i=04096"), nil, sasl.ErrServer},
		{"sign", replace("i=4096", "i=+4096"), nil, sasl.ErrServer},
		{"too many iterations", replace("i=4096", "i=10000001"), nil, sasl.ErrServer},
		{"overflow", replace("i=4096", "i=18446744073709555712"), nil, sasl.ErrServer},
		{"order", set("s=W22ZaJ0SNY7soEsUEjb6gQ==,r=rOprNGfwEbeRWgbNEkqOx,i=4096"), nil, sasl.ErrServer},
		{"refused at once", set("e=other-error"), nil, sasl.ErrRefused},
		{"signature at once", set(v.serverFinal), nil, sasl.ErrServer},
		{"nothing", set(""), nil, sasl.ErrServer},
		{"not UTF-8", replace("r=rOpr", "r=\xff"), nil, sasl.ErrServer},
		{"too long", replace("i=4096", "i=4096,x="+strings.Repeat("y", 20_000)), nil, sasl.ErrServer},
		{"another signature", nil, replace("v=6rri", "v=7rri"), sasl.ErrServer},
		{"empty signature", nil, set("v="), sasl.ErrServer},
		{"short signature", nil, set("v=6rri"), sasl.ErrServer},
		{"success without signature", nil, set(""), sasl.ErrServer},
		{"refused", nil, set("e=invalid-proof"), sasl.ErrRefused},
		{"refused with more", nil, set("e=invalid-proof,x=y"), sasl.ErrRefused},
		{"first again", nil, set(v.serverFirst), sasl.ErrServer},
	} {
		o := offer(nil)
		o.Offered = []string{v.mech}
		c, err := sasl.NewClientNonce(v.mech, v.credentials, o, "rOprNGfwEbeRWgbNEkqO")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Next([]byte(v.serverFirst)); err == nil || c.Done() {
			t.Errorf("%s: the client answers before it has started", test.name)
		}
		if _, err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Start(); err == nil {
			t.Errorf("%s: the client starts twice", test.name)
		}
		first, final := v.serverFirst, v.serverFinal
		if test.first != nil {
			first = test.first(first)
		}
		if test.final != nil {
			final = test.final(final)
		}
		_, err = c.Next([]byte(first))
		if err == nil {
			if c.Done() {
				t.Errorf("%s: done half-way", test.name)
			}
			_, err = c.Next([]byte(final))
		}
		if !errors.Is(err, test.want) || c.Done() != (test.want == nil) {
			t.Errorf("%s: %v, done %v, want %v", test.name, err, c.Done(), test.want)
		}
		if test.want == nil {
			if _, err := c.Next(nil); err != nil || !c.Done() {
				t.Errorf("%s: a success without data after the end: %v", test.name, err)
			}
		} else if _, err := c.Next([]byte(v.serverFinal)); err == nil || c.Done() {
			t.Errorf("%s: the client goes on after a failure", test.name)
		}
		if _, err := c.Next([]byte("v=")); err == nil || c.Done() {
			t.Errorf("%s: the client takes a challenge after the end", test.name)
		}
	}
}

func replace(old, new string) func(string) string {
	return func(s string) string {
		if !strings.Contains(s, old) {
			panic(s + " does not hold " + old)
		}
		return strings.Replace(s, old, new, 1)
	}
}

func set(message string) func(string) string { return func(string) string { return message } }

// TestExtensions: RFC 5802 §5.1, those that are optional and not known are ignored but
// signed.
func TestExtensions(t *testing.T) {
	t.Parallel()
	o := offer(nil)
	o.Offered = []string{sasl.ScramSHA256}
	c, err := sasl.NewClientNonce(sasl.ScramSHA256, sasl.Credentials{Username: "user", Password: "pencil"}, o, "abc")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Next([]byte("r=abcdef,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096,d=abcd,x=1")); err != nil {
		t.Errorf("server-first-message with extensions: %v", err)
	}
}

func TestWeakKeys(t *testing.T) {
	t.Parallel()
	ok := sasl.WeakKeys(sasl.SHA256, "r0m30", []byte("salt"), sasl.MinIterations)
	for _, test := range []struct {
		name string
		min  int
		edit func(*sasl.Keys)
		want string
	}{
		{"good", 0, func(*sasl.Keys) {}, ""},
		{"iterations", 0, func(k *sasl.Keys) { k.Iterations = sasl.MinIterations - 1 }, sasl.TemporaryAuthFailure},
		{"iterations, lowered", 4096, func(k *sasl.Keys) { k.Iterations = 4096 }, ""},
		{"iterations, lowered too far", 1, func(k *sasl.Keys) { k.Iterations = 4095 }, sasl.TemporaryAuthFailure},
		{"no salt", 0, func(k *sasl.Keys) { k.Salt = nil }, sasl.TemporaryAuthFailure},
		{"no stored key", 0, func(k *sasl.Keys) { k.StoredKey = nil }, sasl.TemporaryAuthFailure},
		{"server key of another hash", 0, func(k *sasl.Keys) { k.ServerKey = k.ServerKey[:20] }, sasl.TemporaryAuthFailure},
		{"nothing", 0, func(k *sasl.Keys) { *k = sasl.Keys{} }, sasl.TemporaryAuthFailure},
	} {
		k := ok
		test.edit(&k)
		o := serverOptions(nil)
		o.MinIterations = test.min
		s, err := sasl.NewServer(sasl.ScramSHA256, keysOnly{newAccounts(), k}, o)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Next(t.Context(), []byte("n,,n=juliet,r=abc")); condition(err) != test.want {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}
