package sasl

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"hash"
	"strings"
)

// Names of the hash functions.
const (
	SHA1   = "SHA-1"
	SHA256 = "SHA-256"
	SHA512 = "SHA-512"
)

const (
	// MinIterations is the fewest iterations that a server takes, unless
	// ServerOptions say otherwise.
	MinIterations = 10_000
	// clientMinIterations: RFC 5802 §5.1 and RFC 7677 §4.
	clientMinIterations = 4096
	// maxIterations keeps a server from having a client compute for ever.
	maxIterations = 10_000_000
	saltSize      = 16
)

// Keys are what a server stores of a password for one hash (RFC 5802 §3).
// The password cannot be had from them but by guessing.
type Keys struct {
	Salt       []byte
	Iterations int
	StoredKey  []byte
	ServerKey  []byte

	// Others are other passwords of the same account that were hashed with the same
	// salt: any of them is as good. OthersOnly says that only they are.
	Others     []Pair
	OthersOnly bool
	// Proved, if it is not nil, is told by which password the account was proved: the
	// index among Others, -1 for the password itself.
	Proved func(other int)
}

// Pair are the keys of one password (RFC 5802 §3).
type Pair struct{ StoredKey, ServerKey []byte }

// prove finds the password by which is, as its stored key tells, and returns its
// server key; nil if there is none. All are looked at, whichever it is.
func (k Keys) prove(is func(storedKey []byte) bool) (serverKey []byte) {
	which := -2
	if is(k.StoredKey) && !k.OthersOnly {
		which, serverKey = -1, k.ServerKey
	}
	for i, p := range k.Others {
		if is(p.StoredKey) {
			which, serverKey = i, p.ServerKey
		}
	}
	if serverKey != nil && k.Proved != nil {
		k.Proved(which)
	}
	return serverKey
}

// NewSalt returns a random salt. Each hash of each account gets its own, for
// FakeKeys does so as well.
func NewSalt() []byte {
	b := make([]byte, saltSize)
	rand.Read(b) // never fails
	return b
}

// MakeKeys derives the keys of a password. It takes the time of the iterations.
func MakeKeys(hash, password string, salt []byte, iterations int) (Keys, error) {
	h, err := hashNamed(hash)
	if err != nil {
		return Keys{}, err
	}
	if iterations < MinIterations || iterations > maxIterations || len(salt) == 0 {
		return Keys{}, fmt.Errorf("sasl: %d iterations with a salt of %d bytes are not allowed", iterations, len(salt))
	}
	password, err = prepare(password)
	if err != nil {
		return Keys{}, fmt.Errorf("%w: password: %w", ErrCredentials, err)
	}
	d, err := h.derive(password, salt, iterations)
	if err != nil {
		return Keys{}, err
	}
	return Keys{Salt: salt, Iterations: iterations, StoredKey: h.sum(d.clientKey), ServerKey: d.serverKey}, nil
}

// FakeKeys returns keys for a user who has none: always the same for the same
// user, as real ones are, and of no password. The secret is the server's, of
// at least 16 random bytes, and must outlive restarts.
func FakeKeys(secret []byte, user, hash string, iterations int) Keys {
	h, err := hashNamed(hash)
	if err != nil {
		return Keys{} // which a Server refuses
	}
	derive := func(what string) []byte {
		mac := hmac.New(sha512.New, secret)
		for _, s := range []string{what, h.name, user} {
			// Lengths go first, so that no two inputs are one.
			mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
			mac.Write([]byte(s))
		}
		return mac.Sum(nil)
	}
	size := h.new().Size()
	return Keys{
		Salt:       derive("salt")[:saltSize],
		Iterations: iterations,
		StoredKey:  derive("stored key")[:size],
		ServerKey:  derive("server key")[:size],
	}
}

// Check reports whether a password belongs to the keys. It takes the time of
// the iterations; whoever checks for strangers bounds how many run at once.
func (k Keys) Check(hash, password string) bool {
	h, err := hashNamed(hash)
	if err != nil || !k.complete(h, 1) {
		return false
	}
	if password, err = prepare(password); err != nil {
		return false
	}
	d, err := h.derive(password, k.Salt, k.Iterations)
	if err != nil {
		return false
	}
	stored := h.sum(d.clientKey)
	return k.prove(func(key []byte) bool { return subtle.ConstantTimeCompare(stored, key) == 1 }) != nil
}

func (k Keys) complete(h algorithm, min int) bool {
	size := h.new().Size()
	return len(k.Salt) > 0 && k.Iterations >= min && k.Iterations <= maxIterations &&
		len(k.StoredKey) == size && len(k.ServerKey) == size
}

// algorithm is one hash function of SCRAM.
type algorithm struct {
	name string
	new  func() hash.Hash
}

func hashNamed(name string) (algorithm, error) {
	switch name {
	case SHA1:
		return algorithm{name, sha1.New}, nil
	case SHA256:
		return algorithm{name, sha256.New}, nil
	case SHA512:
		return algorithm{name, sha512.New}, nil
	}
	return algorithm{}, fmt.Errorf("sasl: hash %q is not known", name)
}

// hashOf returns the hash of a SCRAM mechanism.
func hashOf(mech string) (algorithm, error) {
	name, ok := strings.CutPrefix(mech, "SCRAM-")
	if !ok {
		return algorithm{}, fmt.Errorf("sasl: %q is no SCRAM mechanism", mech)
	}
	return hashNamed(strings.TrimSuffix(name, "-PLUS"))
}

// derived is what a client computes of the password (RFC 5802 §3).
type derived struct{ clientKey, serverKey []byte }

func (h algorithm) derive(password string, salt []byte, iterations int) (derived, error) {
	salted, err := pbkdf2.Key(h.new, password, salt, iterations, h.new().Size())
	if err != nil {
		return derived{}, fmt.Errorf("sasl: derive keys: %w", err)
	}
	return derived{h.mac(salted, "Client Key"), h.mac(salted, "Server Key")}, nil
}

func (h algorithm) sum(b []byte) []byte {
	w := h.new()
	w.Write(b)
	return w.Sum(nil)
}

func (h algorithm) mac(key []byte, message string) []byte {
	w := hmac.New(h.new, key)
	w.Write([]byte(message))
	return w.Sum(nil)
}

// SaltedPassword returns what keys are derived of (RFC 5802 §3), for a server that
// asks for it after it has let the client in (XEP-0480 §3). It is worth as much as
// the password to who has it.
func SaltedPassword(hash, password string, salt []byte, iterations int) ([]byte, error) {
	h, err := hashNamed(hash)
	if err != nil {
		return nil, err
	}
	if iterations < clientMinIterations || iterations > maxIterations || len(salt) == 0 {
		return nil, fmt.Errorf("%w: %d iterations with a salt of %d bytes", ErrServer, iterations, len(salt))
	}
	if password, err = prepare(password); err != nil {
		return nil, fmt.Errorf("%w: password: %w", ErrCredentials, err)
	}
	return pbkdf2.Key(h.new, password, salt, iterations, h.new().Size())
}

// KeysOf derives keys of a salted password.
func KeysOf(hash string, salted, salt []byte, iterations int) (Keys, error) {
	h, err := hashNamed(hash)
	if err != nil {
		return Keys{}, err
	}
	if len(salted) != h.new().Size() {
		return Keys{}, fmt.Errorf("sasl: a salted password of %s has not %d bytes", hash, len(salted))
	}
	return Keys{Salt: salt, Iterations: iterations,
		StoredKey: h.sum(h.mac(salted, "Client Key")), ServerKey: h.mac(salted, "Server Key")}, nil
}
