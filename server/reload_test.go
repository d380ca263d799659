package server_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kith/client"
	"kith/server/web"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/sasl"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
	"kith/xmpptest"
)

var nameBody = xmltree.Name{Space: ns.Client, Local: "body"}

// talker is a client that sends numbers to its partner and checks those that it
// gets.
type talker struct {
	*client.Client
	to    jid.JID
	sent  int
	heard atomic.Int64
	wrong atomic.Pointer[string]
}

func (a *talker) hear(el xmltree.Element) {
	body := el.Child(nameBody)
	if !el.Is(xmltree.Name{Space: ns.Client, Local: "message"}) || !body.Exists() {
		return
	}
	n, err := strconv.ParseInt(body.Text(), 10, 64)
	if want := a.heard.Add(1); err != nil || n != want || el.Attr("type") == "error" {
		text := fmt.Sprintf("message %d is %s", want, el.Raw())
		a.wrong.CompareAndSwap(nil, &text)
	}
}

// talk sends numbers until it is told to stop; at most a few are unacknowledged.
func (a *talker) talk(stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return a.RequestAck()
		case <-a.Done():
			return fmt.Errorf("%s: stream ended: %w", a.JID(), a.Err())
		default:
		}
		if a.Unacked() > 40 {
			time.Sleep(time.Millisecond) // the acknowledgements of a real stream are waited for
			continue
		}
		a.sent++
		m := stanza.New(stanza.Message, "chat", jid.JID{}, a.to, appendBody(strconv.Itoa(a.sent)))
		m.ID = strconv.Itoa(a.sent)
		if err := a.Send(m); err != nil {
			return err
		}
		if a.sent%10 == 0 {
			if err := a.RequestAck(); err != nil {
				return err
			}
		}
	}
}

type appendBody string

func (b appendBody) AppendXML(w *xmltree.Writer) { w.Element(nameBody, string(b)) }

// TestReloadUnderCrowd reloads again and again while two dozen clients talk to each
// other, switching the archive off and on and changing certificate and limits.
// Each time two Hosts of each domain are alive. No session ends, and every message
// arrives once and in order.
func TestReloadUnderCrowd(t *testing.T) {
	s := xmpptest.New(t, xmpptest.Config("[limits]\nstanza_rate = 0\nbyte_rate = 0"))
	dial := func(j jid.JID, handler func(xmltree.Element)) *client.Client {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		c, err := client.NewOnConn(ctx, s.Dial(true), client.Config{
			JID: j, Password: xmpptest.Password, DirectTLS: true, TLS: s.TLS(j.Domain()),
			Mechanisms: []string{sasl.ScramSHA256Plus}, Management: true, Handler: handler,
		})
		if err != nil {
			t.Fatalf("log in as %s: %v", j, err)
		}
		return c
	}
	pairs := crowd(12, 2)
	talkers := make([]*talker, 2*pairs)
	name := func(i int) jid.JID {
		return jid.MustParse(fmt.Sprintf("guest%d@%s/ball", i, xmpptest.Hosts[i%len(xmpptest.Hosts)]))
	}
	for i := range talkers {
		s.Account(name(i))
		a := &talker{to: name(i ^ 1)}
		a.Client = dial(name(i), a.hear)
		defer a.Close()
		if err := a.SendPresence("", jid.JID{}); err != nil {
			t.Fatal(err)
		}
		talkers[i] = a
	}
	visitor := jid.MustParse("visitor@montague.example/door")
	s.Account(visitor)

	stop, ended := make(chan struct{}), make(chan error, len(talkers))
	for _, a := range talkers {
		go func() { ended <- a.talk(stop) }()
	}
	reloads := crowd(60, 20)
	for i := range reloads {
		changes := fmt.Sprintf("[modules.mam]\nenabled = %v\n[limits]\nstanza_burst = %d\n", i%2 == 1, 2000+i)
		if i%5 == 0 {
			cert := s.Renew()
			report, err := s.Reload(changes)
			if err != nil || !holds(report.Changed, "certificate of montague.example: valid until ") {
				t.Fatalf("reload %d: %q, %v; want a new certificate", i, report.Changed, err)
			}
			c := dial(visitor, nil)
			if got := c.Conn().TLS().PeerCertificates[0]; !got.Equal(cert) {
				t.Errorf("after reload %d a new connection is shown the certificate of %s, want that of %s", i, got.NotBefore, cert.NotBefore)
			}
			c.Close()
			continue
		}
		if _, err := s.Reload(changes); err != nil {
			t.Fatalf("reload %d: %v", i, err)
		}
	}
	close(stop)
	for range talkers {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	total := 0
	for i, a := range talkers {
		partner := talkers[i^1]
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
			if int(partner.heard.Load()) == a.sent && a.Unacked() == 0 {
				break
			}
			time.Sleep(time.Millisecond) // a real stream is waited for
		}
		if got := int(partner.heard.Load()); got != a.sent || a.Unacked() != 0 {
			t.Errorf("%s sent %d messages, %d of them without acknowledgement; its partner got %d", a.JID(), a.sent, a.Unacked(), got)
		}
		if wrong := a.wrong.Load(); wrong != nil {
			t.Errorf("%s: %s", a.JID(), *wrong)
		}
		select {
		case <-a.Done():
			t.Errorf("%s: stream ended: %v", a.JID(), a.Err())
		default:
		}
		total += a.sent
	}
	if total < 10*reloads {
		t.Errorf("%d messages in %d reloads: that is no load", total, reloads)
	}
	t.Logf("%d messages in %d reloads", total, reloads)
}

