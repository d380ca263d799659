package sasl_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"kith/xmpp/sasl"
)

const domain = "capulet.example"

var (
	exporter = sasl.Binding{Type: sasl.TLSExporter, Data: []byte("exported keying material, 32 oct.")}
	endPoint = sasl.Binding{Type: sasl.TLSServerEndPoint, Data: []byte("hash of the certificate")}
	both     = []sasl.Binding{exporter, endPoint}

	scrams = []string{sasl.ScramSHA1, sasl.ScramSHA256, sasl.ScramSHA512}
	pluses = []string{sasl.ScramSHA1Plus, sasl.ScramSHA256Plus, sasl.ScramSHA512Plus}
	all    = slices.Concat(scrams, pluses, []string{sasl.Plain})
)

// accounts is a Backend that holds what it was told.
type accounts struct {
	passwords  map[string]string
	iterations int
	err        error // of the store
}

func newAccounts() *accounts {
	return &accounts{
		passwords:  map[string]string{"juliet": "r0m30", "a,b=c": "x,y=z", "j\u00fcliet": "\u00b2\u00aa"},
		iterations: 4096,
	}
}

func (a *accounts) SCRAM(_ context.Context, username, hash string) (sasl.Keys, error) {
	if a.err != nil {
		return sasl.Keys{}, a.err
	}
	password, ok := a.passwords[username]
	if !ok {
		return sasl.FakeKeys([]byte("secret of the server"), username, hash, a.iterations), nil
	}
	password, err := sasl.Prepare(password)
	if err != nil {
		return sasl.Keys{}, err
	}
	return sasl.WeakKeys(hash, password, []byte("sixteen bytes of"), a.iterations), nil
}

func (a *accounts) Plain(ctx context.Context, username, password string) error {
	k, err := a.SCRAM(ctx, username, sasl.SHA256)
	if err != nil {
		return err
	}
	if !k.Check(sasl.SHA256, password) {
		return &sasl.Failure{Condition: sasl.NotAuthorized}
	}
	return nil
}

// offer is what a client sees of a server that can do everything.
func offer(bindings []sasl.Binding) sasl.ClientOptions {
	o := sasl.ClientOptions{OverTLS: true, Bindings: bindings}
	for _, b := range bindings {
		o.BindingTypes = append(o.BindingTypes, b.Type)
	}
	return o
}

// serverOptions are those of a server that offers -PLUS if it has bindings. It
// takes the fewest iterations that a client does, to be quick.
func serverOptions(bindings []sasl.Binding) sasl.ServerOptions {
	return sasl.ServerOptions{
		Domain: domain, Bindings: bindings, PlusOffered: len(bindings) > 0, OverTLS: true, MinIterations: 4096,
	}
}

// run has both ends talk. It returns the server's error first, then the
// client's. A success reaches the client with the server's last data.
func run(t *testing.T, c sasl.Client, s sasl.Server) error {
	t.Helper()
	response, err := c.Start()
	for range 10 {
		if err != nil {
			return err
		}
		if s.Username() != "" {
			t.Errorf("%s: Username = %q before the end", s.Mechanism(), s.Username())
		}
		challenge, done, serr := s.Next(t.Context(), response)
		if serr != nil {
			if s.Username() != "" || done {
				t.Errorf("%s failed, and yet Username = %q, done = %v", s.Mechanism(), s.Username(), done)
			}
			if _, done, err := s.Next(t.Context(), response); done || err == nil {
				t.Errorf("%s goes on after a failure", s.Mechanism())
			}
			return serr
		}
		if !done {
			response, err = c.Next(challenge)
			continue
		}
		if _, done, err := s.Next(t.Context(), response); done || err == nil {
			t.Errorf("%s goes on after its end", s.Mechanism())
		}
		if rest, err := c.Next(challenge); rest != nil || err != nil {
			return err
		}
		if !c.Done() {
			t.Errorf("%s: the client is not done at the end", c.Mechanism())
		}
		return nil
	}
	t.Fatal("the exchange does not end")
	return nil
}

// condition returns the condition of a Failure, "" if err is none.
func condition(err error) string {
	if f, ok := errors.AsType[*sasl.Failure](err); ok {
		return f.Condition
	}
	return ""
}

