package route

import (
	"slices"
	"strings"
	"testing"

	"kith/server/account"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
)

// resource makes a session: "desk" without presence, "desk:5" of priority 5.
func resource(spec string) *account.Resource {
	name, priority, available := strings.Cut(spec, ":")
	r := &account.Resource{JID: jid.MustParse("romeo@montague.example/" + name)}
	if available {
		r.Presence = stanza.New(stanza.Presence, "", r.JID, jid.JID{})
		r.Priority = map[string]int8{"-1": -1, "0": 0, "5": 5}[priority]
	}
	return r
}

func resources(specs string) []*account.Resource {
	var rs []*account.Resource
	for _, s := range strings.Fields(specs) {
		rs = append(rs, resource(s))
	}
	return rs
}

func names(rs []*account.Resource) string {
	var out []string
	for _, r := range rs {
		out = append(out, r.JID.Resource())
	}
	return strings.Join(out, " ")
}

// The addresses of RFC 6121 §8.5.4: bare, full and matching a session, full and
// matching none.
const (
	bare    = "romeo@montague.example"
	match   = "romeo@montague.example/desk"
	noMatch = "romeo@montague.example/nowhere"
)

// outcome is a fate and the sessions it is for.
type outcome struct {
	fate    Fate
	targets string
}

// Letters of Table 1. M and A are both "to all": we deliver to every session of
// non-negative priority.
var (
	o = outcome{fate: Keep}
	e = outcome{fate: Bounce}
	s = outcome{fate: Ignore}
)

func d(targets string) outcome { return outcome{Deliver, targets} }

func check(t *testing.T, what string, kind stanza.Kind, typ, to string, exists, settled bool, rs string, want outcome) {
	t.Helper()
	have := resources(rs)
	before := slices.Clone(have)
	fate, targets := Choose(kind, typ, jid.MustParse(to), exists, settled, have)
	if got := (outcome{fate, names(targets)}); got != want {
		t.Errorf("%s: %s type=%q to=%s with sessions [%s]: %+v, want %+v", what, kind, typ, to, rs, got, want)
	}
	if !slices.Equal(have, before) {
		t.Errorf("%s: Choose changed the sessions it was given", what)
	}
}

// RFC 6121 §8.5.4, Table 1. Where it leaves a choice (S/E, O/E, M/A) the row has
// ours.
func TestTableOfMessageDelivery(t *testing.T) {
	tests := []struct {
		condition string
		exists    bool
		sessions  string
		to        string

		normal, chat, groupchat, headline outcome
	}{
		{"account does not exist", false, "", bare, e, e, e, s},
		{"account does not exist", false, "", noMatch, e, e, e, s},

		{"no active resources", true, "", bare, o, o, e, s},
		{"no active resources", true, "", noMatch, e, o, e, s},

		{"one negative", true, "desk:-1", bare, o, o, e, s},
		{"one negative", true, "desk:-1", match, d("desk"), d("desk"), d("desk"), d("desk")},
		{"one negative", true, "desk:-1", noMatch, e, o, e, s},
		{"two negative", true, "desk:-1 phone:-1", bare, o, o, e, s},
		{"two negative", true, "phone:-1 desk:-1", match, d("desk"), d("desk"), d("desk"), d("desk")},
		{"two negative", true, "desk:-1 phone:-1", noMatch, e, o, e, s},

		{"one non-negative", true, "desk:0", bare, d("desk"), d("desk"), e, d("desk")},
		{"one non-negative", true, "desk:0", match, d("desk"), d("desk"), d("desk"), d("desk")},
		{"one non-negative", true, "desk:0", noMatch, e, d("desk"), e, s},

		{"several non-negative", true, "desk:0 phone:5", bare, d("desk phone"), d("desk phone"), e, d("desk phone")},
		{"several non-negative", true, "phone:5 desk:0", match, d("desk"), d("desk"), d("desk"), d("desk")},
		{"several non-negative", true, "desk:0 phone:5", noMatch, e, d("desk phone"), e, s},

		// Beyond the table: §8.5.2.1.1 "MUST NOT deliver to any available resource
		// with a negative priority", and a connected resource (no presence) gets
		// only what is addressed to it.
		{"mixed", true, "watch:-1 desk:0 tv phone:5", bare, d("desk phone"), d("desk phone"), e, d("desk phone")},
		{"mixed", true, "watch:-1 desk:0 tv phone:5", noMatch, e, d("desk phone"), e, s},
		{"connected only", true, "desk", bare, o, o, e, s},
		{"connected only", true, "desk", match, d("desk"), d("desk"), d("desk"), d("desk")},
		{"connected only", true, "desk", noMatch, e, o, e, s},
	}
	for _, tt := range tests {
		for typ, want := range map[string]outcome{
			stanza.Normal: tt.normal, stanza.Chat: tt.chat, stanza.GroupChat: tt.groupchat, stanza.Headline: tt.headline,
		} {
			check(t, tt.condition, stanza.Message, typ, tt.to, tt.exists, false, tt.sessions, want)
		}
		// §8.5.2.1.1, §8.5.2.2.1, §8.5.3.2.1: an error is ignored unless somebody
		// is addressed (§8.5.3.1).
		want := s
		if tt.to == match {
			want = d("desk")
		}
		check(t, tt.condition, stanza.Message, stanza.TypeError, tt.to, tt.exists, false, tt.sessions, want)
	}
}

