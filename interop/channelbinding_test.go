//go:build interop

package interop_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestChannelBinding logs in by SCRAM with channel binding, which gsasl
// computes from the channel's data (RFC 5802 §6, RFC 9266). It knows
// tls-exporter and tls-unique only, not tls-server-end-point.
func TestChannelBinding(t *testing.T) {
	t.Parallel()
	gsasl := program(t, "gsasl")
	eachServer(t, func(t *testing.T, s *server) {
		register(t, s, "juliet")
		version := uint16(tls.VersionTLS13)
		if s.binding == "tls-unique" {
			version = tls.VersionTLS12 // TLS 1.3 has no tls-unique (RFC 8446 appendix C.5)
		}
		tests := []struct {
			name     string
			password string
			bend     bool // hand gsasl the data of another channel
			ok       bool
		}{
			{"right channel", passwordOf("juliet"), false, true},
			{"other channel", passwordOf("juliet"), true, false}, // somebody in the middle
			{"wrong password", "not this one", false, false},
		}
		for _, mechanism := range s.plus {
			for _, test := range tests {
				t.Run(mechanism+"/"+test.name, func(t *testing.T) {
					c, err := dial(s, version)
					if err != nil {
						t.Fatal(err)
					}
					defer c.conn.Close()
					if !slices.Contains(c.mechanisms(), mechanism) {
						t.Fatalf("offered %v", c.mechanisms())
					}
					data := bindingData(t, c, s.binding)
					if test.bend {
						data[0] ^= 1
					}
					err = loginByGSASL(t, gsasl, c, mechanism, "juliet", test.password, s.binding, data)
					switch {
					case test.ok && err != nil:
						t.Error(err)
					case !test.ok && err == nil:
						t.Error("logged in")
					case !test.ok && !strings.Contains(err.Error(), nsSASL):
						t.Errorf("got %v, want a SASL failure", err)
					}
				})
			}
		}
	})
}

// bindingData is what binds SASL to the stream's TLS channel.
func bindingData(t *testing.T, c *stream, binding string) []byte {
	t.Helper()
	state := c.conn.(*tls.Conn).ConnectionState()
	data := state.TLSUnique
	if binding == "tls-exporter" {
		var err error
		if data, err = state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32); err != nil {
			t.Fatal(err)
		}
	}
	if len(data) == 0 {
		t.Fatalf("no %s for this channel", binding)
	}
	return bytes.Clone(data)
}

// loginByGSASL logs in and binds; every SASL message is computed by gsasl,
// which exchanges them as base64 lines with prompts between.
func loginByGSASL(t *testing.T, gsasl string, c *stream, mechanism, user, password, binding string, data []byte) error {
	t.Helper()
	cmd := exec.Command(gsasl, "--client", "--quiet", "-m", mechanism, "-a", user, "-p", password)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	// A pipe of our own, so that the last line is there when gsasl has ended.
	stdout, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	cmd.Stdout = w
	p := spawn(t, cmd)
	w.Close()
	defer p.kill()
	defer stdin.Close()
	lines := bufio.NewReader(stdout)
	if _, err := lines.ReadString('\n'); err != nil { // the mechanism's name
		return fmt.Errorf("start gsasl: %w", err)
	}
	said := base64.StdEncoding.EncodeToString(data) + "\n"
	if binding == "tls-unique" {
		said = "\n" + said // no tls-exporter: it asks for the other one then
	}
	next := func(challenge []byte) ([]byte, error) {
		if challenge != nil {
			said = base64.StdEncoding.EncodeToString(challenge) + "\n"
		}
		if _, err := io.WriteString(stdin, said); err != nil {
			return nil, fmt.Errorf("write to gsasl: %w", err)
		}
		line, err := lines.ReadString('\n')
		if err != nil {
			return nil, fmt.Errorf("gsasl does not accept %q: %w", said, err)
		}
		fields := strings.Fields(line)
		if len(fields) == 0 {
			return nil, nil // nothing more to say: the server is verified
		}
		return base64.StdEncoding.DecodeString(fields[len(fields)-1]) // behind the prompts
	}
	first, err := next(nil)
	if err != nil {
		return err
	}
	if want := "p=" + binding + ",,n=" + user; !strings.HasPrefix(string(first), want) {
		t.Fatalf("gsasl begins with %q, want %q", first, want)
	}
	if err := c.exchange(mechanism, first, next); err != nil {
		return err
	}
	_, err = c.bind("gsasl")
	return err
}
