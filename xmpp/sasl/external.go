package sasl

import (
	"context"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"kith/xmpp/jid"
)

// ExternalBackend is a Backend that knows accounts for EXTERNAL.
type ExternalBackend interface {
	Backend
	// External returns nil if an account, whose owner has proved who he is, may
	// log in: else a Failure of NotAuthorized or AccountDisabled.
	External(ctx context.Context, username string) error
}

// maxNames bounds how many names of a certificate are read.
const maxNames = 64

var (
	oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidXMPPAddr       = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 5} // RFC 6120 §13.7.1.4
)

var errNames = errors.New("sasl: unusable names in a certificate")

// Addresses returns the addresses of XMPP that a certificate is for: the bare JIDs
// among its id-on-xmppAddr (RFC 6120 §13.7.1.4), each once. What is no JID, or
// has a resource, is no address; names that cannot be read, or more than 64, are
// an error. Whether the certificate is to be believed is another question.
func Addresses(cert *x509.Certificate) ([]jid.JID, error) {
	var out []jid.JID
	for _, e := range cert.Extensions {
		if !e.Id.Equal(oidSubjectAltName) {
			continue
		}
		found, err := alternatives(e.Value)
		if err != nil {
			return nil, err
		}
		for _, j := range found {
			if !slices.Contains(out, j) {
				out = append(out, j)
			}
		}
	}
	return out, nil
}

// alternatives reads a subjectAltName (RFC 5280 §4.2.1.6).
func alternatives(der []byte) ([]jid.JID, error) {
	var names asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &names); err != nil || len(rest) > 0 ||
		names.Class != asn1.ClassUniversal || names.Tag != asn1.TagSequence || !names.IsCompound {
		return nil, errNames
	}
	var out []jid.JID
	rest := names.Bytes
	for n := 0; len(rest) > 0; n++ {
		var name asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &name); err != nil || n == maxNames {
			return nil, errNames
		}
		if name.Class != asn1.ClassContextSpecific || name.Tag != 0 || !name.IsCompound {
			continue // no otherName
		}
		text, ok, err := otherName(name.Bytes)
		if err != nil {
			return nil, err
		}
		if j, err := jid.Parse(text); ok && err == nil && j.IsBare() && j.Local() != "" {
			out = append(out, j)
		}
	}
	return out, nil
}

// otherName returns an id-on-xmppAddr; ok is false if it is another name.
func otherName(der []byte) (text string, ok bool, err error) {
	var id asn1.ObjectIdentifier
	rest, err := asn1.Unmarshal(der, &id)
	if err != nil {
		return "", false, errNames
	}
	if !id.Equal(oidXMPPAddr) {
		return "", false, nil
	}
	var outer, inner asn1.RawValue // value [0] EXPLICIT UTF8String
	if rest, err = asn1.Unmarshal(rest, &outer); err != nil || len(rest) > 0 ||
		outer.Class != asn1.ClassContextSpecific || outer.Tag != 0 || !outer.IsCompound {
		return "", false, errNames
	}
	if rest, err = asn1.Unmarshal(outer.Bytes, &inner); err != nil || len(rest) > 0 ||
		inner.Class != asn1.ClassUniversal || inner.Tag != asn1.TagUTF8String || inner.IsCompound || !utf8.Valid(inner.Bytes) {
		return "", false, errNames
	}
	return string(inner.Bytes), true, nil
}

// here reports whether one of the identities is at a domain.
func here(identities []jid.JID, domain string) bool {
	return slices.ContainsFunc(identities, func(j jid.JID) bool { return j.Domain() == domain })
}

// externalServer is EXTERNAL (RFC 4422 §A) for clients with certificates, by
// XEP-0178 §2.
type externalServer struct {
	backend  ExternalBackend
	opts     ServerOptions
	asked    bool // an empty challenge has been sent
	over     bool
	username string
}

func (e *externalServer) Mechanism() string { return External }

func (e *externalServer) Username() string { return e.username }

func (e *externalServer) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	if e.over {
		return nil, false, malformed("the exchange is over")
	}
	if response == nil && !e.asked {
		e.asked = true
		return []byte{}, false, nil
	}
	e.over = true
	account, err := e.authorize(response)
	if err != nil {
		return nil, false, err
	}
	if err := e.backend.External(ctx, account.Local()); err != nil {
		return nil, false, refused(err)
	}
	e.username = account.Local()
	return nil, true, nil
}

// authorize returns the account that the client becomes (XEP-0178 §2, steps 10
// and 11).
func (e *externalServer) authorize(message []byte) (jid.JID, error) {
	if len(message) > maxMessage || !utf8.Valid(message) || slices.Contains(message, 0) {
		return jid.JID{}, malformed("not an EXTERNAL message")
	}
	ids := e.opts.Identities
	if len(message) == 0 {
		switch {
		case len(ids) > 1: // which of them?
			return jid.JID{}, &Failure{Condition: InvalidAuthzid, Text: "the certificate is for several addresses; name one"}
		case !here(ids, e.opts.Domain):
			return jid.JID{}, &Failure{Condition: NotAuthorized}
		}
		return ids[0], nil
	}
	asked, err := jid.Parse(string(message))
	if err != nil || !slices.Contains(ids, asked) || asked.Domain() != e.opts.Domain {
		return jid.JID{}, &Failure{Condition: InvalidAuthzid, Err: err}
	}
	return asked, nil
}

// externalClient is the client's end.
type externalClient struct {
	authzid         string
	started, failed bool
}

func (e *externalClient) Mechanism() string { return External }

func (e *externalClient) Start() ([]byte, error) {
	if e.started {
		return nil, errStarted
	}
	e.started = true
	return []byte(e.authzid), nil
}

// Next has nothing to answer: EXTERNAL is one message (RFC 4422 §A.1).
func (e *externalClient) Next(challenge []byte) ([]byte, error) {
	if !e.started || len(challenge) > 0 {
		e.failed = true
		return nil, fmt.Errorf("%w: it sent a challenge for EXTERNAL", ErrServer)
	}
	return nil, nil
}

// Done: EXTERNAL has no proof of the server but its certificate.
func (e *externalClient) Done() bool { return e.started && !e.failed }
