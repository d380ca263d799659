package server_test

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"
	"testing/synctest"

	"kith/client"
	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpp/sasl"
	"kith/xmpptest"
)

// TestResumeAnothersSASL2: the id of somebody else's session is worth nothing, also
// in the same breath with the log-in.
func TestResumeAnothersSASL2(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		s.Account(mercutio)
		s.Account(jid.MustParse("tybalt@" + host))
		victim := reach(t, s, "before login")
		_, el := sasl2.authenticate(t, victim, sasl.Plain, sasl.Credentials{Username: "mercutio", Password: xmpptest.Password}, "<bind xmlns='urn:xmpp:bind:0'><enable xmlns='urn:xmpp:sm:3' resume='true'/></bind>")
		_, rest, _ := strings.Cut(string(el.Raw()), "<enabled xmlns='urn:xmpp:sm:3' id='")
		id, _, ok := strings.Cut(rest, "'")
		if !ok {
			t.Fatalf("no id in %s", el.Raw())
		}
		thief := reach(t, s, "before login")
		got, el := sasl2.authenticate(t, thief, sasl.Plain, sasl.Credentials{Username: "tybalt", Password: xmpptest.Password},
			"<resume xmlns='urn:xmpp:sm:3' h='0' previd='"+id+"'/><bind xmlns='urn:xmpp:bind:0'/>")
		if got != "success" || !strings.Contains(string(el.Raw()), "<item-not-found") || !strings.Contains(string(el.Raw()), "<bound") || !strings.Contains(string(el.Raw()), ">tybalt@") {
			t.Errorf("tybalt got %s", el.Raw())
		}
		s.Settle()
		victim.Received()
		victim.MustSend(ping)
		victim.Expect("<iq type='result' id='p' .../>")
	})
}

// TestUpgradeSASL2: keys that an account lacks are made with its client (XEP-0480),
// of who has proved the password only.
func TestUpgradeSASL2(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		s.Account(mercutio)
		hashes := func() (list []string) {
			err := s.Inside().DB().Read(t.Context(), func(r *storage.Reader) error {
				list = nil
				for row, err := range r.Query(`SELECT hash FROM credential ORDER BY hash`) {
					var h string
					if err == nil {
						err = row.Scan(&h)
					}
					if err != nil {
						return err
					}
					list = append(list, h)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return list
		}
		if err := s.Inside().DB().Write(t.Context(), func(tx *storage.Tx) error {
			_, err := tx.Exec(`DELETE FROM credential WHERE hash <> $1`, sasl.SHA1)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		d := &handheld{}
		d.connect(t, s, client.Config{Password: xmpptest.Password, Mechanisms: []string{sasl.ScramSHA1Plus}}, sasl.ScramSHA1Plus)
		if got := strings.Join(hashes(), " "); got != "SHA-1 SHA-256 SHA-512" {
			t.Fatalf("keys of %s, behind an upgrade", got)
		}
		for _, m := range []string{sasl.ScramSHA256Plus, sasl.ScramSHA512Plus} {
			d.wallet.Drop(mercutio)
			d.connect(t, s, client.Config{Password: xmpptest.Password, Mechanisms: []string{m}}, m)
		}
		if err := s.Inside().DB().Write(t.Context(), func(tx *storage.Tx) error {
			_, err := tx.Exec(`DELETE FROM credential WHERE hash <> $1`, sasl.SHA1)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		// A token proves no password.
		c := reach(t, s, "before login")
		saved, _ := d.wallet.Load(mercutio)
		cl, err := sasl.NewTokenClient(saved.Mechanism, "mercutio", []byte(saved.Token), sasl.ClientOptions{Bindings: c.Bindings(), OverTLS: true})
		if err != nil {
			t.Fatal(err)
		}
		message, err := cl.Start()
		if err != nil {
			t.Fatal(err)
		}
		c.MustSend("<authenticate " + sasl2NS + " mechanism='" + saved.Mechanism + "'><initial-response>" + base64.StdEncoding.EncodeToString(message) +
			"</initial-response><user-agent id='" + phone + "'/><fast xmlns='urn:xmpp:fast:0'/><upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-256</upgrade></authenticate>")
		c.Expect("<success " + sasl2NS + ">...</success>")
		c.Cut()
		s.Settle()
	})
}

// TestTokensAreSealed: what is in the database is not what a client logs in with.
func TestTokensAreSealed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		s.Account(mercutio)
		d := &handheld{}
		d.connect(t, s, client.Config{Password: xmpptest.Password}, sasl.ScramSHA512Plus)
		saved, _ := d.wallet.Load(mercutio)
		var sealed []byte
		var id string
		read := func(ctx context.Context) error {
			return s.Inside().DB().Read(ctx, func(r *storage.Reader) error {
				return r.QueryRow(`SELECT sealed, device FROM token`).Scan(&sealed, &id)
			})
		}
		if err := read(t.Context()); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(sealed), saved.Token) || strings.Contains(id, phone) || id != s.Accounts().Device(mercutio, phone) {
			t.Errorf("device %s has %q for %s", id, sealed, saved.Token)
		}
		if len(saved.Token) != 43 { // 256 bits in base64
			t.Errorf("the token %s has %d characters", saved.Token, len(saved.Token))
		}
		// A row does not become another's, and its end cannot be put off.
		for _, change := range []string{
			`UPDATE token SET expires = expires + $1`,
			`UPDATE token SET mechanism = CASE WHEN $1 > 0 THEN 'HT-SHA-256-NONE' ELSE '' END`,
		} {
			if err := s.Inside().DB().Write(t.Context(), func(tx *storage.Tx) error {
				_, err := tx.Exec(change, int64(1))
				return err
			}); err != nil {
				t.Fatal(err)
			}
			mech := saved.Mechanism
			if strings.Contains(change, "NONE") {
				mech = sasl.TokenUnbound
			}
			if got := byToken(t, s, phone, "mercutio", mech, saved, 0); got != "temporary-auth-failure" {
				t.Errorf("behind %s: %s", change, got)
			}
		}
		if log := s.TakeLog(); strings.Count(log, "decrypt a token") != 2 {
			t.Errorf("the log says nothing of it: %s", log)
		}
	})
}