func TestExchange(t *testing.T) {
	t.Parallel()
	for _, bindings := range [][]sasl.Binding{nil, {exporter}, {endPoint}, both} {
		for _, mech := range all {
			plus := strings.HasSuffix(mech, "-PLUS")
			if plus && len(bindings) == 0 {
				continue
			}
			so, co := serverOptions(bindings), offer(bindings)
			if !plus {
				so.PlusOffered, co.BindingTypes = false, nil
			}
			co.Offered = []string{mech}
			for user, password := range newAccounts().passwords {
				for _, test := range []struct {
					user, password, want string
				}{
					{user, password, ""},
					{strings.ToUpper(user), password, ""},
					{user, password + "x", sasl.NotAuthorized},
					{user + "x", password, sasl.NotAuthorized},
				} {
					c, err := sasl.NewClient(mech, sasl.Credentials{Username: test.user, Password: test.password}, co)
					if err != nil {
						t.Fatalf("NewClient(%s): %v", mech, err)
					}
					s, err := sasl.NewServer(mech, newAccounts(), so)
					if err != nil {
						t.Fatalf("NewServer(%s): %v", mech, err)
					}
					err = run(t, c, s)
					if condition(err) != test.want || (err == nil) != (test.want == "") {
						t.Errorf("%s, %d bindings, %q with %q: %v, want %q", mech, len(bindings), test.user, test.password, err, test.want)
					}
					if test.want == "" && s.Username() != user {
						t.Errorf("%s: Username = %q, want %q", mech, s.Username(), user)
					}
				}
			}
		}
	}
}

// TestAuthzid: nobody acts as anybody else, whatever the mechanism.
func TestAuthzid(t *testing.T) {
	t.Parallel()
	for _, mech := range all {
		for authzid, want := range map[string]string{
			"":                             "",
			"juliet@capulet.example":       "",
			"Juliet@CAPULET.example.":      "",
			"romeo@capulet.example":        sasl.InvalidAuthzid,
			"juliet@montague.example":      sasl.InvalidAuthzid,
			"juliet@capulet.example/there": sasl.InvalidAuthzid,
			"capulet.example":              sasl.InvalidAuthzid,
			"juliet":                       sasl.InvalidAuthzid,
			"@":                            sasl.InvalidAuthzid,
			" juliet@capulet.example":      sasl.InvalidAuthzid,
			"a=b,c@capulet.example":        sasl.InvalidAuthzid,
		} {
			co, so := offer(both), serverOptions(both)
			if !strings.HasSuffix(mech, "-PLUS") {
				co, so = offer(nil), serverOptions(nil)
			}
			co.Offered = []string{mech}
			c, err := sasl.NewClient(mech, sasl.Credentials{Username: "juliet", Password: "r0m30", Authzid: authzid}, co)
			if err != nil {
				t.Fatalf("NewClient(%s): %v", mech, err)
			}
			s, err := sasl.NewServer(mech, newAccounts(), so)
			if err != nil {
				t.Fatalf("NewServer(%s): %v", mech, err)
			}
			if err := run(t, c, s); condition(err) != want || (err == nil) != (want == "") {
				t.Errorf("%s as %q: %v, want %q", mech, authzid, err, want)
			}
			if name := s.Username(); (name == "juliet") != (want == "") {
				t.Errorf("%s as %q: Username = %q", mech, authzid, name)
			}
		}
	}
}

// TestUnknownUserLooksTheSame compares, but for the secrets, what a stranger
// sees of an account that exists and of one that does not.
func TestUnknownUserLooksTheSame(t *testing.T) {
	t.Parallel()
	for _, mech := range slices.Concat(scrams, pluses) {
		var seen [2][]string
		for i, user := range []string{"juliet", "nobody"} {
			for range 2 {
				co, so := offer(both), serverOptions(both)
				if !strings.HasSuffix(mech, "-PLUS") {
					co, so = offer(nil), serverOptions(nil)
				}
				co.Offered = []string{mech}
				c, _ := sasl.NewClient(mech, sasl.Credentials{Username: user, Password: "guess"}, co)
				s, _ := sasl.NewServer(mech, newAccounts(), so)
				first, _ := c.Start()
				challenge, _, err := s.Next(t.Context(), first)
				if err != nil {
					t.Fatalf("%s of %s fails at the first step: %v", mech, user, err)
				}
				final, err := c.Next(challenge)
				if err != nil {
					t.Fatal(err)
				}
				data, done, err := s.Next(t.Context(), final)
				if data != nil || done {
					t.Errorf("%s of %s: %q, %v", mech, user, data, done)
				}
				_, salt, _ := strings.Cut(string(challenge), ",")
				seen[i] = append(seen[i], salt, err.Error())
			}
		}
		known, unknown := seen[0], seen[1]
		if known[0] != known[2] || unknown[0] != unknown[2] || known[0] == unknown[0] {
			t.Errorf("%s: salts of one user change, or are everybody's: %q %q", mech, known, unknown)
		}
		if len(known[0]) != len(unknown[0]) || known[1] != unknown[1] {
			t.Errorf("%s: a known user sees %q, an unknown one %q", mech, known, unknown)
		}
	}
}

