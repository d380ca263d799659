package negotiate

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"kith/xmpp/sasl"
	"kith/xmpp/xmltree"
)

func auth(mechanism, data string) string {
	return "<auth xmlns='" + saslNS + "' mechanism='" + mechanism + "'>" + data + "</auth>"
}

// RFC 6120 §6.5
func TestSASLFailures(t *testing.T) {
	response := "<response xmlns='" + saslNS + "'/>"
	tests := []struct {
		name  string
		start func(testing.TB) *raw
		send  []string
		want  string
	}{
		{"wrong password", tlsStream, []string{plain("juliet", "x")}, "not-authorized"},
		{"unknown user", tlsStream, []string{plain("nobody", "x")}, "not-authorized"},
		{"no mechanism", tlsStream, []string{auth("", "=")}, "invalid-mechanism"},
		{"unknown mechanism", tlsStream, []string{auth("CRAM-MD5", "=")}, "invalid-mechanism"},
		{"mechanism in small letters", tlsStream, []string{auth("plain", "=")}, "invalid-mechanism"},
		{"mechanism not offered without TLS", optionalTLS, []string{auth("SCRAM-SHA-1-PLUS", "=")}, "invalid-mechanism"},
		{"PLAIN without TLS", optionalTLS, []string{plain("juliet", "r0m30myr0m30")}, "encryption-required"},
		{"anything before required TLS", plainStream, []string{auth("SCRAM-SHA-1", "=")}, "encryption-required"},
		{"no base64", tlsStream, []string{auth("PLAIN", "[...]")}, "incorrect-encoding"},
		{"base64 with a line break", tlsStream, []string{auth("PLAIN", "AGp1bGll\ndABy")}, "incorrect-encoding"},
		{"base64 with stray bits", tlsStream, []string{auth("PLAIN", "AGp1bGlldAByMG0zMG15cjBtMzB=")}, "incorrect-encoding"},
		{"no PLAIN", tlsStream, []string{auth("PLAIN", "AGp1bGlldA==")}, "malformed-request"},
		{"empty PLAIN", tlsStream, []string{auth("PLAIN", "=")}, "malformed-request"},
		{"another's account", tlsStream, []string{auth("PLAIN", base64.StdEncoding.EncodeToString([]byte("romeo@montague.example\x00juliet\x00r0m30myr0m30")))}, "invalid-authzid"},
		{"response without auth", tlsStream, []string{response}, "malformed-request"},
		{"abort", tlsStream, []string{auth("SCRAM-SHA-1", ""), "<abort xmlns='" + saslNS + "'/>"}, "aborted"},
		{"response after abort", tlsStream, []string{auth("SCRAM-SHA-1", ""), "<abort xmlns='" + saslNS + "'/>", response}, "malformed-request"},
		{"store is down", tlsStream, []string{plain("broken", "x")}, "temporary-auth-failure"},
	}
	for _, tt := range tests {
		bubble(t, tt.name, func(t *testing.T) {
			r := tt.start(t)
			r.expect(hello, "<stream:features")
			for i, send := range tt.send {
				if i < len(tt.send)-1 {
					r.say(send)
					continue
				}
				r.expect(send, "<failure xmlns='"+saslNS+"'><"+tt.want+"/>", "</failure>")
			}
		})
	}
}

// optionalTLS is a server whose client has not started TLS, and need not.
func optionalTLS(t testing.TB) *raw { return serve(t, false) }

