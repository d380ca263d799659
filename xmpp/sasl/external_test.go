package sasl_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"testing"

	"kith/xmpp/jid"
	"kith/xmpp/sasl"
)

// certificate has a subjectAltName of these bytes.
func certificate(der []byte) *x509.Certificate {
	return &x509.Certificate{Extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: der}}}
}

func TestAddresses(t *testing.T) {
	const name = "06082b06010505070805" // id-on-xmppAddr
	for _, c := range []struct {
		what, der string
		want      int
		ok        bool
	}{
		{"one", "3015a013" + name + "a0070c05" + hex.EncodeToString([]byte("a@b.c")), 1, true},
		{"none", "3000", 0, true},
		{"a dNSName", "30058203612e62", 0, true},
		{"another otherName", "3010a00e06032a0304a0070c05" + hex.EncodeToString([]byte("a@b.c")), 0, true},
		{"no JID", "3015a013" + name + "a0070c05" + hex.EncodeToString([]byte("@@b.c")), 0, true},
		{"a resource", "3015a013" + name + "a0070c05" + hex.EncodeToString([]byte("a@b/c")), 0, true},
		{"an IA5String", "3015a013" + name + "a0071605" + hex.EncodeToString([]byte("a@b.c")), 0, false},
		{"no UTF-8", "3015a013" + name + "a0070c05" + hex.EncodeToString([]byte("a@b.\xff")), 0, false},
		{"not explicit", "3013a011" + name + "0c05" + hex.EncodeToString([]byte("a@b.c")), 0, false},
		{"cut short", "3015a013" + name + "a0070c05", 0, false},
		{"something behind it", "300000", 0, false},
		{"empty", "", 0, false},
		{"a set", "3100", 0, false},
	} {
		der, err := hex.DecodeString(c.der)
		if err != nil {
			t.Fatal(err)
		}
		got, err := sasl.Addresses(certificate(der))
		if len(got) != c.want || (err == nil) != c.ok {
			t.Errorf("%s: Addresses of %s: %v, %v; want %d, ok %v", c.what, c.der, got, err, c.want, c.ok)
		}
	}
}

// FuzzAddresses: what it reads in a certificate of strangers are bare addresses
// of accounts, and not too many.
func FuzzAddresses(f *testing.F) {
	for _, seed := range []string{
		"3015a01306082b06010505070805a0070c056140622e63", "3000", "30058203612e62", "3010a00e06032a0304a0070c056140622e63", "3080",
	} {
		der, err := hex.DecodeString(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		got, err := sasl.Addresses(certificate(der))
		if len(got) > 64 || err != nil && got != nil {
			t.Errorf("%d addresses, %v", len(got), err)
		}
		for _, j := range got {
			if again, err := jid.Parse(j.String()); err != nil || again != j || !j.IsBare() || j.Local() == "" {
				t.Errorf("%q is no account", j)
			}
		}
	})
}

// The client's end: RFC 4422 §A.
func TestExternalClient(t *testing.T) {
	o := sasl.ClientOptions{Offered: []string{sasl.ScramSHA256Plus, sasl.External, sasl.Plain}, Bindings: both, BindingTypes: []string{sasl.TLSExporter}, OverTLS: true}
	c := sasl.Credentials{Username: "juliet", Certified: true}
	mech, err := sasl.Choose(c, o)
	if err != nil || mech != sasl.External {
		t.Fatalf("Choose: %s, %v", mech, err)
	}
	for _, authzid := range []string{"", "juliet@capulet.example"} {
		c.Authzid = authzid
		client, err := sasl.NewClient(mech, c, o)
		if err != nil {
			t.Fatal(err)
		}
		if client.Done() {
			t.Error("done before it began")
		}
		first, err := client.Start()
		if err != nil || first == nil || string(first) != authzid || !client.Done() || client.Mechanism() != sasl.External {
			t.Errorf("Start: %q, %v; want %q", first, err, authzid)
		}
		if _, err := client.Next([]byte("more")); !errors.Is(err, sasl.ErrServer) || client.Done() {
			t.Errorf("a challenge: %v, done %v", err, client.Done())
		}
	}
	c.Authzid = ""
	o.OverTLS = false
	if mech, err := sasl.Choose(c, o); mech == sasl.External {
		t.Errorf("without TLS: %s, %v", mech, err)
	}
	o.OverTLS, c.Certified, c.Password = true, false, "r0m30"
	if mech, err := sasl.Choose(c, o); err != nil || mech != sasl.ScramSHA256Plus {
		t.Errorf("without a certificate: %s, %v", mech, err)
	}
	if _, err := sasl.NewClient(sasl.External, c, o); !errors.Is(err, sasl.ErrNoMechanism) {
		t.Errorf("NewClient without a certificate: %v", err)
	}
}
