//go:build interop

package interop_test

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTerminalContacts drives profanity on a screen: romeo sits there, juliet is
// in the hands of slixmpp. It is the life of a contact, with blocking, what is
// kept for who is away, and a lost connection that profanity resumes by itself.
func TestTerminalContacts(t *testing.T) {
	t.Parallel()
	profanity, tmux := program(t, "profanity"), program(t, "tmux")
	eachServer(t, func(t *testing.T, s *server) {
		w := &terminal{s: s, puppet: startPuppet(t, slixmpp, s), wire: layWire(t, s.addr()), dir: t.TempDir()}
		// A screen outlives the step that opens it: it ends with this test.
		w.open = func() *screen { return openScreen(t, tmux, "env", w.command(profanity)...) }
		register(t, s, "romeo")
		w.configure(t)
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("messages and presence in profanity's log:\n%s", strings.Join(traffic.FindAllString(w.log(t), -1), "\n"))
			}
		})
		w.juliet = w.puppet.mustOpen(t, "juliet", "balcony", true)
		w.julietComes(t)
		w.start(t)
		steps(t, []step{
			{"request", w.request},
			{"approval", w.approval},
			{"presence", w.presence},
			{"log-out", w.logOut},
			{"blocking", w.blocking},
			{"resumption", w.resumption},
			{"outage", w.outage},
			{"offline", w.offline},
			{"removal", w.removal},
		})
		w.quit(t)
	})
}

// terminal is a walk of romeo, who has profanity, and juliet.
type terminal struct {
	s      *server
	puppet *puppet
	juliet *hand
	wire   *wire  // between profanity and the server
	dir    string // of all that profanity keeps
	open   func() *screen
	screen *screen
}

// command is profanity with the directory for its home.
func (w *terminal) command(profanity string) []string {
	return []string{
		"-u", "DBUS_SESSION_BUS_ADDRESS", "HOME=" + w.dir,
		"XDG_CONFIG_HOME=" + filepath.Join(w.dir, "config"), "XDG_DATA_HOME=" + filepath.Join(w.dir, "data"),
		profanity, "--log=DEBUG",
	}
}

// configure writes what profanity is to find: the account, and that the server's
// certificate was accepted for good.
func (w *terminal) configure(t *testing.T) {
	t.Helper()
	config, data := filepath.Join(w.dir, "config", "profanity"), filepath.Join(w.dir, "data", "profanity")
	for _, dir := range []string{config, data} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	// Without the history a window shows only what came now.
	writeFile(t, filepath.Join(config, "profrc"), `[connection]
account=romeo
reconnect=1
[ui]
splash=false
roster=false
history=false
[chatstates]
enabled=false
outtype=false
[presence]
autoaway.mode=off
[notifications]
message=false
sub=false
invite=false
typing=false
remind=0
`)
	writeFile(t, filepath.Join(data, "accounts"), fmt.Sprintf(
		"[romeo]\nenabled=true\njid=%s\npassword=%s\nresource=terminal\nserver=127.0.0.1\nport=%d\n",
		w.s.jid("romeo"), passwordOf("romeo"), w.wire.port))
	fingerprint := sha1.Sum(w.s.cert.Raw) // profanity knows no other
	writeFile(t, filepath.Join(data, "tlscerts"), "["+hex.EncodeToString(fingerprint[:])+"]\nversion=3\n")
}

func (w *terminal) romeo() string { return w.s.jid("romeo") }

func (w *terminal) start(t *testing.T) {
	t.Helper()
	w.screen = w.open()
	w.screen.await(t, "profanity to log in", "logged in successfully")
	w.juliet.do(t, order{Do: "iq", Ask: "ping", To: w.s.domain})
}

// quit ends profanity when it has acknowledged the messages it got: the server
// keeps those that it has not (XEP-0198 §4), and they would be there again.
func (w *terminal) quit(t *testing.T) {
	t.Helper()
	w.screen.watch(t, "profanity to acknowledge what it got", func() bool {
		log := w.log(t)
		return strings.LastIndex(log, "SENT: <a ") > strings.LastIndex(log, "RECV: <message ")
	})
	w.screen.typeLine(t, "/quit")
	w.screen.awaitEnd(t)
}

