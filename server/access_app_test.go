package server_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"kith/client"
	"kith/server/account"
	"kith/xmpp/jid"
	"kith/xmpp/negotiate"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/command"
	"kith/xmpp/xep/form"
	"kith/xmpp/xep/register"
	"kith/xmpptest"
)

// TestRevokeApp: an app password that is revoked ends what it has opened. Until then
// its app sees and gives up only itself.
func TestRevokeApp(t *testing.T) {
	for name, revoke := range map[string]func(g *guarded, owner, app *client.Client, id string) error{
		"by its owner": func(g *guarded, owner, _ *client.Client, id string) error { return revokeBy(g.T, owner, id) },
		"by itself":    func(g *guarded, _, app *client.Client, id string) error { return revokeBy(g.T, app, id) },
		"by the command": func(g *guarded, owner, _ *client.Client, id string) error {
			done := g.run(owner, "urn:xmpp:mfa:0#recovery", "recovery", func(*form.Form) []form.Field {
				return []form.Field{{Var: "code", Values: []string{g.code()}}}
			})
			if len(done) == 0 {
				return errors.New("no recovery codes")
			}
			n, _ := account.Access(id).App()
			return g.s.Inside().Factors().Revoke(g.Context(), mercutio, n, "")
		},
		"with the second factor": func(g *guarded, _, _ *client.Client, _ string) error {
			_, err := g.s.Inside().Factors().Remove(g.Context(), mercutio)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := xmpptest.New(t)
				g, _ := enrol(t, s)
				owner, password := g.kitchen()
				defer owner.Close()
				wantClients(t, "not used yet", owner, "ag?-normal s+p")
				app := g.mustDial(password, func(c *client.Config) { c.Classic, c.Management, c.Resumable = true, true, true })
				second := g.mustDial(password, func(c *client.Config) { c.Bind2, c.Agent = true, negotiate.UserAgent{ID: laptop} })
				list := wantClients(t, "used", owner, "a+g-normal s+p")
				own := wantClients(t, "what an app sees", app, "a+g-normal")
				if own[0].Software != "kitchen" {
					t.Errorf("the app is %+v", own[0])
				}
				for _, c := range list {
					if c.ID != own[0].ID {
						if err := revokeBy(t, app, c.ID); !errors.Is(err, stanza.ErrForbidden) {
							t.Errorf("an app revokes another: %v", err)
						}
					}
				}
				q := stanza.New(stanza.IQ, stanza.Set, jid.JID{}, jid.JID{}, &register.Query{Remove: true})
				if _, err := app.SendIQ(t.Context(), q); !errors.Is(err, stanza.ErrForbidden) {
					t.Errorf("an app removes the account: %v", err)
				}
				if err := revoke(g, owner, app, own[0].ID); err != nil {
					t.Errorf("revoked: %v", err)
				}
				s.Pass(2 * time.Second)
				over(t, s, "the app's session", app, true)
				over(t, s, "its other one", second, true)
				over(t, s, "the owner's", owner, false)
				wantClients(t, "revoked", owner, "s+p")
				if _, err := g.dial(password, func(c *client.Config) { c.Classic = true }); err == nil {
					t.Error("a revoked app password lets in")
				}
			})
		})
	}
}

// kitchen logs the owner in by a code, and makes a password for an app, the kitchen's.
func (g *guarded) kitchen() (owner *client.Client, password string) {
	g.Helper()
	code := g.code()
	owner = g.mustDial(xmpptest.Password, func(c *client.Config) { c.Code = func() (string, error) { return code, nil } })
	return owner, g.run(owner, "urn:xmpp:mfa:0#app-password", "password", func(*form.Form) []form.Field {
		return []form.Field{{Var: "name", Values: []string{"kitchen"}}, {Var: "code", Values: []string{g.code()}}}
	})[0]
}

// TestAppAdministers: an app password is not good for administering the server, by
// which it could change any password.
func TestAppAdministers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t)
		s.Admin(mercutio)
		g, _ := enrol(t, s)
		owner, password := g.kitchen()
		defer owner.Close()
		app := g.mustDial(password, func(c *client.Config) { c.Classic = true })
		defer app.Close()
		for _, node := range []string{ns.Admin + "#change-user-password", ns.Admin + "#get-online-users-num", "kith#list-reports"} {
			for _, by := range []*client.Client{owner, app} {
				_, err := by.SendIQ(t.Context(), stanza.New(stanza.IQ, stanza.Set, jid.JID{}, mercutio.Host(), &command.Command{Node: node}))
				if may := err == nil; may != (by == owner) || !may && !errors.Is(err, stanza.ErrForbidden) {
					t.Errorf("%s, by the app %v: %v", node, by == app, err)
				}
			}
		}
	})
}
