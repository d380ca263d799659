package register_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"kith/server/account"
	"kith/xmpp/jid"
	"kith/xmpptest"
)

// invited opens a stream and shows the token of an invitation.
func invited(t *testing.T, s *xmpptest.Server, i account.Invitation) *xmpptest.Client {
	t.Helper()
	i.Host, i.Expires = jid.MustParse("montague.example"), time.Now().Add(time.Hour)
	token, _, err := s.Accounts().Invite(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	return shows(t, s, token)
}

func shows(t *testing.T, s *xmpptest.Server, token string) *xmpptest.Client {
	t.Helper()
	c, err := s.Open("benvolio", "montague.example", true)
	if err != nil {
		t.Fatal(err)
	}
	c.Expect("<stream:stream xmlns:stream='http://etherx.jabber.org/streams' .../>")
	c.Expect("<stream:features xmlns:stream='http://etherx.jabber.org/streams'>...</stream:features>")
	c.MustSend("<iq type='set' to='montague.example' id='pa1'><preauth xmlns='urn:xmpp:pars:0' token='" + token + "'/></iq>")
	c.Expect("<iq type='result' from='montague.example' id='pa1'/>")
	return c
}

func asks(c *xmpptest.Client, name, want string) {
	c.MustSend(fmt.Sprintf("<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>%s</username><password>%s</password></query></iq>",
		name, xmpptest.Password))
	if want == "" {
		c.Expect("<iq type='result' id='r'/>")
		return
	}
	c.Expect("<iq type='error' id='r'><error type='cancel'><" + want + " xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>...</error></iq>")
}

func inviting(t *testing.T, f func(t *testing.T, s *xmpptest.Server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, xmpptest.New(t, xmpptest.Config(`registration.mode = "invite"`))) })
}

// XEP-0445 §4: the token lets one register, is used by the registration that
// succeeds, and its expiry does not matter any more.
func TestInvited(t *testing.T) {
	inviting(t, func(t *testing.T, s *xmpptest.Server) {
		s.Account(jid.MustParse("romeo@montague.example"))
		c := invited(t, s, account.Invitation{Admin: true})
		c.MustSend("<iq type='get' id='g'><query xmlns='jabber:iq:register'/></iq>")
		c.Expect("<iq type='result' id='g'><query xmlns='jabber:iq:register'><instructions>...</instructions><username/><password/></query></iq>")
		asks(c, "romeo", "conflict")
		asks(c, "rorneo", "conflict")
		asks(c, "bill", "")
		asks(c, "will", "not-allowed") // one token, one account
		list, err := s.Accounts().List(t.Context())
		if err != nil || len(list) != 2 || list[0].JID.Local() != "bill" || !list[0].Admin {
			t.Errorf("accounts: %+v, %v", list, err)
		}
	})
}

// Of two streams that show the same token, one gets an account.
func TestInvitedTwice(t *testing.T) {
	inviting(t, func(t *testing.T, s *xmpptest.Server) {
		token, _, err := s.Accounts().Invite(t.Context(), account.Invitation{
			Host: jid.MustParse("montague.example"), Expires: time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		one, other := shows(t, s, token), shows(t, s, token)
		asks(one, "bill", "")
		asks(other, "will", "item-not-found")
		asks(other, "will", "not-allowed")
		if n, err := s.Accounts().Count(t.Context()); n != 1 || err != nil {
			t.Errorf("%d accounts, %v; want 1", n, err)
		}
	})
}

// XEP-0401 §5.3.2: who has invited somebody has a contact, and is told at once;
// both see each other's presence.
func TestInvitedByContact(t *testing.T) {
	inviting(t, func(t *testing.T, s *xmpptest.Server) {
		juliet := s.MustBeOnline("juliet@capulet.example/balcony")[0]
		juliet.MustSend("<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>")
		juliet.Expect("<iq type='result' ...>...</iq>")
		asks(invited(t, s, account.Invitation{Contact: jid.MustParse("juliet@capulet.example")}), "bill", "")
		synctest.Wait()
		pushed := juliet.Received()
		if len(pushed) == 0 {
			t.Fatal("juliet was told nothing")
		}
		for i, el := range pushed {
			want := "subscribed"
			if el.Name().Local == "iq" {
				want = "set"
			}
			if got := el.Attr("type"); got != want {
				t.Errorf("%d: juliet received %s", i, el.Raw())
			}
		}
		last := pushed[len(pushed)-1].First().First()
		if last.Attr("jid") != "bill@montague.example" || last.Attr("subscription") != "both" {
			t.Errorf("juliet's contact is %s", last.Raw())
		}
		bill, err := s.Connect(jid.MustParse("bill@montague.example/home"))
		if err != nil {
			t.Fatal(err)
		}
		bill.MustSend("<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>")
		bill.Expect("<iq type='result' ...><query xmlns='jabber:iq:roster' ...><item jid='juliet@capulet.example' subscription='both'/></query></iq>")
		bill.MustSend("<presence/>")
		bill.Expect("<presence from='bill@montague.example/home' .../>")
		bill.Expect("<presence from='juliet@capulet.example/balcony' .../>")
		juliet.Expect("<presence from='bill@montague.example/home' .../>")
	})
}
