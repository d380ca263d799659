//go:build interop

package interop_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	"kith/client"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
	"kith/xmpp/xmltree"
)

// federation is what two servers have in common: a name service and an authority.
type federation struct {
	names *nameserver
	ca    *authority
	net   [2]byte // of their addresses, 127.x.y.z
	count byte
}

func newFederation(t *testing.T) *federation {
	t.Helper()
	f := &federation{ca: newAuthority(t)}
	rand.Read(f.net[:])
	f.names = startNameserver(t, f.address())
	return f
}

// address is one that nobody else has.
func (f *federation) address() netip.Addr {
	f.count++
	return netip.AddrFrom4([4]byte{127, f.net[0]%200 + 10, f.net[1], f.count})
}

// manner is how a server federates.
type manner struct {
	cert    certificate
	direct  bool // it listens with direct TLS; else with STARTTLS
	lenient bool // dialback without a valid certificate is enough
	oneWay  bool // no bidirectional streams
	lines   string
	// resolver is the name server to ask, if it is another than the federation's (kith).
	resolver netip.AddrPort
}

// federated is a server that speaks with others.
type federated struct {
	name, domain string
	client       string // address for clients
	proc         *process
	mechanisms   []string        // that its clients use; nil: whatever they like
	start        func() *process // again
	kith         string          // its data directory, if it is one
	cert         string          // file with its certificate
}

// where gives a domain its address and ports.
func (f *federation) where(t *testing.T, domain string, m manner) (p place) {
	t.Helper()
	p = place{ip: f.address(), starttls: 5269}
	if m.direct {
		p.starttls, p.direct = 0, 5270
	}
	f.names.set(domain, p)
	return p
}

// kith starts a Kith.
func (f *federation) kith(t *testing.T, domain string, m manner) *federated {
	t.Helper()
	p := f.where(t, domain, m)
	cert, key := f.ca.issue(t, domain, m.cert)
	dir := t.TempDir()
	s := &federated{name: "kith", domain: domain, client: netip.AddrPortFrom(p.ip, 5222).String(), kith: filepath.Join(dir, "data")}
	file := filepath.Join(dir, "kith.toml")
	resolver := f.names.addr
	if m.resolver.IsValid() {
		resolver = m.resolver
	}
	writeFile(t, file, fmt.Sprintf(`hosts = [%q]
data = "data"
[listen]
client = [%q]
client_tls = []
server = ["%[3]s:5269"]
server_tls = ["%[3]s:5270"]
admin = ["%[3]s:5280"]
[tls]
certificate = %[4]q
key = %[5]q
[registration]
mode = "open"
per_ip = 0
[log]
level = "debug"
[s2s]
ca = %[6]q
private = true
resolver = %[7]q
require_certificate = %[8]v
bidi = %[9]v
%[10]s
`, domain, s.client, p.ip, cert, key, f.ca.file, resolver, !m.lenient, !m.oneWay, m.lines))
	path := kith(t)
	s.start = func() *process {
		proc := spawn(t, exec.Command(path, "serve", "--config", file))
		proc.awaitPort(t, s.client)
		return proc
	}
	s.proc = s.start()
	return s
}

var federatedProsody = template.Must(template.New("prosody").Parse(`
run_as_root = true
data_path = "{{.Dir}}"
interfaces = { "{{.IP}}" }
c2s_ports = { 5222 }
s2s_ports = { 5269 }
s2s_direct_tls_ports = { 5270 }
modules_enabled = {
	"roster"; "saslauth"; "tls"; "dialback"; "disco"; "register"; "ping"; "vcard"; "offline"; "s2s_auth_certs"; "smacks";
	{{if not .M.OneWay}}"s2s_bidi";{{end}}
}
modules_disabled = { "admin_shell"; "http" }
allow_registration = true
authentication = "internal_hashed"
storage = "internal"
s2s_require_encryption = true
s2s_secure_auth = {{not .M.Lenient}}
log = { debug = "*console" }
ssl = { key = "{{.Key}}"; certificate = "{{.Cert}}"; cafile = "{{.CA}}" }
VirtualHost "{{.Domain}}"
	ssl = { key = "{{.Key}}"; certificate = "{{.Cert}}"; cafile = "{{.CA}}" }
`))

