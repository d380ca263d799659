package sasl

import (
	"crypto"
	_ "crypto/sha256" // hashes of ServerEndPoint
	_ "crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"slices"
)

// Types of channel binding.
const (
	TLSExporter       = "tls-exporter"         // RFC 9266
	TLSServerEndPoint = "tls-server-end-point" // RFC 5929 §4
)

// Binding is what one type of channel binding says of the connection.
type Binding struct {
	Type string
	Data []byte
}

// TLSBindings returns what can be bound to on a connection, strongest first.
// The certificate is the one that the server presented, the same at both ends;
// it may be nil.
func TLSBindings(state *tls.ConnectionState, server *x509.Certificate) []Binding {
	var out []Binding
	if data := exporter(state); data != nil {
		out = append(out, Binding{TLSExporter, data})
	}
	if data := ServerEndPoint(server); data != nil {
		out = append(out, Binding{TLSServerEndPoint, data})
	}
	return out
}

// exporter returns the data of RFC 9266 §2, nil where it is not defined: §4.2
// wants unique master secrets and no renegotiation, and crypto/tls exports
// nothing without them. tls-unique is not offered at all: RFC 9266 §3 puts
// tls-exporter in its place.
func exporter(state *tls.ConnectionState) []byte {
	if state == nil || !state.HandshakeComplete {
		return nil
	}
	// An empty context is not the same as none before TLS 1.3.
	data, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", []byte{}, 32)
	if err != nil {
		return nil
	}
	return data
}

// ServerEndPoint returns the data of tls-server-end-point for the certificate
// of a server; nil if there is none for its kind of signature.
func ServerEndPoint(cert *x509.Certificate) []byte {
	if cert == nil {
		return nil
	}
	var h crypto.Hash
	switch cert.SignatureAlgorithm {
	// RFC 5929 §4.1: MD5 and SHA-1 are replaced by SHA-256.
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1,
		x509.SHA256WithRSA, x509.DSAWithSHA256, x509.ECDSAWithSHA256, x509.SHA256WithRSAPSS:
		h = crypto.SHA256
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS:
		h = crypto.SHA384
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS:
		h = crypto.SHA512
	default:
		// Ed25519 uses no hash function of its own: undefined.
		return nil
	}
	w := h.New()
	w.Write(cert.Raw)
	return w.Sum(nil)
}

// byStrength are the types of binding that are known, the strongest first.
var byStrength = [...]string{TLSExporter, TLSServerEndPoint}

// usable returns the bindings of known type that have data: RFC 5802 §7 wants
// at least one octet. The strongest comes first. It is asked often, so that what is
// in that form already is returned as it is.
func usable(all []Binding) []Binding {
	if inForm(all) {
		return all[:len(all):len(all)]
	}
	var out []Binding
	for _, typ := range byStrength {
		i := slices.IndexFunc(all, func(b Binding) bool { return b.Type == typ && len(b.Data) > 0 })
		if i >= 0 {
			out = append(out, all[i])
		}
	}
	return out
}

func inForm(all []Binding) bool {
	rest := byStrength[:]
	for _, b := range all {
		i := slices.Index(rest, b.Type)
		if i < 0 || len(b.Data) == 0 {
			return false
		}
		rest = rest[i+1:]
	}
	return true
}
