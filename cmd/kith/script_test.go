package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"kith/client"
	"kith/server/web"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
	"kith/xmpp/xmltree"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kith": main})
}

// patience bounds what a script waits for.
const patience = 30 * time.Second

// TestScripts runs testdata/*.txtar. Beside the usual commands a script has:
//
//	ready [DIR]                       wait until the server on the data directory (.kith) takes commands
//	exits STATUS PROGRAM ARG...       run a program that has to end with this status
//	signal TERM|INT|KILL|HUP            send a signal to what runs in the background
//	insist                            have a command under way that takes long, send TERM until nothing runs in the background
//	asks XML                          have that session send an iq, and wait for the result
//	[!] login JID PASSWORD [register] log in at $CLIENT, making the account first if asked to
//	installed JID PASSWORD            log in as an installation of a client, which gets a token
//	revoked JID                       revoke the device that the last output shows
//	enrol JID                         set up a second factor, giving the code of the secret that is shown
//	[!] accept JID PASSWORD           the same, by the invitation whose link is the last standard output
//	ended TEXT                        wait until the stream has ended with an error that holds TEXT
//	get URL STATUS                    ask by HTTP; the body is the standard output
//	certificate NAME                  write NAME.crt and NAME.key, for the domain NAME
//	expand FILE                       put the values of variables in the place of their names
//	mode FILE PERMISSIONS             the file has these, in octal
//	shown SNI TO CERTIFICATE          a STARTTLS client that asks for SNI (- for nothing) on a stream to TO is shown what is in the file
//
// local.toml puts the listeners of serve --local on the free ports $CLIENT,
// $TLS and $ADMIN.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup:               setUp,
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %s", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready": ready, "exits": exits, "signal": sendSignal, "insist": insist, "login": login, "accept": accept, "ended": ended, "asks": asks,
			"installed": installed, "revoked": revoked,
			"enrol": enrol, "get": get, "certificate": certificate, "mode": mode, "shown": shown, "expand": expand,
		},
	})
}

// session is the client that a script has logged in.
type session struct{ *client.Client }

func setUp(e *testscript.Env) error {
	var text strings.Builder
	text.WriteString("[listen]\nserver = []\nserver_tls = []\n")
	for _, l := range []struct{ env, key string }{{"CLIENT", "client"}, {"TLS", "client_tls"}, {"ADMIN", "admin"}} {
		// Free when we looked; that somebody else takes it meanwhile is unlikely.
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer ln.Close() // after all three were chosen, so that they differ
		e.Setenv(l.env, ln.Addr().String())
		fmt.Fprintf(&text, "%s = [%q]\n", l.key, ln.Addr())
	}
	// Under the race detector each program lingers for a second at its end.
	e.Setenv("GORACE", "atexit_sleep_ms=50 "+os.Getenv("GORACE"))
	s := new(session)
	e.Values[session{}] = s
	e.Defer(func() {
		if s.Client != nil {
			s.Close()
		}
	})
	return os.WriteFile(filepath.Join(e.WorkDir, "local.toml"), []byte(text.String()), 0o644)
}

func ready(ts *testscript.TestScript, neg bool, args []string) {
	dir := ".kith"
	if len(args) > 0 {
		dir = args[0]
	}
	socket := ts.MkAbs(web.Socket(dir))
	for begun := time.Now(); ; {
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
			return
		}
		if time.Since(begun) > patience {
			ts.Fatalf("no server on %s: %v", dir, err)
		}
		time.Sleep(5 * time.Millisecond) // a real program is waited for
	}
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS PROGRAM ARG...")
	}
	got := "0"
	err := ts.Exec(args[1], args[2:]...)
	if ee, ok := errors.AsType[*exec.ExitError](err); ok {
		got = fmt.Sprint(ee.ExitCode())
	} else {
		ts.Check(err)
	}
	if got != args[0] {
		ts.Fatalf("%s ended with status %s, want %s", strings.Join(args[1:], " "), got, args[0])
	}
}

func sendSignal(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL, "HUP": syscall.SIGHUP}
	for _, c := range ts.BackgroundCmds() {
		ts.Check(c.Process.Signal(signals[args[0]]))
	}
}

func insist(ts *testscript.TestScript, neg bool, args []string) {
	c, err := net.Dial("unix", ts.MkAbs(web.Socket(".kith")))
	ts.Check(err)
	defer c.Close()
	_, err = io.WriteString(c, "POST /account/create HTTP/1.1\r\nHost: kith\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
	ts.Check(err)
	_, err = c.Read(make([]byte, 1)) // the server waits for the body now
	ts.Check(err)
	for _, cmd := range ts.BackgroundCmds() {
		for begun := time.Now(); cmd.Process.Signal(syscall.SIGTERM) == nil; {
			if time.Since(begun) > patience {
				ts.Fatalf("%s has not ended", cmd)
			}
			time.Sleep(5 * time.Millisecond) // a real program is waited for
		}
	}
}

func login(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: login JID PASSWORD [register]")
	}
	dial(ts, neg, args, client.Config{Register: len(args) > 2})
}