func TestSASLRetries(t *testing.T) {
	bubble(t, "too many", func(t *testing.T) {
		r := tlsStream(t)
		r.expect(hello, "<stream:features")
		for range defaultAttempts - 1 {
			r.expect(plain("juliet", "x"), "<not-authorized/></failure>")
		}
		r.expectError(plain("juliet", "x"), "policy-violation")
	})
	bubble(t, "the last is right", func(t *testing.T) {
		r := tlsStream(t)
		r.expect(hello, "<stream:features")
		for range defaultAttempts - 1 {
			r.expect(plain("juliet", "x"), "<not-authorized/></failure>")
		}
		r.expect(plain("juliet", "r0m30myr0m30"), "<success")
	})
	// RFC 6120 §6.4.2
	bubble(t, "auth in an exchange", func(t *testing.T) {
		r := tlsStream(t)
		r.expect(hello, "<stream:features")
		r.expect(auth("SCRAM-SHA-1", base64.StdEncoding.EncodeToString([]byte("n,,n=juliet,r=abcdefghijklmnopqrst"))), "<challenge")
		r.expect(plain("juliet", "r0m30myr0m30"), "<success")
	})
	// A client that has no initial response, and one that sends more than it
	// may before it has read the success.
	bubble(t, "no initial response", func(t *testing.T) {
		r := tlsStream(t)
		r.expect(hello, "<stream:features")
		r.expect(auth("PLAIN", ""), "<challenge xmlns='"+saslNS+"'/>")
		p := strings.TrimSuffix(strings.TrimPrefix(plain("juliet", "r0m30myr0m30"), "<auth xmlns='"+saslNS+"' mechanism='PLAIN'>"), "</auth>")
		r.expect("<response xmlns='"+saslNS+"'>"+p+"</response>", "<success")
	})
	bubble(t, "new line", func(t *testing.T) {
		r := tlsStream(t)
		r.expect(hello, "<stream:features")
		r.expect(plain("juliet", "r0m30myr0m30")+"\r\n", "<success")
		r.expect(hello, "<bind")
	})
	bubble(t, "more than may be", func(t *testing.T) {
		r := tlsStream(t)
		r.expect(hello, "<stream:features")
		r.expectError(plain("juliet", "r0m30myr0m30")+"<message/>", "policy-violation")
	})
}

func TestRefusedIsToldFirst(t *testing.T) {
	a := &accounts{passwords: map[string]string{}}
	var got []string
	s := SASL{Backend: a, Refused: func(_ context.Context, _ *State, f *sasl.Failure) { got = append(got, f.Condition) }}
	bubble(t, "refused", func(t *testing.T) {
		r := serveSteps(t, s)
		r.expect(hello, "<mechanism>")
		r.expect(auth("X", ""), "<invalid-mechanism/>")
		r.expect(auth("SCRAM-SHA-1", "!"), "<incorrect-encoding/>")
	})
	if strings.Join(got, " ") != "invalid-mechanism incorrect-encoding" {
		t.Errorf("told of %v", got)
	}
}

func TestOnly(t *testing.T) {
	bubble(t, "only", func(t *testing.T) {
		r := serveSteps(t, SASL{Backend: &accounts{}, Only: []string{sasl.ScramSHA256, sasl.Plain}})
		if got := r.expect(hello, "<mechanisms xmlns='"+saslNS+"'><mechanism>SCRAM-SHA-256</mechanism></mechanisms>"); strings.Contains(got, "PLAIN") {
			t.Errorf("offered: %s", got)
		}
		r.expect(auth("SCRAM-SHA-1", ""), "<invalid-mechanism/>")
	})
}

func TestDecode(t *testing.T) {
	for in, want := range map[string]string{"": "nil", "=": "", "YQ==": "a", "YQ": "error", "==": "error", " YQ==": "error", "YR==": "error"} {
		b, err := decode(in)
		got := string(b)
		switch {
		case err != nil:
			got = "error"
		case b == nil:
			got = "nil"
		}
		if got != want {
			t.Errorf("decode(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestParseFailure(t *testing.T) {
	for in, want := range map[string]string{
		"<account-disabled/><text>call us</text>": "account-disabled",
		"<x xmlns='urn:x'/>":                      sasl.NotAuthorized,
		"":                                        sasl.NotAuthorized,
	} {
		el, err := xmltree.Parse([]byte("<failure xmlns='"+saslNS+"'>"+in+"</failure>"), xmltree.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		var f *sasl.Failure
		if err := parseFailure(el); !errors.As(err, &f) || f.Condition != want {
			t.Errorf("%s is read as %v, want %s", in, err, want)
		}
	}
}
