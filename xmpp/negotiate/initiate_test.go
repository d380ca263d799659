package negotiate

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/sasl"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

func clientOptions(config *tls.Config, steps ...Step) ClientOptions {
	o := ClientOptions{Account: jid.MustParse("juliet@montague.example"), Lang: "it"}
	o.Steps = append(o.Steps, StartTLS{Config: config, Required: config != nil}, Limits{})
	o.Steps = append(o.Steps, steps...)
	return o
}

func juliet(password string) SASL {
	return SASL{Credentials: sasl.Credentials{Username: "juliet", Password: password}}
}

// Both ends of ours, over TLS and without.
func TestBothEnds(t *testing.T) {
	tests := []struct {
		name      string
		tls       bool
		steps     []Step
		mechanism string
		jid       string // "": an error
	}{
		{"strongest", true, []Step{juliet("r0m30myr0m30"), Bind{Resource: "balcony"}}, sasl.ScramSHA512Plus, "juliet@montague.example/balcony"},
		{"without TLS", false, []Step{juliet("r0m30myr0m30"), Bind{Resource: "balcony"}}, sasl.ScramSHA512, "juliet@montague.example/balcony"},
		{"resource of the server", true, []Step{juliet("r0m30myr0m30"), Bind{}}, sasl.ScramSHA512Plus, "juliet@montague.example/"},
		{"register", true, []Step{Register{Query: newAccount("nurse")}, SASL{Credentials: sasl.Credentials{Username: "nurse", Password: "x"}}, Bind{}}, sasl.ScramSHA512Plus, "nurse@montague.example/"},
		{"wrong password", true, []Step{juliet("x"), Bind{}}, "", ""},
		{"unknown user", true, []Step{SASL{Credentials: sasl.Credentials{Username: "nobody", Password: "x"}}, Bind{}}, "", ""},
		{"register again", true, []Step{Register{Query: newAccount("juliet")}, juliet("x"), Bind{}}, "", ""},
		{"resource in use", true, []Step{juliet("r0m30myr0m30"), Bind{Resource: "taken"}}, "", ""},
		{"no bind", true, []Step{juliet("r0m30myr0m30")}, "", ""},
	}
	for _, tt := range tests {
		bubble(t, tt.name, func(t *testing.T) {
			serverTLS, clientTLS := tlsConfigs(t)
			if !tt.tls {
				clientTLS = nil
			}
			a := &accounts{passwords: map[string]string{"juliet": "r0m30myr0m30"}}
			end, other := net.Pipe()
			server := make(chan result, 1)
			go func() {
				st, err := Serve(t.Context(), stream.NewTCP(end, stream.Options{Server: true}), a.options(serverTLS, tt.tls))
				server <- result{st, err}
			}()
			o := clientOptions(clientTLS, tt.steps...)
			if tt.name == "register" {
				o.Account = jid.MustParse("nurse@montague.example")
			}
			st, err := Initiate(t.Context(), stream.NewTCP(other, stream.Options{}), o)
			if (err == nil) != (tt.jid != "") {
				t.Fatalf("Initiate: %v", err)
			}
			if err != nil {
				if out := <-server; out.err == nil {
					t.Error("the server's end has succeeded")
				}
				return
			}
			if !strings.HasPrefix(st.JID.String(), tt.jid) || st.Mechanism != tt.mechanism || st.Limits.Bytes != 262144 {
				t.Errorf("client is %v by %s with limits %+v, want %s by %s", st.JID, st.Mechanism, st.Limits, tt.jid, tt.mechanism)
			}
			if out := <-server; out.err != nil || out.st.JID != st.JID || out.st.Mechanism != tt.mechanism || out.st.Header.Lang != "it" {
				t.Errorf("server has %v by %s, %v", out.st.JID, out.st.Mechanism, out.err)
			}
			end.Close()
			other.Close()
		})
	}
}

func newAccount(user string) xmltree.Appender {
	return markup(func(w *xmltree.Writer) {
		w.Open(nameQuery)
		w.Element(xmltree.Name{Space: nameQuery.Space, Local: "username"}, user)
		w.Element(xmltree.Name{Space: nameQuery.Space, Local: "password"}, "x")
		w.Close()
	})
}

// script is a server that says what it is told to, one item for each that the
// client writes.
func script(t *testing.T, conn net.Conn, says ...string) chan string {
	heard := make(chan string, 1)
	go func() {
		var all strings.Builder
		b := make([]byte, 8192)
		for i := 0; ; i++ {
			n, err := conn.Read(b)
			all.Write(b[:n])
			if err != nil {
				heard <- all.String()
				return
			}
			if i < len(says) && says[i] != "" {
				go conn.Write([]byte(says[i]))
			}
		}
	}()
	return heard
}

