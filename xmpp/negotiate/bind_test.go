package negotiate

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

const bindNS = "urn:ietf:params:xml:ns:xmpp-bind"

func bind(resource string) string {
	return "<iq id='b' type='set'><bind xmlns='" + bindNS + "'>" + resource + "</bind></iq>"
}

// RFC 6120 §7.6, §7.7
func TestBind(t *testing.T) {
	resource := func(s string) string { return "<resource>" + s + "</resource>" }
	bound := func(jid string) string {
		return "<iq id='b' type='result'><bind xmlns='" + bindNS + "'><jid>" + jid + "</jid></bind></iq>"
	}
	random := "juliet@montague.example/[A-Z2-7]{26}"
	tests := []struct{ name, send, want string }{
		{"of the server", bind(""), bound(random)},
		{"of the client", bind(resource("balcony")), bound("juliet@montague.example/balcony")},
		{"empty", bind(resource("")), bound(random)},
		{"overridden", bind(resource("other")), bound("juliet@montague.example/another")},
		{"escaped", bind(resource("a&lt;b")), bound("juliet@montague.example/a&lt;b")},
		{"invalid", bind(resource("a&#x9;b")), "type='error'.*<error type='modify'><bad-request "},
		{"too long", bind(resource(strings.Repeat("x", 1024))), "type='error'.*<error type='modify'><bad-request "},
		{"in use", bind(resource("taken")), "type='error'.*<conflict "},
		{"get", strings.Replace(bind(""), "set", "get", 1), "type='error'.*<bad-request "},
		{"answer", strings.Replace(bind(""), "set", "result", 1), "<stream:error.*<not-authorized "},
		{"store is down", bind(resource("broken")), "<stream:error.*<internal-server-error "},
	}
	for _, tt := range tests {
		bubble(t, tt.name, func(t *testing.T) {
			r := authenticated(t)
			r.expect(hello, "<stream:features")
			got := r.say(tt.send)
			if ok, _ := regexp.MatchString(tt.want, attributes(got)); !ok {
				t.Errorf("sent %.200s\ngot  %s\nwant %s", tt.send, got, tt.want)
			}
			select {
			case out := <-r.out:
				if out.err == nil && out.st.JID.Bare().String() != "juliet@montague.example" {
					t.Errorf("Serve returned %v", out.st.JID)
				}
			default:
				if strings.Contains(got, "type='result'") {
					t.Error("Serve has not returned")
				}
			}
		})
	}
	bubble(t, "too often", func(t *testing.T) {
		r := authenticated(t)
		r.expect(hello, "<stream:features")
		for range maxBinds - 1 {
			r.expect(bind(resource("taken")), "<conflict")
		}
		r.expectError(bind(resource("taken")), "policy-violation")
	})
	bubble(t, "after a conflict", func(t *testing.T) {
		r := authenticated(t)
		r.expect(hello, "<stream:features")
		r.expect(bind(resource("taken")), "<conflict")
		r.expect(bind(resource("free")), "juliet@montague.example/free")
	})
}

// attributes puts those of an iq into one order: type behind id.
func attributes(s string) string {
	return regexp.MustCompile(`<iq type='(\w+)' id='b'`).ReplaceAllString(s, "<iq id='b' type='$1'")
}

// What the client sends behind its bind belongs to the session.
func TestPipelined(t *testing.T) {
	bubble(t, "pipelined", func(t *testing.T) {
		r := authenticated(t)
		r.expect(hello, "<stream:features")
		r.expect(bind("")+"<enable xmlns='urn:xmpp:sm:3'/><presence/><message to='x@y'>", "<jid>juliet@montague.example/")
		out := <-r.out
		if out.err != nil {
			t.Fatal(out.err)
		}
		for _, want := range []string{"enable", "presence"} {
			if el, err := out.st.Conn.ReadElement(); err != nil || el.Name().Local != want {
				t.Errorf("next element is %q, %v; want %s", el.Raw(), err, want)
			}
		}
		go r.conn.Write([]byte("</message>"))
		if el, err := out.st.Conn.ReadElement(); err != nil || el.Name().Local != "message" {
			t.Errorf("next element is %q, %v; want message", el.Raw(), err)
		}
		if out.st.Mechanism != "PLAIN" || out.st.User.String() != "juliet@montague.example" || out.st.Host.String() != "montague.example" {
			t.Errorf("state is %+v", out.st)
		}
		out.st.Conn.Close(context.Canceled)
	})
}

// XEP-0198 §3
func TestSMBeforeBind(t *testing.T) {
	unexpected := "<failed xmlns='urn:xmpp:sm:3'><unexpected-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>"
	enable, resume := "<enable xmlns='urn:xmpp:sm:3'/>", "<resume xmlns='urn:xmpp:sm:3' h='0' previd='x'/>"
	bubble(t, "before authentication", func(t *testing.T) {
		r := tlsStream(t)
		r.expect(hello, "<stream:features")
		r.expect(enable, unexpected)
		r.expect(resume, unexpected)
	})
	bubble(t, "before bind", func(t *testing.T) {
		r := authenticated(t)
		r.expect(hello, "<stream:features")
		r.expect(enable, unexpected)
		r.expect(resume, "<failed xmlns='urn:xmpp:sm:3'><feature-not-implemented xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>")
		// XEP-0198 §5: the client goes on to bind.
		r.expect(bind(""), "<jid>")
	})
}