// A message that a session did not get is chosen for again: by its account, for
// the session it was addressed to has ended.
func TestMessageHandedBack(t *testing.T) {
	for _, typ := range []string{stanza.Normal, stanza.Chat} {
		check(t, "nobody left", stanza.Message, typ, noMatch, true, true, "", o)
		check(t, "negative left", stanza.Message, typ, noMatch, true, true, "watch:-1", o)
		check(t, "another left", stanza.Message, typ, noMatch, true, true, "phone:5", d("phone"))
		check(t, "it is back", stanza.Message, typ, match, true, true, "desk:0 phone:5", d("desk"))
		check(t, "to all, nobody left", stanza.Message, typ, bare, true, true, "", o)
	}
	check(t, "the account is gone", stanza.Message, stanza.Chat, bare, false, true, "", e)
}

// RFC 6121 §8.5.1, §8.5.2.1.2, §8.5.2.2.2, §8.5.3.1, §8.5.3.2.2.
func TestPresenceDelivery(t *testing.T) {
	for _, typ := range []string{"", stanza.Unavailable} {
		check(t, "no such user", stanza.Presence, typ, bare, false, false, "", s)
		check(t, "no such user", stanza.Presence, typ, noMatch, false, false, "", s)
		check(t, "nobody there", stanza.Presence, typ, bare, true, false, "", s)
		check(t, "connected only", stanza.Presence, typ, bare, true, false, "desk", s)
		check(t, "all available ones, of any priority", stanza.Presence, typ, bare, true, false, "desk:0 tv watch:-1 phone:5", d("desk watch phone"))
		check(t, "match", stanza.Presence, typ, match, true, false, "phone:5 desk:-1", d("desk"))
		check(t, "match, connected only", stanza.Presence, typ, match, true, false, "desk", d("desk"))
		check(t, "no match", stanza.Presence, typ, noMatch, true, false, "desk:0", s)
	}
}

// RFC 6121 §8.5.1, §8.5.2.1.3, §8.5.2.2.3, §8.5.3.1, §8.5.3.2.3. Answers are
// never answered (RFC 6120 §8.2.3).
func TestIQDelivery(t *testing.T) {
	answer := outcome{fate: Answer}
	for _, typ := range []string{stanza.Get, stanza.Set} {
		check(t, "no such user", stanza.IQ, typ, bare, false, false, "", e)
		check(t, "no such user", stanza.IQ, typ, noMatch, false, false, "", e)
		check(t, "nobody there", stanza.IQ, typ, bare, true, false, "", answer)
		check(t, "never to a session", stanza.IQ, typ, bare, true, false, "desk:5", answer)
		check(t, "match", stanza.IQ, typ, match, true, false, "phone:0 desk:-1", d("desk"))
		check(t, "match, connected only", stanza.IQ, typ, match, true, false, "desk", d("desk"))
		check(t, "no match", stanza.IQ, typ, noMatch, true, false, "desk:0", e)
		check(t, "no match, nobody there", stanza.IQ, typ, noMatch, true, false, "", e)
	}
	for _, typ := range []string{stanza.Result, stanza.TypeError} {
		check(t, "no such user", stanza.IQ, typ, noMatch, false, false, "", s)
		check(t, "to the account", stanza.IQ, typ, bare, true, false, "desk:0", s)
		check(t, "match", stanza.IQ, typ, match, true, false, "desk:-1", d("desk"))
		check(t, "no match", stanza.IQ, typ, noMatch, true, false, "phone:0", s)
	}
}

// What is usual costs nothing.
func TestChooseAllocatesNothing(t *testing.T) {
	rs := resources("desk:0 phone:5")
	for _, to := range []string{bare, match, noMatch} {
		j := jid.MustParse(to)
		if n := testing.AllocsPerRun(100, func() { Choose(stanza.Message, stanza.Chat, j, true, false, rs) }); n != 0 {
			t.Errorf("to %s: %v allocations", to, n)
		}
	}
}