func TestNewServer(t *testing.T) {
	t.Parallel()
	plain := sasl.ServerOptions{Domain: domain}
	overTLS := sasl.ServerOptions{Domain: domain, OverTLS: true}
	for _, test := range []struct {
		mech string
		o    sasl.ServerOptions
		want string
	}{
		{sasl.Plain, plain, sasl.EncryptionRequired},
		{sasl.Plain, overTLS, ""},
		{sasl.ScramSHA256, plain, ""},
		{sasl.ScramSHA256, overTLS, ""},
		{sasl.ScramSHA256Plus, overTLS, sasl.InvalidMechanism},
		{sasl.ScramSHA256Plus, serverOptions(both), ""},
		{sasl.ScramSHA256Plus, serverOptions([]sasl.Binding{{Type: "tls-unique", Data: []byte("x")}}), sasl.InvalidMechanism},
		{sasl.ScramSHA256Plus, serverOptions([]sasl.Binding{{Type: sasl.TLSExporter}}), sasl.InvalidMechanism},
		{sasl.ScramSHA256Plus, sasl.ServerOptions{Domain: domain, Bindings: both, OverTLS: true}, sasl.InvalidMechanism},
		{"SCRAM-SHA-3", overTLS, sasl.InvalidMechanism},
		{"SCRAM-SHA-256-PLUS-PLUS", serverOptions(both), sasl.InvalidMechanism},
		{"SHA-256", overTLS, sasl.InvalidMechanism},
		{"scram-sha-256", overTLS, sasl.InvalidMechanism},
		{"plain", overTLS, sasl.InvalidMechanism},
		{"ANONYMOUS", overTLS, sasl.InvalidMechanism},
		{"", overTLS, sasl.InvalidMechanism},
	} {
		s, err := sasl.NewServer(test.mech, newAccounts(), test.o)
		if condition(err) != test.want || (s == nil) != (test.want != "") {
			t.Errorf("NewServer(%q, %+v): %v, %v, want %q", test.mech, test.o, s, err, test.want)
		}
		if s != nil && s.Mechanism() != test.mech {
			t.Errorf("Mechanism = %q, want %q", s.Mechanism(), test.mech)
		}
		offered := slices.Contains(sasl.Mechanisms(test.o), test.mech)
		if offered != (test.want == "") {
			t.Errorf("Mechanisms(%+v) holds %q: %v", test.o, test.mech, offered)
		}
	}
	if _, err := sasl.NewServer(sasl.ScramSHA256, newAccounts(), sasl.ServerOptions{Domain: "@"}); err == nil {
		t.Error("NewServer takes a domain that is none")
	}
}

func TestBackendError(t *testing.T) {
	t.Parallel()
	store := errors.New("disk on fire")
	for _, test := range []struct {
		err  error
		want string
	}{
		{store, sasl.TemporaryAuthFailure},
		{&sasl.Failure{Condition: sasl.AccountDisabled}, sasl.AccountDisabled},
	} {
		for _, mech := range []string{sasl.Plain, sasl.ScramSHA256} {
			co := offer(nil)
			co.Offered = []string{mech}
			c, _ := sasl.NewClient(mech, sasl.Credentials{Username: "juliet", Password: "r0m30"}, co)
			b := newAccounts()
			b.err = test.err
			s, _ := sasl.NewServer(mech, b, serverOptions(nil))
			if err := run(t, c, s); condition(err) != test.want || !errors.Is(err, test.err) {
				t.Errorf("%s with %v: %v, want %q", mech, test.err, err, test.want)
			}
		}
	}
}