// prosody starts a Prosody.
func (f *federation) prosody(t *testing.T, domain string, m manner) *federated {
	t.Helper()
	path := program(t, "prosody")
	p := f.where(t, domain, m)
	cert, key := f.ca.issue(t, domain, m.cert)
	s := &federated{name: "prosody", domain: domain, client: netip.AddrPortFrom(p.ip, 5222).String(), cert: cert}
	dir := t.TempDir()
	var config strings.Builder
	if err := federatedProsody.Execute(&config, map[string]any{
		"Dir": dir, "IP": p.ip, "Domain": domain, "Cert": cert, "Key": key, "CA": f.ca.file,
		"M": struct{ OneWay, Lenient bool }{m.oneWay, m.lenient},
	}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "prosody.cfg.lua")
	writeFile(t, file, config.String())
	s.start = func() *process {
		proc := spawn(t, asking(t, f.names, exec.Command(path, "--config", file, "-F")))
		proc.awaitPort(t, s.client)
		return proc
	}
	s.proc = s.start()
	return s
}

// fellow is somebody who is logged in.
type fellow struct {
	*client.Client
	t *testing.T
}

// logIn makes an account, if need be, and logs in.
func (s *federated) logIn(t *testing.T, local string, register bool) *fellow {
	t.Helper()
	j, err := jid.New(local, s.domain, "test")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), *patience)
	defer cancel()
	c, err := client.Dial(ctx, client.Config{
		JID: j, Password: "secret", Address: s.client, Register: register, Mechanisms: s.mechanisms,
		TLS: &tls.Config{InsecureSkipVerify: true}, // the certificate is what other tests are about
	})
	if err != nil {
		t.Fatalf("log in at %s: %v", s.name, err)
	}
	t.Cleanup(func() { c.Close() })
	return &fellow{c, t}
}

func (p *fellow) send(st *stanza.Stanza) {
	p.t.Helper()
	if err := p.Send(st); err != nil {
		p.t.Fatalf("%s sends: %v", p.JID(), err)
	}
}

type text struct{ name, value string }

// AppendXML implements xmltree.Appender.
func (x text) AppendXML(w *xmltree.Writer) { w.Element(xmltree.Name{Local: x.name}, x.value) }

// say sends a message and returns its id.
func (p *fellow) say(to jid.JID, body string) string {
	p.t.Helper()
	st := stanza.New(stanza.Message, stanza.Chat, jid.JID{}, to, text{"body", body})
	st.ID = fmt.Sprintf("%s-%d", body, time.Now().UnixNano())
	p.send(st)
	return st.ID
}

// presence sends a presence.
func (p *fellow) presence(typ string, to jid.JID) {
	p.t.Helper()
	p.send(stanza.New(stanza.Presence, typ, jid.JID{}, to))
}

// await returns the first stanza that is wanted; others are passed over.
func (p *fellow) await(what string, wanted func(*stanza.Stanza) bool) *stanza.Stanza {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), *patience)
	defer cancel()
	var seen []string
	for {
		el, err := p.Next(ctx)
		if err != nil {
			p.t.Fatalf("%s waits for %s: %v; it got\n%s", p.JID(), what, err, strings.Join(seen, "\n"))
		}
		if st, err := stanza.Parse(el); err == nil && wanted(st) {
			return st
		}
		seen = append(seen, string(el.Raw()))
	}
}

// hears waits for a message with that id.
func (p *fellow) hears(id string) *stanza.Stanza {
	p.t.Helper()
	return p.await("message "+id, func(st *stanza.Stanza) bool { return st.Kind == stanza.Message && st.ID == id })
}

// sees waits for a presence of that type.
func (p *fellow) sees(from jid.JID, typ string) {
	p.t.Helper()
	p.await("presence of "+from.String()+" of type "+typ, func(st *stanza.Stanza) bool {
		return st.Kind == stanza.Presence && st.From.Bare() == from.Bare() && st.Type == typ
	})
}

// asks sends a request and returns the answer.
func (p *fellow) asks(to jid.JID, name xmltree.Name) error {
	ctx, cancel := context.WithTimeout(p.t.Context(), *patience)
	defer cancel()
	_, err := p.SendIQ(ctx, stanza.New(stanza.IQ, stanza.Get, jid.JID{}, to, question(name)))
	return err
}

type question xmltree.Name

// AppendXML implements xmltree.Appender.
func (q question) AppendXML(w *xmltree.Writer) { w.Element(xmltree.Name(q), "") }

// condition is that of a stanza error.
func condition(err error) string {
	var e *stanza.Error
	if errors.As(err, &e) {
		return e.Condition
	}
	return fmt.Sprint(err)
}
