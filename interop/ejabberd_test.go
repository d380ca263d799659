//go:build interop

package interop_test

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
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

// ejabberd starts an ejabberd.
func (f *federation) ejabberd(t *testing.T, domain string, m manner) *federated {
	t.Helper()
	path := program(t, "erl")
	libs, err := filepath.Glob("/usr/lib/*/ejabberd-*")
	if err != nil || len(libs) == 0 {
		unavailable(t, "ejabberd is not installed")
	}
	p := f.where(t, domain, m)
	cert, key := f.ca.issue(t, domain, m.cert)
	s := &federated{name: "ejabberd", domain: domain, client: netip.AddrPortFrom(p.ip, 5222).String(),
		mechanisms: []string{"PLAIN"}, // its channel binding is tls-unique over TLS 1.3, where there is none
	}
	dir := t.TempDir()
	both := filepath.Join(dir, "both.pem")
	var text []byte
	for _, file := range []string{cert, key} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, b...)
	}
	writeFile(t, both, string(text))
	var config strings.Builder
	if err := federatedEjabberd.Execute(&config, map[string]any{
		"IP": p.ip, "Domain": domain, "Both": both, "CA": f.ca.file, "Dialback": m.lenient || !m.cert.both,
	}); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "ejabberd.yml"), config.String())
	// Names are asked of the name server itself: whom the system asks was read at its start.
	writeFile(t, filepath.Join(dir, "inetrc"), "{lookup,[dns]}.\n{resolv_conf,\"/etc/resolv.conf\"}.\n")
	s.start = func() *process {
		// Its own script would run it as another user, who may not read the directory.
		cmd := exec.Command(path, "-noinput", "-mnesia", "dir", `"`+filepath.Join(dir, "spool")+`"`, "-s", "ejabberd")
		cmd.Env = append(os.Environ(), "HOME="+dir, "ERL_LIBS="+filepath.Dir(libs[0]), "ERL_INETRC="+filepath.Join(dir, "inetrc"),
			"EJABBERD_CONFIG_PATH="+filepath.Join(dir, "ejabberd.yml"), "EJABBERD_LOG_PATH="+filepath.Join(dir, "ejabberd.log"))
		cmd.Dir = dir
		proc := spawn(t, asking(t, f.names, cmd))
		proc.awaitPort(t, s.client)
		return proc
	}
	s.proc = s.start()
	return s
}
