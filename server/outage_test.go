package server_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kith/xmpptest"
)

// TestDiskFull fills the database. What cannot be stored is neither acknowledged
// nor sent back for ten seconds, then it is, with an error that says to try again;
// others go on all the while, and so does everything once there is room.
func TestDiskFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Without an archive only what nobody takes is stored.
		s := xmpptest.New(t, xmpptest.Config("[modules.mam]\nenabled = false"))
		cs := s.MustBeOnline("romeo@montague.example/orchard", "nurse@capulet.example/kitchen", "tybalt@capulet.example/street")
		romeo, nurse, tybalt := cs[0], cs[1], cs[2]
		tybalt.Close()
		synctest.Wait()
		db := s.Inside().DB()
		if err := db.LimitPages(context.Background(), 1); err != nil {
			t.Fatal(err)
		}
		romeo.MustSend("<enable xmlns='urn:xmpp:sm:3'/>")
		romeo.Expect("<enabled xmlns='urn:xmpp:sm:3'/>")

		// Free pages take the first ones.
		text := strings.Repeat("a villain, that is hither come ", 100)
		stored := 0
		for {
			romeo.MustSend(fmt.Sprintf("<message to='tybalt@capulet.example' type='chat' id='%d'><body>%s</body></message><r xmlns='urn:xmpp:sm:3'/>", stored, text))
			time.Sleep(200 * time.Millisecond)
			synctest.Wait()
			el, ok := romeo.Next()
			if !ok {
				t.Fatal("<r/> is not answered")
			}
			if el.Attr("h") != fmt.Sprint(stored+1) {
				break
			}
			if stored++; stored == 200 {
				t.Fatal("the disk is never full")
			}
		}
		romeo.ExpectNothing()

		// Others go on; whoever waits for the store keeps the order of what he sent.
		nurse.MustSend("<presence><show>away</show></presence>")
		nurse.Expect("<presence from='nurse@capulet.example/kitchen' to='nurse@capulet.example/kitchen'><show>away</show></presence>")
		nurse.MustSend("<iq type='get' id='p' to='capulet.example'><ping xmlns='urn:xmpp:ping'/></iq>")
		nurse.Expect("<iq type='result' id='p' from='capulet.example' to='nurse@capulet.example/kitchen'/>")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		romeo.ExpectNothing()

		time.Sleep(10 * time.Second)
		synctest.Wait()
		bounced := 0
		for _, el := range romeo.Received() {
			switch text := string(el.Raw()); el.Name().Local {
			case "message":
				bounced++
				if el.Attr("id") != fmt.Sprint(stored) || !strings.Contains(text, "type='wait'><resource-constraint ") {
					t.Errorf("got %s, want message %d back with resource-constraint", text, stored)
				}
			case "a": // an error counts as done
				if el.Attr("h") != fmt.Sprint(stored+1) {
					t.Errorf("got %s, want h='%d'", text, stored+1)
				}
			case "r":
			default:
				t.Errorf("got %s", text)
			}
		}
		if bounced != 1 {
			t.Errorf("%d messages came back, want 1", bounced)
		}

		if err := db.LimitPages(context.Background(), 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		romeo.MustSend("<message to='tybalt@capulet.example' type='chat' id='room'><body>again</body></message><r xmlns='urn:xmpp:sm:3'/>")
		romeo.Expect(fmt.Sprintf("<a xmlns='urn:xmpp:sm:3' h='%d'/>", stored+2))
	})
}
