//go:build interop

package interop_test

import (
	"database/sql"
	"encoding/xml"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"
)

// storedIDs counts the messages that the account received by their id attribute,
// in the store of the Kith whose data directory is given. It reads the
// database itself, beside the running server.
func storedIDs(t *testing.T, data, account string) map[string]int {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(data, "kith.db")+"?mode=ro&_pragma=query_only(1)&_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(`SELECT stanza FROM message JOIN account ON account.id = message.owner
		WHERE account.jid = $1 AND NOT outgoing`, account)
	if err != nil {
		t.Fatalf("read the messages of %s: %v", account, err)
	}
	defer rows.Close()
	ids := make(map[string]int)
	for rows.Next() {
		var stanza string
		if err := rows.Scan(&stanza); err != nil {
			t.Fatal(err)
		}
		ids[stanzaID(t, stanza)]++
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return ids
}

// stanzaID is the id attribute of a stored stanza.
func stanzaID(t *testing.T, stanza string) string {
	t.Helper()
	dec := xml.NewDecoder(strings.NewReader(stanza))
	for {
		token, err := dec.Token()
		if err != nil {
			t.Fatalf("stored stanza %q: %v", stanza, err)
		}
		if start, ok := token.(xml.StartElement); ok {
			return element{Attrs: start.Attr}.attr("id")
		}
	}
}

// archivedIDs counts the messages in the account's archive by their id
// attribute, asking the server for them (XEP-0313).
func archivedIDs(t *testing.T, s *server, account string) map[string]int {
	t.Helper()
	c := login(t, s, strings.Split(account, "@")[0], "reader", false)
	defer c.conn.Close()
	ids := make(map[string]int)
	after := ""
	for {
		c.conn.SetDeadline(time.Now().Add(*patience))
		page := el(nsRSM, "set").with(el(nsRSM, "max").text("200"))
		if after != "" {
			page = page.with(el(nsRSM, "after").text(after))
		}
		query := el(nsClient, "iq", "type", "set", "id", "page").with(el(nsMAM, "query").with(page))
		if err := c.write(query); err != nil {
			t.Fatal(err)
		}
		for {
			e, err := c.read()
			if err != nil {
				t.Fatalf("read the archive of %s: %v", account, err)
			}
			if result := e.child(nsMAM, "result"); result.exists() {
				message := result.child("urn:xmpp:forward:0", "forwarded").child(nsClient, "message")
				ids[message.attr("id")]++
			}
			if !e.is(nsClient, "iq") || e.attr("id") != "page" {
				continue
			}
			fin := e.child(nsMAM, "fin")
			if !fin.exists() {
				t.Fatalf("read the archive of %s: %v", account, e)
			}
			if fin.attr("complete") == "true" {
				return ids
			}
			after = fin.child(nsRSM, "set").child(nsRSM, "last").Text
			break
		}
	}
}
