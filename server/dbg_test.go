package server_test
import ("testing";"time";"fmt";"kith/xmpptest")
func TestDbg(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		c := s.MustBeOnline("mercutio@"+host+"/deaf", "tybalt@"+host+"/loud")
		deaf, loud := c[0], c[1]
		deaf.MustSend("<enable xmlns='urn:xmpp:sm:3'/>")
		deaf.Expect("<enabled xmlns='urn:xmpp:sm:3'/>")
		flood(t, loud, "mercutio@"+host+"/deaf", 110)
		for range 8 { s.Settle(); r:=deaf.Received(); fmt.Println(time.Now().Format("05.000"), len(r)); if len(r)>0 {fmt.Println(string(r[len(r)-1].Raw()))}; fmt.Println(deaf.Ended()); time.Sleep(500*time.Millisecond) }
	}, xmpptest.Config("limits.unacked_stanzas = 100"))
}
