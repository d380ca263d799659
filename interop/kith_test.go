//go:build interop

package interop_test

import (
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

var kithBinary = flag.String("kith", "", "the kith binary to test (default: built from the tree)")

// built is the binary made once for all tests of this run.
var built struct {
	once sync.Once
	dir  string
	path string
	out  []byte
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		if err := os.RemoveAll(built.dir); err != nil {
			panic(err)
		}
	}
	os.Exit(code)
}

// kith is the path of the server's binary, built as it is released.
func kith(t *testing.T) string {
	t.Helper()
	if *kithBinary != "" {
		path, err := filepath.Abs(*kithBinary)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	built.once.Do(func() {
		built.dir, built.err = os.MkdirTemp("", "kith-interop-")
		if built.err != nil {
			return
		}
		built.path = filepath.Join(built.dir, "kith")
		cmd := exec.Command("go", "build", "-trimpath", "-o", built.path, "kith/cmd/kith")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		built.out, built.err = cmd.CombinedOutput()
	})
	if built.err != nil {
		t.Fatalf("build kith: %v\n%s", built.err, built.out)
	}
	return built.path
}

// startKith starts kith serve --local with an empty store, listening for
// clients only.
func startKith(t *testing.T, with setup) *server {
	t.Helper()
	if with.component != "" {
		secret := filepath.Join(t.TempDir(), "secret")
		writeFile(t, secret, componentSecret)
		return startKithOn(t, "", "[[component]]", "host = "+strconv.Quote(with.component), "secret_file = "+strconv.Quote(secret))
	}
	if with.resume > 0 {
		return startKithOn(t, "", "[limits]", "resume = "+strconv.Quote(with.resume.String()))
	}
	return startKithOn(t, "")
}

// startKithOn is startKith with the database of the URL, the usual one if it is
// empty, and with these lines more in the configuration.
func startKithOn(t *testing.T, url string, lines ...string) *server {
	t.Helper()
	path := kith(t)
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	s := &server{
		name: "kith", host: "127.0.0.1", port: freePort(t), domain: "localhost",
		caFile: filepath.Join(dir, "cert.pem"),
		mechanisms: []string{
			"SCRAM-SHA-512-PLUS", "SCRAM-SHA-512", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256",
			"SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "PLAIN",
		},
		binding:   "tls-exporter",
		restores:  true,
		coalesces: true,
		plus:      []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"},
	}
	var config strings.Builder
	config.WriteString("[listen]\nclient = [" + strconv.Quote(s.addr()) + "]\n")
	for _, off := range []string{"client_tls", "server", "server_tls", "https", "admin"} {
		config.WriteString(off + " = []\n")
	}
	if slices.Contains(lines, "[[component]]") {
		s.components = net.JoinHostPort(s.host, strconv.Itoa(freePort(t)))
	}
	config.WriteString("component = [" + quoted(s.components) + "]\n")
	if url != "" {
		config.WriteString("[storage]\nurl = " + strconv.Quote(url) + "\n")
	}
	for _, line := range lines {
		config.WriteString(line + "\n")
	}
	file := filepath.Join(dir, "kith.toml")
	writeFile(t, file, config.String())
	s.start = func(t *testing.T) *process {
		t.Helper()
		p := spawn(t, exec.Command(path, "serve", "--local", "--data", data, "--config", file))
		p.awaitPort(t, s.addr())
		if s.components != "" {
			p.awaitPort(t, s.components)
		}
		return p
	}
	s.stored = func(t *testing.T, account string) map[string][]string {
		return storedIDs(t, openStore(t, data, url), account)
	}
	s.proc = s.start(t)
	// It makes its certificate itself: whatever it shows now must be shown to
	// everybody later.
	s.cert = shownCertificate(t, s)
	writeFile(t, s.caFile, certificatePEM(s.cert.Raw))
	return s
}

// quoted is an element of a list in TOML, nothing if it is empty.
func quoted(text string) string {
	if text == "" {
		return ""
	}
	return strconv.Quote(text)
}