func holds(lines []string, start string) bool {
	return slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, start) })
}

// TestReloadHosts takes a host away and puts it back. Its sessions end; others learn
// of that as of any end, and go on. What was on its way to one of them waits for
// the host to come back.
func TestReloadHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		romeo, juliet, nurse := jid.MustParse("romeo@montague.example"), jid.MustParse("juliet@capulet.example"), jid.MustParse("nurse@shakespeare.lit")
		for _, j := range []jid.JID{romeo, juliet, nurse} {
			s.Account(j)
		}
		if err := s.Befriend(romeo, juliet); err != nil {
			t.Fatal(err)
		}
		cs := s.MustBeOnline("romeo@montague.example/orchard", "juliet@capulet.example/balcony", "nurse@shakespeare.lit/kitchen")
		r, j, n := cs[0], cs[1], cs[2]
		j.MustSend("<enable xmlns='urn:xmpp:sm:3'/>")
		j.Expect("<enabled xmlns='urn:xmpp:sm:3'/>")
		r.MustSend("<message to='juliet@capulet.example' type='chat' id='a'><body>wilt thou leave me so unsatisfied?</body></message>")
		s.Settle() // she has it, and does not acknowledge it

		report, err := s.Reload("hosts = ['montague.example', 'shakespeare.lit', 'mantua.example']")
		want := []string{"host mantua.example: added", "host capulet.example: removed; its sessions end"}
		if err != nil || !slices.Equal(report.Changed[:2], want) {
			t.Fatalf("reload: %q, %v; want %q", report.Changed, err, want)
		}
		s.Settle()
		j.ExpectError(stream.ErrHostGone)
		r.Expect("<presence from='juliet@capulet.example/balcony' to='romeo@montague.example' type='unavailable'/>")
		if got := s.Inside().Sessions(); got != 2 {
			t.Errorf("%d sessions, want 2", got)
		}
		r.MustSend("<message to='juliet@capulet.example' type='chat' id='b'><body>call me but love</body></message>")
		r.Expect("<message from='juliet@capulet.example' to='romeo@montague.example/orchard' type='error' id='b'>...<error type='cancel'>...<remote-server-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>...</error></message>")
		if _, err := s.Connect(juliet); err == nil {
			t.Error("who has an account of the removed host can log in")
		}
		// The new host is there, with all it needs.
		p := s.MustBeOnline("balthasar@mantua.example/post")[0]
		p.MustSend("<message to='nurse@shakespeare.lit' type='chat'><body>how fares my Juliet?</body></message>")
		n.Expect("<message from='balthasar@mantua.example/post' to='nurse@shakespeare.lit' type='chat'><body>how fares my Juliet?</body>...</message>")

		if _, err := s.Reload("hosts = ['montague.example', 'shakespeare.lit', 'capulet.example']"); err != nil {
			t.Fatal(err)
		}
		s.Settle()
		p.ExpectError(stream.ErrHostGone)
		back := s.MustConnect("juliet@capulet.example/balcony")
		back.MustSend("<presence/>")
		s.Settle()
		if got := fmt.Sprint(raw(back.Received())); strings.Count(got, "wilt thou leave me so unsatisfied?") != 1 || strings.Contains(got, "call me but love") {
			t.Errorf("she is back and gets %s, want what she had not acknowledged, and nothing that was sent back", got)
		}
		r.MustSend("<iq type='get' id='c'><ping xmlns='urn:xmpp:ping'/></iq>")
		s.Settle()
		if ended, err := r.Ended(); ended {
			t.Errorf("the stream of another host has ended: %v", err)
		}
	})
}

func raw(els []xmltree.Element) (out []string) {
	for _, el := range els {
		out = append(out, string(el.Raw()))
	}
	return out
}

