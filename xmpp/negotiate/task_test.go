package negotiate

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"

	"kith/xmpp/jid"
	"kith/xmpp/sasl"
	"kith/xmpp/xmltree"
)

const sasl2NS = "urn:xmpp:sasl:2"

var nameAnswer = xmltree.Name{Space: "urn:example:sphinx", Local: "answer"}

// sphinx asks a question in <task-data/> and takes one answer.
type sphinx struct{ name, answer string }

func (s sphinx) Name() string { return s.name }

func (s sphinx) Next(_ context.Context, el xmltree.Element) (xmltree.Appender, bool, error) {
	switch given := el.Child(nameAnswer); {
	case el.Is(nameNext) && !given.Exists():
		return empty{Space: "urn:example:sphinx", Local: "question"}, false, nil
	case given.Text() == s.answer:
		return empty{Space: "urn:example:sphinx", Local: "right"}, true, nil
	case given.Text() == "broken":
		return nil, false, errors.New("disk is full")
	}
	return nil, false, &sasl.Failure{Condition: sasl.NotAuthorized, Text: "wrong"}
}

// riddles wants one of two first, then a third.
func riddles(_ context.Context, p Pending) ([]Task, error) {
	switch {
	case p.User != "juliet":
		return nil, nil
	case len(p.Done) == 0:
		return []Task{sphinx{"MORNING", "man"}, sphinx{"NIGHT", "star"}}, nil
	case len(p.Done) == 1:
		return []Task{sphinx{"LAST", "end"}}, nil
	}
	return nil, nil
}

// establisher gives sessions, or what the resource says.
type establisher struct{ *accounts }

func (e establisher) Bind2(ctx context.Context, st *State, a *Authenticate) (jid.JID, []xmltree.Appender, error) {
	full, err := e.Bind(ctx, st.User, a.Bind.Tag)
	return full, nil, err
}

func (e establisher) Resume(_ context.Context, user jid.JID, want Resume, answer func(jid.JID, Resumed) xmltree.Appender) (jid.JID, *Failed, error) {
	return jid.JID{}, &Failed{Condition: "item-not-found"}, nil
}

// scripted has a client say all it has to say over TLS to a server with SASL2, and
// returns what it is told.
func scripted(t *testing.T, secure bool, tasks TaskFunc, said ...string) (string, *State, error) {
	t.Helper()
	a := &accounts{passwords: map[string]string{"juliet": "r0m30myr0m30", "romeo": "secret"}}
	c := &transport{dec: xmltree.NewDecoder(xmltree.Limits{Bytes: 10000, Depth: 8}), rest: []byte(hello + strings.Join(said, "")), secure: secure}
	mechanisms := SASL{Backend: a}
	st, err := Serve(t.Context(), c, ServerOptions{
		Steps: func(jid.JID) []Step {
			return []Step{SASL2{SASL: mechanisms, Establisher: establisher{a}, Tasks: tasks}, mechanisms, Bind{Binder: a}, SM{}, Version{}}
		},
		Limits: xmltree.DefaultLimits(),
	})
	return c.out.String(), st, err
}

func authenticate2(user, password, inline string) string {
	return "<authenticate xmlns='" + sasl2NS + "' mechanism='PLAIN'><initial-response>" +
		base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password)) + "</initial-response>" + inline + "</authenticate>"
}