// A client does not trust what comes at the wrong time.
func TestInitiateRefuses(t *testing.T) {
	open := func(features string) string {
		return header("from='montague.example' id='1' version='1.0'") + "<stream:features>" + features + "</stream:features>"
	}
	starttls := "<starttls xmlns='" + tlsNS + "'/>"
	mechanisms := func(m ...string) string {
		return "<mechanisms xmlns='" + saslNS + "'><mechanism>" + strings.Join(m, "</mechanism><mechanism>") + "</mechanism></mechanisms>"
	}
	success := "<success xmlns='" + saslNS + "'/>"
	bindable := open("<bind xmlns='" + bindNS + "'/>")
	tests := []struct {
		name   string
		plain  bool // TLS is not wanted
		says   []string
		want   error  // errors.Is
		tells  string // what the server is told
		silent string // what it must not be told
	}{
		{"no TLS offered", false, []string{open(mechanisms("PLAIN", "SCRAM-SHA-1"))}, ErrNoTLS, "</stream:stream>", "auth"},
		{"TLS refused", false, []string{open(starttls), "<failure xmlns='" + tlsNS + "'/></stream:stream>"}, ErrNoTLS, "</stream:stream>", "auth"},
		{"injection behind proceed", false, []string{open(starttls), "<proceed xmlns='" + tlsNS + "'/>" + open(mechanisms("PLAIN"))}, stream.ErrBuffered, "</stream:stream>", "auth"},
		{"something else for proceed", false, []string{open(starttls), "<message/>"}, stream.ErrNotAuthorized, "<not-authorized", "<auth"},
		{"only PLAIN without TLS", true, []string{open(mechanisms("PLAIN"))}, sasl.ErrNoMechanism, "</stream:stream>", "<auth"},
		{"nothing we know", true, []string{open(mechanisms("X-OAUTH", "CRAM-MD5"))}, sasl.ErrNoMechanism, "</stream:stream>", "<auth"},
		{"success without proof", true, []string{open(mechanisms("SCRAM-SHA-1")), success}, sasl.ErrServer, "</stream:stream>", "<iq"},
		{"failure", true, []string{open(mechanisms("SCRAM-SHA-1")), "<failure xmlns='" + saslNS + "'><account-disabled/></failure>"},
			&sasl.Failure{Condition: sasl.AccountDisabled}, "</stream:stream>", "<iq"},
		{"weak challenge", true, []string{open(mechanisms("SCRAM-SHA-1")), "<challenge xmlns='" + saslNS + "'>cj14</challenge>"}, nil, "<abort", "<response"},
		{"no base64", true, []string{open(mechanisms("SCRAM-SHA-1")), "<challenge xmlns='" + saslNS + "'>!</challenge>"}, nil, "</stream:stream>", "<response"},
		{"message before authentication", true, []string{open(mechanisms("SCRAM-SHA-1")), "<message/>"}, stream.ErrNotAuthorized, "<not-authorized", "<response"},
		{"bind before authentication", true, []string{bindable}, ErrNotOffered, "<unsupported-feature", "<iq"},
		{"no features", true, []string{header("id='1' version='1.0'") + "<message/>"}, stream.ErrNotAuthorized, "<not-authorized", ""},
		{"old version", true, []string{header("id='1'") + "<stream:features/>"}, stream.ErrUnsupportedVersion, "<unsupported-version", ""},
		{"other namespace", true, []string{"<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"}, stream.ErrInvalidNamespace, "<invalid-namespace", ""},
		{"stream error", true, []string{header("id='1' version='1.0'") + "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"}, stream.ErrHostUnknown, "</stream:stream>", "<stream:error"},
		{"comment", true, []string{"<!-- -->"}, stream.ErrRestrictedXML, "<restricted-xml", ""},
		{"gone", true, []string{header("id='1' version='1.0'") + "</stream:stream>"}, io.EOF, "</stream:stream>", ""},
	}
	for _, tt := range tests {
		bubble(t, tt.name, func(t *testing.T) {
			end, other := net.Pipe()
			heard := script(t, end, tt.says...)
			var config *tls.Config
			if !tt.plain {
				_, config = tlsConfigs(t)
			}
			st, err := Initiate(t.Context(), stream.NewTCP(other, stream.Options{}), clientOptions(config, juliet("r0m30myr0m30"), Bind{}))
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("Initiate = %v, %v; want %v", st.JID, err, tt.want)
			}
			got := <-heard
			if !strings.Contains(got, tt.tells) || tt.silent != "" && strings.Contains(got, tt.silent) {
				t.Errorf("server was told %s; want %q, not %q", got, tt.tells, tt.silent)
			}
			// RFC 6120 §4.7.1: who we are is not told in the clear.
			if strings.Contains(got, "from=") {
				t.Errorf("server was told %s", got)
			}
		})
	}
}