func (w *terminal) julietComes(t *testing.T) {
	t.Helper()
	w.juliet.do(t, order{Do: "roster"}) // from now on it gets pushes
	w.juliet.do(t, order{Do: "presence"})
}

// console shows an empty console.
func (w *terminal) console(t *testing.T) {
	t.Helper()
	w.screen.typeLine(t, "/win 1")
	w.screen.await(t, "the console", "Type /help for help information.")
	before := stamped.FindString(w.screen.text())
	w.screen.typeLine(t, "/clear")
	w.screen.watch(t, "an empty console", func() bool {
		first := stamped.FindString(w.screen.text())
		return first == "" || first != before // something new may be there already
	})
}

// stamped is a line of the console: all begin with the time.
var stamped = regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d .*$`)

// chat shows the window of the conversation with juliet.
func (w *terminal) chat(t *testing.T) {
	t.Helper()
	w.screen.typeLine(t, "/msg "+w.juliet.bare())
	w.screen.await(t, "the window for juliet", " "+w.juliet.bare()+" [")
}

// julietIs waits until the console tells that juliet's resource has come, changed
// or gone.
func (w *terminal) julietIs(t *testing.T, mark, how string) {
	t.Helper()
	_, resource, _ := strings.Cut(w.juliet.jid, "/")
	w.screen.await(t, "juliet to be "+how, mark+" "+w.juliet.bare()+" ("+resource+") is "+how)
}

// shows fails unless the window has each of juliet's messages once, in order.
// The last one is waited for: it was sent behind the others.
func (w *terminal) shows(t *testing.T, bodies ...string) {
	t.Helper()
	last := w.juliet.jid + ": " + bodies[len(bodies)-1]
	w.screen.await(t, "juliet's "+bodies[len(bodies)-1], last)
	text := w.screen.text()
	end := 0
	for _, body := range bodies {
		line := w.juliet.jid + ": " + body + "\n"
		at := strings.Index(text, line)
		if n := strings.Count(text, line); n != 1 || at < end {
			t.Errorf("%q is there %d times, at %d; want it once, behind %d, on:\n%s", body, n, at, end, text)
		}
		end = at
	}
}

// says sends romeo a message from juliet, and returns when it was handled.
func (w *terminal) says(t *testing.T, bodies ...string) {
	t.Helper()
	for _, body := range bodies {
		w.juliet.do(t, order{Do: "message", To: w.romeo(), Type: "chat", Stanza: body, Body: body})
	}
	w.juliet.do(t, order{Do: "iq", Ask: "ping", To: w.s.domain})
}

// request: romeo asks, juliet approves, and he sees her.
func (w *terminal) request(t *testing.T) {
	w.console(t)
	w.screen.typeLine(t, "/roster add "+w.juliet.bare())
	w.screen.await(t, "the push to romeo", "Roster item added: "+w.juliet.bare())
	w.screen.typeLine(t, "/sub request "+w.juliet.bare())
	w.juliet.awaitPresence(t, w.romeo(), "subscribe")
	w.juliet.do(t, order{Do: "presence", To: w.romeo(), Type: "subscribed"})
	w.juliet.awaitPush(t, w.romeo(), "from", "")
	w.screen.await(t, "the approval", "Subscription received from "+w.juliet.bare())
	w.julietIs(t, "++", "online")
}

// approval: juliet asks, romeo approves, and she sees him.
func (w *terminal) approval(t *testing.T) {
	w.console(t)
	w.juliet.do(t, order{Do: "presence", To: w.romeo(), Type: "subscribe"})
	w.juliet.awaitPush(t, w.romeo(), "from", "subscribe")
	w.screen.await(t, "juliet's request", "Received authorization request from "+w.juliet.bare())
	w.screen.typeLine(t, "/sub allow "+w.juliet.bare())
	w.juliet.awaitPresence(t, w.romeo(), "subscribed")
	w.juliet.awaitPush(t, w.romeo(), "both", "")
	w.juliet.awaitPresence(t, w.romeo()+"/terminal", "")
	// The push to romeo may come later than that to juliet, and is not shown.
	w.screen.watch(t, "the contact both ways", func() bool {
		w.screen.typeLine(t, "/roster")
		return strings.Contains(w.screen.text(), w.juliet.bare()+" - both")
	})
}

// presence: what one says of itself, the other sees.
func (w *terminal) presence(t *testing.T) {
	w.console(t)
	w.juliet.do(t, order{Do: "presence", Show: "away", Status: "gone to mass"})
	w.julietIs(t, "++", `away, "gone to mass"`)
	for _, show := range []string{"away", "dnd"} {
		w.screen.typeLine(t, `/status set `+show+` "banish`+"\u00e8"+`d <&> `+show+`"`)
		got := w.juliet.inbox().await(t, "romeo to be "+show, func(e event) bool {
			return e.Event == "presence" && e.From == w.romeo()+"/terminal" && e.Show != ""
		})
		if got.Show != show || got.Status != "banish\u00e8d <&> "+show || got.Type != "" {
			t.Errorf("juliet sees %+v, want romeo %s", got, show)
		}
	}
	w.screen.typeLine(t, "/status set online")
	w.juliet.awaitPresence(t, w.romeo()+"/terminal", "")
}

// logOut: juliet goes and comes back.
func (w *terminal) logOut(t *testing.T) {
	w.console(t)
	w.juliet.do(t, order{Do: "close"})
	w.julietIs(t, "--", "offline")
	w.juliet.inbox().drain()
	w.juliet = w.puppet.mustOpen(t, "juliet", "chamber", false)
	w.julietComes(t)
	w.julietIs(t, "++", "online")
	w.juliet.awaitPresence(t, w.romeo()+"/terminal", "")
}

// blocking (XEP-0191): who is blocked sees romeo go, and is refused.
func (w *terminal) blocking(t *testing.T) {
	w.console(t)
	w.screen.typeLine(t, "/blocked add "+w.juliet.bare())
	w.screen.await(t, "romeo to block juliet", "User "+w.juliet.bare()+" successfully blocked.")
	w.juliet.awaitPresence(t, w.romeo()+"/terminal", "unavailable")
	w.says(t, "hear me")
	got := w.juliet.inbox().await(t, "the error", func(e event) bool { return e.ID == "hear me" })
	if got.Type != "error" || got.Condition != "service-unavailable" {
		t.Errorf("a message to romeo, who has blocked her: got %+v, want service-unavailable", got)
	}
	w.screen.typeLine(t, "/blocked remove "+w.juliet.bare())
	w.screen.await(t, "romeo to unblock juliet", "User "+w.juliet.bare()+" successfully unblocked.")
	w.juliet.awaitPresence(t, w.romeo()+"/terminal", "")
	w.says(t, "hear me now")
	w.chat(t)
	w.shows(t, "hear me now")
	if text := w.screen.text(); strings.Contains(text, ": hear me\n") {
		t.Errorf("what was refused has come all the same:\n%s", text)
	}
	w.screen.typeLine(t, "I hear")
	w.juliet.inbox().await(t, "romeo's answer", func(e event) bool { return e.Event == "message" && e.Body == "I hear" })
}

// resumption (XEP-0198 §5): profanity's connection is lost, and it resumes its
// stream, twice. Juliet does not see it, and what she said meanwhile is there once.
func (w *terminal) resumption(t *testing.T) {
	const resumed = "Session resumed successfully."
	w.juliet.inbox().drain()
	for i, tag := range []string{"first loss", "second loss"} {
		w.console(t)
		w.wire.hold()
		w.comesBack(t, tag)
		if n := strings.Count(w.log(t), resumed); n != i+1 {
			t.Errorf("profanity has resumed its stream %d times, want %d", n, i+1)
		}
	}
	for _, e := range w.juliet.inbox().drain() {
		if e.Event == "presence" && e.Type != "" {
			t.Errorf("juliet got %+v, although the stream was resumed", e)
		}
	}
}

// outage: profanity is refused when it tries to come back, and forgets its stream
// over that. A new one takes the place of the old, with all that waited there.
func (w *terminal) outage(t *testing.T) {
	const failed = "Restarting reconnect timer"
	w.console(t)
	w.juliet.inbox().drain()
	before := strings.Count(w.log(t), failed)
	w.wire.cut()
	w.screen.watch(t, "profanity to be refused", func() bool { return strings.Count(w.log(t), failed) > before })
	w.comesBack(t, "outage")
}

// comesBack mends the wire that was cut, and tells whether what juliet said before
// that and after it is there.
func (w *terminal) comesBack(t *testing.T, tag string) {
	t.Helper()
	w.screen.await(t, "profanity to miss the server", "Lost connection.")
	bodies := []string{tag + ", one", tag + ", two", tag + ", three"}
	w.says(t, bodies...)
	w.wire.mend(t)
	w.screen.await(t, "profanity to come back", "Connection re-established.")
	// It says that before its presence. What is sent between the two is kept for
	// it, and may reach it as a carbon, too.
	w.juliet.awaitPresence(t, w.romeo()+"/terminal", "")
	w.says(t, tag+", over")
	w.chat(t)
	w.shows(t, append(bodies, tag+", over")...)
	w.screen.typeLine(t, "back from the "+tag)
	w.juliet.inbox().await(t, "romeo's word", func(e event) bool { return e.Body == "back from the "+tag })
}

// traffic is what profanity's log tells of messages, presence and its streams.
var traffic = regexp.MustCompile(`(?m)^\S+ conn: DBG: SENT: <(message|presence|enable|resume)\b.{0,100}|` +
	`^\S+ xmpp: DBG: RECV: <(message|presence|enabled|resumed|failed)\b.{0,300}`)

// log is what profanity has logged.
func (w *terminal) log(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(w.dir, "data", "profanity", "logs", "profanity.log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// offline: what came while profanity did not run is there once, when it runs.
func (w *terminal) offline(t *testing.T) {
	w.juliet.inbox().drain()
	w.quit(t)
	w.juliet.awaitPresence(t, w.romeo()+"/terminal", "unavailable")
	kept := []string{"kept, one", "kept, two"}
	w.says(t, kept...)
	for i, bodies := range [][]string{kept, nil} {
		w.start(t)
		w.juliet.awaitPresence(t, w.romeo()+"/terminal", "")
		after := fmt.Sprintf("after log-in %d", i)
		w.says(t, after)
		w.chat(t)
		bodies = append(bodies, after)
		w.shows(t, bodies...)
		if text := w.screen.text(); strings.Count(text, w.juliet.jid+": ") != len(bodies) {
			t.Errorf("want %q and nothing else, got:\n%s", bodies, text)
		}
		if i == 0 {
			w.quit(t)
			w.juliet.awaitPresence(t, w.romeo()+"/terminal", "unavailable")
		}
	}
}

// removal ends it both ways (RFC 6121 §2.5).
func (w *terminal) removal(t *testing.T) {
	w.console(t)
	w.screen.typeLine(t, "/roster remove "+w.juliet.bare())
	w.screen.await(t, "the push to romeo", "Roster item removed: "+w.juliet.bare())
	w.juliet.awaitPush(t, w.romeo(), "none", "")
	if !w.s.leavesQuietly {
		w.juliet.awaitPresence(t, w.romeo()+"/terminal", "unavailable")
	}
	w.console(t)
	w.juliet.do(t, order{Do: "presence", Show: "away", Status: "a stranger now"})
	w.says(t, "farewell")
	w.screen.await(t, "the last message", "<< chat message: "+w.juliet.jid)
	if text := w.screen.text(); strings.Contains(text, "a stranger now") {
		t.Errorf("romeo still sees juliet:\n%s", text)
	}
}
