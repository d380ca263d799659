package push_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpptest"
)

func TestScenarios(t *testing.T) { xmpptest.Run(t, "testdata/*.xmpp") }

const who = "romeo@montague.example"

// server is one with a service that notifies romeo: tybalt's client.
func server(t *testing.T, config string) *xmpptest.Server {
	t.Helper()
	return xmpptest.New(t, xmpptest.Config("limits = {stanza_rate = 0, byte_rate = 0, ping_after = \"2000h\"}\n"+config))
}

// enable asks for notifications to nodes of a service.
func enable(t *testing.T, c *xmpptest.Client, service string, nodes ...string) {
	t.Helper()
	for _, n := range nodes {
		c.MustSend(fmt.Sprintf(`<iq type='set' id='%s'><enable xmlns='urn:xmpp:push:0' jid='%s' node='%s'/></iq>`, n, service, n))
		c.Expect(fmt.Sprintf(`<iq type='result' id='%s' .../>`, n))
	}
}

// nodes are those that are stored.
func nodes(t *testing.T, s *xmpptest.Server) string {
	t.Helper()
	var list []string
	s.Database(func(db *storage.DB) error {
		return db.Read(t.Context(), func(r *storage.Reader) error {
			for row, err := range r.Query(`SELECT node FROM push ORDER BY node`) {
				if err != nil {
					return err
				}
				var n string
				if err := row.Scan(&n); err != nil {
					return err
				}
				list = append(list, n)
			}
			return nil
		})
	})
	return strings.Join(list, " ")
}

func want(t *testing.T, s *xmpptest.Server, nodesWanted string) {
	t.Helper()
	if got := nodes(t, s); got != nodesWanted {
		t.Errorf("stored are the nodes %q, want %q", got, nodesWanted)
	}
}

// An account has at most ten (threats.md): the oldest whose device is not there
// makes room, and who is there keeps his.
func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := server(t, "")
		c := s.MustConnect(who + "/old")
		enable(t, c, "push.example", "a", "b")
		c.Close()
		time.Sleep(time.Second)
		here := s.MustConnect(who + "/here")
		enable(t, here, "push.example", "c", "d", "e", "f", "g", "h", "i", "j")
		want(t, s, "a b c d e f g h i j")
		enable(t, here, "push.example", "a") // again: that is no other
		enable(t, here, "push.example", "k")
		want(t, s, "a c d e f g h i j k")
		here.MustSend(`<iq type='set' id='l'><enable xmlns='urn:xmpp:push:0' jid='push.example' node='l'/></iq>`)
		here.Expect(`<iq type='error' id='l' ...><error type='wait'><resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>...</error></iq>`)
		want(t, s, "a c d e f g h i j k")
	})
}

// What is sent to others is small.
func TestTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := server(t, "")
		c := s.MustConnect(who + "/mobile")
		const options = `<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#publish-options</value></field><field var='secret'><value>%s</value></field></x>`
		for i, extra := range []struct{ node, form string }{{strings.Repeat("n", 513), ""}, {"n", fmt.Sprintf(options, strings.Repeat("x", 1024))}} {
			c.MustSend(fmt.Sprintf(`<iq type='set' id='%d'><enable xmlns='urn:xmpp:push:0' jid='push.example' node='%s'>%s</enable></iq>`, i, extra.node, extra.form))
			c.Expect(fmt.Sprintf(`<iq type='error' id='%d' ...><error type='modify'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>...</error></iq>`, i))
		}
		want(t, s, "")
	})
}

// Nothing is left of an account that is deleted.
func TestPurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := server(t, "")
		enable(t, s.MustConnect(who+"/mobile"), "push.example", "a", "b")
		enable(t, s.MustConnect("juliet@capulet.example/mobile"), "push.example", "c")
		if err := s.Accounts().Delete(t.Context(), jid.MustParse(who)); err != nil {
			t.Fatal(err)
		}
		want(t, s, "c")
	})
}

