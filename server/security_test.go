package server_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"kith/xmpp/jid"
	"kith/xmpp/stream"
	"kith/xmpptest"
)

const (
	host   = "montague.example"
	header = "<stream:stream to='montague.example' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
	ping   = "<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>"
)

// states are what a client's stream goes through.
var states = []string{"before TLS", "before login", "before bind", "bound"}

// everywhere are the states of all streams.
var everywhere = append(slices.Clip(states), "component before the handshake", "component")

// reach opens a stream and brings it to a state. What was received on the way is
// forgotten.
func reach(t *testing.T, s *xmpptest.Server, state string) *xmpptest.Client {
	t.Helper()
	switch state {
	case "bound":
		return s.MustConnect("mercutio@" + host)
	case "component":
		return s.MustConnectComponent(echo)
	case "component before the handshake":
		c := s.ComponentSocket(state, echo)
		if err := c.Header(); err != nil {
			t.Fatal(err)
		}
		s.Settle()
		c.Received()
		return c
	}
	c, err := s.Open(state, host, state != "before TLS")
	if err != nil {
		t.Fatalf("open a stream %s: %v", state, err)
	}
	s.Settle()
	c.Received()
	if state == "before bind" {
		s.Account(jid.MustParse("mercutio@" + host))
		if err := c.Authenticate("mercutio"); err != nil {
			t.Fatal(err)
		}
		s.Settle()
		c.Received()
	}
	return c
}

// secure runs a test in a bubble, with a witness: whatever happens to others, it
// is answered at once.
func secure(t *testing.T, test func(t *testing.T, s *xmpptest.Server), opts ...xmpptest.Option) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t, opts...)
		witness := s.MustConnect("benvolio@" + host + "/witness")
		test(t, s)
		for _, el := range witness.Received() { // the server may have pinged it meanwhile
			t.Logf("the witness got %s", el.Raw())
		}
		witness.MustSend(ping)
		witness.Expect("<iq type='result' id='p' .../>")
	})
}

// repeat is something with a part that is there n times.
func repeat(begin, part string, n int, end string) string {
	return begin + strings.Repeat(part, n) + end
}

