package server_test

import (
	"context"
	"testing"

	"kith/client"
	"kith/xmpp/jid"
	"kith/xmpp/negotiate"
	"kith/xmpp/sasl"
	"kith/xmpp/stanza"
	"kith/xmpptest"
)

// BenchmarkLogin is what both ends of a log-in cost together, with the handshake of
// TLS, which is most of it.
func BenchmarkLogin(b *testing.B) {
	s := xmpptest.New(b)
	s.Account(mercutio)
	memory := &sasl.Memory{}
	base := client.Config{
		JID: mercutio, Password: xmpptest.Password, Memory: memory, DirectTLS: true, TLS: s.TLS(host),
		Bind2: true, Management: true, Resumable: true, Agent: negotiate.UserAgent{ID: phone},
	}
	dial := func(b *testing.B, c client.Config) *client.Client {
		cl, err := client.NewOnConn(context.Background(), s.Dial(true), c)
		if err != nil {
			b.Fatal(err)
		}
		return cl
	}
	run := func(name string, how func(*client.Config)) {
		b.Run(name, func(b *testing.B) {
			c := base
			how(&c)
			dial(b, c).Close()
			b.ReportAllocs()
			for b.Loop() {
				dial(b, c).Close()
			}
		})
	}
	w := &wallet{}
	run("classic", func(c *client.Config) { c.Classic = true })
	run("sasl2", func(*client.Config) {})
	run("token", func(c *client.Config) { c.Tokens = w })
	b.Run("token and resumption", func(b *testing.B) {
		c := base
		c.Tokens = w
		cl := dial(b, c)
		if err := cl.Send(stanza.New(stanza.Presence, "", jid.JID{}, jid.JID{})); err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			cl.Conn().NetConn().Close()
			<-cl.Done()
			c.Resume = cl.Resumption()
			if cl = dial(b, c); !cl.Resumed() {
				b.Fatal("not resumed")
			}
		}
		cl.Close()
	})
}