// XEP-0077 §3.1
func TestRegister(t *testing.T) {
	query := func(typ, fields string) string {
		return "<iq type='" + typ + "' id='r'><query xmlns='jabber:iq:register'>" + fields + "</query></iq>"
	}
	bubble(t, "register", func(t *testing.T) {
		r := tlsStream(t)
		r.expect(hello, "<register xmlns='http://jabber.org/features/iq-register'/>")
		r.expect(query("get", ""), "type='result'", "<query xmlns='jabber:iq:register'><username/><password/></query>")
		r.expect(query("set", "<username>juliet</username><password>x</password>"), "type='error'", "<conflict")
		r.expect(query("set", "<username>nurse</username><password>x</password>"), "type='result'")
		r.expect(plain("nurse", "x"), "<success")
	})
	bubble(t, "to the host", func(t *testing.T) {
		r := tlsStream(t)
		r.expect(hello, "<register")
		r.expect(strings.Replace(query("get", ""), "id", "to='montague.example' id", 1), "from='montague.example'", "<username/>")
	})
	bubble(t, "without id", func(t *testing.T) {
		r := tlsStream(t)
		r.expect(hello, "<register")
		r.expect("<iq type='get'><query xmlns='jabber:iq:register'/></iq>", "type='error'", "<bad-request")
	})
}

func TestSent(t *testing.T) {
	type step struct {
		send int
		h    uint32
		n    int // -1: an error
	}
	tests := []struct {
		start uint32
		steps []step
	}{
		{0, []step{{0, 0, 0}, {3, 2, 2}, {0, 2, 0}, {0, 3, 1}, {0, 4, -1}}},
		{0, []step{{2, 3, -1}}},
		{0, []step{{5, 4, 4}, {0, 3, -1}}}, // backwards
		{1<<32 - 2, []step{{1, 1<<32 - 1, 1}, {3, 1, 2}, {0, 2, 1}, {0, 3, -1}}},    // over the top
		{1<<32 - 1, []step{{1, 0, 1}, {0, 1<<32 - 1, -1}, {1 << 20, 1 << 20, 1e6}}}, // back over it
	}
	for i, tt := range tests {
		s := Sent{sent: tt.start, acked: tt.start}
		for j, st := range tt.steps {
			s.Add(st.send)
			n, err := s.Ack(st.h)
			if st.n == 1e6 {
				st.n = 1 << 20
			}
			if (err != nil) != (st.n < 0) || err == nil && n != st.n {
				t.Errorf("%d.%d: Ack(%d) = %d, %v; want %d", i, j, st.h, n, err, st.n)
			}
		}
	}
	s := Sent{sent: 8}
	_, err := s.Ack(10)
	want := "<handled-count-too-high xmlns='urn:xmpp:sm:3' h='10' send-count='8'/>"
	if e, ok := err.(xmltree.Appender); !ok || !strings.Contains(string(xmltree.Marshal(e, ns.Client)), want) {
		t.Errorf("error is %v, want %s", err, want)
	}
	r := Received{h: 1<<32 - 1}
	if r.Add(1); r.H() != 0 {
		t.Errorf("h behind 2^32-1 is %d", r.H())
	}
}

func TestSMElements(t *testing.T) {
	tests := []struct {
		a    xmltree.Appender
		want string
	}{
		{Enable{}, "<enable xmlns='urn:xmpp:sm:3'/>"},
		{Enable{Resume: true, Max: 600}, "<enable xmlns='urn:xmpp:sm:3' resume='true' max='600'/>"},
		{Enabled{ID: "x", Resume: true, Max: 60, Location: "[2001:db8::1]:9222"},
			"<enabled xmlns='urn:xmpp:sm:3' id='x' resume='true' max='60' location='[2001:db8::1]:9222'/>"},
		{Ack{4294967295}, "<a xmlns='urn:xmpp:sm:3' h='4294967295'/>"},
		{Request{}, "<r xmlns='urn:xmpp:sm:3'/>"},
		{Failed{"item-not-found", true, 0}, "<failed xmlns='urn:xmpp:sm:3' h='0'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>"},
	}
	for _, tt := range tests {
		if got := string(xmltree.Marshal(tt.a, ns.Client)); got != tt.want {
			t.Errorf("%#v is written %s, want %s", tt.a, got, tt.want)
		}
	}
	for in, want := range map[string]string{"h='0'": "0", "h='4294967295'": "4294967295", "": "error", "h=''": "error",
		"h='-1'": "error", "h='4294967296'": "error", "h='x'": "error", "h='1 '": "error"} {
		el, err := xmltree.Parse([]byte("<a xmlns='urn:xmpp:sm:3' "+in+"/>"), xmltree.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		got := "error"
		if h, err := ParseAck(el); err == nil {
			got = fmt.Sprint(h)
		}
		if got != want {
			t.Errorf("ParseAck of %s = %s, want %s", in, got, want)
		}
	}
	el, err := xmltree.Parse([]byte("<enable xmlns='urn:xmpp:sm:3' resume='1' max='x'/>"), xmltree.Limits{})
	if got := ParseEnable(el); err != nil || got != (Enable{Resume: true}) {
		t.Errorf("ParseEnable = %+v", got)
	}
}

func TestLimitsTaken(t *testing.T) {
	el, err := xmltree.Build(markup(func(w *xmltree.Writer) {
		w.Open(xmltree.Name{Space: ns.Stream, Local: "features"})
		w.Append(MaxLimits{Bytes: 10000, Idle: 90 * time.Second})
		w.Close()
	}))
	if err != nil {
		t.Fatal(err)
	}
	st := new(State)
	if _, err := (Limits{}).Take(context.Background(), st, el); err != nil || st.Limits != (MaxLimits{10000, 90 * time.Second}) {
		t.Errorf("limits are %+v, %v", st.Limits, err)
	}
}
