//go:build interop

package interop_test

import (
	"testing"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xmltree"
)

// others are the servers that Kith speaks with.
var others = []struct {
	name  string
	start func(f *federation, t *testing.T, domain string, m manner) *federated
}{
	{"prosody", (*federation).prosody},
	{"ejabberd", (*federation).ejabberd},
}

// TestFederation is what two people at two servers do, in both directions.
func TestFederation(t *testing.T) {
	t.Parallel()
	for _, other := range others {
		for _, way := range []struct {
			name string
			m    manner
		}{
			{"starttls", manner{oneWay: true}},
			{"direct", manner{direct: true, oneWay: true}},
			{"bidi", manner{}},
		} {
			t.Run(other.name+"/"+way.name, func(t *testing.T) {
				t.Parallel()
				f := newFederation(t)
				here := f.kith(t, "kith.fed.example", way.m)
				there := other.start(f, t, "other.fed.example", way.m)
				romeo, juliet := here.logIn(t, "romeo", true), there.logIn(t, "juliet", true)
				together(t, romeo, juliet, there)
			})
		}
		t.Run(other.name+"/other first", func(t *testing.T) {
			t.Parallel()
			f := newFederation(t)
			here := f.kith(t, "kith.fed.example", manner{oneWay: true})
			there := other.start(f, t, "other.fed.example", manner{oneWay: true})
			romeo, juliet := here.logIn(t, "romeo", true), there.logIn(t, "juliet", true)
			together(t, juliet, romeo, here)
		})
	}
}

// together is the walk: b's server is there.
func together(t *testing.T, a, b *fellow, there *federated) {
	t.Helper()
	a.presence("", jid.JID{})
	b.presence("", jid.JID{})
	t.Log("messages")
	b.hears(a.say(b.JID(), "hark"))
	a.hears(b.say(a.JID(), "who"))

	t.Log("subscriptions")
	a.presence(stanza.Subscribe, b.JID().Bare())
	b.sees(a.JID(), stanza.Subscribe)
	b.presence(stanza.Subscribed, a.JID().Bare())
	a.sees(b.JID(), "")
	b.presence(stanza.Subscribe, a.JID().Bare())
	a.sees(b.JID(), stanza.Subscribe)
	a.presence(stanza.Subscribed, b.JID().Bare())
	b.sees(a.JID(), "")
	b.presence(stanza.Unavailable, jid.JID{})
	a.sees(b.JID(), stanza.Unavailable)

	t.Log("who was away")
	id := a.say(b.JID().Bare(), "later")
	// What comes behind it on the stream is answered once it is kept.
	if err := a.asks(b.JID().Host(), xmltree.Name{Space: ns.Ping, Local: "ping"}); err != nil {
		t.Errorf("ping to %s: %v", b.JID().Host(), err)
	}
	b.presence("", jid.JID{})
	b.hears(id)
	a.sees(b.JID(), "")

	t.Log("requests")
	host := b.JID().Host()
	for _, name := range []xmltree.Name{{Space: ns.Ping, Local: "ping"}, {Space: ns.DiscoInfo, Local: "query"}, {Space: ns.DiscoItems, Local: "query"}} {
		if err := a.asks(host, name); err != nil {
			t.Errorf("%v to %s: %v", name, host, err)
		}
	}
	if err := a.asks(b.JID(), xmltree.Name{Space: ns.Ping, Local: "ping"}); err != nil {
		t.Errorf("ping to %s: %v", b.JID(), err)
	}
	if err := a.asks(b.JID().Bare(), xmltree.Name{Space: ns.VCardTemp, Local: "vCard"}); err != nil && condition(err) != "item-not-found" && condition(err) != "service-unavailable" {
		t.Errorf("vCard of %s: %v", b.JID(), err)
	}

	t.Log("who does not exist")
	nobody, err := jid.New("nobody", there.domain, "")
	if err != nil {
		t.Fatal(err)
	}
	if st := a.hears(a.say(nobody, "lost")); st.Type != stanza.TypeError || stanza.ErrorOf(st).Condition != "service-unavailable" {
		t.Errorf("message to nobody: %s %v", st.Type, stanza.ErrorOf(st))
	}
	if err := a.asks(nobody, xmltree.Name{Space: ns.Version, Local: "query"}); condition(err) != "service-unavailable" && condition(err) != "item-not-found" {
		t.Errorf("request to nobody: %v", err)
	}
}