// TestNoInitialResponse: RFC 6120 §6.4.2 lets a client begin without one.
func TestNoInitialResponse(t *testing.T) {
	t.Parallel()
	for _, mech := range []string{sasl.Plain, sasl.ScramSHA256} {
		s, _ := sasl.NewServer(mech, newAccounts(), serverOptions(nil))
		challenge, done, err := s.Next(t.Context(), nil)
		if len(challenge) != 0 || done || err != nil {
			t.Errorf("%s: %q, %v, %v, want an empty challenge", mech, challenge, done, err)
		}
		co := offer(nil)
		co.Offered = []string{mech}
		c, _ := sasl.NewClient(mech, sasl.Credentials{Username: "juliet", Password: "r0m30"}, co)
		if err := run(t, c, s); err != nil {
			t.Errorf("%s after an empty challenge: %v", mech, err)
		}

		s, _ = sasl.NewServer(mech, newAccounts(), serverOptions(nil))
		s.Next(t.Context(), nil)
		if _, _, err := s.Next(t.Context(), nil); condition(err) != sasl.MalformedRequest {
			t.Errorf("%s: nothing twice: %v", mech, err)
		}
		s, _ = sasl.NewServer(mech, newAccounts(), serverOptions(nil))
		if _, _, err := s.Next(t.Context(), []byte{}); condition(err) != sasl.MalformedRequest {
			t.Errorf("%s: an empty response: %v", mech, err)
		}
	}
}

func TestPlainMessages(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]string{
		"\x00juliet\x00r0m30":                          "",
		"juliet@capulet.example\x00juliet\x00r0m30":    "",
		"\x00JULIET\x00r0m30":                          "",
		"\x00juliet\x00r0m30 ":                         sasl.NotAuthorized,
		"\x00juliet\x00R0m30":                          sasl.NotAuthorized,
		"\x00nobody\x00r0m30":                          sasl.NotAuthorized,
		"\x00juliet@capulet.example\x00r0m30":          sasl.NotAuthorized,
		"\x00juliet\x00r0m30\x07":                      sasl.NotAuthorized,
		"juliet\x00juliet\x00r0m30":                    sasl.InvalidAuthzid,
		"\x00juliet\x00":                               sasl.MalformedRequest,
		"\x00\x00r0m30":                                sasl.MalformedRequest,
		"\x00juliet":                                   sasl.MalformedRequest,
		"juliet\x00r0m30":                              sasl.MalformedRequest,
		"\x00juliet\x00r0m30\x00":                      sasl.MalformedRequest,
		"\x00\x00\x00":                                 sasl.MalformedRequest,
		"\x00juliet\x00\xff":                           sasl.MalformedRequest,
		"\x00juliet\x00" + strings.Repeat("x", 20_000): sasl.MalformedRequest,
	} {
		s, err := sasl.NewServer(sasl.Plain, newAccounts(), serverOptions(nil))
		if err != nil {
			t.Fatal(err)
		}
		_, done, err := s.Next(t.Context(), []byte(message))
		if condition(err) != want || done != (want == "") || (s.Username() == "juliet") != done {
			t.Errorf("%.60q: %v, %v, want %q", message, done, err, want)
		}
	}
}

func TestClientCredentials(t *testing.T) {
	t.Parallel()
	for _, c := range []sasl.Credentials{
		{},
		{Username: "juliet"},
		{Password: "r0m30"},
		{Username: "juliet", Password: "\x00"},
		{Username: "\xff", Password: "r0m30"},
		{Username: "jul\x00iet", Password: "r0m30"},
		{Username: "juliet", Password: "r0m30", Authzid: "a\x00b"},
		{Username: "juliet", Password: "r0m30", Authzid: "\xff"},
		{Username: "\u00ad", Password: "r0m30"},
	} {
		for _, mech := range []string{sasl.Plain, sasl.ScramSHA256} {
			o := offer(nil)
			o.Offered = []string{mech}
			if _, err := sasl.NewClient(mech, c, o); !errors.Is(err, sasl.ErrCredentials) {
				t.Errorf("NewClient(%s, %+v): %v, want ErrCredentials", mech, c, err)
			}
		}
	}
}