// TestTasks: what is to be done behind the mechanism is done before anybody is in
// (XEP-0388 §2.6.3).
func TestTasks(t *testing.T) {
	answer := func(text string) string { return "<answer xmlns='urn:example:sphinx'>" + text + "</answer>" }
	start := func(name, content string) string {
		return "<next xmlns='" + sasl2NS + "' task='" + name + "'>" + content + "</next>"
	}
	data := func(content string) string { return "<task-data xmlns='" + sasl2NS + "'>" + content + "</task-data>" }
	in := authenticate2("juliet", "r0m30myr0m30", "<bind xmlns='urn:xmpp:bind:0'><tag>garden</tag></bind>")
	const (
		first   = "<continue xmlns='urn:xmpp:sasl:2'><tasks><task>MORNING</task><task>NIGHT</task></tasks></continue>"
		second  = "<continue xmlns='urn:xmpp:sasl:2'><right xmlns='urn:example:sphinx'/><tasks><task>LAST</task></tasks></continue>"
		success = "<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>juliet@montague.example/garden</authorization-identifier><right xmlns='urn:example:sphinx'/><bound xmlns='urn:xmpp:bind:0'/></success>"
		failure = "<failure xmlns='urn:xmpp:sasl:2'><"
	)
	for _, test := range []struct {
		name string
		said []string
		want []string // in this order
		in   bool
	}{
		{"one after the other", []string{in, start("NIGHT", answer("star")), start("LAST", answer("end"))}, []string{first, second, success}, true},
		{"with a question", []string{in, start("MORNING", ""), data(answer("man")), start("LAST", answer("end"))},
			[]string{first, "<task-data xmlns='urn:xmpp:sasl:2'><question xmlns='urn:example:sphinx'/></task-data>", second, success}, true},
		{"not asked for", []string{authenticate2("romeo", "secret", "<bind xmlns='urn:xmpp:bind:0'><tag>x</tag></bind>")}, []string{"<success"}, true},
		{"none done", []string{in}, []string{first}, false},
		{"only the first", []string{in, start("NIGHT", answer("star"))}, []string{first, second}, false},
		{"a wrong answer", []string{in, start("NIGHT", answer("sun"))}, []string{first, failure + "not-authorized"}, false},
		{"a wrong answer ends it all", []string{in, start("NIGHT", answer("sun")), start("NIGHT", answer("star"))}, []string{failure + "not-authorized", failure + "malformed-request"}, false},
		{"the store is down", []string{in, start("NIGHT", answer("broken"))}, []string{failure + "temporary-auth-failure"}, false},
		{"one that was not named", []string{in, start("LAST", answer("end"))}, []string{failure + "malformed-request"}, false},
		{"data before next", []string{in, data(answer("star"))}, []string{failure + "malformed-request"}, false},
		{"next twice", []string{in, start("MORNING", ""), start("MORNING", answer("man"))}, []string{failure + "malformed-request"}, false},
		{"before the password", []string{start("NIGHT", answer("star")), start("LAST", answer("end"))}, []string{failure + "malformed-request", failure + "malformed-request"}, false},
		{"abort", []string{in, "<abort xmlns='" + sasl2NS + "'/>", start("NIGHT", answer("star"))}, []string{failure + "aborted", failure + "malformed-request"}, false},
		{"response to a task", []string{in, "<response xmlns='" + sasl2NS + "'>eA==</response>"}, []string{failure + "malformed-request"}, false},
		{"authenticate again", []string{in, in}, []string{first, "<policy-violation"}, false},
		{"a stanza", []string{in, "<message/>"}, []string{first, "<policy-violation"}, false},
		{"the old profile", []string{in, plain("juliet", "r0m30myr0m30")}, []string{first, "<policy-violation"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, st, err := scripted(t, true, riddles, test.said...)
			rest := got
			for _, want := range test.want {
				_, after, ok := strings.Cut(rest, want)
				if !ok && !(err != nil && strings.Contains(err.Error(), strings.Trim(want, "<"))) {
					t.Fatalf("said %s\ngot  %s (%v)\nwant %s in it", test.said, got, err, want)
				}
				rest = after
			}
			if in := !st.User.IsZero(); in != test.in || in != strings.Contains(got, "<success") || in != (err == nil) {
				t.Errorf("said %s\ngot  %s (%v)\nand %v is in", test.said, got, err, st.User)
			}
		})
	}
}

// TestTooManyTasks: a log-in does not go on for ever, and does not succeed because
// it has gone on for long.
func TestTooManyTasks(t *testing.T) {
	endless := func(context.Context, Pending) ([]Task, error) { return []Task{sphinx{"MORNING", "man"}}, nil }
	said := []string{authenticate2("juliet", "r0m30myr0m30", "")}
	step := "<next xmlns='" + sasl2NS + "' task='MORNING'><answer xmlns='urn:example:sphinx'>man</answer></next>"
	got, st, _ := scripted(t, true, endless, append(said, slices.Repeat([]string{step}, 20)...)...)
	if !st.User.IsZero() || strings.Count(got, "<continue") != maxTasks || !strings.Contains(got, "temporary-auth-failure") {
		t.Errorf("got %s, and %v is in", got, st.User)
	}
}