// With the sessions of other devices end their notifications when the password is
// changed, whoever has changed it.
func TestPasswordChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := server(t, "")
		mobile := s.MustConnect(who + "/mobile")
		enable(t, mobile, "push.example", "a")
		enable(t, s.MustConnect(who+"/stolen"), "push.example", "b")
		mobile.MustSend(`<iq type='set' id='r' to='montague.example'><query xmlns='jabber:iq:register'><username>romeo</username><password>other</password></query></iq>`)
		mobile.Expect(`<iq type='result' id='r' .../>`)
		s.Settle()
		want(t, s, "a")
		mobile.Close()
		s.Restart() // nothing is in memory
		if err := s.Accounts().SetPassword(t.Context(), jid.MustParse(who), "another", ""); err != nil {
			t.Fatal(err)
		}
		s.Settle()
		want(t, s, "")
	})
}

// A service that cannot be reached is not tried for ever.
func TestUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := server(t, "")
		c := s.MustConnect(who + "/mobile")
		enable(t, c, "push.example", "a")
		c.Close()
		j := s.MustConnect("juliet@capulet.example/balcony")
		j.MustSend(`<message to='romeo@montague.example' type='chat'><body>hark</body></message>`)
		s.Settle()
		time.Sleep(24 * time.Hour)
		s.Settle()
		want(t, s, "a")
		time.Sleep(48 * time.Hour)
		s.Settle()
		want(t, s, "")
		s.TakeLog()
	})
}

// Accounts answer for themselves, those that do not exist too: nothing there takes
// notifications.
func TestAccountAsService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := server(t, "")
		j := s.MustConnect("juliet@capulet.example/balcony")
		c := s.MustConnect(who + "/mobile")
		enable(t, c, "juliet@capulet.example", "a")
		enable(t, c, "nobody@capulet.example", "b")
		c.Close()
		want(t, s, "a b")
		j.MustSend(`<message to='romeo@montague.example' type='chat'><body>hark</body></message>`)
		s.Settle()
		want(t, s, "")
		if got := j.Received(); len(got) > 0 {
			t.Errorf("juliet received %v, want nothing", got)
		}
	})
}

// A registration that should end is there as long as that cannot be stored, and
// ends with the next error.
func TestFailedCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := server(t, "")
		app := s.MustConnect("tybalt@capulet.example/push")
		app.MustSend(`<presence/>`)
		j := s.MustConnect("juliet@capulet.example/balcony")
		c := s.MustConnect(who + "/mobile")
		enable(t, c, "tybalt@capulet.example/push", "a")
		c.Close()
		s.Settle()
		app.Received()
		refuse := func() {
			t.Helper()
			j.MustSend(`<message to='romeo@montague.example' type='chat'><body>hark</body></message>`)
			iq := app.Expect(`<iq type='set' ...>...</iq>`)
			app.MustSend(fmt.Sprintf(`<iq type='error' to='montague.example' id='%s'><error type='auth'><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`, iq.Attr("id")))
			s.Settle()
		}
		s.Change(`CREATE TRIGGER refuse BEFORE DELETE ON push BEGIN SELECT raise(ABORT, 'no'); END`)
		refuse()
		want(t, s, "a")
		s.Change(`DROP TRIGGER refuse`)
		time.Sleep(10 * time.Minute)
		refuse()
		want(t, s, "")
		s.TakeLog()
	})
}

// An account that is locked out is not notified.
func TestDisabled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := server(t, "")
		app := s.MustConnect("tybalt@capulet.example/push")
		j := s.MustConnect("juliet@capulet.example/balcony")
		c := s.MustConnect(who + "/mobile")
		enable(t, c, "tybalt@capulet.example/push", "a")
		for _, disabled := range []bool{true, false} {
			if err := s.Accounts().SetDisabled(t.Context(), jid.MustParse(who), disabled); err != nil {
				t.Fatal(err)
			}
			s.Settle()
			j.MustSend(`<message to='romeo@montague.example' type='chat'><body>hark</body></message>`)
			s.Settle()
			if got := app.Received(); (len(got) == 0) != disabled {
				t.Errorf("locked out %v: the service received %d stanzas", disabled, len(got))
			}
		}
		j.Received()
		c.Received()
	})
}