// What the server sends while an answer is waited for is not lost.
func TestEarly(t *testing.T) {
	bubble(t, "early", func(t *testing.T) {
		end, other := net.Pipe()
		features := "<stream:features><bind xmlns='" + bindNS + "'/><sm xmlns='urn:xmpp:sm:3'/></stream:features>"
		script(t, end,
			header("id='1' version='1.0'")+features,
			"<message id='1'/><iq type='result' id='wrong'/>",
		)
		st := &State{Conn: stream.NewTCP(other, stream.Options{}), User: jid.MustParse("juliet@montague.example")}
		o := clientOptions(nil, Bind{}, SM{})
		got := make(chan error, 1)
		go func() {
			el, err := begin(st, o)
			if err == nil {
				_, err = take(t.Context(), st, o, el)
			}
			got <- err
		}()
		synctest.Wait()
		if len(st.Early) != 2 || st.Early[0].Attr("id") != "1" {
			t.Errorf("early are %d elements", len(st.Early))
		}
		end.Close()
		if err := <-got; err == nil {
			t.Error("a resource was bound")
		}
	})
}

// What is kept while an answer is waited for is bounded in bytes, too.
func TestEarlyBytes(t *testing.T) {
	bubble(t, "early", func(t *testing.T) {
		end, other := net.Pipe()
		defer end.Close()
		features := "<stream:features><bind xmlns='" + bindNS + "'/></stream:features>"
		script(t, end, header("id='1' version='1.0'")+features, strings.Repeat("<message><body>"+strings.Repeat("x", 100<<10)+"</body></message>", 100))
		st := &State{Conn: stream.NewTCP(other, stream.Options{}), User: jid.MustParse("juliet@montague.example")}
		got := make(chan error, 1)
		go func() {
			o := clientOptions(nil, Bind{}, SM{})
			el, err := begin(st, o)
			if err == nil {
				_, err = take(t.Context(), st, o, el)
			}
			got <- err
		}()
		synctest.Wait()
		select {
		case err := <-got:
			if err == nil {
				t.Error("a resource was bound")
			}
		default:
			t.Errorf("%d messages of 100 KiB are kept, and more is waited for", len(st.Early))
		}
		other.Close()
	})
}

func TestInitiateGivesUp(t *testing.T) {
	bubble(t, "deadline", func(t *testing.T) {
		end, other := net.Pipe()
		script(t, end)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		if _, err := Initiate(ctx, stream.NewTCP(other, stream.Options{}), clientOptions(nil)); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

// XEP-0198 enabled by the session of a server.
func TestEnableSM(t *testing.T) {
	bubble(t, "enable", func(t *testing.T) {
		serverTLS, clientTLS := tlsConfigs(t)
		a := &accounts{passwords: map[string]string{"juliet": "x"}}
		end, other := net.Pipe()
		go func() {
			st, err := Serve(t.Context(), stream.NewTCP(end, stream.Options{Server: true}), a.options(serverTLS, true))
			if err != nil {
				t.Error(err)
				return
			}
			el, err := st.Conn.ReadElement()
			if err != nil || !el.Is(NameEnable) || !ParseEnable(el).Resume {
				t.Errorf("next element is %q, %v", el.Raw(), err)
			}
			early := stanza.New(stanza.Message, stanza.Chat, jid.JID{}, st.JID)
			if err := stream.Write(st.Conn, early, Enabled{ID: "x", Resume: true}); err != nil {
				t.Error(err)
			}
		}()
		st, err := Initiate(t.Context(), stream.NewTCP(other, stream.Options{}), clientOptions(clientTLS, juliet("x"), Bind{}, SM{Resume: true}))
		if err != nil {
			t.Fatal(err)
		}
		if st.SM == nil || !st.SM.Resume || st.SM.ID != "x" || len(st.Early) != 1 {
			t.Errorf("enabled is %+v, early %d", st.SM, len(st.Early))
		}
		other.Close()
	})
}