// TestReloadApplies changes what a running server can take up.
func TestReloadApplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t, xmpptest.Config(`registration.mode = "closed"`))
		r := s.MustBeOnline("romeo@montague.example/orchard")[0]
		features := func() string {
			t.Helper()
			c, err := s.Open("stranger", "montague.example", true)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			s.Settle()
			return fmt.Sprint(raw(c.Received()))
		}
		disco := func() string {
			t.Helper()
			r.MustSend("<iq type='get' id='d' to='montague.example'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
			el, ok := r.Next()
			if !ok {
				t.Fatal("no answer to disco#info")
			}
			return string(el.Raw())
		}
		const register, ping, contact = "http://jabber.org/features/iq-register", "urn:xmpp:ping", "xmpp:friar@montague.example"
		if f, d := features(), disco(); strings.Contains(f, register) || !strings.Contains(d, ping) || strings.Contains(d, contact) {
			t.Fatalf("before the reload: %s and %s", f, d)
		}
		report, err := s.Reload(`
			[registration]
			mode = "open"
			[modules.ping]
			enabled = false
			[limits]
			stanza_before_login = "12000B"
			[host."montague.example".contact]
			admin = ["xmpp:friar@montague.example"]
			[listen]
			client = ["127.0.0.1:5333"]`)
		want := web.Report{
			Changed: []string{
				`host."montague.example".contact.admin: xmpp:friar@montague.example, was none`,
				"registration.mode: open, was closed",
				"limits.stanza_before_login: 12kB, was 10kB; for streams that begin now",
				"modules.ping.enabled: false, was not set",
			},
			Restart: []string{"listen.client: 127.0.0.1:5333, was none"},
		}
		if err != nil || !slices.Equal(report.Changed, want.Changed) || !slices.Equal(report.Restart, want.Restart) {
			t.Errorf("reload: %q, %v; want %q", report, err, want)
		}
		f, d := features(), disco()
		if !strings.Contains(f, register) || !strings.Contains(f, "<max-bytes>12000</max-bytes>") {
			t.Errorf("a new stream has the features %s, want registration and the new limit", f)
		}
		if strings.Contains(d, ping) || !strings.Contains(d, contact) {
			t.Errorf("the host is %s, want no ping, and a contact", d)
		}
		// A stream goes by what it began with, a stanza by what holds now.
		r.MustSend("<iq type='get' id='p' to='montague.example'><ping xmlns='urn:xmpp:ping'/></iq>")
		r.Expect("<iq type='error' id='p' from='montague.example' to='romeo@montague.example/orchard'>...<error type='cancel'>...<service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>...</error></iq>")

		report, err = s.Reload("")
		if err != nil || len(report.Changed) != 0 || len(report.Restart) != 1 {
			t.Errorf("once more: %q, %v; want nothing but the reminder of a restart", report, err)
		}
	})
}

// TestReloadRefused: with a mistake anywhere nothing changes at all.
func TestReloadRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		r := s.MustBeOnline("romeo@montague.example/orchard")[0]
		hosts, cert := s.Inside().Hosts(), s.Inside().Identity()
		for _, tt := range []struct{ toml, want string }{
			{"[registration]\nmood = 'open'", "registration.mood: unknown key"},
			{"[modules.roster]\ncontacts = 0\n[registration]\nmode = 'open'", "each limit of a roster must be at least 1"},
			{"[modules.pink]\nenabled = true", "modules.pink: not in this version; the nearest known module is ping"},
			{"[host.'montague.example']\ncertificate = 'missing.crt'\nkey = 'missing.key'", "cannot read "},
			{"[host.'montague.example']\ncertificate = 'kith.toml'\nkey = 'kith.toml'", "load certificate of montague.example: "},
		} {
			_, err := s.Reload(tt.toml)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("reload of %s: %v, want %s", tt.toml, err, tt.want)
			}
			if got := s.Inside().Hosts(); got[0] != hosts[0] || s.Inside().Identity() != cert {
				t.Errorf("reload of %s: something has changed", tt.toml)
			}
			s.Forget()
		}
		if _, err := s.Reload(""); err != nil {
			t.Errorf("reload of what was mended: %v", err)
		}
		if ended, err := r.Ended(); ended {
			t.Errorf("a stream has ended: %v", err)
		}
	})
}

// TestDailyLook takes up a renewed certificate, keeps the old one if the new one is
// spoilt, and reminds of one that ends.
func TestDailyLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		before := s.Inside().Identity()
		cert := s.Renew()
		s.TakeLog()
		s.Inside().Look()
		if log := s.TakeLog(); strings.Count(log, "certificate of") != 3 || strings.Contains(log, "level=WARN") {
			t.Errorf("the log says %s, want a new certificate for three hosts", log)
		}
		c := s.MustConnect("romeo@montague.example")
		if !c.Certificate().Equal(cert) || s.Inside().Identity() == before {
			t.Error("a new connection is shown the old certificate")
		}
		c.Close() // or it is pinged for a year
		now := s.Inside().Identity()
		file := filepath.Join(filepath.Dir(s.Inside().Config().Data), "server.crt")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text[:len(text)/2], 0o600); err != nil {
			t.Fatal(err)
		}
		s.Inside().Look()
		if log := s.TakeLog(); !strings.Contains(log, "certificates not taken up; those from before serve on") || s.Inside().Identity() != now {
			t.Errorf("a spoilt file: the log says %s, want that the old one serves on", log)
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(cert.NotAfter) - 13*24*time.Hour)
		s.Inside().Look()
		if log := s.TakeLog(); strings.Count(log, "expires on "+cert.NotAfter.UTC().Format(time.DateOnly)+"; renew it, then kith reload") != 3 {
			t.Errorf("13 days before its end the log says %s, want a reminder", log)
		}
	})
}
