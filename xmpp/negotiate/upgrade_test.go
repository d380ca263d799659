package negotiate

import (
	"strings"
	"testing"

	"kith/xmpp/jid"
	"kith/xmpp/sasl"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

// TestUpgradeNotAskedFor: a client does what it has said that it is ready for, once,
// and nothing else of its password's (XEP-0480 §2.2).
func TestUpgradeNotAskedFor(t *testing.T) {
	const (
		success = "<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>juliet@montague.example</authorization-identifier></success>"
		salt    = "<task-data xmlns='urn:xmpp:sasl:2'><salt xmlns='urn:xmpp:scram-upgrade:0' iterations='4096'>c2FsdHNhbHQ=</salt></task-data>"
	)
	want := func(name string) string {
		return "<continue xmlns='urn:xmpp:sasl:2'><tasks><task>" + name + "</task></tasks></continue>"
	}
	for _, test := range []struct {
		name   string
		asked  []string
		said   string
		hashes int
		in     bool
	}{
		{"asked for", []string{"UPGR-SCRAM-SHA-256"}, want("UPGR-SCRAM-SHA-256") + salt + success, 1, true},
		{"two", []string{"UPGR-SCRAM-SHA-256", "UPGR-SCRAM-SHA-512"}, want("UPGR-SCRAM-SHA-512") + salt + want("UPGR-SCRAM-SHA-256") + salt + success, 2, true},
		{"another", []string{"UPGR-SCRAM-SHA-512"}, want("UPGR-SCRAM-SHA-256") + salt + success, 0, false},
		{"a weaker one", []string{"UPGR-SCRAM-SHA-256"}, want("UPGR-SCRAM-SHA-1") + salt + success, 0, false},
		{"none, as by a token", nil, want("UPGR-SCRAM-SHA-256") + salt + success, 0, false},
		{"twice", []string{"UPGR-SCRAM-SHA-256"}, want("UPGR-SCRAM-SHA-256") + salt + want("UPGR-SCRAM-SHA-256") + salt + success, 1, false},
	} {
		c := &transport{dec: xmltree.NewDecoder(xmltree.DefaultLimits()), rest: []byte(hello + test.said), secure: true}
		if _, err := c.ReadHeader(); err != nil {
			t.Fatal(err)
		}
		credentials := sasl.Credentials{Username: "juliet", Password: "r0m30myr0m30"}
		done, err := sasl.NewClient(sasl.Plain, credentials, sasl.ClientOptions{Offered: []string{sasl.Plain}, OverTLS: true})
		if err != nil {
			t.Fatal(err)
		}
		a := &attempt{client: done, request: &Authenticate{Mechanism: sasl.Plain, Upgrades: test.asked}}
		if err := a.start(); err != nil {
			t.Fatal(err)
		}
		step := SASL2{SASL: SASL{Credentials: credentials}, Login: &Login{}}
		_, err = step.try(&State{Conn: c, own: jid.MustParse("juliet@montague.example")}, a, "")
		if n := strings.Count(c.out.String(), "<hash"); n != test.hashes || (err == nil) != test.in {
			t.Errorf("%s: %d salted passwords were given, want %d, and it ended with %v", test.name, n, test.hashes, err)
		}
	}
}

// bindable is a transport that channels can be bound on.
type bindable struct{ *transport }

func (bindable) Bindings() []sasl.Binding {
	return []sasl.Binding{{Type: sasl.TLSExporter, Data: []byte("exported")}}
}

// TestUpgradeUnbound: where the client could bind to the channel and is made not to,
// nobody in between gets what can be logged in with for ever (XEP-0480, security
// considerations).
func TestUpgradeUnbound(t *testing.T) {
	offer, err := xmltree.Parse([]byte("<authentication xmlns='urn:xmpp:sasl:2'><upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-256</upgrade></authentication>"), xmltree.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	c := &transport{secure: true}
	for _, test := range []struct {
		conn      stream.Transport
		mechanism string
		want      int
	}{
		{bindable{c}, sasl.ScramSHA1Plus, 1},
		{bindable{c}, sasl.ScramSHA1, 0},
		{bindable{c}, sasl.Plain, 1}, // which shows the password itself
		{c, sasl.ScramSHA1, 1},
		{c, sasl.External, 0}, // whose server has proved nothing
		{c, sasl.OAuthBearer, 0},
	} {
		a := &attempt{request: &Authenticate{Mechanism: test.mechanism}}
		SASL2{SASL: SASL{Credentials: sasl.Credentials{Password: "r0m30myr0m30"}}, Login: &Login{}}.ask(&State{Conn: test.conn}, a, offer)
		if got := len(a.request.Upgrades); got != test.want {
			t.Errorf("%s, bound to %d: ready for %d upgrades, want %d", test.mechanism, len(test.conn.Bindings()), got, test.want)
		}
	}
}

// TestProvedByPassword: only who has proved the password, or come with a certificate,
// is held to it (XEP-0474 §7).
func TestProvedByPassword(t *testing.T) {
	for mechanism, want := range map[string]Seen{
		sasl.ScramSHA1: {Proved: true}, sasl.ScramSHA1Plus: {Proved: true, Bound: true},
		sasl.Plain: {}, sasl.OAuthBearer: {}, sasl.TokenExporter: {}, sasl.Anonymous: {}, sasl.External: {Proved: true},
	} {
		m := &memory{}
		SASL{Known: m}.remember(&State{}, named{mechanism: mechanism})
		if m.seen != want {
			t.Errorf("%s: %+v, want %+v", mechanism, m.seen, want)
		}
	}
}

// named is a client of which only the mechanism matters.
type named struct {
	sasl.Client
	mechanism string
}

func (n named) Mechanism() string { return n.mechanism }