// TestHostileXML: XML that no peer may send ends the stream with the right
// condition, in whatever state it is, and nobody else notices.
func TestHostileXML(t *testing.T) {
	many := func(format string, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	tests := []struct {
		class, in string
		want      *stream.Error
	}{
		{"doctype", "<!DOCTYPE a><message/>", stream.ErrRestrictedXML},
		{"CVE-2011-1753 billion laughs", `<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><message><body>&b;</body></message>`, stream.ErrRestrictedXML},
		{"CVE-2022-0217 external entity", `<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><message>&x;</message>`, stream.ErrRestrictedXML},
		{"parameter entity", `<!DOCTYPE a [<!ENTITY % p SYSTEM "x">%p;]><message/>`, stream.ErrRestrictedXML},
		{"doctype inside a stanza", "<message><!DOCTYPE b></message>", stream.ErrRestrictedXML},
		{"undeclared entity", "<message><body>&laugh;</body></message>", stream.ErrRestrictedXML},
		{"undeclared entity in a value", "<message to='&laugh;'/>", stream.ErrRestrictedXML},
		{"comment", "<message><!-- b --></message>", stream.ErrRestrictedXML},
		{"comment between stanzas", "<!-- b -->", stream.ErrRestrictedXML},
		{"processing instruction", "<message><?php evil ?></message>", stream.ErrRestrictedXML},
		{"processing instruction between stanzas", "<?b?><message/>", stream.ErrRestrictedXML},
		{"second XML declaration", "<?xml version='1.0'?><message/>", stream.ErrRestrictedXML},

		{"bare ampersand", "<message>fish & chips</message>", stream.ErrNotWellFormed},
		{"reference to nul", "<message>&#0;</message>", stream.ErrNotWellFormed},
		{"reference to a surrogate", "<message>&#xD800;</message>", stream.ErrNotWellFormed},
		{"reference beyond Unicode", "<message>&#x110000;</message>", stream.ErrNotWellFormed},
		{"nul", "<message>\x00</message>", stream.ErrNotWellFormed},
		{"control character in a value", "<message to='\x01'/>", stream.ErrNotWellFormed},
		{"overlong UTF-8", "<message>\xc0\xbc</message>", stream.ErrNotWellFormed},
		{"CVE-2022-22784 surrogate in UTF-8", "<message>\xed\xa0\x80</message>", stream.ErrNotWellFormed},
		{"CVE-2022-22784 UTF-8 cut short", "<message to='\xe2\x82'/>", stream.ErrNotWellFormed},
		{"Latin-1", "<message>caf\xe9</message>", stream.ErrNotWellFormed},
		{"U+FFFE", "<message>\uFFFE</message>", stream.ErrNotWellFormed},
		{"duplicate attribute", "<message to='1' to='2'/>", stream.ErrNotWellFormed},
		{"duplicate attribute by namespace", "<message xmlns:p='u' xmlns:q='u' p:b='1' q:b='2'/>", stream.ErrNotWellFormed},
		{"duplicate declaration", "<message><a xmlns='u' xmlns='v'/></message>", stream.ErrNotWellFormed},
		{"undeclared prefix", "<p:message/>", stream.ErrNotWellFormed},
		{"undeclared prefix of an attribute", "<message p:b=''/>", stream.ErrNotWellFormed},
		{"rebinding xml", "<message xmlns:xml='u'/>", stream.ErrNotWellFormed},
		{"rebinding xmlns", "<message xmlns:xmlns='u'/>", stream.ErrNotWellFormed},
		{"undeclaring a prefix", "<message xmlns:p='u'><b xmlns:p=''/></message>", stream.ErrNotWellFormed},
		{"end tag of another element", "<message><body></message></body>", stream.ErrNotWellFormed},
		{"end tag with another case", "<message></Message>", stream.ErrNotWellFormed},
		{"value without quotes", "<message to=c/>", stream.ErrNotWellFormed},
		{"left angle bracket in a value", "<message to='<'/>", stream.ErrNotWellFormed},
		{"end of CDATA in text", "<message>b]]>c</message>", stream.ErrNotWellFormed},
		{"two colons in a name", "<a:b:c/>", stream.ErrNotWellFormed},
		{"end of a stream that is not ours", "</message>", stream.ErrNotWellFormed},
		{"text between stanzas", "hark", stream.ErrBadFormat},
		{"nul between stanzas", "\x00", stream.ErrBadFormat},

		{"prefix on the content namespace", "<c:message xmlns:c='jabber:client'/>", stream.ErrBadNamespacePrefix},
		{"CVE-2022-22786 stream inside a stanza", "<message><s:stream xmlns:s='http://etherx.jabber.org/streams'/></message>", stream.ErrInvalidNamespace},
		{"features inside a stanza", "<message><features xmlns='http://etherx.jabber.org/streams'/></message>", stream.ErrInvalidNamespace},

		{"CVE-2026-43507 deep nesting", repeat("", "<a>", 1_000, ""), stream.ErrPolicyViolation},
		{"CVE-2026-43507 element flood", repeat("<message>", "<b/>", 5_000, "</message>"), stream.ErrPolicyViolation},
		{"endless name", repeat("<", "a", 300_000, ""), stream.ErrPolicyViolation},
		{"endless attribute", repeat("<message to='", "a", 5_000_000, ""), stream.ErrPolicyViolation},
		{"endless text", repeat("<message><body>", "a", 5_000_000, ""), stream.ErrPolicyViolation},
		{"endless white space in a tag", repeat("<message", " ", 300_000, ""), stream.ErrPolicyViolation},
		{"attribute flood", "<message " + many("a%d='' ", 200) + "/>", stream.ErrPolicyViolation},
		{"namespace flood", "<message>" + many("<b xmlns='urn:%d'/>", 65) + "</message>", stream.ErrPolicyViolation},
	}
	for _, state := range everywhere {
		t.Run(state, func(t *testing.T) {
			secure(t, func(t *testing.T, s *xmpptest.Server) {
				for _, tt := range tests {
					c := reach(t, s, state)
					// A long one may be refused before it is all sent.
					if err := c.Send(tt.in); err != nil && len(tt.in) < 5_000 {
						t.Errorf("%s: send: %v", tt.class, err)
					}
					s.Settle()
					ended, err := c.Ended()
					if e := stream.ErrorFor(unwrapPeer(err)); !ended || e == nil || e.Condition != tt.want.Condition {
						t.Errorf("%s\nsent: %.120s\ngot:  %v, ended: %v\nwant: %v", tt.class, tt.in, err, ended, tt.want)
					}
					for _, el := range c.Received() {
						if !stream.IsError(el) {
							t.Errorf("%s: got %s", tt.class, el.Raw())
						}
					}
					c.Cut()
					s.Settle()
				}
			}, xmpptest.Components(echo))
		})
	}
}

// TestHostileHeader: the same where there is no stream yet.
func TestHostileHeader(t *testing.T) {
	tests := []struct {
		class, in string
		want      *stream.Error
	}{
		{"doctype", "<?xml version='1.0'?><!DOCTYPE a>" + header, stream.ErrRestrictedXML},
		{"CVE-2011-1753 billion laughs", `<!DOCTYPE l [<!ENTITY a "ha">]>` + header, stream.ErrRestrictedXML},
		{"comment", "<!-- b -->" + header, stream.ErrRestrictedXML},
		{"processing instruction", "<?evil?>" + header, stream.ErrRestrictedXML},
		{"text", "hark" + header, stream.ErrNotWellFormed},
		{"nul", "\x00", stream.ErrNotWellFormed},
		{"TLS on the port without", "\x16\x03\x01\x02\x00\x01", stream.ErrNotWellFormed},
		{"HTTP", "GET / HTTP/1.1\r\nHost: montague.example\r\n\r\n", stream.ErrNotWellFormed},
		{"UTF-16", "\xff\xfe<\x00", stream.ErrUnsupportedEncoding},
		{"endless white space", strings.Repeat(" ", 20_000), stream.ErrPolicyViolation},
		{"endless declaration", repeat("<?xml version='1.0'", " ", 20_000, ""), stream.ErrPolicyViolation},
		{"endless name", repeat("<", "a", 20_000, ""), stream.ErrPolicyViolation},
		{"endless attribute", repeat("<stream:stream to='", "a", 20_000, ""), stream.ErrPolicyViolation},
		{"huge address", repeat("<stream:stream to='", "a", 5_000, "' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"), stream.ErrImproperAddressing},
	}
	t.Run("all", func(t *testing.T) {
		secure(t, func(t *testing.T, s *xmpptest.Server) {
			for i, tt := range append(slices.Clip(tests), tests...) {
				c, err := s.Socket("stranger", host, false)
				if err != nil {
					t.Fatal(err)
				}
				if i >= len(tests) { // the same as a component
					c.Cut()
					c = s.ComponentSocket("stranger", echo)
					tt.in = strings.ReplaceAll(tt.in, "jabber:client", "jabber:component:accept")
				}
				if err := c.Send(tt.in); err != nil && len(tt.in) < 10_000 {
					t.Errorf("%s: send: %v", tt.class, err)
				}
				s.Settle()
				ended, err := c.Ended()
				if e := stream.ErrorFor(unwrapPeer(err)); !ended || e == nil || e.Condition != tt.want.Condition {
					t.Errorf("%s\nsent: %.120s\ngot:  %v, ended: %v\nwant: %v", tt.class, tt.in, err, ended, tt.want)
				}
				c.Cut()
			}
		}, xmpptest.Components(echo))
	})
}

// unwrapPeer is the stream error that a peer sent.
func unwrapPeer(err error) error {
	if p, ok := err.(*stream.PeerError); ok {
		return p.Err
	}
	return nil
}

// TestOversize: a stanza that is too large is refused, and the stream goes on.
func TestOversize(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		c := reach(t, s, "bound")
		c.MustSend(repeat("<message id='1' to='benvolio@montague.example/witness'><body>", "a", 300_000, "</body></message>") + ping)
		c.Expect("<message type='error' id='1' ...>...<error type='modify'><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>...</error></message>")
		c.Expect("<iq type='result' id='p' .../>")
	})
}

// TestClosedInAnyState: who closes is answered, however far it has come.
func TestClosedInAnyState(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		for _, state := range everywhere {
			c := reach(t, s, state)
			c.MustSend("</stream:stream>")
			if ended, err := c.Ended(); !ended || err != io.EOF {
				t.Errorf("%s: the stream ended: %v, %v; want true, EOF", state, ended, err)
			}
		}
	}, xmpptest.Components(echo))
}
