//go:build interop

package interop_test

import (
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"kith/server/storage/storagetest"
)

// TestPostgres: the program keeps what it is trusted with in PostgreSQL, across a
// restart, and nothing beside it.
func TestPostgres(t *testing.T) {
	t.Parallel()
	s := startKithOn(t, storagetest.PostgresURL(t))
	romeo := login(t, s, "romeo", "orchard", true)
	juliet := login(t, s, "juliet", "balcony", true)
	if err := juliet.write(el(nsClient, "presence")); err != nil {
		t.Fatal(err)
	}
	say := func(to, id string) {
		t.Helper()
		err := romeo.write(el(nsClient, "message", "to", s.jid(to), "type", "chat", "id", id).
			with(el(nsClient, "body").text("hark")))
		if err != nil {
			t.Fatal(err)
		}
	}
	hear := func(c *stream, id string) element {
		t.Helper()
		for {
			e, err := c.read()
			if err != nil {
				t.Fatalf("wait for %s: %v", id, err)
			}
			if e.is(nsClient, "message") {
				if e.attr("id") != id {
					t.Fatalf("got %v, want %s", e, id)
				}
				return e
			}
		}
	}
	say("juliet", "present")
	name := hear(juliet, "present").child(nsSID, "stanza-id").attr("id")
	register(t, s, "nurse")
	say("nurse", "absent")
	answer, err := romeo.ask(el(nsClient, "iq", "type", "set", "id", "roster").with(
		el("jabber:iq:roster", "query").with(el("jabber:iq:roster", "item", "jid", s.jid("nurse")))))
	if err != nil || answer.attr("type") == "error" {
		t.Fatalf("into the roster: %v %v", answer, err)
	}
	for end := time.Now().Add(*patience); len(s.stored(t, s.jid("nurse"))) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the message for who is absent is not stored")
		}
	}

	s.proc.stop()
	s.proc = s.start(t)
	nurse := login(t, s, "nurse", "kitchen", false)
	if err := nurse.write(el(nsClient, "presence")); err != nil {
		t.Fatal(err)
	}
	if e := hear(nurse, "absent"); !e.child("urn:xmpp:delay", "delay").exists() {
		t.Errorf("got %v, want it delayed", e)
	}
	if got := s.stored(t, s.jid("juliet"))["present"]; len(got) != 1 || got[0] != name {
		t.Errorf("stored as %v, was delivered as %s", got, name)
	}
	romeo = login(t, s, "romeo", "orchard", false)
	answer, err = romeo.ask(el(nsClient, "iq", "type", "get", "id", "roster").with(el("jabber:iq:roster", "query")))
	if err != nil || answer.child("jabber:iq:roster", "query").child("jabber:iq:roster", "item").attr("jid") != s.jid("nurse") {
		t.Errorf("roster after the restart: %v %v", answer, err)
	}
}

// TestPostgresMissing: the program says what to do and ends with status 1.
func TestPostgresMissing(t *testing.T) {
	t.Parallel()
	base := storagetest.PostgresURL(t)
	for name, test := range map[string]struct{ url, want string }{
		"no server":   {"postgres://kith:my-secret@127.0.0.1:1/kith", "; is PostgreSQL running there"},
		"no database": {strings.Replace(base, "/postgres?", "/none?", 1), "; make the database"},
		"password": {strings.Replace(base, "user=kith", "password=my-secret&user="+url.QueryEscape(storagetest.Guarded), 1),
			"have to be those of CREATE ROLE"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "kith.toml")
			writeFile(t, file, "[storage]\nurl = "+strconv.Quote(test.url)+"\n")
			out, err := exec.Command(kith(t), "serve", "--local", "--data", dir, "--config", file).CombinedOutput()
			text := string(out)
			if err == nil || !strings.Contains(text, test.want) || !strings.HasPrefix(text, "kith: open database: ") ||
				strings.Contains(text, "secret") || strings.Count(text, "\n") != 1 {
				t.Errorf("%v\ngot  %s\nwant %s", err, text, test.want)
			}
		})
	}
}
