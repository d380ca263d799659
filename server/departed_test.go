package server_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"kith/client"
	"kith/xmpp/jid"
	"kith/xmpp/stream"
	"kith/xmpptest"
)

// look has the people of capulet.example looked up.
func look(t *testing.T, s *xmpptest.Server) error {
	t.Helper()
	for _, h := range s.Inside().Hosts() {
		for _, j := range h.Jobs() {
			if j.Name == "look people up" {
				if j.Every != 15*time.Minute || h.Domain.Domain() != "capulet.example" {
					t.Errorf("%s is looked at every %v", h.Domain, j.Every)
				}
				return j.Run(t.Context())
			}
		}
	}
	return errors.New("nobody looks")
}

// TestLookGoesOn: whom the directory has not said to be gone stays, and those behind him
// are looked up all the same.
func TestLookGoesOn(t *testing.T) {
	s, _, directory := company(t, "")
	stays, err := dial(t, s, "mercutio@capulet.example/x", xmpptest.Password, nil)
	must(t, err)
	goes, err := dial(t, s, "tybalt@capulet.example/x", xmpptest.Password, nil)
	must(t, err)
	directory.Set(func() {
		directory.Entries["(uid=mercutio)"] = []string{"uid=mercutio", "uid=another"}
		delete(directory.Entries, "(uid=tybalt)")
	})
	must(t, look(t, s))
	select {
	case <-goes.Done():
	case <-time.After(waitFor(true)):
		t.Error("who is gone stays")
	}
	if err := stays.Ping(t.Context(), jid.MustParse("capulet.example")); err != nil {
		t.Errorf("of whom there are two: %v", err)
	}
	if !strings.Contains(s.TakeLog(), "knows several of that name") {
		t.Error("the log does not say so")
	}
}

// TestPeopleWhoLeave: who is not in the directory any more is logged out at its next
// look, unless the directory cannot be asked.
func TestPeopleWhoLeave(t *testing.T) {
	s, issuer, directory := company(t, "")
	by := func(name string) *client.Client {
		c, err := dial(t, s, name+"@capulet.example/x", xmpptest.Password, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	goes, stays := by("mercutio"), by("tybalt")
	token, err := dial(t, s, "mercutio@capulet.example/t", "", func(context.Context) (string, error) {
		return issuer.sign(t, map[string]any{"sub": "1", "preferred_username": "mercutio"}), nil
	})
	must(t, err)
	if got := told(clientsOf(t, token)); got != "s+g s+p" {
		t.Errorf("mercutio has %s", got)
	}
	look := func() error { return look(t, s) }
	check := func(when string, gone bool) {
		t.Helper()
		s.Settle()
		for _, c := range []*client.Client{goes, token} {
			select {
			case <-c.Done():
				if !gone || !errors.Is(c.Err(), stream.ErrNotAuthorized) {
					t.Errorf("%s: the session has ended, %v", when, c.Err())
				}
			case <-time.After(waitFor(gone)):
				if gone {
					t.Errorf("%s: the session goes on", when)
				}
			}
		}
		if err := stays.Ping(t.Context(), jid.MustParse("capulet.example")); err != nil {
			t.Errorf("%s: the other's session: %v", when, err)
		}
	}
	must(t, look())
	check("both are there", false)
	directory.Set(func() { directory.Codes["search"] = 52; delete(directory.Entries, "(uid=mercutio)") })
	if err := look(); err == nil {
		t.Error("the directory cannot be asked, and nobody says so")
	}
	check("the directory is away", false)
	directory.Set(func() { delete(directory.Codes, "search"); directory.Groups["cn=it"] = nil })
	must(t, look())
	check("he has left", true)
	if i, err := s.Accounts().Info(t.Context(), jid.MustParse("tybalt@capulet.example")); err != nil || i.Admin {
		t.Errorf("whom the directory says to be no administrator any more: %+v, %v", i, err)
	}
	if !strings.Contains(s.TakeLog(), "knows nobody of that name") {
		t.Error("the log does not say why")
	}
}

// waitFor is how long a real stream is waited for.
func waitFor(ends bool) time.Duration {
	if ends {
		return 10 * time.Second
	}
	return 50 * time.Millisecond
}

// TestPasswordByToken: who has come by a token does not change the password, wherever
// it is kept (RFC 7628 §5).
func TestPasswordByToken(t *testing.T) {
	s, issuer, directory := company(t, "ldap.\"capulet.example\".password_change = true")
	c, err := dial(t, s, "tybalt@capulet.example", "", func(context.Context) (string, error) {
		return issuer.sign(t, map[string]any{"sub": "1", "preferred_username": "tybalt"}), nil
	})
	must(t, err)
	change(t, c, "not-allowed")
	if asked := strings.Join(directory.Took(), "\n"); strings.Contains(asked, "password ") {
		t.Errorf("the directory is asked\n%s", asked)
	}
}
