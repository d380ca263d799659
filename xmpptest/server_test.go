package xmpptest

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"kith/xmpp/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// both runs a test in a bubble and outside of one.
func both(t *testing.T, test func(t *testing.T)) {
	t.Run("bubble", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, test)
	})
	t.Run("real", func(t *testing.T) {
		t.Parallel()
		test(t)
	})
}

func TestServer(t *testing.T) {
	both(t, func(t *testing.T) {
		s := New(t)
		c := s.MustBeOnline("romeo@montague.example/home", "juliet@capulet.example/balcony")
		romeo, juliet := c[0], c[1]
		romeo.MustSend("<message to='juliet@capulet.example' type='chat' id='1'><body>hark</body></message>")
		juliet.Expect("<message from='romeo@montague.example/home' to='juliet@capulet.example' type='chat' id='1'><body>hark</body>...</message>")
		juliet.ExpectNothing()
		romeo.MustSend("<message>")
		romeo.MustSend("</wrong>")
		romeo.ExpectError(stream.ErrNotWellFormed)
		juliet.Close()
		if ended, _ := juliet.Ended(); !ended {
			t.Error("juliet's stream has not ended after Close")
		}
	})
}

func TestRestart(t *testing.T) {
	both(t, func(t *testing.T) {
		s := New(t)
		romeo := s.MustConnect("romeo@montague.example/home")
		s.Restart()
		romeo.ExpectError(stream.ErrSystemShutdown)
		romeo = s.MustConnect("romeo@montague.example/home")
		romeo.MustSend("<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>")
		romeo.Expect("<iq type='result' id='p' .../>")
	})
}

func TestTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(t, Config("[limits]\nping_after = '2m'"), Config("limits.ping_wait = '10s'"))
		romeo := s.MustConnect("romeo@montague.example/home")
		time.Sleep(2*time.Minute - 1)
		romeo.ExpectNothing()
		time.Sleep(time.Nanosecond)
		romeo.Expect("<iq type='get' ...><ping xmlns='urn:xmpp:ping'/></iq>")
		time.Sleep(10 * time.Second)
		romeo.ExpectError(stream.ErrConnectionTimeout)
	})
}

func TestRaw(t *testing.T) {
	both(t, func(t *testing.T) {
		s := New(t)
		c, err := s.Open("romeo", "montague.example", false)
		if err != nil {
			t.Fatal(err)
		}
		c.Expect("<stream:stream from='montague.example' id='{i}' version='1.0' xml:lang='en'>")
		c.Expect("<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>")
		c.MustSend("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
		c.Expect("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
		if err := c.StartTLS(); err != nil {
			t.Fatal(err)
		}
		if err := c.Header(); err != nil {
			t.Fatal(err)
		}
		c.Expect("<stream:stream ...>")
		c.Expect("<stream:features>...<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>...<mechanism>PLAIN</mechanism>...</mechanisms>...</stream:features>")
	})
}

func TestConfigErrors(t *testing.T) {
	for text, want := range map[string]string{
		"hosts = [":             "hosts = [",
		"hosts = 'x'":           "no list",
		"hosts = [1]":           "no name",
		"[limits]\nlogins = 1":  "logins",
		"hosts = ['a@b']":       "wanted a domain",
		"[modules.nosuch]\na=1": "",
	} {
		s := &Server{t: t, dir: t.TempDir(), opts: options{toml: []string{text}}}
		err := s.configure()
		if err == nil {
			err = s.load()
		}
		if want == "" {
			continue // found when the server starts
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("configure with %q: %v, want %q", text, err, want)
		}
	}
}
