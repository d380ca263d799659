//go:build interop

package interop_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"text/template"
	"time"
)

var prosodyConfig = template.Must(template.New("prosody").Funcs(template.FuncMap{
	"lua": func(s string) string { // a long string needs no escapes
		return "[==[" + s + "]==]"
	},
}).Parse(`
run_as_root = true
data_path = {{lua .Dir}}
interfaces = { {{lua .Host}} }
c2s_ports = { {{.Port}} }
component_ports = { {{with .ComponentPort}}{{.}}{{end}} }
component_interfaces = { {{lua .Host}} }
modules_enabled = {
	"roster"; "saslauth"; "tls"; "disco"; "register"; "ping"; "version"; "time";
	"carbons"; "smacks"; "blocklist";{{range .Modules}} {{lua .}};{{end}}
}
modules_disabled = { "s2s"; "admin_shell"; "http" }
allow_registration = true
authentication = "internal_hashed"
password_hash = "SHA-256"
storage = "internal"
default_archive_policy = true
max_archive_query_results = 500
{{with .Resume}}smacks_hibernation_time = {{.}}{{end}}
log = { info = "*console" }
ssl = { key = {{lua .Key}}; certificate = {{lua .Cert}} }
VirtualHost {{lua .Domain}}
	ssl = { key = {{lua .Key}}; certificate = {{lua .Cert}} }
{{with .Component}}Component {{lua .}}
	component_secret = {{lua $.Secret}}
{{end}}`))

// startProsody starts a Prosody for localhost with an empty store.
func startProsody(t *testing.T, with setup) *server {
	t.Helper()
	path := program(t, "prosody")
	dir := t.TempDir()
	key := filepath.Join(dir, "key.pem")
	s := &server{
		name: "prosody", host: "127.0.0.1", port: freePort(t), domain: "localhost",
		caFile:     filepath.Join(dir, "cert.pem"),
		mechanisms: []string{"SCRAM-SHA-256", "PLAIN"},
		// Prosody 0.12 knows nothing newer.
		binding:         "tls-unique",
		plus:            []string{"SCRAM-SHA-256-PLUS"},
		normalFallsBack: true,
		leavesQuietly:   true,
		blocksQuietly:   true,
		settles:         time.Second,
	}
	s.cert = selfSigned(t, s.domain, s.caFile, key)
	componentPort := 0
	if with.component != "" {
		componentPort = freePort(t)
		s.components = net.JoinHostPort(s.host, strconv.Itoa(componentPort))
	}
	var config strings.Builder
	err := prosodyConfig.Execute(&config, map[string]any{
		"Component": with.component, "Secret": componentSecret, "ComponentPort": componentPort,
		"Dir": dir, "Modules": with.modules, "Resume": int(with.resume.Seconds()), "Host": s.host, "Port": s.port, "Domain": s.domain, "Key": key, "Cert": s.caFile,
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "prosody.cfg.lua")
	writeFile(t, file, config.String())
	s.start = func(t *testing.T) *process {
		t.Helper()
		p := spawn(t, exec.Command(path, "--config", file, "-F"))
		p.awaitPort(t, s.addr())
		if s.components != "" {
			p.awaitPort(t, s.components)
		}
		return p
	}
	s.stored = func(t *testing.T, account string) map[string][]string { return archivedIDs(t, s, account) }
	s.proc = s.start(t)
	return s
}

// selfSigned makes a certificate as a server does for itself: no authority, and
// its own issuer.
func selfSigned(t *testing.T, domain, certFile, keyFile string, more ...net.IP) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: domain},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().AddDate(0, 0, 30),
		DNSNames:              []string{domain},
		IPAddresses:           append([]net.IP{net.IPv4(127, 0, 0, 1)}, more...),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, certFile, certificatePEM(der))
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	if err := os.WriteFile(keyFile, block, 0o600); err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
