package server_test

import (
	"crypto/tls"
	"testing"
	"testing/synctest"

	"kith/client"
	"kith/xmpp/negotiate"
	"kith/xmpp/sasl"
	"kith/xmpptest"
)

// TestTickets: a phone that comes again resumes its TLS session, and logs in bound to it
// by its password and by a token. With another certificate it begins anew.
func TestTickets(t *testing.T) {
	for name, tokens := range map[string]negotiate.TokenStore{"password": nil, "token": new(wallet)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := xmpptest.New(t)
				s.Account(mercutio)
				cache := tls.NewLRUClientSessionCache(1)
				for i, want := range []bool{false, true, true, false, true} {
					if i == 3 {
						s.Renew()
						if _, err := s.Reload(""); err != nil {
							t.Fatal(err)
						}
					}
					resumed := false
					config := s.TLS(host)
					config.ClientSessionCache = cache
					config.VerifyConnection = func(state tls.ConnectionState) error {
						resumed = state.DidResume
						return nil
					}
					c := client.Config{JID: mercutio, DirectTLS: true, TLS: config, Agent: negotiate.UserAgent{ID: phone}, Tokens: tokens}
					if i == 0 || tokens == nil {
						c.Password, c.Mechanisms = xmpptest.Password, []string{"SCRAM-SHA-256-PLUS"}
					}
					cl, err := client.NewOnConn(t.Context(), s.Dial(true), c)
					if err != nil {
						t.Fatalf("log-in %d: %v", i, err)
					}
					if resumed != want {
						t.Errorf("log-in %d resumed the TLS session: %t, want %t", i, resumed, want)
					}
					if by := cl.State().Mechanism; i > 0 && sasl.IsToken(by) != (tokens != nil) {
						t.Errorf("log-in %d was by %s", i, by)
					}
					cl.Close()
				}
			})
		})
	}
}
