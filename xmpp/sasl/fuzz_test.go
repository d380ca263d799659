package sasl_test

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"kith/xmpp/sasl"
)

// FuzzServer: no bytes but those that hold a proof authenticate anybody. The
// backend has keys of no password, so there is no such proof.
func FuzzServer(f *testing.F) {
	for i := range all {
		for _, v := range vectors() {
			f.Add(i, []byte(v.clientFirst), []byte(v.final))
		}
		f.Add(i, []byte("\x00juliet\x00r0m30"), []byte(nil))
		f.Add(i, []byte("p=tls-server-end-point,a=a@b,n=a,r=b"), []byte("c=,r=,p="))
	}
	nobody := newAccounts()
	nobody.passwords = nil
	f.Fuzz(func(t *testing.T, which int, first, final []byte) {
		mech := all[uint(which)%uint(len(all))]
		s, err := sasl.NewServer(mech, fuzzBackend{nobody}, serverOptions(both))
		if err != nil {
			t.Fatal(err)
		}
		if mech != sasl.Plain {
			sasl.SetNonce(s, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
		}
		failed := false
		for range 2 {
			for _, response := range [][]byte{first, final} {
				_, done, err := s.Next(t.Context(), response)
				if done || s.Username() != "" {
					t.Fatalf("%s: %q, %q authenticate %q", mech, first, final, s.Username())
				}
				if failed && err == nil {
					t.Fatalf("%s: %q, %q: goes on after a failure", mech, first, final)
				}
				if failed = err != nil; failed && condition(err) == "" {
					t.Fatalf("%s: %q, %q: %v is no Failure", mech, first, final, err)
				}
			}
		}
	})
}

// fuzzBackend spares the work of PLAIN.
type fuzzBackend struct{ *accounts }

func (fuzzBackend) Plain(context.Context, string, string) error {
	return &sasl.Failure{Condition: sasl.NotAuthorized}
}

// FuzzClient: no bytes but those that hold a signature make a client done.
func FuzzClient(f *testing.F) {
	for i := range all {
		for _, v := range vectors() {
			f.Add(i, []byte(v.serverFirst), []byte(v.serverFinal))
		}
		f.Add(i, []byte("r=fuzzx,s=MDEy,i=4096"), []byte("v="))
		f.Add(i, []byte("e=other-error"), []byte(nil))
	}
	f.Fuzz(func(t *testing.T, which int, first, final []byte) {
		mech := all[uint(which)%uint(len(all))]
		if mech == sasl.Plain || slow(string(first)) || slow(string(final)) {
			return
		}
		o := offer(both)
		if !strings.HasSuffix(mech, "-PLUS") {
			o = offer(nil)
		}
		o.Offered = []string{mech}
		c, err := sasl.NewClientNonce(mech, sasl.Credentials{Username: "user", Password: "not a pencil"}, o, "fuzz")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Start(); err != nil {
			t.Fatal(err)
		}
		failed := false
		for range 2 {
			for _, challenge := range [][]byte{first, final} {
				_, err := c.Next(challenge)
				if c.Done() || failed && err == nil {
					t.Fatalf("%s: %q, %q: done %v, %v", mech, first, final, c.Done(), err)
				}
				failed = err != nil
			}
		}
	})
}

// slow reports whether a message asks for so many iterations that fuzzing
// would come to a standstill.
func slow(message string) bool {
	for attr := range strings.SplitSeq(message, ",") {
		if v, ok := strings.CutPrefix(attr, "i="); ok {
			if n, err := strconv.Atoi(v); err == nil && n > 4096 && n <= 10_000_000 {
				return true
			}
		}
	}
	return false
}

// FuzzToken: no bytes but the proof authenticate anybody by a token.
func FuzzToken(f *testing.F) {
	f.Add([]byte("juliet\x0001234567890123456789012345678901"))
	f.Add([]byte("\x00\x00"))
	f.Add([]byte("juliet@capulet.example\x00"))
	f.Fuzz(func(t *testing.T, message []byte) {
		backend := &oneToken{user: "juliet", mech: sasl.TokenUnbound, token: []byte("t0ken")}
		s, err := sasl.NewServer(sasl.TokenUnbound, backend, sasl.ServerOptions{Domain: "capulet.example", OverTLS: true})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, done, err := s.Next(t.Context(), message); done || condition(err) == "" || s.Username() != "" {
				t.Fatalf("%q: %v, done %v", message, err, done)
			}
		}
	})
}
