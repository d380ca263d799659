package archive_test

import (
	"strings"
	"testing"
	"time"

	"kith/server/account"
	"kith/server/archive"
	"kith/server/cluster"
	"kith/server/storage"
	"kith/server/storage/storagetest"
	"kith/xmpp/jid"
)

// TestTombstone: what may be retracted, and what is left of it.
func TestTombstone(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, db *storage.DB) {
		o := open(t, db)
		owner := o.ID()
		n := int64(0)
		put := func(peer jid.JID, outgoing, transit bool, xml string) int64 {
			n++
			op := o.put(owner, n, peer, transit, false, 1)
			op.Args[4], op.Args[6], op.Args[7] = outgoing, len(xml), []byte(xml)
			o.commit(op, mark(owner, n))
			return n
		}
		const begin = `<message to='romeo@montague.example' from='juliet@capulet.example/balcony' type='chat' id=`
		gone := put(juliet, false, false, begin+`'old'><body>behind the floor</body></message>`)
		plain := put(juliet, false, false, begin+`'plain' xml:lang='it'><body>secret</body><origin-id xmlns='urn:xmpp:sid:0' id='o' x='secret'>secret</origin-id>`+
			`<delay xmlns='urn:xmpp:delay' from='a.example' stamp='2020-01-01T00:00:00Z'>secret</delay><x xmlns='other'>secret</x></message>`)
		sent := put(juliet, true, false, `<message to='juliet@capulet.example' from='romeo@montague.example/orchard' id='sent'><body>secret</body></message>`)
		waits := put(juliet, false, true, begin+`'waits'><body>secret</body></message>`)
		put(juliet, false, false, begin+`'room'><body>a</body><x xmlns='http://jabber.org/protocol/muc#user'/></message>`)
		put(juliet, false, false, begin+`'again'><retract xmlns='urn:xmpp:message-retract:1' id='a'/></message>`)
		put(juliet, false, false, begin+`'broken'><body>a</message>`)
		last := put(juliet, false, false, begin+`'new'><body>a</body></message>`)
		nurse := jid.MustParse("nurse@capulet.example")

		for _, c := range []struct {
			name     string
			peer     jid.JID
			outgoing bool
			id       string
			archived bool
			want     int64
			left     string
		}{
			{"a message", juliet, false, "plain", true, plain, begin + `'plain'><delay xmlns='urn:xmpp:delay' from='a.example' stamp='2020-01-01T00:00:00Z'/>` +
				`<origin-id xmlns='urn:xmpp:sid:0' id='o'/><retracted xmlns='urn:xmpp:message-retract:1' stamp='2025-06-01T12:00:00Z' id='by'/></message>`},
			{"by its origin-id", juliet, false, "o", true, plain, ""},
			{"one's own", juliet, true, "sent", true, sent, `<message to='juliet@capulet.example' from='romeo@montague.example/orchard' id='sent'>` +
				`<retracted xmlns='urn:xmpp:message-retract:1' stamp='2025-06-01T12:00:00Z' id='by'/></message>`},
			{"what waits", juliet, false, "waits", true, waits, ""},
			{"what waits, by one that is not archived", juliet, false, "waits", false, waits, ""},
			{"what is archived, by one that is not", juliet, false, "plain", false, 0, ""},
			{"by somebody else", nurse, false, "plain", true, 0, ""},
			{"by the other side", juliet, true, "plain", true, 0, ""},
			{"by the other side", juliet, false, "sent", true, 0, ""},
			{"of an occupant of a room", juliet, false, "room", true, 0, ""},
			{"a retraction", juliet, false, "again", true, 0, ""},
			{"what cannot be read", juliet, false, "broken", true, 0, ""},
			{"what came later", juliet, false, "new", true, 0, ""},
			{"what is deleted", juliet, false, "old", true, 0, ""},
		} {
			q := archive.Retraction{Owner: owner, Floor: gone, Before: last, Peer: c.peer, Outgoing: c.outgoing, ID: c.id, By: "by",
				At: time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC), Archived: c.archived}
			id, left := o.find(&q)
			if id != c.want || c.left != "" && left != c.left || strings.Contains(left, "secret") {
				t.Errorf("%s: %d, %s; want %d, %s", c.name, id, left, c.want, c.left)
			}
		}

		o.Do(func(t *cluster.Turn, a *account.Actor) { archive.Bury(t, a, plain, []byte("<message/>")) })
		var stanza []byte
		var size, marks int
		err := db.Read(t.Context(), func(r *storage.Reader) error {
			return r.QueryRow(`SELECT stanza, size, (SELECT count(*) FROM offline) FROM message WHERE owner = $1 AND id = $2`, owner, plain).Scan(&stanza, &size, &marks)
		})
		if err != nil || string(stanza) != "<message/>" || size != 10 || marks != int(n) {
			t.Errorf("buried: %s of %d bytes, %d marks (%v); want <message/> of 10 bytes, %d marks", stanza, size, marks, err, n)
		}
		o.Do(func(t *cluster.Turn, a *account.Actor) { archive.Bury(t, a, 12345, []byte("<message/>")) })
		if got := o.count("message"); got != int(n) {
			t.Errorf("%d messages once one was buried that has gone, want %d", got, n)
		}
	})
}

// TestTombstoneDepth: how far a message is looked for is bounded.
func TestTombstoneDepth(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, db *storage.DB) {
		o := open(t, db)
		owner := o.ID()
		var ops []storage.Op
		const most = 10_000
		for id := int64(1); id <= most+2; id++ {
			ops = append(ops, o.put(owner, id, juliet, false, false, 1))
		}
		o.commit(ops...)
		for _, c := range []struct {
			id   string
			want int64
		}{{"3", 3}, {"2", 0}} { // as o.put names them
			q := archive.Retraction{Owner: owner, Before: most + 3, Peer: juliet, ID: c.id, Archived: true}
			if id, _ := o.find(&q); id != c.want {
				t.Errorf("message %s is found as %d, want %d", c.id, id, c.want)
			}
		}
	})
}

func (o *owner) find(q *archive.Retraction) (id int64, left string) {
	o.Helper()
	err := o.DB.Read(o.Context(), func(r *storage.Reader) error {
		var b []byte
		var err error
		id, b, err = q.Find(r)
		left = string(b)
		return err
	})
	if err != nil {
		o.Fatal(err)
	}
	return id, left
}
