package bench_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"kith/bench"
	"kith/xmpp/jid"
	"kith/xmpp/negotiate"
	"kith/xmpp/ns"
	"kith/xmpp/sasl"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

func archive(n int) bench.Archive {
	return bench.Archive{Repeats: bench.Repeats{Repetitions: 1}, Archives: n, Messages: 25, Page: 10, Body: 32}
}

// library is a server of which nothing but archives is there: each account has
// so many messages, and one more for each that it sends.
type library struct {
	t        *testing.T
	counts   bool // it tells how many messages there are
	announce bool

	mu       sync.Mutex // guards messages and queries
	messages map[string]int
	queries  []string // max and after of each
}

func (l *library) SCRAM(_ context.Context, user, hash string) (sasl.Keys, error) {
	return sasl.MakeKeys(hash, "secret"+strings.TrimPrefix(user, "u"), []byte("0123456789abcdef"), sasl.MinIterations)
}

func (l *library) Plain(context.Context, string, string) error {
	return &sasl.Failure{Condition: sasl.NotAuthorized}
}

func (l *library) Bind(_ context.Context, user jid.JID, resource string) (jid.JID, error) {
	return user.WithResource(resource)
}

// open listens on loopback and returns how to measure the library.
func (l *library) open() bench.Options {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { l.serve(conn) })
		}
	})
	l.t.Cleanup(func() {
		listener.Close()
		wg.Wait()
	})
	return bench.Options{Domain: "localhost", Address: listener.Addr().String(), TLS: "none", User: "u%d", Password: "secret%d",
		Mechanism: sasl.ScramSHA1, Concurrency: 4, Timeout: 20 * time.Second}
}

func (l *library) serve(conn net.Conn) {
	st, err := negotiate.Serve(context.Background(), stream.NewTCP(conn, stream.Options{Server: true}), negotiate.ServerOptions{
		Steps: func(jid.JID) []negotiate.Step {
			return []negotiate.Step{negotiate.SASL{Backend: l}, negotiate.Bind{Binder: l}}
		}})
	if err != nil {
		l.t.Errorf("library: %v", err)
		return
	}
	defer st.Conn.Close(nil)
	for {
		el, err := st.Conn.ReadElement()
		if err != nil {
			return // the client has gone
		}
		if stanza.KindOf(el) == stanza.Message {
			l.mu.Lock()
			l.messages[st.User.Local()]++
			l.mu.Unlock()
		}
		iq, err := stanza.Parse(el)
		if err != nil || !iq.IsRequest() {
			continue
		}
		var out string
		switch payload := ""; iq.Payload().Name().Space {
		case ns.DiscoInfo:
			if l.announce {
				payload = "<feature var='urn:xmpp:mam:2'/>"
			}
			out = "<query xmlns='http://jabber.org/protocol/disco#info'><identity category='account' type='registered'/>" + payload + "</query>"
		case ns.MAM:
			var results string
			results, out = l.page(st.User.Local(), iq.Payload())
			st.Conn.WriteBatch([][]byte{[]byte(results)})
		}
		st.Conn.WriteBatch([][]byte{[]byte("<iq type='result' id='" + iq.ID + "'>" + out + "</iq>")})
	}
}

// page answers a query as XEP-0313 §4 has it.
func (l *library) page(user string, q xmltree.Element) (results, fin string) {
	set := q.Child(xmltree.Name{Space: "http://jabber.org/protocol/rsm", Local: "set"})
	field := func(n string) string { return set.Child(xmltree.Name{Space: set.Name().Space, Local: n}).Text() }
	l.mu.Lock()
	defer l.mu.Unlock()
	if user == "u0" {
		l.queries = append(l.queries, field("max")+" "+field("after"))
	}
	most, err := strconv.Atoi(field("max"))
	if err != nil {
		l.t.Errorf("query %s: no max", q.Raw())
	}
	i, err := strconv.Atoi("0" + field("after"))
	if err != nil {
		l.t.Errorf("query %s: after is no id that was told", q.Raw())
	}
	n := 0
	for ; n < most && i < l.messages[user]; n++ {
		i++
		results += fmt.Sprintf("<message><result xmlns='urn:xmpp:mam:2' queryid='%s' id='%d'><forwarded xmlns='urn:xmpp:forward:0'/></result></message>", q.Attr("queryid"), i)
	}
	// What belongs to nobody's query does not count.
	results += "<message><result xmlns='urn:xmpp:mam:2' queryid='other' id='x'/></message>"
	told := ""
	if n > 0 {
		told = fmt.Sprintf("<first>%d</first><last>%d</last>", i-n+1, i)
	}
	if l.counts {
		told += fmt.Sprintf("<count>%d</count>", l.messages[user])
	}
	complete := ""
	if i == l.messages[user] {
		complete = " complete='true'"
	}
	return results, "<fin xmlns='urn:xmpp:mam:2'" + complete + "><set xmlns='http://jabber.org/protocol/rsm'>" + told + "</set></fin>"
}

// TestArchive: archives are filled as far as need be, and read page by page.
func TestArchive(t *testing.T) {
	tests := []struct {
		name     string
		counts   bool // the server tells how many there are
		had      map[string]int
		messages float64 // read in all
		queries  string  // of the first account
	}{
		{"empty", true, nil, 50, "0 ,10 ,10 10,5 20"},
		{"some there", true, map[string]int{"u0": 24, "u1": 80}, 50, "0 ,10 ,10 10,5 20"},
		{"uncounted, empty", false, map[string]int{"u1": 12}, 37, "0 ,1 ,10 ,10 10,5 20"},
		{"uncounted, some there", false, map[string]int{"u0": 12, "u1": 7}, 19, "0 ,1 ,10 ,10 10"},
	}
	for _, tt := range tests {
		l := &library{t: t, announce: true, counts: tt.counts, messages: map[string]int{}}
		for user, n := range tt.had {
			l.messages[user] = n
		}
		r := measure(t, l.open(), archive(2))
		between(t, r, "messages", tt.messages, tt.messages)
		if got := strings.Join(l.queries, ","); got != tt.queries {
			t.Errorf("%s: queries %q, want %q", tt.name, got, tt.queries)
		}
	}
}

func TestNoArchive(t *testing.T) {
	l := &library{t: t, messages: map[string]int{}}
	if _, err := bench.Run(t.Context(), l.open(), archive(2)); err == nil || !strings.Contains(err.Error(), "does not announce urn:xmpp:mam:2") {
		t.Errorf("archive of a server without: %v", err)
	}
	if len(l.queries) > 0 {
		t.Errorf("it was queried all the same: %q", l.queries)
	}
}
