package sasl_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"kith/xmpp/sasl"
)

func TestChoose(t *testing.T) {
	t.Parallel()
	juliet := sasl.Credentials{Username: "juliet", Password: "r0m30"}
	types := func(t ...string) []string { return t }
	exp, end := sasl.TLSExporter, sasl.TLSServerEndPoint
	down, none := sasl.ErrDowngrade, sasl.ErrNoMechanism
	for _, test := range []struct {
		name     string
		offered  string
		types    []string // announced
		bindings []sasl.Binding
		tls      bool
		sasl2    bool
		want     string
		header   string // GS2
		err      error
	}{
		{"everything", strings.Join(all, " "), types(end, exp), both, true, false, sasl.ScramSHA512Plus, "p=tls-exporter,,", nil},
		{"everything, SASL2", strings.Join(all, " "), types(end, exp), both, true, true, sasl.ScramSHA512Plus, "p=tls-exporter,,", nil},
		{"the weakest binding beats the strongest hash", "SCRAM-SHA-512 SCRAM-SHA-1-PLUS PLAIN", types(exp), both, true, false, sasl.ScramSHA1Plus, "p=tls-exporter,,", nil},
		{"SHA-256-PLUS beats SHA-1-PLUS", "SCRAM-SHA-1-PLUS SCRAM-SHA-256-PLUS", types(exp), both, true, false, sasl.ScramSHA256Plus, "p=tls-exporter,,", nil},
		{"only the end point announced", "SCRAM-SHA-256-PLUS SCRAM-SHA-256", types(end), both, true, false, sasl.ScramSHA256Plus, "p=tls-server-end-point,,", nil},
		{"only the end point at hand", "SCRAM-SHA-256-PLUS SCRAM-SHA-256", types(exp, end), []sasl.Binding{endPoint}, true, false, sasl.ScramSHA256Plus, "p=tls-server-end-point,,", nil},
		{"no types announced", "SCRAM-SHA-256-PLUS SCRAM-SHA-256", nil, both, true, false, sasl.ScramSHA256Plus, "p=tls-exporter,,", nil},
		{"no types announced, end point at hand", "SCRAM-SHA-256-PLUS", nil, []sasl.Binding{endPoint}, true, false, sasl.ScramSHA256Plus, "p=tls-server-end-point,,", nil},
		{"no types announced, SASL2", "SCRAM-SHA-256-PLUS SCRAM-SHA-256", nil, both, true, true, "", "", down},
		{"types without mechanism", "SCRAM-SHA-256 PLAIN", types(exp), both, true, false, "", "", down},
		{"types for the mechanisms of tokens", "SCRAM-SHA-256 HT-SHA-256-EXPR", types(exp), both, true, true, sasl.ScramSHA256, "y,,", nil},
		{"types, and tokens that do not bind", "SCRAM-SHA-256 HT-SHA-256-NONE", types(exp), both, true, true, "", "", down},
		{"unknown types only", "SCRAM-SHA-256-PLUS SCRAM-SHA-256", types("tls-unique", "x"), both, true, false, sasl.ScramSHA256, "n,,", nil},
		{"unknown types only, SASL2", "SCRAM-SHA-256-PLUS SCRAM-SHA-256", types("tls-unique", "x"), both, true, true, sasl.ScramSHA256, "n,,", nil},
		{"unknown types only, and nothing without", "SCRAM-SHA-256-PLUS PLAIN", types("tls-unique", "x"), both, true, true, "", "", down},
		{"types that the client has not", "SCRAM-SHA-256-PLUS SCRAM-SHA-256", types(end), []sasl.Binding{exporter}, true, false, sasl.ScramSHA256, "n,,", nil},
		{"no -PLUS", "SCRAM-SHA-1 SCRAM-SHA-256 PLAIN", nil, both, true, false, sasl.ScramSHA256, "y,,", nil},
		{"-PLUS of an unknown hash", "SCRAM-SHA3-512-PLUS SCRAM-SHA-256", types(exp), both, true, false, sasl.ScramSHA256, "y,,", nil},
		{"client without binding", "SCRAM-SHA-256-PLUS SCRAM-SHA-256", types(exp), nil, true, false, sasl.ScramSHA256, "n,,", nil},
		{"client with an empty binding", "SCRAM-SHA-256-PLUS SCRAM-SHA-256", types(exp), []sasl.Binding{{Type: exp}}, true, false, sasl.ScramSHA256, "n,,", nil},
		{"client with tls-unique alone", "SCRAM-SHA-256-PLUS SCRAM-SHA-256", types("tls-unique"), []sasl.Binding{{Type: "tls-unique", Data: []byte("x")}}, true, false, sasl.ScramSHA256, "n,,", nil},
		{"only -PLUS for a client without", "SCRAM-SHA-256-PLUS", types(exp), nil, true, false, "", "", none},
		{"SHA-512 first", "SCRAM-SHA-1 SCRAM-SHA-256 SCRAM-SHA-512 PLAIN", nil, nil, true, false, sasl.ScramSHA512, "n,,", nil},
		{"without TLS", "PLAIN SCRAM-SHA-1", nil, nil, false, false, sasl.ScramSHA1, "n,,", nil},
		{"PLAIN over TLS", "PLAIN", nil, both, true, false, sasl.Plain, "", nil},
		{"PLAIN without TLS", "PLAIN", nil, nil, false, false, "", "", none},
		{"nothing known, and ANONYMOUS not asked for", "ANONYMOUS GSSAPI", nil, nil, true, false, "", "", none},
		{"nothing", "", nil, nil, true, false, "", "", none},
	} {
		o := sasl.ClientOptions{
			Offered: strings.Fields(test.offered), BindingTypes: test.types,
			Bindings: test.bindings, OverTLS: test.tls, SASL2: test.sasl2,
		}
		got, err := sasl.Choose(juliet, o)
		if got != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s: Choose = %q, %v, want %q, %v", test.name, got, err, test.want, test.err)
			continue
		}
		if err != nil {
			continue
		}
		c, err := sasl.NewClient(got, juliet, o)
		if err != nil {
			t.Errorf("%s: NewClient(%s): %v", test.name, got, err)
			continue
		}
		if first, err := c.Start(); err != nil || !strings.HasPrefix(string(first), test.header) {
			t.Errorf("%s: first message %q, %v, want the header %q", test.name, first, err, test.header)
		}
	}
	if got, err := sasl.Choose(sasl.Credentials{Username: "juliet"}, sasl.ClientOptions{Offered: all, OverTLS: true}); !errors.Is(err, none) {
		t.Errorf("Choose without password = %q, %v", got, err)
	}
}

