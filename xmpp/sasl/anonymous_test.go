package sasl_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"kith/xmpp/sasl"
)

// visitors is a backend that lets people in without accounts, so many.
type visitors struct {
	*accounts
	room int
}

func (v *visitors) Anonymous(context.Context) (string, error) {
	if v.room == 0 {
		return "", &sasl.Failure{Condition: sasl.TemporaryAuthFailure}
	}
	v.room--
	return "somebody", nil
}

// TestAnonymous: one message, or none, lets in who has no account, where that is
// wanted.
func TestAnonymous(t *testing.T) {
	t.Parallel()
	o := sasl.ServerOptions{Domain: "capulet.example", OverTLS: true, Anonymous: true}
	for _, test := range []struct {
		name    string
		message []byte
		room    int
		want    string // "": success
	}{
		{"no message", nil, 1, ""},
		{"an empty one", []byte{}, 1, ""},
		{"an address", []byte("sirhc@capulet.example"), 1, ""},
		{"words", []byte("Ωμέγα"), 1, ""},
		{"as long as may be", []byte(strings.Repeat("ω", 255)), 1, ""},
		{"longer", []byte(strings.Repeat("ω", 256)), 1, sasl.MalformedRequest},
		{"much longer", []byte(strings.Repeat("a", 1<<20)), 1, sasl.MalformedRequest},
		{"no text", []byte("\xff"), 1, sasl.MalformedRequest},
		{"a control character", []byte("a\x00b"), 1, sasl.MalformedRequest},
		{"no room", nil, 0, sasl.TemporaryAuthFailure},
	} {
		s, err := sasl.NewServer(sasl.Anonymous, &visitors{newAccounts(), test.room}, o)
		if err != nil {
			t.Fatal(err)
		}
		_, done, err := s.Next(t.Context(), test.message)
		if condition(err) != test.want || done != (test.want == "") || (s.Username() == "somebody") != done {
			t.Errorf("%s: %q is in, done %v, %v; want %q", test.name, s.Username(), done, err, test.want)
		}
		if _, again, err := s.Next(t.Context(), nil); again || err == nil {
			t.Errorf("%s: the exchange goes on", test.name)
		}
	}
	for name, refused := range map[string]func() (sasl.Server, error){
		"not wanted":   func() (sasl.Server, error) { return sasl.NewServer(sasl.Anonymous, &visitors{}, serverOptions(nil)) },
		"not possible": func() (sasl.Server, error) { return sasl.NewServer(sasl.Anonymous, newAccounts(), o) },
	} {
		if _, err := refused(); condition(err) != sasl.InvalidMechanism {
			t.Errorf("%s: %v", name, err)
		}
	}
	if m := sasl.Mechanisms(o); m[len(m)-1] != sasl.Anonymous {
		t.Errorf("offered: %v, want ANONYMOUS last", m)
	}
}

// TestAnonymousClient: a client comes without an account if it is to, and never
// otherwise.
func TestAnonymousClient(t *testing.T) {
	t.Parallel()
	offered := append([]string{sasl.Anonymous}, all...)
	for _, test := range []struct {
		name    string
		who     sasl.Credentials
		offered []string
		want    string
	}{
		{"asked for", sasl.Credentials{Anonymous: true}, offered, sasl.Anonymous},
		{"with a password at hand", sasl.Credentials{Anonymous: true, Username: "juliet", Password: "r0m30"}, offered, sasl.Anonymous},
		{"asked for and not offered", sasl.Credentials{Anonymous: true, Username: "juliet", Password: "r0m30"}, all, ""},
		{"not asked for", sasl.Credentials{Username: "juliet", Password: "r0m30"}, []string{sasl.Anonymous}, ""},
		{"nothing at hand", sasl.Credentials{}, offered, ""},
	} {
		o := sasl.ClientOptions{Offered: test.offered, OverTLS: true}
		got, err := sasl.Choose(test.who, o)
		if got != test.want || (err == nil) != (test.want != "") || err != nil && test.want == "" && !errors.Is(err, sasl.ErrNoMechanism) && !errors.Is(err, sasl.ErrCredentials) {
			t.Errorf("%s: %q, %v, want %q", test.name, got, err, test.want)
		}
		if _, err := sasl.NewClient(sasl.Anonymous, test.who, o); (err == nil) != test.who.Anonymous {
			t.Errorf("%s: NewClient: %v", test.name, err)
		}
	}
	c, err := sasl.NewClient(sasl.Anonymous, sasl.Credentials{Anonymous: true}, sasl.ClientOptions{Offered: offered})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := c.Start(); err != nil || m == nil || len(m) > 0 || !c.Done() {
		t.Errorf("the client says %q, %v", m, err)
	}
	if _, err := c.Next([]byte("who are you?")); !errors.Is(err, sasl.ErrServer) || c.Done() {
		t.Errorf("a challenge: %v", err)
	}
}
