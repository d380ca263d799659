package c2s_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"kith/xmpp/stream"
	"kith/xmpptest"
)

const limit = 256 << 10 // the default of limits.stanza

// filled puts so many bytes of content into XML, where it says %s.
func filled(xml string, size int) string { return fmt.Sprintf(xml, strings.Repeat("x", size)) }

// TestOversizeStanza: one that is too large is bounced, and the stream goes on.
func TestOversizeStanza(t *testing.T) {
	for _, c := range []struct{ name, xml, want string }{
		{"message", "<message to='juliet@capulet.example/balcony' type='chat' id='1'><body>%s</body></message>",
			"<message from='juliet@capulet.example/balcony' to='romeo@montague.example/orchard' type='error' id='1'>"},
		{"message without recipient", "<message id='1'><body>%s</body></message>",
			"<message to='romeo@montague.example/orchard' type='error' id='1'>"},
		{"iq", "<iq to='montague.example' type='set' id='1'><query xmlns='u'><a b='%s'/></query></iq>",
			"<iq from='montague.example' to='romeo@montague.example/orchard' type='error' id='1'>"},
		{"iq to the own account", "<iq type='set' id='1'><query xmlns='jabber:iq:roster'><item name='%s'/></query></iq>",
			"<iq to='romeo@montague.example/orchard' type='error' id='1'>"},
		{"presence", "<presence to='juliet@capulet.example' id='1'><status>%s</status></presence>",
			"<presence from='juliet@capulet.example' to='romeo@montague.example/orchard' type='error' id='1'>"},
		{"malformed recipient", "<message to='@' id='1'><body>%s</body></message>",
			"<message to='romeo@montague.example/orchard' type='error' id='1'>"},
		{"error", "<message to='juliet@capulet.example/balcony' type='error'><body>%s</body></message>", ""},
		{"result", "<iq to='juliet@capulet.example/balcony' type='result' id='1'><query xmlns='u'>%s</query></iq>", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := xmpptest.New(t)
				cs := s.MustBeOnline("romeo@montague.example/orchard", "juliet@capulet.example/balcony")
				romeo, juliet := cs[0], cs[1]
				const small = "<message to='juliet@capulet.example/balcony'><body>hark</body></message>"
				large := filled(c.xml, limit)
				romeo.MustSend("<enable xmlns='urn:xmpp:sm:3'/>")
				romeo.Expect("<enabled xmlns='urn:xmpp:sm:3'/>")
				romeo.MustSend(small + large + small + "<r xmlns='urn:xmpp:sm:3'/>")
				if c.want != "" {
					kind, _, _ := strings.Cut(c.want[1:], " ")
					romeo.Expect(fmt.Sprintf("%s<error type='modify'><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"+
						"<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>The stanza is too large: it has %d bytes, at most %d are allowed.</text></error></%s>",
						c.want, len(large), limit, kind))
				}
				romeo.Expect("<a xmlns='urn:xmpp:sm:3' h='3'/>") // XEP-0198: it was handled
				romeo.ExpectNothing()
				for range 2 {
					juliet.Expect("<message from='romeo@montague.example/orchard' ...><body>hark</body>...</message>")
				}
				juliet.ExpectNothing()
			})
		})
	}
}

// TestOversizeEnds: what is too large ends the stream where it is no stanza, much
// too large, or wrong in another way.
func TestOversizeEnds(t *testing.T) {
	for _, c := range []struct {
		name, xml string
		size      int
		want      *stream.Error
	}{
		{"no stanza", "<enable xmlns='urn:xmpp:sm:3'>%s</enable>", limit, stream.ErrPolicyViolation},
		{"unknown element", "<a xmlns='u'>%s</a>", limit, stream.ErrPolicyViolation},
		{"much too large", "<message><body>%s</body></message>", 4 << 20, stream.ErrPolicyViolation},
		{"start tag", "<message id='%s'></message>", limit, stream.ErrPolicyViolation},
		{"depth", "<message><body>%s</body>" + strings.Repeat("<a>", 64), limit, stream.ErrPolicyViolation},
		{"not well-formed", "<message><body>%s</message>", limit, stream.ErrNotWellFormed},
		{"comment", "<message><body>%s<!-- a --></body></message>", limit, stream.ErrRestrictedXML},
		{"another's address", "<message from='juliet@capulet.example'><body>%s</body></message>", limit, stream.ErrInvalidFrom},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				romeo := xmpptest.New(t).MustConnect("romeo@montague.example/orchard")
				// The server may close before it has read it all.
				romeo.Send(filled(c.xml, c.size))
				romeo.ExpectError(c.want)
			})
		})
	}
}

// TestOversizeBeforeLogin: strangers are given no such grace.
func TestOversizeBeforeLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		romeo, err := xmpptest.New(t).Open("romeo", "montague.example", true)
		if err != nil {
			t.Fatal(err)
		}
		romeo.Expect("<stream:stream xmlns:stream='http://etherx.jabber.org/streams' .../>")
		romeo.Expect("<stream:features xmlns:stream='http://etherx.jabber.org/streams'>...</stream:features>")
		romeo.MustSend("<iq type='get' id='1'><query xmlns='jabber:iq:register'>" + strings.Repeat("x", 10_001))
		romeo.ExpectError(stream.ErrPolicyViolation)
	})
}
