package sasl_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"kith/xmpp/sasl"
)

// keysOnly is a Backend with the same keys for everybody.
type keysOnly struct {
	*accounts
	keys sasl.Keys
}

func (k keysOnly) SCRAM(context.Context, string, string) (sasl.Keys, error) { return k.keys, nil }

func TestMakeKeys(t *testing.T) {
	t.Parallel()
	salt := sasl.NewSalt()
	for _, hash := range []string{sasl.SHA1, sasl.SHA256, sasl.SHA512} {
		k, err := sasl.MakeKeys(hash, "r0m30", salt, sasl.MinIterations)
		if err != nil {
			t.Fatal(err)
		}
		for password, want := range map[string]bool{"r0m30": true, "r0m3o": false, "": false, "\x00": false} {
			if got := k.Check(hash, password); got != want {
				t.Errorf("%s: Check(%q) = %v, want %v", hash, password, got, want)
			}
		}
		if k.Check("SHA-0", "r0m30") || (sasl.Keys{}).Check(hash, "r0m30") {
			t.Errorf("%s: checked without hash or keys", hash)
		}
	}
	for _, test := range []struct {
		name, hash, password string
		salt                 []byte
		iterations           int
		want                 error
	}{
		{"hash", "SHA-0", "r0m30", salt, 10_000, nil},
		{"few iterations", sasl.SHA256, "r0m30", salt, 9_999, nil},
		{"too many iterations", sasl.SHA256, "r0m30", salt, 10_000_001, nil},
		{"no salt", sasl.SHA256, "r0m30", nil, 10_000, nil},
		{"no password", sasl.SHA256, "", salt, 10_000, sasl.ErrCredentials},
		{"password against SASLprep", sasl.SHA256, "\x07", salt, 10_000, sasl.ErrCredentials},
	} {
		k, err := sasl.MakeKeys(test.hash, test.password, test.salt, test.iterations)
		if err == nil || k.StoredKey != nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: MakeKeys = %v, %v", test.name, k, err)
		}
	}
}

func TestFakeKeys(t *testing.T) {
	t.Parallel()
	secret := []byte("sixteen bytes or")
	seen := map[string]string{}
	for _, hash := range []string{sasl.SHA1, sasl.SHA256, sasl.SHA512} {
		for _, user := range []string{"juliet", "romeo", "", "SHA-1"} {
			k := sasl.FakeKeys(secret, user, hash, 10_000)
			again := sasl.FakeKeys(secret, user, hash, 10_000)
			if !bytes.Equal(k.Salt, again.Salt) || !bytes.Equal(k.StoredKey, again.StoredKey) || !bytes.Equal(k.ServerKey, again.ServerKey) {
				t.Errorf("FakeKeys(%q, %s) change", user, hash)
			}
			if other := sasl.FakeKeys([]byte("another secret !"), user, hash, 10_000); bytes.Equal(k.Salt, other.Salt) {
				t.Errorf("FakeKeys(%q, %s) do not depend on the secret", user, hash)
			}
			real, err := sasl.MakeKeys(hash, "r0m30", sasl.NewSalt(), 10_000)
			if err != nil {
				t.Fatal(err)
			}
			if len(k.Salt) != len(real.Salt) || len(k.StoredKey) != len(real.StoredKey) || len(k.ServerKey) != len(real.ServerKey) || k.Iterations != real.Iterations {
				t.Errorf("FakeKeys(%q, %s) are not of the size of real ones", user, hash)
			}
			for _, b := range [][]byte{k.Salt, k.StoredKey, k.ServerKey} {
				if who, ok := seen[string(b)]; ok {
					t.Errorf("%s of %q and %s share a key", hash, user, who)
				}
				seen[string(b)] = hash + " of " + user
			}
		}
	}
	if k := sasl.FakeKeys(secret, "juliet", "SHA-0", 10_000); k.StoredKey != nil {
		t.Errorf("FakeKeys of an unknown hash = %v", k)
	}
}

func TestPrepare(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		// RFC 4013 §3.
		"I\u00adX":     "IX",
		"user":         "user",
		"USER":         "USER",
		"\u00aa":       "a",
		"\u2168":       "IX",
		"\u0007":       "",
		"\u0627\u0031": "",

		"":                         "",
		"\u00ad":                   "",
		"\xff":                     "",
		"a b":                      "a b",
		"a\u00a0b\u3000c\u200bd":   "a b c d",
		"e\u0301":                  "\u00e9",
		"x\u00b2":                  "x2",
		"\uff50\uff57":             "pw",
		"\u0627a\u0628":            "",
		"\u0627 1 \u0628":          "\u0627 1 \u0628",
		"\u05d0\u05d1":             "\u05d0\u05d1",
		"\U0001f600":               "\U0001f600",
		"a\u200d\ufe0fb":           "ab",
		"\u2028":                   "",
		"\ue000":                   "",
		"\ufdd0":                   "",
		"\U0001ffff":               "",
		"\ufffd":                   "",
		"\u2ff0":                   "",
		"\u202e":                   "",
		"\U000e0041":               "",
		"\u0085":                   "",
		"\u0340":                   "\u0300",
		"\U000f0000":               "",
		"correct horse battery":    "correct horse battery",
		"\u00e4\u00f6\u00fc\u00df": "\u00e4\u00f6\u00fc\u00df",
	} {
		got, err := sasl.Prepare(in)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("prepare(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
}

// FuzzPrepare: a password that has been prepared is prepared again by Check.
func FuzzPrepare(f *testing.F) {
	f.Add("x\u00b2\u00a0\u0627\u0340")
	f.Fuzz(func(t *testing.T, s string) {
		once, err := sasl.Prepare(s)
		if err != nil {
			return
		}
		if twice, err := sasl.Prepare(once); err != nil || twice != once {
			t.Errorf("prepare(%q) = %q, and then %q, %v", s, once, twice, err)
		}
	})
}
