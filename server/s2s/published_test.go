package s2s_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"kith/xmpp/negotiate"
	"kith/xmpp/resolve"
	"kith/xmpptest"
)

// unknown is a certificate that nobody has signed, for no name, and expired.
func unknown(t *testing.T) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// keyOf is the record of a certificate.
func keyOf(t *testing.T, cert *tls.Certificate) resolve.TLSA {
	t.Helper()
	c, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return resolve.Key(c)
}

const believed = "s2s.resolver = \"127.0.0.1:53\"\n"

// publish has the test play a domain, and returns its certificate: "unknown", "known", or
// "host" for that of the host. The record for it is "right", "wrong", "odd", or "" for none;
// signed is what DNSSEC makes of SRV, addresses and TLSA records, a letter for each:
// secure, insecure, bogus. All that a test plays is published before it begins.
func (w *world) publish(domain, signed, cert, record string) *tls.Certificate {
	w.t.Helper()
	host := "stranger." + domain
	at := "_5270._tcp." + host
	a := &authoritative{verdict: says(negotiate.Valid)}
	switch cert {
	case "unknown":
		a.cert = unknown(w.t)
	case "known":
		a.cert = w.certificate(nil, domain)
	case "host":
		a.cert = w.certificate(nil, host)
	}
	right := keyOf(w.t, a.cert)
	odd := right
	odd.Matching = 9
	if w.net.Published == nil {
		w.net.STARTTLS, w.net.Published = false, make(map[string][]resolve.TLSA)
	}
	switch record {
	case "right":
		w.net.Published[at] = []resolve.TLSA{keyOf(w.t, unknown(w.t)), right}
	case "wrong":
		w.net.Published[at] = []resolve.TLSA{keyOf(w.t, unknown(w.t))}
	case "odd":
		w.net.Published[at] = []resolve.TLSA{odd}
	}
	others := w.net.Signature
	w.net.Signature = func(name, typ string) xmpptest.Signature {
		if i := slices.Index([]string{"_xmpps-server._tcp." + domain, host, at}, name); i >= 0 {
			return map[byte]xmpptest.Signature{'s': xmpptest.Signed, 'i': xmpptest.Unsigned, 'b': xmpptest.Forged}[signed[i]]
		}
		if others != nil {
			return others(name, typ)
		}
		return xmpptest.Unsigned
	}
	w.net.Stranger(domain, a.serve)
	return a.cert
}