// TestNewClientRefuses: a mechanism is not weakened by asking for it.
func TestNewClientRefuses(t *testing.T) {
	t.Parallel()
	juliet := sasl.Credentials{Username: "juliet", Password: "r0m30"}
	everything := offer(both)
	everything.Offered = all
	for _, mech := range slices.Concat(scrams, []string{sasl.Plain}) {
		if _, err := sasl.NewClient(mech, juliet, everything); !errors.Is(err, sasl.ErrDowngrade) {
			t.Errorf("NewClient(%s) where -PLUS was offered: %v, want ErrDowngrade", mech, err)
		}
	}
	for mech, o := range map[string]sasl.ClientOptions{
		sasl.Plain:           {},
		sasl.ScramSHA256Plus: {OverTLS: true},
		"DIGEST-MD5":         {OverTLS: true},
	} {
		if _, err := sasl.NewClient(mech, juliet, o); !errors.Is(err, sasl.ErrNoMechanism) {
			t.Errorf("NewClient(%s, %+v): %v, want ErrNoMechanism", mech, o, err)
		}
	}
}

// TestDowngrade has somebody between a client and a server who can both bind
// to the channel. He changes what the client sees of the offer, and has a
// channel of his own to either side. Nobody may end up authenticated.
func TestDowngrade(t *testing.T) {
	t.Parallel()
	const end = sasl.TLSServerEndPoint
	his := []sasl.Binding{{Type: sasl.TLSExporter, Data: []byte("his own channel")}, {Type: end, Data: []byte("his own certificate")}}
	stolen := []sasl.Binding{his[0], endPoint} // he has the key of the certificate
	strip := func(list []string, suffix string) (out []string) {
		return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return strings.HasSuffix(s, suffix) })
	}
	for _, test := range []struct {
		name   string
		client []sasl.Binding
		tamper func(*sasl.ClientOptions)
	}{
		{"nothing changed", his, func(*sasl.ClientOptions) {}},
		{"-PLUS stripped", his, func(o *sasl.ClientOptions) { o.Offered = strip(o.Offered, "-PLUS") }},
		{"-PLUS and types stripped", his, func(o *sasl.ClientOptions) { o.Offered, o.BindingTypes = strip(o.Offered, "-PLUS"), nil }},
		{"-PLUS replaced by one that nobody knows", his, func(o *sasl.ClientOptions) {
			o.Offered = append(strip(o.Offered, "-PLUS"), "SCRAM-SHA-0-PLUS")
		}},
		{"types stripped", his, func(o *sasl.ClientOptions) { o.BindingTypes = nil }},
		{"types stripped, SASL2", his, func(o *sasl.ClientOptions) { o.BindingTypes, o.SASL2 = nil, true }},
		{"types replaced", his, func(o *sasl.ClientOptions) { o.BindingTypes = []string{"tls-unique"} }},
		{"end point only", his, func(o *sasl.ClientOptions) { o.BindingTypes = []string{end} }},
		{"end point only, for a client without", his[:1], func(o *sasl.ClientOptions) { o.BindingTypes = []string{end} }},
		{"stolen certificate", stolen, func(*sasl.ClientOptions) {}},
	} {
		for _, sasl2 := range []bool{false, true} {
			so := serverOptions(both)
			co := offer(both)
			co.Offered, co.Bindings, co.SASL2 = strip(sasl.Mechanisms(so), "PLAIN"), test.client, sasl2
			test.tamper(&co)
			c, s, err := pair(co, so)
			if err == nil {
				err = run(t, c, s)
			}
			if err == nil || s != nil && s.Username() != "" || c != nil && c.Done() {
				t.Errorf("%s, SASL2 %v: somebody is authenticated: %v", test.name, sasl2, err)
			}
			if condition(err) != sasl.NotAuthorized && !errors.Is(err, sasl.ErrDowngrade) {
				t.Errorf("%s, SASL2 %v: %v, want not-authorized or ErrDowngrade", test.name, sasl2, err)
			}
		}
	}
}

// pair makes both ends of what the client chooses.
func pair(co sasl.ClientOptions, so sasl.ServerOptions) (sasl.Client, sasl.Server, error) {
	juliet := sasl.Credentials{Username: "juliet", Password: "r0m30"}
	mech, err := sasl.Choose(juliet, co)
	if err != nil {
		return nil, nil, err
	}
	c, err := sasl.NewClient(mech, juliet, co)
	if err != nil {
		return nil, nil, err
	}
	s, err := sasl.NewServer(mech, newAccounts(), so)
	return c, s, err
}
