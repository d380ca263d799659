package sasl

import (
	"fmt"
	"slices"
	"strings"
)

// strongest lists the mechanisms in the order of preference: one that binds
// to the channel is stronger than any that does not, whatever their hashes. Who
// has a certificate, or a token, has it to log in with. Who has nothing comes last.
var strongest = []string{
	External,
	ScramSHA512Plus, ScramSHA256Plus, ScramSHA1Plus,
	ScramSHA512, ScramSHA256, ScramSHA1,
	OAuthBearer,
	Plain,
	Anonymous,
}

// Choose returns the strongest mechanism of the offer that the credentials and
// the connection allow. It fails with ErrNoMechanism or ErrDowngrade.
func Choose(c Credentials, o ClientOptions) (string, error) {
	if c.Anonymous {
		if !slices.Contains(o.Offered, Anonymous) {
			return "", fmt.Errorf("%w: ANONYMOUS is not among %s", ErrNoMechanism, strings.Join(o.Offered, " "))
		}
		return Anonymous, nil
	}
	if slices.Contains(o.Offered, External) && c.external(o) {
		return External, nil
	}
	if slices.Contains(o.Offered, OAuthBearer) && c.token(o) {
		return OAuthBearer, nil
	}
	b, err := chooseBinding(o)
	if err != nil {
		return "", err
	}
	for _, mech := range strongest {
		if slices.Contains(o.Offered, mech) && b.allows(mech, c, o) == nil {
			return mech, nil
		}
	}
	if b.vouched {
		return "", fmt.Errorf("%w: none of the types of channel binding %q is known, and no SCRAM without", ErrDowngrade, o.BindingTypes)
	}
	return "", fmt.Errorf("%w among %s", ErrNoMechanism, strings.Join(o.Offered, " "))
}

// external reports whether EXTERNAL can be used.
func (c Credentials) external(o ClientOptions) bool { return c.Certified && o.OverTLS }

// choice is what the client does about channel binding: the flag of the GS2
// header (RFC 5802 §7), and for 'p' what it binds to.
type choice struct {
	flag    byte // 'n', 'y' or 'p'
	binding Binding
	// vouched says that the server has to vouch for its offer: there is channel
	// binding in it, and no type that is known.
	vouched bool
}

// allows tells why a mechanism cannot be used, nil if it can.
func (ch choice) allows(mech string, c Credentials, o ClientOptions) error {
	switch {
	case !slices.Contains(strongest, mech), mech == External, mech == OAuthBearer, mech == Anonymous: // which are nothing of a password's
		return fmt.Errorf("%w: %q is not known", ErrNoMechanism, mech)
	case mech == Plain && !o.OverTLS:
		return fmt.Errorf("%w: PLAIN without TLS", ErrNoMechanism)
	case c.Username == "" || c.Password == "":
		return fmt.Errorf("%w: user name or password is empty", ErrCredentials)
	case ch.vouched && mech == Plain:
		return fmt.Errorf("%w: PLAIN, and none of the types of channel binding is known", ErrDowngrade)
	case isPlus(mech) && ch.flag != 'p':
		return fmt.Errorf("%w: %s without channel binding", ErrNoMechanism, mech)
	case !isPlus(mech) && ch.flag == 'p':
		// RFC 5802 §6: with "p" whenever the server offers it.
		return fmt.Errorf("%w: %s where channel binding was offered", ErrDowngrade, mech)
	}
	return nil
}

// chooseBinding follows RFC 5802 §6 and the rules of XEP-0440 §3, whose
// numbers stand below.
func chooseBinding(o ClientOptions) (choice, error) {
	have := usable(o.Bindings)
	if len(have) == 0 {
		return choice{flag: 'n'}, nil // rule 2
	}
	plus := slices.ContainsFunc(o.Offered, func(m string) bool {
		return isPlus(m) && slices.Contains(strongest, m)
	})
	switch {
	case !plus && len(o.BindingTypes) == 0:
		return choice{flag: 'y'}, nil // rule 3
	case !plus && slices.ContainsFunc(o.Offered, bindsOtherwise):
		return choice{flag: 'y'}, nil
	case !plus:
		return choice{}, fmt.Errorf("%w: types of channel binding, but no mechanism for them", ErrDowngrade) // rule 5
	case len(o.BindingTypes) == 0 && o.SASL2:
		return choice{}, fmt.Errorf("%w: mechanisms with channel binding, but no types", ErrDowngrade) // rule 4
	case len(o.BindingTypes) == 0:
		// Rule 4 leaves SASL1 open. A server that has -PLUS on this connection
		// without announcing types has most likely the strongest of them.
		return choice{flag: 'p', binding: have[0]}, nil
	}
	for _, b := range have { // rule 7: strongest first
		if slices.Contains(o.BindingTypes, b.Type) {
			return choice{flag: 'p', binding: b}, nil
		}
	}
	// Rule 6, as XEP-0474 §7 has it anew: without channel binding, if the server's
	// hash says that it has offered this. The same where tls-server-end-point was
	// announced and is not defined for the certificate: whoever strips the other
	// types gains nothing by it.
	return choice{flag: 'n', vouched: true}, nil
}

// bindsOtherwise reports whether a mechanism that is not ours to use binds to
// the channel: XEP-0484's HT-*-EXPR and the like, or a -PLUS of unknown hash.
func bindsOtherwise(mech string) bool {
	return isPlus(mech) || strings.HasPrefix(mech, "HT-") && !strings.HasSuffix(mech, "-NONE")
}