// TestPublishedCertificates: whom we connect to, by what DNSSEC proves of the domain and
// by what it has published (RFC 7673 §3, §4).
func TestPublishedCertificates(t *testing.T) {
	const dane, valid, refused = "DANE", "valid", ""
	type row struct {
		config  string
		dnssec  string // of SRV, addresses, TLSA
		cert    string // "unknown", "known", "host"
		record  string // "right", "wrong", "odd", "": none
		outcome string // what the certificate is; "": it is refused
	}
	byConfig := make(map[string][]row)
	for _, tt := range []row{
		{believed, "sss", "unknown", "right", dane},
		{believed, "sss", "known", "right", dane},
		{believed, "sss", "known", "wrong", refused},
		{believed, "sss", "unknown", "wrong", refused},
		{believed + "s2s.require_certificate = false", "sss", "known", "wrong", refused},
		{believed, "sss", "known", "odd", valid},
		{believed, "sss", "unknown", "odd", refused},
		{believed, "sss", "known", "", valid},
		{believed, "sss", "unknown", "", refused},
		{believed, "sss", "host", "", valid},
		{believed, "iss", "host", "", refused},
		{believed, "iss", "known", "wrong", valid},
		{believed, "iss", "unknown", "right", refused},
		{believed, "sis", "known", "wrong", valid},
		{believed, "sis", "unknown", "right", refused},
		{believed, "ssi", "known", "wrong", valid},
		{believed, "ssi", "unknown", "right", refused},
		{believed, "bss", "known", "right", refused},
		{believed, "sbs", "known", "right", refused},
		{believed, "ssb", "known", "right", refused},
		{believed + "s2s.require_certificate = false", "ssb", "known", "right", refused},
		{believed, "sib", "known", "right", valid},
		{believed, "isb", "known", "right", valid},
		{believed + "s2s.dane = \"off\"", "sss", "known", "wrong", valid},
		{believed + "s2s.dane = \"off\"", "sss", "unknown", "right", refused},
		{believed + "s2s.dane = \"off\"", "sss", "host", "", refused},
		{"", "sss", "unknown", "right", refused},
		{"s2s.resolver = \"192.0.2.53:53\"", "sss", "unknown", "right", refused},
		{"s2s.resolver = \"[::1]:53\"", "sss", "unknown", "right", dane},
		{"s2s.resolver = \"192.0.2.53:53\"\ns2s.dane = \"on\"", "sss", "unknown", "right", dane},
	} {
		byConfig[tt.config] = append(byConfig[tt.config], tt)
	}
	for config, rows := range byConfig {
		inWorld(t, config, func(w *world) {
			domain := func(i int) string { return fmt.Sprintf("d%d.example", i) }
			for i, tt := range rows {
				w.publish(domain(i), tt.dnssec, tt.cert, tt.record)
			}
			romeo := w.online()
			for i := range rows {
				romeo.MustSend("<message to='x@" + domain(i) + "' id='m'><body>x</body></message>")
			}
			w.s.Pass(3 * time.Minute)
			got := make(map[string]string)
			for _, s := range w.s.Inside().Federation().List() {
				if s.State == "open" {
					got[s.Theirs[0]] = s.Certificate
				}
			}
			for i, tt := range rows {
				if got[domain(i)] != tt.outcome {
					w.t.Errorf("%+v: the certificate is %q", tt, got[domain(i)])
				}
				if tt.outcome == refused {
					romeo.Expect(fmt.Sprintf(errorOf, "remote-server-timeout"))
				}
			}
			romeo.ExpectNothing()
		})
	}
}

// TestDialbackByDANE: who connects to us is proved by dialback, for which his domain's
// server is believed by what the domain has published (RFC 7712 §4.3, §5.1).
func TestDialbackByDANE(t *testing.T) {
	for _, tt := range []struct{ dnssec, record, want string }{
		{"sss", "right", "valid"}, {"sss", "wrong", "not-authorized"}, {"iss", "right", "not-authorized"}, {"ssb", "right", "remote-server-timeout"},
	} {
		inWorld(t, believed, func(w *world) {
			w.publish("evil.example", tt.dnssec, "unknown", tt.record)
			p := w.call("evil.example", nil)
			p.send(resultFrom("evil.example"))
			d, _, err := negotiate.ParseDialback(p.must())
			got := d.Verdict
			if d.Err != nil {
				got = d.Err.Condition
			}
			if err != nil || got != tt.want {
				w.t.Errorf("%s, record %s: answer %+v, %v; want %s", tt.dnssec, tt.record, d, err, tt.want)
			}
		})
	}
}

