package bench

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"

	"kith/xmpp/negotiate"
	"kith/xmpp/sasl"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
)

// explain says of an error what can be done about it, where that is known.
func (r *run) explain(err error) error {
	if err == nil {
		return nil
	}
	if advice := r.advice(err); advice != "" {
		return fmt.Errorf("%w; %s", err, advice)
	}
	return err
}

const limited = "the server limits what one client or address may do: take its limits off for the measurement, or ask for less with --concurrency, --rate or --window"

func (r *run) advice(err error) string {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "the server's certificate is not trusted: name the authority that signed it with --ca=FILE, or measure without verifying with --insecure"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "this port does not begin with TLS: see --tls and --address"
	}
	var (
		peer    *stream.PeerError
		failure *sasl.Failure
		refusal *stanza.Error
		lookup  *net.DNSError
		network *net.OpError
	)
	switch {
	case errors.As(err, &failure):
		return r.adviceOnLogin(failure)
	case errors.As(err, &peer):
		return r.adviceOnStream(peer.Err)
	case errors.As(err, &refusal):
		if refusal.Type == stanza.Wait || refusal.Condition == stanza.ErrPolicyViolation.Condition {
			return limited
		}
	case errors.Is(err, negotiate.ErrNoTLS):
		return "the server offers no TLS on this port: see --tls and --address"
	case errors.Is(err, sasl.ErrNoMechanism):
		return "the server does not offer --mechanism=" + r.o.Mechanism + ": see --mechanism"
	case errors.As(err, &lookup):
		return "say with --address=HOST:PORT where the server of " + r.o.Domain + " listens"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "no answer came within " + r.o.Timeout.String() + ", see --timeout"
	case errors.As(err, &network) && network.Op == "dial":
		return "is a server running there? --address=HOST:PORT says where it listens"
	}
	return ""
}

func (r *run) adviceOnLogin(f *sasl.Failure) string {
	switch f.Condition {
	case sasl.NotAuthorized, sasl.AccountDisabled, sasl.CredentialsExpired:
		return "the accounts have to exist: make them with kith bench register, or say with --user, --password and --first which there are"
	case sasl.TemporaryAuthFailure:
		return limited
	case sasl.EncryptionRequired, sasl.MechanismTooWeak, sasl.InvalidMechanism:
		return "see --mechanism and --tls"
	}
	return ""
}

func (r *run) adviceOnStream(e *stream.Error) string {
	switch e.Condition {
	case stream.ErrHostUnknown.Condition, stream.ErrHostGone.Condition, stream.ErrImproperAddressing.Condition:
		return fmt.Sprintf("the server at %s does not serve %s: --domain names the domain, --address where its server listens", r.o.address(), r.o.Domain)
	case stream.ErrPolicyViolation.Condition, stream.ErrResourceConstraint.Condition:
		return limited
	}
	return ""
}
