package xmpptest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// newAuthority makes one.
func newAuthority() (*authority, error) {
	key, der, err := issue(nil, &x509.Certificate{
		Subject: pkix.Name{CommonName: "xmpptest authority"}, KeyUsage: x509.KeyUsageCertSign, IsCA: true,
	})
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	return &authority{cert, key}, nil
}

// issue makes a key and a certificate; by nobody it is self-signed. It is made when it
// is needed, for the time in a bubble is another.
func issue(by *authority, t *x509.Certificate) (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make a key: %w", err)
	}
	now := time.Now()
	t.SerialNumber, t.BasicConstraintsValid = big.NewInt(now.UnixNano()), true
	if t.NotAfter.IsZero() {
		t.NotBefore, t.NotAfter = now.Add(-time.Hour), now.AddDate(1, 0, 0)
	}
	parent, parentKey := t, key
	if by != nil {
		parent, parentKey = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, &key.PublicKey, parentKey)
	if err != nil {
		return nil, nil, fmt.Errorf("make a certificate: %w", err)
	}
	return key, der, nil
}

// certify writes a certificate for the hosts, server.crt with its server.key, and
// returns it with the authority to verify it by: itself, if nobody has issued it.
// That is written to ca.crt.
func certify(dir string, hosts []string, by *authority) (cert, root *x509.Certificate, err error) {
	t := &x509.Certificate{
		Subject:  pkix.Name{CommonName: "xmpptest"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, DNSNames: hosts,
	}
	if by == nil {
		t.KeyUsage |= x509.KeyUsageCertSign
		t.IsCA = true
	}
	key, der, err := issue(by, t)
	if err != nil {
		return nil, nil, err
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		return nil, nil, fmt.Errorf("read the certificate: %w", err)
	}
	if root = cert; by != nil {
		root = by.cert
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encode the key: %w", err)
	}
	for name, block := range map[string]*pem.Block{
		"ca.crt":     {Type: "CERTIFICATE", Bytes: root.Raw},
		"server.crt": {Type: "CERTIFICATE", Bytes: der},
		"server.key": {Type: "PRIVATE KEY", Bytes: pkcs8},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return nil, nil, err
		}
	}
	return cert, root, nil
}
