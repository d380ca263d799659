package server_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"kith/client"
	"kith/xmpp/jid"
	"kith/xmpp/negotiate"
	"kith/xmpp/sasl"
	"kith/xmpp/stream"
	"kith/xmpptest"
)

// issuer is an authority of the zoo.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	over [][]byte // its own certificate, where that is not a root, for those it signs
}

// species is what a certificate of the zoo is like.
type species struct {
	jids    []string
	usage   []x509.ExtKeyUsage // nil: clients
	expired bool
	isCA    bool
	raw     []byte // a subjectAltName in the place of the JIDs
}

// sign makes a certificate; by nobody it is self-signed.
func (i *issuer) sign(t *testing.T, s species) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "romeo@montague.example"},
		NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(time.Hour),
		ExtKeyUsage: s.usage, BasicConstraintsValid: true, IsCA: s.isCA,
	}
	switch {
	case s.isCA:
		template.KeyUsage = x509.KeyUsageCertSign
	case s.usage == nil:
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	if s.expired {
		template.NotAfter = now.Add(-time.Hour)
	}
	if names := s.names(t); names != nil {
		template.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: names}}
	}
	parent, parentKey := template, key
	if i != nil {
		parent, parentKey = i.cert, i.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	out := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
	if i != nil {
		out.Certificate = append(out.Certificate, i.over...)
	}
	return out
}

// names is the subjectAltName, by another way than the one that reads it.
func (s species) names(t *testing.T) []byte {
	t.Helper()
	if s.raw != nil || len(s.jids) == 0 {
		return s.raw
	}
	type otherName struct {
		ID    asn1.ObjectIdentifier
		Value string `asn1:"utf8,explicit,tag:0"`
	}
	var all []asn1.RawValue
	for _, j := range s.jids {
		der, err := asn1.MarshalWithParams(otherName{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 5}, j}, "tag:0")
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, asn1.RawValue{FullBytes: der})
	}
	der, err := asn1.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func authority(t *testing.T, by *issuer) *issuer {
	t.Helper()
	c := by.sign(t, species{isCA: true})
	i := &issuer{cert: c.Leaf, key: c.PrivateKey.(*ecdsa.PrivateKey)}
	if by != nil {
		i.over = c.Certificate
	}
	return i
}

// entrance is a log-in with a password and a certificate.
type entrance struct {
	shown    *tls.Certificate // nil: none
	authzid  string
	keepMum  bool // about which of several addresses is meant
	account  string
	starttls bool
}

// login returns the mechanism that was used, or the condition of the failure.
func (a entrance) login(t *testing.T, s *xmpptest.Server) string {
	t.Helper()
	account := jid.MustParse(a.account)
	conf := s.TLS(account.Domain())
	step := negotiate.SASL{Credentials: sasl.Credentials{Username: account.Local(), Password: xmpptest.Password, Authzid: a.authzid}}
	if a.shown != nil {
		// Also where the server has not asked for one of this authority.
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return a.shown, nil }
		step.Certificate = a.shown.Leaf
		if a.keepMum {
			step.Certificate = (*issuer)(nil).sign(t, species{jids: []string{a.account}}).Leaf
		}
	}
	conn := s.Dial(!a.starttls)
	defer conn.Close()
	tcp := stream.NewTCP(conn, stream.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if !a.starttls {
		if err := tcp.StartTLS(ctx, conf); err != nil {
			t.Fatalf("TLS: %v", err)
		}
	}
	st, err := negotiate.Initiate(ctx, tcp, negotiate.ClientOptions{
		Account: account, Steps: []negotiate.Step{negotiate.StartTLS{Config: conf, Required: true}, step, negotiate.Bind{}},
	})
	tcp.Close(nil)
	if f, ok := errors.AsType[*sasl.Failure](err); ok {
		return f.Condition
	}
	if err != nil {
		return err.Error()
	}
	if st.JID.Bare() != account {
		t.Errorf("logged in as %s, wanted %s", st.JID, account)
	}
	return st.Mechanism
}

// zoo runs f with a server and the authority that it trusts.
func zoo(t *testing.T, f func(t *testing.T, s *xmpptest.Server, people *issuer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		people := authority(t, nil)
		file := filepath.Join(t.TempDir(), "people.pem")
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: people.cert.Raw}), 0o600); err != nil {
			t.Fatal(err)
		}
		s := xmpptest.New(t, xmpptest.Config(fmt.Sprintf("tls.client_ca = %q", file)))
		for _, j := range []string{"romeo@montague.example", "tybalt@montague.example", "romeo@capulet.example"} {
			s.Account(jid.MustParse(j))
		}
		f(t, s, people)
	})
}

const (
	byPassword   = sasl.ScramSHA512Plus
	romeoAddress = "romeo@montague.example"
)

