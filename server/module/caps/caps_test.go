package caps_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kith/xmpp/jid"
	xcaps "kith/xmpp/xep/caps"
	"kith/xmpp/xep/disco"
	"kith/xmpptest"
)

func TestScenarios(t *testing.T) { xmpptest.Run(t, "testdata/*.xmpp") }

const asked = `<iq type='get' from='montague.example' ...><query xmlns='http://jabber.org/protocol/disco#info' node='...'/></iq>`

// A session that always claims something else is asked ten times, and then once
// in ten minutes.
func TestAskingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t, xmpptest.Config("limits = {stanza_rate = 0, byte_rate = 0, ping_after = \"1h\"}"))
		c := s.MustConnect("romeo@montague.example/foo")
		n := 0
		claims := func() (asked int) {
			for range 50 {
				n++
				c.MustSend(fmt.Sprintf(`<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='x' ver='%d'/></presence>`, n))
			}
			s.Settle()
			for _, el := range c.Received() {
				if strings.Contains(string(el.Raw()), "disco#info") {
					asked++
				}
			}
			return asked
		}
		for i, want := range []int{10, 0, 2} {
			if got := claims(); got != want {
				t.Errorf("round %d: asked %d times, want %d", i, got, want)
			}
			if i == 1 {
				s.Pass(20 * time.Minute)
			}
		}
	})
}

// An answer that is larger than any client's holds for nobody, even though its
// hash is right.
func TestLargeAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t, xmpptest.Config("limits = {stanza_rate = 0, byte_rate = 0}"))
		for _, n := range []int{1000, 1001} {
			info := new(disco.Info)
			var b strings.Builder
			for i := range n {
				f := fmt.Sprintf("x:%d", i)
				info.Features = append(info.Features, f)
				fmt.Fprintf(&b, `<feature var='%s'/>`, f)
			}
			ver, err := xcaps.Hash("sha-1", info)
			if err != nil {
				t.Fatal(err)
			}
			presence := `<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='x' ver='` + ver + `'/></presence>`
			c := s.MustConnect("romeo@montague.example/foo")
			c.MustSend(presence)
			c.Expect(`<presence ...>...</presence>`)
			id := c.Expect(asked).Attr("id")
			c.MustSend(`<iq type='result' id='` + id + `' to='montague.example'><query xmlns='http://jabber.org/protocol/disco#info'>` + b.String() + `</query></iq>`)
			s.Settle()
			c.Close()
			c = s.MustConnect("romeo@montague.example/bar")
			c.MustSend(presence)
			c.Expect(`<presence ...>...</presence>`)
			if n > 1000 {
				c.Expect(asked)
			} else {
				c.ExpectNothing()
			}
			c.Close()
		}
	})
}

// What the server says of itself has the hash that it claims, whatever modules
// there are.
func TestOwn(t *testing.T) {
	for _, config := range []string{"", "modules.vcard.enabled = false", `host."montague.example".contact = {admin = ["xmpp:admin@montague.example"]}`} {
		t.Run(config, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := xmpptest.New(t, xmpptest.Config(config))
				s.Account(jid.MustParse("romeo@montague.example"))
				raw, err := s.Open("romeo", "montague.example", true)
				if err != nil {
					t.Fatal(err)
				}
				raw.Next()
				raw.Next()
				if err := raw.Authenticate("romeo"); err != nil {
					t.Fatal(err)
				}
				features, _ := raw.Next()
				claim, err := xcaps.Parse(features.Child(xcaps.Name))
				if err != nil {
					t.Fatalf("%s: %v", features.Raw(), err)
				}
				c := s.MustConnect("juliet@capulet.example/balcony")
				c.MustSend(`<iq type='get' id='1' to='montague.example'><query xmlns='http://jabber.org/protocol/disco#info' node='` + claim.Query() + `'/></iq>`)
				info, err := disco.ParseInfo(c.Expect(`<iq type='result' id='1' ...>...</iq>`).First())
				if err != nil {
					t.Fatal(err)
				}
				if ver, err := xcaps.Hash(xcaps.SHA1, info); err != nil || ver != claim.Ver {
					t.Errorf("%s: of what it says the hash is %s (%v)", features.Raw(), ver, err)
				}
			})
		})
	}
}

// Nobody could ask what the feature of the stream means.
func TestWithoutDisco(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t, xmpptest.Config("modules.disco.enabled = false"))
		s.Account(jid.MustParse("romeo@montague.example"))
		raw, err := s.Open("romeo", "montague.example", true)
		if err != nil {
			t.Fatal(err)
		}
		raw.Next()
		raw.Next()
		if err := raw.Authenticate("romeo"); err != nil {
			t.Fatal(err)
		}
		if features, _ := raw.Next(); features.Child(xcaps.Name).Exists() {
			t.Errorf("%s: capabilities that nobody can ask about", features.Raw())
		}
	})
}
