//go:build interop

package interop_test

import (
	"crypto/aes"
	"database/sql"
	"encoding/base32"
	"encoding/binary"
	"encoding/xml"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"
)

// openStore opens the database of a Kith beside the running server: in its data
// directory, or the PostgreSQL database of the URL.
func openStore(t *testing.T, data, url string) *sql.DB {
	t.Helper()
	driver := "pgx"
	if url == "" {
		driver = "sqlite"
		url = "file:" + filepath.Join(data, "kith.db") + "?mode=ro&_pragma=query_only(1)&_pragma=busy_timeout(5000)"
	}
	db, err := sql.Open(driver, url)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// storedIDs are the messages that the account received, by their id attribute:
// under which ids (XEP-0359) each is in the store of a Kith.
func storedIDs(t *testing.T, db *sql.DB, account string) map[string][]string {
	t.Helper()
	defer db.Close()
	var key []byte
	if err := db.QueryRow(`SELECT value FROM secret WHERE name = 'archive ids'`).Scan(&key); err != nil {
		t.Fatalf("read the key of the ids: %v", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := db.Query(`SELECT message.owner, message.id, stanza FROM message JOIN account ON account.id = message.owner
		WHERE account.jid = $1 AND NOT outgoing ORDER BY message.id`, account)
	if err != nil {
		t.Fatalf("read the messages of %s: %v", account, err)
	}
	defer rows.Close()
	ids := make(map[string][]string)
	for rows.Next() {
		var owner, id int64
		var stanza string
		if err := rows.Scan(&owner, &id, &stanza); err != nil {
			t.Fatal(err)
		}
		b := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(owner)), uint64(id))
		block.Encrypt(b, b)
		name := strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
		ids[idAttribute(t, stanza)] = append(ids[idAttribute(t, stanza)], name)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return ids
}

// idAttribute is that of a stored stanza.
func idAttribute(t *testing.T, stanza string) string {
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

// archived is a message in an archive: its id attribute, and its id there (XEP-0359).
type archived struct{ id, name string }

// archivedIDs are the messages in the account's archive by their id attribute:
// under which ids each is there, as the server tells who asks.
func archivedIDs(t *testing.T, s *server, account string) map[string][]string {
	t.Helper()
	c := login(t, s, strings.Split(account, "@")[0], "reader", false)
	defer c.conn.Close()
	return namesOf(readArchive(t, c, c.read, ""))
}

// namesOf are the ids in an archive by the id attributes of messages.
func namesOf(list []archived) map[string][]string {
	ids := make(map[string][]string)
	for _, m := range list {
		ids[m.id] = append(ids[m.id], m.name)
	}
	return ids
}

// readArchive reads the archive of the stream's account (XEP-0313), of which read
// reads the next element: what is behind the message that has the id after there,
// or all of it if that is empty.
func readArchive(t *testing.T, c *stream, read func() (element, error), after string) (list []archived) {
	t.Helper()
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
			e, err := read()
			if err != nil {
				t.Fatalf("read the archive: %v", err)
			}
			if result := e.child(nsMAM, "result"); result.exists() {
				message := result.child("urn:xmpp:forward:0", "forwarded").child(nsClient, "message")
				list = append(list, archived{message.attr("id"), result.attr("id")})
			}
			if !e.is(nsClient, "iq") || e.attr("id") != "page" {
				continue
			}
			fin := e.child(nsMAM, "fin")
			if !fin.exists() {
				t.Fatalf("read the archive: %v", e)
			}
			if fin.attr("complete") == "true" {
				return list
			}
			after = fin.child(nsRSM, "set").child(nsRSM, "last").Text
			break
		}
	}
}