func accept(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: accept JID PASSWORD")
	}
	_, token, ok := strings.Cut(strings.TrimSpace(ts.ReadFile("stdout")), "?register;preauth=")
	if !ok {
		ts.Fatalf("the last standard output is no invitation")
	}
	dial(ts, neg, args, client.Config{Register: true, Invitation: token})
}

func dial(ts *testscript.TestScript, neg bool, args []string, config client.Config) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	config.JID, config.Password, config.Address = jid.MustParse(args[0]), args[1], ts.Getenv("CLIENT")
	config.TLS = &tls.Config{InsecureSkipVerify: true}
	c, err := client.Dial(ctx, config)
	if neg {
		if err == nil {
			c.Close()
			ts.Fatalf("%s logged in with %s", args[0], args[1])
		}
		ts.Logf("%v", err)
		return
	}
	ts.Check(err)
	s := ts.Value(session{}).(*session)
	if s.Client != nil {
		s.Close()
	}
	s.Client = c
}

// asks sends an iq of the session that is logged in, with what the argument holds,
// and waits for its result.
func asks(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	el, err := xmltree.Parse([]byte(args[0]), xmltree.Limits{})
	ts.Check(err)
	_, err = ts.Value(session{}).(*session).SendIQ(ctx, stanza.New(stanza.IQ, stanza.Set, jid.JID{}, jid.JID{}, el))
	ts.Check(err)
}

func ended(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(session{}).(*session)
	select {
	case <-s.Done():
	case <-time.After(patience):
		ts.Fatalf("the stream has not ended")
	}
	if err := s.Err(); err == nil || !strings.Contains(err.Error(), args[0]) {
		ts.Fatalf("the stream ended with %v, want %s", err, args[0])
	}
}

func get(ts *testscript.TestScript, neg bool, args []string) {
	res, err := http.Get(args[0])
	ts.Check(err)
	defer res.Body.Close()
	_, err = io.Copy(ts.Stdout(), res.Body)
	ts.Check(err)
	if fmt.Sprint(res.StatusCode) != args[1] {
		ts.Fatalf("%s: %s, want %s", args[0], res.Status, args[1])
	}
}

func certificate(ts *testscript.TestScript, neg bool, args []string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: args,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 3, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	ts.Check(err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	write := func(suffix, kind string, der []byte) {
		ts.Check(os.WriteFile(ts.MkAbs(args[0]+suffix), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	}
	write(".crt", "CERTIFICATE", der)
	write(".key", "PRIVATE KEY", pkcs8)
}

func mode(ts *testscript.TestScript, neg bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := fmt.Sprintf("%o", info.Mode().Perm()); got != args[1] {
		ts.Fatalf("the mode of %s is %s, want %s", args[0], got, args[1])
	}
}

func shown(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: shown SNI TO CERTIFICATE")
	}
	block, _ := pem.Decode([]byte(ts.ReadFile(args[2])))
	if block == nil {
		ts.Fatalf("%s is no certificate", args[2])
	}
	for begun := time.Now(); ; {
		got, err := shownTo(ts.Getenv("CLIENT"), strings.TrimPrefix(args[0], "-"), args[1])
		ts.Check(err)
		if bytes.Equal(got.Raw, block.Bytes) {
			return
		}
		if time.Since(begun) > patience {
			ts.Fatalf("the certificate shown is for %s, from %s", got.DNSNames, got.NotBefore)
		}
		time.Sleep(5 * time.Millisecond) // a real program is waited for
	}
}

// shownTo returns the certificate that the server shows on a stream to a host.
func shownTo(address, sni, to string) (*x509.Certificate, error) {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	until := func(text string) error {
		var got []byte
		for b := make([]byte, 1); !bytes.HasSuffix(got, []byte(text)); got = append(got, b[0]) {
			if _, err := conn.Read(b); err != nil {
				return fmt.Errorf("%w behind %s", err, got)
			}
		}
		return nil
	}
	for _, step := range [][2]string{
		{"<stream:stream to='" + to + "' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>", "</stream:features>"},
		{"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"},
	} {
		if _, err := io.WriteString(conn, step[0]); err != nil {
			return nil, err
		}
		if err := until(step[1]); err != nil {
			return nil, err
		}
	}
	c := tls.Client(conn, &tls.Config{ServerName: sni, InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		return nil, err
	}
	return c.ConnectionState().PeerCertificates[0], nil
}

func expand(ts *testscript.TestScript, neg bool, args []string) {
	text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o644))
}