// TestExternal: RFC 6120 §13.7.2.2, XEP-0178 §2. What does not hold is as good as
// no certificate: it neither lets anybody in nor keeps a password from doing so.
func TestExternal(t *testing.T) {
	zoo(t, func(t *testing.T, s *xmpptest.Server, people *issuer) {
		own := []string{romeoAddress}
		many := make([]string, 65)
		for i := range many {
			many[i] = romeoAddress
		}
		client := func(jids ...string) tls.Certificate { return people.sign(t, species{jids: jids}) }
		for _, c := range []struct {
			what string
			cert tls.Certificate
			entrance
			want string
		}{
			{"one address", client(own...), entrance{}, sasl.External},
			{"by STARTTLS", client(own...), entrance{starttls: true}, sasl.External},
			{"in capitals", client("Romeo@MONTAGUE.example"), entrance{}, sasl.External},
			{"asking to be himself", client(own...), entrance{authzid: romeoAddress}, sasl.External},
			{"signed by one whom the authority has signed", authority(t, people).sign(t, species{jids: own}), entrance{}, sasl.External},
			{"twice the same", client(romeoAddress, romeoAddress), entrance{}, sasl.External},
			{"two addresses, one named", client(romeoAddress, "romeo@capulet.example"), entrance{}, sasl.External},
			{"two addresses, the other named", client(romeoAddress, "romeo@capulet.example"), entrance{account: "romeo@capulet.example"}, sasl.External},
			{"two addresses, none named", client(romeoAddress, "romeo@capulet.example"), entrance{keepMum: true}, sasl.InvalidAuthzid},
			{"two addresses, that of another host named", client(romeoAddress, "romeo@capulet.example"), entrance{authzid: "romeo@capulet.example"}, sasl.InvalidAuthzid},
			{"asking to be another", client(own...), entrance{authzid: "tybalt@montague.example"}, sasl.InvalidAuthzid},
			{"asking to be a resource", client(own...), entrance{authzid: romeoAddress + "/orchard"}, sasl.InvalidAuthzid},
			{"asking to be the host", client(own...), entrance{authzid: "montague.example"}, sasl.InvalidAuthzid},
			{"asking to be nobody", client(own...), entrance{authzid: "@"}, sasl.InvalidAuthzid},
			{"who has no account", client("mercutio@montague.example"), entrance{keepMum: true}, sasl.NotAuthorized},

			{"another authority", authority(t, nil).sign(t, species{jids: own}), entrance{}, byPassword},
			{"self-signed", (*issuer)(nil).sign(t, species{jids: own}), entrance{}, byPassword},
			{"expired", people.sign(t, species{jids: own, expired: true}), entrance{}, byPassword},
			{"for servers", people.sign(t, species{jids: own, usage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}), entrance{}, byPassword},
			{"without an address", client(), entrance{}, byPassword},
			{"an address of another host", client("romeo@capulet.example"), entrance{}, byPassword},
			{"an address that is foreign", client("romeo@verona.example"), entrance{}, byPassword},
			{"the host", client("montague.example"), entrance{}, byPassword},
			{"a resource", client(romeoAddress + "/orchard"), entrance{}, byPassword},
			{"no address", client("romeo@montague.example\x00"), entrance{}, byPassword},
			{"too many names", client(many...), entrance{}, byPassword},
		} {
			c.entrance.shown = &c.cert
			if c.account == "" {
				c.account = romeoAddress
			}
			if got := c.entrance.login(t, s); got != c.want {
				t.Errorf("%s: %s, want %s", c.what, got, c.want)
			}
		}
		if got := (entrance{account: romeoAddress}).login(t, s); got != byPassword {
			t.Errorf("no certificate: %s, want %s", got, byPassword)
		}

		cert := client(own...)
		if err := s.Accounts().SetDisabled(t.Context(), jid.MustParse(romeoAddress), true); err != nil {
			t.Fatal(err)
		}
		if got := (entrance{account: romeoAddress, shown: &cert}).login(t, s); got != sasl.AccountDisabled {
			t.Errorf("disabled: %s, want %s", got, sasl.AccountDisabled)
		}
	})
}

// TestExternalExpires: a stream ends with the certificate by which its client has
// logged in (RFC 6120 §13.7.2.3).
func TestExternalExpires(t *testing.T) {
	zoo(t, func(t *testing.T, s *xmpptest.Server, people *issuer) {
		cert := people.sign(t, species{jids: []string{romeoAddress}})
		conf := s.TLS("montague.example")
		conf.Certificates = []tls.Certificate{cert}
		c, err := client.NewOnConn(t.Context(), s.Dial(true), client.Config{JID: jid.MustParse(romeoAddress), DirectTLS: true, TLS: conf})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		begun := time.Now()
		<-c.Done()
		if d := time.Until(begun.Add(time.Hour)); d < -time.Minute || d > time.Minute || !errors.Is(c.Err(), stream.ErrReset) {
			t.Errorf("after %v: %v; want reset after an hour", time.Since(begun), c.Err())
		}
	})
}

// TestExternalNotOffered: without an authority nobody is asked for a certificate.
func TestExternalNotOffered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		s.Account(jid.MustParse(romeoAddress))
		cert := authority(t, nil).sign(t, species{jids: []string{romeoAddress}})
		if got := (entrance{account: romeoAddress, shown: &cert}).login(t, s); got != byPassword {
			t.Errorf("mechanism %s, want %s", got, byPassword)
		}
	})
}
