package negotiate

import (
	"strings"
	"testing"

	"kith/xmpp/jid"
	"kith/xmpp/sasl"
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
