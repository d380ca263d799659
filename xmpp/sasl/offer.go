package sasl

import (
	"fmt"
	"slices"
	"strings"
)

// Offer is what a server has offered: the mechanisms of the profile that the
// client uses, and the types of channel binding.
type Offer struct {
	Mechanisms []string
	Types      []string // XEP-0440; nil: it was not used
}

// digest hashes an offer (XEP-0474 §6.1).
func (o Offer) digest(h algorithm) string {
	join := func(list []string) string {
		list = slices.Clone(list)
		slices.Sort(list)
		return strings.Join(list, "\x1e")
	}
	s := join(o.Mechanisms)
	if o.Types != nil {
		s += "\x1f" + join(o.Types)
	}
	return encode(h.sum([]byte(s)))
}

// vouch returns the attributes by which the server-first-message says what was
// offered (XEP-0474 §6.1), and on what connection (XEP-0515).
func (o ServerOptions) vouch(h algorithm) string {
	s := ""
	if o.Offer != nil {
		s += ",h=" + o.Offer.digest(h)
	}
	if o.TLS != 0 {
		s += fmt.Sprintf(",t=%04x", o.TLS)
	}
	return s
}

// verify compares what the server vouches for with what has come to us. Behind
// the proof we send nobody can have changed either. Who does not know the whole
// offer cannot compare it. must says that nothing else holds the offer together.
func (o ClientOptions) verify(h algorithm, offer, tls string, must bool) error {
	switch {
	case must && (offer == "" || len(o.Offered) == 0):
		return fmt.Errorf("%w: none of the types of channel binding %q is known, and the server does not vouch for them", ErrDowngrade, o.BindingTypes)
	case offer == "" && o.Protected:
		return fmt.Errorf("%w: the server does not vouch for its offer any more", ErrDowngrade)
	// XEP-0474 §6.2.
	case offer != "" && len(o.Offered) > 0 && !equal(offer, Offer{o.Offered, o.BindingTypes}.digest(h)):
		return fmt.Errorf("%w: the server has offered something else", ErrDowngrade)
	// XEP-0515: the server's connection is not ours.
	case tls != "" && o.TLS != 0 && !equal(tls, fmt.Sprintf("%04x", o.TLS)):
		return fmt.Errorf("%w: the server speaks another version of TLS than we do", ErrDowngrade)
	}
	return nil
}