// TestFederationCertificates is the matrix of certificates, at either end, and of
// what the two make of it. Prosody judges as strictly as Kith.
func TestFederationCertificates(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		cert    certificate
		lenient bool
		want    bool
	}{
		{name: "both usages", cert: certificate{both: true}, want: true},
		{name: "no common name", cert: certificate{noCN: true}, want: true},
		{name: "wildcard", cert: certificate{wildcard: true}, want: true},
		{name: "expired", cert: certificate{expired: true}},
		{name: "wrong name", cert: certificate{name: "elsewhere.example"}},
		{name: "self-signed", cert: certificate{selfSigned: true}},
		{name: "self-signed, dialback", cert: certificate{selfSigned: true}, lenient: true, want: true},
		{name: "wrong name, dialback", cert: certificate{name: "elsewhere.example"}, lenient: true, want: true},
	} {
		for _, whose := range []string{"kith", "prosody"} {
			t.Run(tt.name+"/of "+whose, func(t *testing.T) {
				t.Parallel()
				f := newFederation(t)
				good, bad := manner{lenient: tt.lenient, oneWay: true}, manner{lenient: tt.lenient, oneWay: true, cert: tt.cert}
				ours, theirs := good, bad
				if whose == "kith" {
					ours, theirs = bad, good
				}
				here, there := f.kith(t, "kith.fed.example", ours), f.prosody(t, "other.fed.example", theirs)
				romeo, juliet := here.logIn(t, "romeo", true), there.logIn(t, "juliet", true)
				romeo.presence("", jid.JID{})
				juliet.presence("", jid.JID{})
				for _, way := range [][2]*fellow{{romeo, juliet}, {juliet, romeo}} {
					from, to := way[0], way[1]
					if !tt.want {
						to = from // it comes back
					}
					id := from.say(way[1].JID(), "hark")
					if st := to.hears(id); (st.Type == stanza.TypeError) == tt.want {
						t.Errorf("from %s: %s %v", from.JID(), st.Type, stanza.ErrorOf(st))
					}
				}
			})
		}
	}
}

// TestFederationRestart: either server stops and starts, and the other finds it again.
func TestFederationRestart(t *testing.T) {
	t.Parallel()
	for _, other := range others {
		t.Run(other.name, func(t *testing.T) {
			t.Parallel()
			f := newFederation(t)
			here, there := f.kith(t, "kith.fed.example", manner{}), other.start(f, t, "other.fed.example", manner{})
			romeo, juliet := here.logIn(t, "romeo", true), there.logIn(t, "juliet", true)
			romeo.presence("", jid.JID{})
			juliet.presence("", jid.JID{})
			juliet.hears(romeo.say(juliet.JID(), "one"))
			romeo.hears(juliet.say(romeo.JID(), "two"))

			there.proc.stop()
			id := romeo.say(juliet.JID().Bare(), "three") // it waits
			there.proc = there.start()
			juliet = there.logIn(t, "juliet", false)
			// What is kept while she becomes available she would get the next time.
			if err := romeo.asks(juliet.JID().Host(), xmltree.Name{Space: ns.Ping, Local: "ping"}); err != nil {
				t.Errorf("ping to %s: %v", juliet.JID().Host(), err)
			}
			juliet.presence("", jid.JID{})
			juliet.hears(id)
			romeo.hears(juliet.say(romeo.JID(), "four"))

			here.proc.stop()
			here.proc = here.start()
			romeo = here.logIn(t, "romeo", false)
			romeo.presence("", jid.JID{})
			juliet.hears(romeo.say(juliet.JID(), "five"))
			romeo.hears(juliet.say(romeo.JID(), "six"))
		})
	}
}