// TestExternalByDANE: who connects to us with a certificate that his domain has published
// is that domain (RFC 7712 §5.1). It is looked for once.
func TestExternalByDANE(t *testing.T) {
	for _, tt := range []struct {
		config, dnssec, cert, record string
		want                         bool
	}{
		{believed, "sss", "unknown", "right", true},
		{believed, "sss", "unknown", "wrong", false},
		{believed, "sss", "unknown", "odd", false},
		{believed, "sss", "unknown", "", false},
		{believed, "iss", "unknown", "right", false},
		{believed, "sis", "unknown", "right", false},
		{believed, "ssi", "unknown", "right", false},
		{believed, "bss", "unknown", "right", false},
		{believed, "ssb", "unknown", "right", false},
		{believed, "sss", "none", "right", false},
		{believed, "sss", "another", "right", false},
		{believed, "sss", "host", "odd", false},
		{believed + "s2s.dane = \"off\"", "sss", "unknown", "right", false},
		{believed + "s2s.deny = [\"evil.example\"]", "sss", "unknown", "right", false},
		{"", "sss", "unknown", "right", false},
	} {
		inWorld(t, tt.config, func(w *world) {
			cert := w.publish("evil.example", tt.dnssec, "unknown", tt.record)
			switch tt.cert {
			case "none":
				cert = nil
			case "another":
				cert = unknown(w.t)
			case "host":
				cert = w.certificate(nil, "stranger.evil.example")
			}
			looked, signature := 0, w.net.Signature
			w.net.Signature = func(name, typ string) xmpptest.Signature {
				if name == "_xmpps-server._tcp.evil.example" {
					looked++
				}
				return signature(name, typ)
			}
			p := w.call("evil.example", cert)
			if got := strings.Contains(string(p.features.Raw()), "EXTERNAL"); got != tt.want {
				w.t.Fatalf("%+v: EXTERNAL is offered: %v", tt, got)
			}
			p.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>")
			if el := p.must(); (el.Name().Local == "success") != tt.want {
				w.t.Fatalf("%+v: authentication: %s", tt, el.Raw())
			}
			if looked > 1 {
				w.t.Errorf("%+v: looked %d times, want once", tt, looked)
			}
			if !tt.want {
				return
			}
			if err := p.conn.Restart(); err != nil {
				w.t.Fatal(err)
			}
			p.header("evil.example", "montague.example")
			romeo := w.online()
			p.send(hark)
			romeo.Expect("<message from='juliet@evil.example/x' ...>...</message>")
			if list := w.s.Inside().Federation().List(); len(list) != 1 || list[0].Certificate != "DANE" || list[0].Authentication != "EXTERNAL" {
				w.t.Errorf("streams %+v", list)
			}
			p.send(resultFrom("worse.example"))
			if d, _, err := negotiate.ParseDialback(p.must()); err != nil || d.Verdict == negotiate.Valid {
				w.t.Errorf("another domain: %+v, %v", d, err)
			}
		})
	}
}

// TestDANEWithdrawn: a reload that has the name server not believed any more ends the
// streams with those who were believed by its words, whoever has begun them, and no others.
func TestDANEWithdrawn(t *testing.T) {
	for _, known := range []bool{true, false} {
		for _, record := range []string{"right", ""} {
			inWorld(t, believed, func(w *world) {
				kind := "unknown"
				if record == "" {
					kind = "host"
				}
				if known {
					kind = "known"
				}
				cert := w.publish("evil.example", "sss", kind, record)
				romeo := w.online()
				romeo.MustSend("<message to='x@evil.example' id='m'><body>x</body></message>")
				w.s.Settle()
				in := record != ""
				if in {
					w.call("evil.example", cert).external("evil.example")
					w.s.Settle()
				}
				federation := w.s.Inside().Federation()
				if st := federation.Stats(); st.Out != 1 || (st.In == 1) != in {
					w.t.Fatalf("known %v, record %q: %+v", known, record, st)
				}
				if _, err := w.s.Reload("s2s.dane = \"off\""); err != nil {
					w.t.Fatal(err)
				}
				w.s.Pass(2 * time.Second)
				if st := federation.Stats(); (st.Out == 1) != known || (st.In == 1) != (known && in) {
					w.t.Errorf("known %v, record %q: afterwards %+v", known, record, st)
				}
			})
		}
	}
}

// TestPublish: what we tell others of our own certificate is what they get to see.
func TestPublish(t *testing.T) {
	inWorld(t, "", func(w *world) {
		list := w.s.Inside().Federation().Publish()
		p := w.connect(true)
		if err := p.tls(nil); err != nil {
			w.t.Fatal(err)
		}
		shown := p.conn.TLS().PeerCertificates[0]
		if len(list) != 1 || list[0].Domain != "montague.example" || list[0].Record != resolve.Key(shown).String() || !list[0].Until.Equal(shown.NotAfter) ||
			!strings.HasPrefix(list[0].Record, "3 1 1 ") || len(list[0].Record) != len("3 1 1 ")+64 {
			w.t.Errorf("published %+v, of the certificate with %s", list, resolve.Key(shown))
		}
	})
}
