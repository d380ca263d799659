package server_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
	"kith/xmpptest"
)

// FuzzC2S sends anything in every state of a stream: it ends in a reply or in a
// stream error, never in a panic or in silence, and others are still served.
func FuzzC2S(f *testing.F) {
	for _, text := range []string{
		"", " ", "<", "</stream:stream>", "<message/>", "<presence/>", "<iq/>", "\x00", "<!DOCTYPE a>", header,
		ping, ping + ping, "<iq type='get' id='1'/>", "<iq type='result' id='1'/>", "<iq type='set' id='1' to='@'><a xmlns='b'/></iq>",
		"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>x</resource></bind></iq>",
		"<iq type='set' id='s'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>",
		"<iq type='get' id='d' to='montague.example'><query xmlns='http://jabber.org/protocol/disco#info' node='x'/></iq>",
		"<iq type='get' id='d' to='capulet.example'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>",
		"<iq type='get' id='v' to='montague.example'><query xmlns='jabber:iq:version'/></iq>",
		"<iq type='get' id='t'><time xmlns='urn:xmpp:time'/></iq>",
		"<iq type='get' id='r'><query xmlns='jabber:iq:register'/></iq>",
		"<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>a</username><password>b</password></query></iq>",
		"<message to='fuzz@montague.example' type='chat' id='1'><body>x</body></message>",
		"<message to='fuzz@montague.example/nowhere' type='normal' xml:lang='en'><subject/><body>&#x1F600;</body></message>",
		"<message to='nobody@verona.example' type='groupchat'><body/></message>",
		"<message from='benvolio@montague.example' to='fuzz@montague.example'/>",
		"<message to='fuzz@montague.example'><stanza-id xmlns='urn:xmpp:sid:0' by='fuzz@montague.example' id='1'/><no-store xmlns='urn:xmpp:hints'/></message>",
		"<presence><priority>-1</priority><show>xa</show></presence>", "<presence type='unavailable'/>", "<presence><priority>999</priority></presence>",
		"<presence type='subscribe' to='benvolio@montague.example'/>", "<presence type='probe' to='nobody@montague.example'/>",
		"<enable xmlns='urn:xmpp:sm:3' resume='true'/>", "<r xmlns='urn:xmpp:sm:3'/>", "<a xmlns='urn:xmpp:sm:3' h='1'/>",
		"<resume xmlns='urn:xmpp:sm:3' previd='x' h='4294967295'/>", "<x xmlns='urn:xmpp:sm:3'/>",
		"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "<abort " + saslNS + "/>", "<response " + saslNS + "/>",
		auth("PLAIN", "\x00fuzz\x00secret"), auth("PLAIN", "\x00fuzz\x00wrong"), auth("SCRAM-SHA-1", "n,,n=fuzz,r=x"), auth("SCRAM-SHA-256-PLUS", "p=tls-exporter,,n=a,r=b"),
		"<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>", "<stream:features/>",
		"<c xmlns='http://jabber.org/protocol/caps'/>", "<message xmlns='jabber:server'/>",
	} {
		for state := range states {
			f.Add(uint8(state), text)
		}
	}
	fz := newFuzzed(f)
	f.Fuzz(func(t *testing.T, state uint8, text string) {
		if len(text) > 64<<10 {
			t.Skip("limits have tests of their own")
		}
		fz.send(t, states[int(state)%len(states)], text)
	})
}

// fuzzed is the server that is sent everything.
type fuzzed struct {
	server  *xmpptest.Server
	bound   *xmpptest.Client // it stays from one input to the next
	witness *xmpptest.Client
	n       int
}

func newFuzzed(f *testing.F) *fuzzed {
	s := xmpptest.New(f, xmpptest.Config("limits.login_failures = 1000000000\nlimits.stanza_rate = 0\nlimits.byte_rate = 0"))
	s.Account(jid.MustParse("fuzz@" + host))
	return &fuzzed{server: s, witness: s.MustConnect("benvolio@" + host + "/witness")}
}

// open opens a stream and brings it to a state, in real time.
func (fz *fuzzed) open(state string) (*xmpptest.Client, error) {
	if state == "bound" {
		if fz.bound != nil {
			return fz.bound, nil
		}
		c, err := fz.server.Connect(jid.MustParse("fuzz@" + host + "/x"))
		fz.bound = c
		return c, err
	}
	c, err := fz.server.Open(state, host, state != "before TLS")
	if err != nil {
		return nil, err
	}
	for range 2 { // header and features
		if _, ok := c.Next(); !ok {
			return nil, errors.New("no features")
		}
	}
	if state == "before bind" {
		if err := c.Authenticate("fuzz"); err != nil {
			return nil, err
		}
		if _, ok := c.Next(); !ok {
			return nil, errors.New("no features")
		}
	}
	return c, nil
}

func (fz *fuzzed) send(t *testing.T, state, text string) {
	c, err := fz.open(state)
	if err != nil {
		t.Fatalf("%s: %v", state, err)
	}
	fz.n++
	id := "fuzz" + strconv.Itoa(fz.n)
	// A write may fail: the server has heard enough.
	c.Send(text)
	if complete(text) {
		c.Send("<enable xmlns='urn:xmpp:sm:3'/><iq type='get' id='" + id + "'><ping xmlns='urn:xmpp:ping'/></iq>")
	} else {
		c.Conn().CloseWrite()
	}
	if !fz.answered(c, id) {
		if ended, _ := c.Ended(); !ended {
			t.Errorf("%s: sent %q: neither a reply nor an end", state, text)
		}
	}
	if ended, _ := c.Ended(); ended && c == fz.bound {
		fz.bound = nil
	}
	if c != fz.bound {
		c.Cut()
	}
	fz.witness.Send("<iq type='get' id='" + id + "'><ping xmlns='urn:xmpp:ping'/></iq>")
	if !fz.answered(fz.witness, id) {
		t.Errorf("%s: sent %q: others are not served any more", state, text)
	}
	if log := fz.server.TakeLog(); strings.Contains(log, "panic") || strings.Contains(log, "level=ERROR") {
		t.Errorf("%s: sent %q: the server's log:\n%s", state, text, log)
	}
}

// answered waits for the answer of a ping, or for one behind which another stream
// begins.
func (fz *fuzzed) answered(c *xmpptest.Client, id string) bool {
	for {
		el, ok := c.Next()
		if !ok {
			return false
		}
		if el.Name().Local == "iq" && el.Attr("id") == id && el.Attr("type") != "get" {
			return true
		}
		if space := el.Name().Space; space == ns.TLS || space == ns.SASL && el.Name().Local == "success" {
			return true
		}
	}
}

// complete tells whether text is nothing but whole elements, as far as a stream
// is concerned.
func complete(text string) bool {
	d := xmltree.NewDecoder(xmltree.Limits{})
	d.Feed([]byte(header + text))
	for {
		if _, err := d.Next(); err != nil {
			return errors.Is(err, xmltree.ErrIncomplete) && d.Buffered() == 0
		}
	}
}

// TestComplete: what is complete must be answered.
func TestComplete(t *testing.T) {
	for text, want := range map[string]bool{"": true, "<a/>": true, "<a/> <b></b>": true, "<a>": false, "x": false, "</stream:stream>": false, " ": true} {
		if got := complete(text); got != want {
			t.Error(fmt.Sprintf("complete(%q)", text), got, want)
		}
	}
}
