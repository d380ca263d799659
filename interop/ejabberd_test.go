//go:build interop

package interop_test

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"text/template"
)

var federatedEjabberd = template.Must(template.New("ejabberd").Parse(`
hosts: ["{{.Domain}}"]
loglevel: debug
certfiles: ["{{.Both}}"]
ca_file: "{{.CA}}"
s2s_use_starttls: required
s2s_cafile: "{{.CA}}"
listen:
  - port: 5222
    ip: "{{.IP}}"
    module: ejabberd_c2s
    starttls: true
  - port: 5269
    ip: "{{.IP}}"
    module: ejabberd_s2s_in
  - port: 5270
    ip: "{{.IP}}"
    module: ejabberd_s2s_in
    tls: true
registration_timeout: infinity
auth_method: internal
acl: {local: {user_regexp: ""}}
access_rules: {local: {allow: local}, register: {allow: all}}
modules:
  mod_register: {ip_access: all, access: register}
  mod_roster: {}
  mod_disco: {}
  mod_ping: {}
  mod_vcard: {search: false}
  mod_offline: {}
  mod_caps: {}
{{if .Dialback}}  mod_s2s_dialback: {}
{{end}}`))

var ejabberdConfig = template.Must(template.New("ejabberd").Parse(`
hosts: ["{{.Domain}}"]
loglevel: info
certfiles: ["{{.Both}}"]
listen:
  - port: {{.Port}}
    ip: "{{.Host}}"
    module: ejabberd_c2s
    starttls: true
{{with .Component}}  - port: {{$.ComponentPort}}
    ip: "{{$.Host}}"
    module: ejabberd_service
    hosts:
      "{{.}}": {password: "{{$.Secret}}"}
{{end}}registration_timeout: infinity
auth_method: internal
acl: {local: {user_regexp: ""}}
access_rules: {local: {allow: local}, register: {allow: all}}
modules:
  mod_register: {ip_access: all, access: register}
  mod_roster: {}
  mod_disco: {}
  mod_ping: {}
  mod_carboncopy: {}
`))

// startEjabberd starts an ejabberd for localhost with an empty store.
func startEjabberd(t *testing.T, with setup) *server {
	t.Helper()
	dir := t.TempDir()
	s := &server{
		name: "ejabberd", host: "127.0.0.1", port: freePort(t), domain: "localhost", caFile: filepath.Join(dir, "cert.pem"),
		mechanisms: []string{"PLAIN"},
	}
	key := filepath.Join(dir, "key.pem")
	s.cert = selfSigned(t, s.domain, s.caFile, key)
	componentPort := 0
	if with.component != "" {
		componentPort = freePort(t)
		s.components = net.JoinHostPort(s.host, strconv.Itoa(componentPort))
	}
	var config strings.Builder
	if err := ejabberdConfig.Execute(&config, map[string]any{
		"Domain": s.domain, "Both": inOneFile(t, dir, s.caFile, key), "Host": s.host, "Port": s.port,
		"Component": with.component, "ComponentPort": componentPort, "Secret": componentSecret,
	}); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "ejabberd.yml"), config.String())
	s.start = func(t *testing.T) *process {
		t.Helper()
		p := spawn(t, ejabberdIn(t, dir))
		p.awaitPort(t, s.addr())
		if s.components != "" {
			p.awaitPort(t, s.components)
		}
		return p
	}
	s.proc = s.start(t)
	return s
}

// inOneFile puts a certificate and its key into one file.
func inOneFile(t *testing.T, dir string, files ...string) string {
	t.Helper()
	var text []byte
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, b...)
	}
	both := filepath.Join(dir, "both.pem")
	writeFile(t, both, string(text))
	return both
}

// ejabberdIn is the command for an ejabberd whose configuration and data are in a
// directory.
func ejabberdIn(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	path := program(t, "erl")
	libs, err := filepath.Glob("/usr/lib/*/ejabberd-*")
	if err != nil || len(libs) == 0 {
		unavailable(t, "ejabberd is not installed")
	}
	// Its own script would run it as another user, who may not read the directory.
	cmd := exec.Command(path, "-noinput", "-mnesia", "dir", `"`+filepath.Join(dir, "spool")+`"`, "-s", "ejabberd")
	cmd.Env = append(os.Environ(), "HOME="+dir, "ERL_LIBS="+filepath.Dir(libs[0]),
		"EJABBERD_CONFIG_PATH="+filepath.Join(dir, "ejabberd.yml"), "EJABBERD_LOG_PATH="+filepath.Join(dir, "ejabberd.log"))
	cmd.Dir = dir
	return cmd
}

// ejabberd starts an ejabberd.
func (f *federation) ejabberd(t *testing.T, domain string, m manner) *federated {
	t.Helper()
	dir := t.TempDir()
	p := f.where(t, domain, m)
	cert, key := f.ca.issue(t, domain, m.cert)
	s := &federated{name: "ejabberd", domain: domain, client: netip.AddrPortFrom(p.ip, 5222).String(),
		mechanisms: []string{"PLAIN"}, // its channel binding is tls-unique over TLS 1.3, where there is none
	}
	var config strings.Builder
	if err := federatedEjabberd.Execute(&config, map[string]any{
		"IP": p.ip, "Domain": domain, "Both": inOneFile(t, dir, cert, key), "CA": f.ca.file, "Dialback": m.lenient || !m.cert.both,
	}); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "ejabberd.yml"), config.String())
	// Names are asked of the name server itself: whom the system asks was read at its start.
	writeFile(t, filepath.Join(dir, "inetrc"), "{lookup,[dns]}.\n{resolv_conf,\"/etc/resolv.conf\"}.\n")
	s.start = func() *process {
		cmd := ejabberdIn(t, dir)
		cmd.Env = append(cmd.Env, "ERL_INETRC="+filepath.Join(dir, "inetrc"))
		proc := spawn(t, asking(t, f.names, cmd))
		proc.awaitPort(t, s.client)
		return proc
	}
	s.proc = s.start()
	return s
}