// TestSASL2Inline: what is asked for with the log-in, and how it can fail.
func TestSASL2Inline(t *testing.T) {
	for _, test := range []struct {
		name   string
		secure bool
		said   []string
		want   string
		jid    string
	}{
		{"no TLS", false, []string{authenticate2("romeo", "secret", "")}, "<encryption-required", ""},
		{"nothing", true, []string{authenticate2("romeo", "secret", "")}, "<authorization-identifier>romeo@montague.example</authorization-identifier></success><stream:features", ""},
		{"nothing, then a resource as of old", true, []string{authenticate2("romeo", "secret", ""), bind("<resource>x</resource>")}, "<jid>romeo@montague.example/x</jid>", "romeo@montague.example/x"},
		{"no resource to be had", true, []string{authenticate2("romeo", "secret", "<bind xmlns='urn:xmpp:bind:0'><tag>taken</tag></bind>"), bind("<resource>x</resource>")},
			"<authorization-identifier>romeo@montague.example</authorization-identifier></success><stream:features", "romeo@montague.example/x"},
		{"the store is down", true, []string{authenticate2("romeo", "secret", "<bind xmlns='urn:xmpp:bind:0'><tag>broken</tag></bind>")}, "", ""},
		{"h is no number", true, []string{authenticate2("romeo", "secret", "<resume xmlns='urn:xmpp:sm:3' previd='x' h='many'/>")}, "<malformed-request", ""},
		{"count is no number", true, []string{authenticate2("romeo", "secret", "<fast xmlns='urn:xmpp:fast:0' count='0'/>")}, "<malformed-request", ""},
		{"no base64", true, []string{"<authenticate xmlns='" + sasl2NS + "' mechanism='PLAIN'><initial-response>=</initial-response></authenticate>"}, "<incorrect-encoding", ""},
		{"a line break in base64", true, []string{"<authenticate xmlns='" + sasl2NS + "' mechanism='PLAIN'><initial-response>AHJv\nbWVv</initial-response></authenticate>"}, "<incorrect-encoding", ""},
		{"empty", true, []string{"<authenticate xmlns='" + sasl2NS + "' mechanism='PLAIN'><initial-response/></authenticate>"}, "<malformed-request", ""},
		{"tokens are not had", true, []string{authenticate2("romeo", "secret", "<fast xmlns='urn:xmpp:fast:0'/>")}, "<invalid-mechanism", ""},
		{"another version", true, []string{authenticate2("romeo", "secret", "<config-version xmlns='urn:xmpp:iap:0' value='x'/>")},
			"<aborted xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/><config-version-mismatch xmlns='urn:xmpp:iap:0'/></failure>", ""},
		{"what nobody knows", true, []string{authenticate2("romeo", "secret", "<x xmlns='urn:x'/>")}, "<success", ""},
		{"unknown element", true, []string{"<x xmlns='" + sasl2NS + "'/>"}, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, st, err := scripted(t, test.secure, nil, test.said...)
			if !strings.Contains(got, test.want) || st.JID.String() != test.jid {
				t.Errorf("said %s\ngot  %s (%v), bound %s\nwant %s, bound %s", test.said, got, err, st.JID, test.want, test.jid)
			}
		})
	}
}

// noTokens has no tokens.
type noTokens struct{}

func (noTokens) Use(_ context.Context, _ jid.JID, _ TokenUse, proves func([]byte) bool) (bool, error) {
	proves([]byte("nothing"))
	return false, &sasl.Failure{Condition: sasl.NotAuthorized}
}

func (noTokens) Issue(context.Context, jid.JID, UserAgent, string) *GivenToken { return nil }

func (noTokens) Revoke(context.Context, jid.JID, UserAgent) error { return nil }
