//go:build interop

package interop_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kith/xmpp/resolve"
)

// signedZone is what unbound serves, and validates: a part of it is forged after it
// was signed.
const signedZone = `$TTL 3600
@ IN SOA ns.%[1]s. root.%[1]s. 1 3600 600 86400 60
@ IN NS ns.%[1]s.
ns IN A 127.0.0.1
_xmpp-server._tcp.other IN SRV 1 0 5269 host.other.%[1]s.
host.other IN A %[2]s
_5269._tcp.host.other IN TLSA %[3]s
_5269._tcp.alias IN CNAME _5269._tcp.host.other.%[1]s.
_5269._tcp.forged IN TLSA 3 1 1 %[4]s
%[5]s
`

// unbound starts a resolver that validates the answers of a signed zone, fed.example,
// and knows another, plain.example, of which it has no key.
func (f *federation) unbound(t *testing.T, other netip.Addr, record resolve.TLSA) netip.AddrPort {
	t.Helper()
	path := "/usr/sbin/unbound" // which is in the PATH of root only
	if _, err := os.Stat(path); err != nil {
		unavailable(t, "unbound is not installed")
	}
	dir := t.TempDir()
	run := func(name string, args ...string) string {
		cmd := exec.Command(program(t, name), args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	before, after := strings.Repeat("AB", 32), strings.Repeat("CD", 32)
	var crowd strings.Builder
	for i := range 30 {
		fmt.Fprintf(&crowd, "_5269._tcp.crowd IN TLSA 3 1 2 %0128d\n", i)
	}
	zone := func(name string) string {
		return fmt.Sprintf(signedZone, name, other, record, before, crowd.String())
	}
	writeFile(t, filepath.Join(dir, "fed"), zone("fed.example"))
	writeFile(t, filepath.Join(dir, "plain"), zone("plain.example"))
	key := run("ldns-keygen", "-a", "ECDSAP256SHA256", "-k", "fed.example")
	run("ldns-signzone", "-o", "fed.example", "-f", "signed", "fed", key)
	signed, err := os.ReadFile(filepath.Join(dir, "signed"))
	if err != nil {
		t.Fatal(err)
	}
	forged := strings.ReplaceAll(strings.ReplaceAll(string(signed), before, after), strings.ToLower(before), after)
	if forged == string(signed) {
		t.Fatal("nothing forged in the zone")
	}
	writeFile(t, filepath.Join(dir, "signed"), forged)
	at := netip.AddrPortFrom(f.address(), 53)
	writeFile(t, filepath.Join(dir, "unbound.conf"), fmt.Sprintf(`server:
	directory: "%[1]s"
	chroot: ""
	username: ""
	pidfile: ""
	use-syslog: no
	do-daemonize: no
	num-threads: 1
	do-ip6: no
	interface: %[2]s
	module-config: "validator iterator"
	trust-anchor-file: "%[1]s/%[3]s.key"
remote-control:
	control-enable: no
auth-zone:
	name: "fed.example."
	zonefile: "%[1]s/signed"
	for-downstream: no
	fallback-enabled: no
auth-zone:
	name: "plain.example."
	zonefile: "%[1]s/plain"
	for-downstream: no
	fallback-enabled: no
`, dir, at.Addr(), key))
	spawn(t, exec.Command(path, "-d", "-c", filepath.Join(dir, "unbound.conf"))).awaitPort(t, at.String())
	return at
}

// TestDANE: a server whose certificate nobody has signed is believed in both
// directions for what its domain has published, in the words of unbound.
func TestDANE(t *testing.T) {
	t.Parallel()
	f := newFederation(t)
	there := f.prosody(t, "other.fed.example", manner{cert: certificate{selfSigned: true}, oneWay: true})
	at := f.unbound(t, f.names.place(there.domain).ip, there.record(t))
	t.Run("answers", func(t *testing.T) { unboundAnswers(t, at, there.record(t)) })
	here := f.kith(t, "kith.fed.example", manner{oneWay: true, resolver: at})
	romeo, juliet := here.logIn(t, "romeo", true), there.logIn(t, "juliet", true)
	together(t, romeo, juliet, there)
	out, err := exec.Command(kith(t), "s2s", "list", "--data", here.kith).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "certificate: DANE") {
		t.Errorf("kith s2s list: %v\n%s", err, out)
	}
	host, _, err := net.SplitHostPort(here.client)
	if err != nil {
		t.Fatal(err)
	}
	page, err := http.Get("http://" + net.JoinHostPort(host, "5280") + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer page.Body.Close()
	text, err := io.ReadAll(page.Body)
	for _, direction := range []string{"in", "out"} {
		if line := `kith_s2s_streams{authentication="EXTERNAL",certificate="dane",direction="` + direction + `"} 1`; !strings.Contains(string(text), line) {
			t.Errorf("no %s in the metrics, %v", line, err)
		}
	}
}

// unboundAnswers is what a resolver that others wrote says, and what is made of it.
func unboundAnswers(t *testing.T, at netip.AddrPort, record resolve.TLSA) {
	r := resolve.NewNameServer(at)
	ctx, cancel := context.WithTimeout(t.Context(), *patience)
	defer cancel()
	srv, err := r.SRV(ctx, "_xmpp-server._tcp.other.fed.example")
	if err != nil || !srv.Secure || len(srv.Records) != 1 || srv.Records[0].Target != "host.other.fed.example." {
		t.Errorf("SRV: %+v, %v", srv, err)
	}
	if a, err := r.Addresses(ctx, "host.other.fed.example"); err != nil || !a.Secure || len(a.Records) != 1 {
		t.Errorf("addresses: %+v, %v", a, err)
	}
	for _, tt := range []struct {
		name   string
		n      int
		secure bool
		err    error
	}{
		{"_5269._tcp.host.other.fed.example", 1, true, nil},
		{"_5269._tcp.alias.fed.example", 1, true, nil},
		{"_5269._tcp.crowd.fed.example", 30, true, nil}, // by TCP
		{"_5269._tcp.forged.fed.example", 0, false, resolve.ErrNoAnswer},
		{"_5269._tcp.nowhere.fed.example", 0, false, resolve.ErrNotFound},
		{"host.other.fed.example", 0, false, resolve.ErrNotFound},
		{"_5269._tcp.host.other.plain.example", 1, false, nil},
	} {
		a, err := r.TLSA(ctx, tt.name)
		if len(a.Records) != tt.n || a.Secure != tt.secure || !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
			t.Errorf("TLSA of %s: %+v, %v; want %d, secure %v, %v", tt.name, a, err, tt.n, tt.secure, tt.err)
		}
		if tt.n == 1 && err == nil && a.Records[0].String() != record.String() {
			t.Errorf("TLSA of %s: %s, want %s", tt.name, a.Records[0], record)
		}
	}
}

// record is what the server's domain publishes.
func (s *federated) record(t *testing.T) resolve.TLSA {
	t.Helper()
	text, err := os.ReadFile(s.cert)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return resolve.Key(cert)
}
