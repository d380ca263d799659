package stream

import (
	"crypto/tls"
	"slices"
	"sync"
)

// tickets lets clients resume sessions of TLS 1.3, which spares them the certificate
// and the server a signature. Each certificate has keys of its own, which crypto/tls
// changes daily: a session goes on only with the certificate that it began with, as
// tls-server-end-point (RFC 5929 §4) and clients that have verified it need it.
// Sessions of TLS 1.2 are not resumed: they would go on with their old keys.
type tickets struct {
	base, full *tls.Config

	mu     sync.Mutex
	byCert map[string]*tls.Config // by the certificate as it is sent
}

// mostTickets is for how many certificates there are keys; who makes more in one
// configuration forgets the others.
const mostTickets = 1000

// choose is a tls.Config.GetConfigForClient.
func (t *tickets) choose(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if !slices.Contains(hello.SupportedVersions, tls.VersionTLS13) {
		return nil, nil //nolint:nilnil // it means the listener's configuration
	}
	cert, err := pickCertificate(t.base, hello)
	if err != nil || len(cert.Certificate) == 0 {
		return nil, nil //nolint:nilnil,nilerr // GetCertificate will tell
	}
	if s, ok := hello.Conn.(*sock); ok {
		s.cert = cert // GetCertificate is not asked when a session is resumed
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	name := string(cert.Certificate[0])
	config := t.byCert[name]
	if config == nil {
		if t.byCert == nil || len(t.byCert) >= mostTickets {
			t.byCert = make(map[string]*tls.Config)
		}
		config = t.full.Clone()
		config.SessionTicketsDisabled = false
		// Otherwise the keys would be those of the listener's configuration.
		config.WrapSession, config.UnwrapSession = config.EncryptTicket, config.DecryptTicket
		t.byCert[name] = config
	}
	return config, nil
}
